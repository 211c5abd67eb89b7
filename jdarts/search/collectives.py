"""The all-reduces of a traced step after XLA's simplifications: equal ones count once, unused ones do not count."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jdarts.devices.memory import tree_bytes
from jdarts.staging.equality import Expressions, scalar
from jdarts.staging.trace import AGAIN, CALLS

_REDUCTIONS = ("psum", "psum_invariant", "pmax", "pmin")
_INLINED = {**CALLS, "shard_map": "jaxpr"}


@dataclass(frozen=True)
class Collectives:
    """The all-reduces of one step.

    Attributes:
      count: number of all-reduces in the program.
      bytes: bytes that each device contributes to all of them together.
      chain: length of the longest chain in which each all-reduce depends on the one before. Compilers join independent
        all-reduces, so the latency occurs at least `chain` times.
    """

    count: int
    bytes: int
    chain: int


NONE = Collectives(0, 0, 0)


@dataclass(eq=False)
class _Value:
    """A value of the program, with the values that it is computed from and the all-reduces of its own operation."""

    inputs: tuple["_Value", ...] = ()
    own: Collectives = NONE
    chain: int = 0  # most all-reduces on a path to this value, including its own


def all_reduces(program: ClosedJaxpr) -> Collectives:
    """The all-reduces that the outputs of `program` need.

    The body of a `scan` counts once per iteration. The body of a `while` loop counts once, since the number of
    iterations is unknown.
    """
    walk = _Walk()
    outputs = walk.function(program.jaxpr, [_Value() for _ in program.jaxpr.invars])
    return _needed(outputs)


def _needed(outputs: Sequence[_Value]) -> Collectives:
    reached, waiting = set(outputs), list(outputs)
    while waiting:
        new = [value for value in waiting.pop().inputs if value not in reached]
        reached.update(new)
        waiting += new
    return Collectives(
        sum(value.own.count for value in reached),
        sum(value.own.bytes for value in reached),
        max((value.chain for value in reached), default=0),
    )


class _Walk:
    """Assigns values to the variables of a program: equal operations on the same values give the same value."""

    def __init__(self):
        self._known: dict[Hashable, list[_Value]] = {}
        self._constants: dict[Hashable, _Value] = {}
        self._expressions = Expressions()

    def function(self, jaxpr: Jaxpr, arguments: Sequence[_Value], scope: Hashable = None) -> list[_Value]:
        """The outputs of `jaxpr`. Values of different `scope` differ: a checkpoint recomputes values in a new scope."""
        values: dict[Any, _Value] = dict(zip(jaxpr.invars, arguments, strict=True))
        for var in jaxpr.constvars:
            values[var] = self._constants.setdefault(var, _Value())

        def read(atom) -> _Value:
            if isinstance(atom, Literal):
                return self._constants.setdefault(scalar(atom), _Value())
            return values[atom]

        for eqn in jaxpr.eqns:
            values.update(zip(eqn.outvars, self._equation(eqn, [read(v) for v in eqn.invars], scope), strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, eqn: JaxprEqn, inputs: list[_Value], scope: Hashable) -> list[_Value]:
        name = eqn.primitive.name
        if name in _INLINED:
            inner = eqn.params[_INLINED[name]]
            jaxpr = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
            return self.function(jaxpr, inputs, (scope, id(eqn)) if name in AGAIN else scope)
        key = (self._expressions.form(eqn), tuple(map(id, inputs)), scope)
        if key not in self._known:
            self._known[key] = _outputs(eqn, tuple(inputs))
        return self._known[key]


def _outputs(eqn: JaxprEqn, inputs: tuple[_Value, ...]) -> list[_Value]:
    before = max((value.chain for value in inputs), default=0)
    if eqn.primitive.name in _REDUCTIONS:  # an all-reduce for each operand
        return [
            _Value((value,), Collectives(1, tree_bytes(var.aval), 1), value.chain + 1)
            for var, value in zip(eqn.invars, inputs, strict=True)
        ]
    inside = _inside(eqn)
    shared = _Value(inputs, inside, before + inside.chain)  # the outputs of a loop share its all-reduces
    return [_Value((shared,), chain=shared.chain) for _ in eqn.outvars]


def _inside(eqn: JaxprEqn) -> Collectives:
    """The all-reduces in the bodies of a loop or a conditional: the sum over branches, one iteration of a `while`."""
    bodies = [item for value in eqn.params.values() for item in (value if isinstance(value, tuple) else (value,))]
    found = [all_reduces(item) for item in bodies if isinstance(item, ClosedJaxpr)]
    rounds = int(eqn.params.get("length", 1)) if eqn.primitive.name == "scan" else 1
    return Collectives(*(rounds * sum(getattr(one, name) for one in found) for name in ("count", "bytes", "chain")))
