"""Functions as chains: a network marks where it can be cut, and what lies between two marks becomes a function.

While they are traced, networks `mark` at growing places all values that what comes later needs. `links` traces a
function of arguments in which such a network runs and cuts the trace there: `f = l_n ∘ … ∘ l_1 ∘ l_0`, every link with
whatever it reads of the arguments. Marks are nothing where nobody cuts.
"""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import JaxprEqn, Literal

Place = tuple[int, ...]

_PREFIX = "cut at "
_marking: ContextVar[bool] = ContextVar("marking", default=False)


def mark(place: Place, arrays: Iterable[jax.Array]) -> None:
    """Note that `arrays` pass `place`: with the other marks there, and the arguments, they shall be all that what comes
    after the place needs of what comes before. The order of the marks is free.
    """
    if _marking.get():
        for x in arrays:
            checkpoint_name(x, _PREFIX + ".".join(map(str, place)))


@dataclass(frozen=True, eq=False)
class Link:
    """A part of a function: `link(arguments, entering) -> leaving`, lists of arrays; traceable.

    `arguments` are all leaves of the function's arguments. What leaves a link enters the next; what leaves the last is
    the function's value.

    Attributes:
      reads: for each leaf of the arguments, whether this link reads it.
      uses: for each value that enters, whether it does more than pass.
      passes: for each value that leaves, the index of the entering value that it is, None if this link computes it.
      depends: for each value that leaves, the indices of the leaves that it depends on, through all links before.
    """

    reads: tuple[bool, ...]
    uses: tuple[bool, ...]
    passes: tuple[int | None, ...]
    depends: tuple[frozenset[int], ...]
    _run: Callable[[Sequence[Any], Sequence[Any]], list[Any]]

    def __call__(self, arguments: Sequence[Any], entering: Sequence[Any]) -> list[Any]:
        """Run it."""
        return self._run(arguments, entering)


def links(function: Callable[..., jax.Array], *args: Any, cut: bool = True) -> list[Link]:
    """`function(*args) -> array` cut at its marks; a single link if it has none, or without `cut`.

    What several links need and no mark hands on, they compute each: values of the arguments alone, which are cheap, or
    much of the network if a mark was forgotten. The chain's value is right in any case.
    """
    token = _marking.set(cut)
    try:
        closed = jax.make_jaxpr(lambda *arrays: function(*arrays))(*args)
    finally:
        _marking.reset(token)
    jaxpr = closed.jaxpr
    constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    places: dict[Place, dict[Any, None]] = {}
    eqns: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "name" and str(eqn.params["name"]).startswith(_PREFIX):
            place = tuple(map(int, eqn.params["name"].removeprefix(_PREFIX).split(".")))
            places.setdefault(place, {})[eqn.invars[0]] = None
        else:
            eqns.append(eqn)
    depends: dict[Any, frozenset[int]] = {var: frozenset((i,)) for i, var in enumerate(jaxpr.invars)}
    for eqn in eqns:
        on = frozenset().union(*(depends.get(v, frozenset()) for v in eqn.invars if not isinstance(v, Literal)))
        depends.update(dict.fromkeys(eqn.outvars, on))

    found, entering = [], []
    for leaving in [*(list(places[place]) for place in sorted(places)), jaxpr.outvars]:
        part, read = _between(eqns, entering, leaving)
        found.append(
            Link(
                tuple(v in read for v in jaxpr.invars),
                tuple(v in read for v in entering),
                tuple(entering.index(v) if v in entering else None for v in leaving),
                tuple(depends.get(v, frozenset()) for v in leaving),
                _runner(part, constants, jaxpr.invars, entering, leaving),
            )
        )
        entering = leaving
    return found


def _between(eqns: Sequence[JaxprEqn], entering: Sequence, leaving: Sequence) -> tuple[list[JaxprEqn], set]:
    """The equations that lead from `entering` and the arguments to `leaving`, and all variables that they read."""
    known, kept, read = set(entering), [], set()
    needed = set(leaving) - known
    for eqn in reversed(eqns):
        if needed.isdisjoint(eqn.outvars):
            continue
        kept.append(eqn)
        read.update(v for v in eqn.invars if not isinstance(v, Literal))
        needed.update(read - known)
    return kept[::-1], read


def _runner(eqns, constants, invars, entering, leaving) -> Callable:
    def run(arguments, incoming):
        values = dict(constants)
        values.update(zip(invars, arguments, strict=True))
        values.update(zip(entering, incoming, strict=True))

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for eqn in eqns:
            results = eqn.primitive.bind(*map(read, eqn.invars), **eqn.primitive.get_bind_params(eqn.params))
            values.update(zip(eqn.outvars, results if eqn.primitive.multiple_results else [results], strict=True))
        return [read(v) for v in leaving]

    return run
