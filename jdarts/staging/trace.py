"""A traced program as a flat list of nodes: single operations, marked pieces, and loops or branches around pieces."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.interpreters.partial_eval import dce_jaxpr

from jdarts.staging.equality import Expressions, scalar

PREFIX = "piece_"

NOT_A_NUMBER_YET = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)
"""JAX's errors about Python code that needs the value of a traced number, such as a swept hyper-parameter."""

AGAIN = {"checkpoint", "remat", "remat2"}  # primitives that recompute values on purpose
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
"""Primitives that only call a jaxpr, and the parameter that holds it."""


def piece(function: Callable) -> Callable:
    """Mark `function`, a pure function of arrays, as a unit of compilation. Outside `compile` it acts like `jax.jit`.

    Pieces are compared by their traces. Mark a function once, not again in every call, so that equal calls share one
    trace.
    """

    def marked(*args):
        return function(*args)

    marked.__name__ = PREFIX + getattr(function, "__name__", "function")
    return jax.jit(marked)


@dataclass(frozen=True, eq=False)
class Ref:
    """A value of the program, described by its type and compared by identity."""

    aval: Any


@dataclass(frozen=True, eq=False)
class Fixed:
    """A scalar written into the program."""

    aval: Any
    val: Any


Atom = Ref | Fixed


@dataclass(frozen=True, eq=False)
class _Equation:
    eqn: JaxprEqn
    inputs: list[Atom]
    outputs: list[Ref]
    form: Hashable  # see `Expressions.form`

    def run(self, *values) -> list[Any]:
        """The outputs for `values` of the inputs; traceable. Called functions are not traced again."""
        primitive = self.eqn.primitive
        results = primitive.bind(*values, **primitive.get_bind_params(self.eqn.params))
        return results if primitive.multiple_results else [results]


class Op(_Equation):
    """One operation between pieces."""


class Piece(_Equation):
    """A call of a marked function."""


@dataclass(frozen=True, eq=False)
class Control:
    """A scan, while loop or branch with pieces inside; `bodies` are its graphs in the order of its parameters."""

    eqn: JaxprEqn
    inputs: list[Atom]
    outputs: list[Ref]
    bodies: list["Graph"]


@dataclass(frozen=True, eq=False)
class Views:
    """Views of a vector, on the CPU: its parts, or a part in another shape; `views(array)` is their list.

    A program with hundreds of results would compile for seconds, and most parts are weights that some branches read.
    """

    views: Callable[[np.ndarray], list[np.ndarray]]
    inputs: list[Atom]
    outputs: list[Ref]


Node = Op | Piece | Control | Views

_FEW = 16  # a split into at most this many parts is an ordinary operation


@dataclass(eq=False)
class Graph:
    """A program: inputs, outputs, nodes in an order in which they can run, and the arrays it closes over.

    `views` are the values that are views of a vector.
    """

    inputs: list[Ref]
    outputs: list[Atom]
    nodes: list[Node]
    constants: dict[Ref, Any] = field(default_factory=dict)
    views: set[Ref] = field(default_factory=set)


def trace(closed: ClosedJaxpr, *, shared: bool = False, expressions: Expressions | None = None) -> Graph:
    """The flat form of a traced program. `pruned` programs have no nodes that their outputs do not need.

    With `shared`, values that are computed twice appear once.
    """
    graph = Graph([Ref(v.aval) for v in closed.jaxpr.invars], [], [])
    known = _Known(expressions or Expressions(), {} if shared else None)
    graph.outputs = _walk(closed.jaxpr, closed.consts, graph.inputs, graph, known)
    return graph


def pruned(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program without unread results, inside its pieces too. XLA compiles each piece alone and would keep them."""
    jaxpr, _ = dce_jaxpr(closed.jaxpr, True, True)
    return ClosedJaxpr(jaxpr, closed.consts)


def has_pieces(jaxpr: Jaxpr) -> bool:
    """True if a piece occurs anywhere inside."""
    return any(_is_piece(eqn) or any(map(has_pieces, _inner(eqn))) for eqn in jaxpr.eqns)


def count_equations(eqns: Sequence[JaxprEqn]) -> int:
    """Number of equations, counting inner functions as often as they occur: the size of the program in XLA."""
    return _total(eqns, lambda eqn: 1)


def written_bytes(eqns: Sequence[JaxprEqn]) -> int:
    """Bytes of the results of all equations: a measure of how long the program runs. Loops count as one iteration."""
    return _total(eqns, lambda eqn: 0 if any(True for _ in _inner(eqn)) else sum(bytes_of(v.aval) for v in eqn.outvars))


def _total(eqns: Sequence[JaxprEqn], value: Callable[[JaxprEqn], int]) -> int:
    """The sum of `value` over all equations, those of inner functions as often as they occur."""
    counts: dict[int, int] = {}  # `eqns` keeps the inner functions alive, so their ids stay unique

    def inside(jaxpr: Jaxpr) -> int:
        if id(jaxpr) not in counts:
            counts[id(jaxpr)] = total(jaxpr.eqns)
        return counts[id(jaxpr)]

    def total(eqns: Sequence[JaxprEqn]) -> int:
        return sum(value(eqn) + sum(map(inside, _inner(eqn))) for eqn in eqns)

    return total(eqns)


def bytes_of(aval: Any) -> int:
    """Size of an array."""
    size = math.prod(getattr(aval, "shape", ()))
    return size * getattr(getattr(aval, "dtype", None), "itemsize", 4)


def _is_piece(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name in ("jit", "pjit") and str(eqn.params.get("name", "")).startswith(PREFIX)


def _inner(eqn: JaxprEqn) -> Iterator[Jaxpr]:
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


class _Known(NamedTuple):
    """The values of a program traced so far: their expressions, and the `shared` values that can be used again."""

    expressions: Expressions
    shared: dict[Hashable, Ref] | None

    def add(self, node: Op | Piece) -> tuple[bool, Sequence[Ref]]:
        """`(True if it has to be computed, its outputs)`."""
        if self.shared is None or node.eqn.effects:
            return True, node.outputs
        values = tuple(scalar(a) if isinstance(a, Fixed) else a for a in node.inputs)
        keys = [(result, values) for result in self.expressions.results(node.eqn, node.form)]
        new = any(key not in self.shared for key in keys)
        return new, [self.shared.setdefault(key, ref) for key, ref in zip(keys, node.outputs, strict=True)]

    def again(self) -> "_Known":
        """A copy for values that are recomputed on purpose."""
        return self._replace(shared=None if self.shared is None else {})


def _walk(jaxpr: Jaxpr, consts, arguments: Sequence[Atom], graph: Graph, known: _Known) -> list[Atom]:
    """Append the nodes of `jaxpr` to `graph`; returns its outputs."""
    values: dict[Any, Atom] = dict(zip(jaxpr.invars, arguments, strict=True))
    for var, value in zip(jaxpr.constvars, consts, strict=True):
        values[var] = constant = Ref(var.aval)
        graph.constants[constant] = value

    on_host = jax.default_backend() == "cpu"

    def read(atom) -> Atom:
        return Fixed(atom.aval, atom.val) if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        inputs = [read(v) for v in eqn.invars]
        name = eqn.primitive.name
        made = [Ref(v.aval) for v in eqn.outvars]
        outputs: Sequence[Atom] = made
        if _is_piece(eqn) or not any(map(has_pieces, _inner(eqn))):
            node = (Piece if _is_piece(eqn) else Op)(eqn, inputs, made, known.expressions.form(eqn))
            new, outputs = known.add(node)
            if new:
                view = _as_view(eqn, inputs, made, graph) if on_host else None
                graph.views.update(made if view else ())
                graph.nodes.append(view or node)
        elif name in CALLS:
            inner = eqn.params[CALLS[name]]
            body, closed_over = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
            outputs = _walk(body, closed_over, inputs, graph, known.again() if name in AGAIN else known)
        elif name in ("scan", "while", "cond"):
            keys = {"scan": ["jaxpr"], "while": ["cond_jaxpr", "body_jaxpr"], "cond": []}[name]
            functions = [eqn.params[key] for key in keys] or list(eqn.params["branches"])
            options = {"shared": known.shared is not None, "expressions": known.expressions}
            bodies = [trace(pruned(function), **options) for function in functions]  # JAX prunes no while loops
            graph.nodes.append(Control(eqn, inputs, made, bodies))
        else:
            raise NotImplementedError(f"a piece inside {name!r} cannot be compiled by itself; jit the whole program")
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _as_view(eqn: JaxprEqn, inputs: list[Atom], made: list[Ref], graph: Graph) -> Views | None:
    """The node of an equation that cuts a vector into many parts, or gives a part another shape; None for others."""
    name = eqn.primitive.name
    if name == "split" and len(made) > _FEW and sum(eqn.params["sizes"]) == _size(inputs[0]):
        ends = np.cumsum(eqn.params["sizes"])[:-1]
        return Views(lambda vector: np.split(vector, ends), inputs, made)
    if name == "reshape" and inputs[0] in graph.views:
        shape = tuple(eqn.params["new_sizes"])
        return Views(lambda part: [part.reshape(shape)], inputs, made)
    return None


def _size(atom: Atom) -> int:
    return math.prod(atom.aval.shape)
