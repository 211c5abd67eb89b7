"""Derivatives of an optimiser's step, by the chain rule with 0 · ∞ = 0.

Adam's first step is `g / (|g| + ε)`; its derivative at g = 0 is 1/ε. The chain rule goes through the square root of the
second moment and contains the product

    −m̂ / (√ν̂ + ε)²  ·  1 / 2√ν̂  ·  2g   =   0 · ∞ · 0 ,

for which autodiff returns NaN. Here an infinite slope counts as zero in two cases: the result does not depend on it
(the factors between the slope and the result are zero, as −m̂ / (…)² above), or the direction of differentiation does
not reach it (it belongs to a constant, whose tangent is a dense zero in forward mode). Both modes follow this rule;
they agree wherever one of them is finite. Where autodiff is finite, it gives the same number. A truly infinite slope
stays infinite.

JAX traces the derivative. The trace is then evaluated with a guard on every product whose coefficient may be infinite
because a quotient, a logarithm or a negative power computed it. Nothing else changes, so a step without such operations
(momentum, decay, a schedule) has no extra cost.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jdarts.hypergrad.types import PyTree
from jdarts.staging.trace import CALLS

FINITE, TOGETHER, EACH = 0, 1, 2
"""The elements of an array that can be infinite for finite inputs: none, only all at once, or any single one."""


class Pulled(NamedTuple):
    """Adjoints of the inputs; `singular` is true if single elements may be infinite or NaN while others are finite."""

    adjoints: Any
    singular: bool


def pull_back(function: Callable, primals: tuple, adjoints: PyTree, watch: Callable | None = None) -> Pulled:
    """The adjoints of `primals`, given the `adjoints` of `function(*primals)`; all are pytrees of real arrays.

    `watch(eqn)` is called for every operation that turns finite adjoints into infinities or NaN; it needs concrete
    arrays.
    """
    function = _with_stable_quotients(function)

    def derivative(adjoints, primals):
        return jax.vjp(function, *primals)[1](adjoints)

    results, shape = _carry_out(derivative, adjoints, primals, _Rule(forward=False, watch=watch))
    singular = any(value.wild == EACH for value in results)
    return Pulled(jax.tree.unflatten(shape, [value.array for value in results]), singular)


def push_forward(function: Callable, primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
    """`(function(*primals), tangents of the result)` for the `tangents` of `primals`."""
    function = _with_stable_quotients(function)

    def derivative(tangents, primals):
        return jax.jvp(function, primals, tangents)

    results, shape = _carry_out(derivative, tangents, primals, _Rule(forward=True))
    return jax.tree.unflatten(shape, [value.array for value in results])


def weighted_sum(weights: PyTree, tangents: PyTree) -> jax.Array:
    """The inner product over all leaves; a weight of zero cancels an infinite tangent."""
    pairs = zip(jax.tree.leaves(weights), jax.tree.leaves(tangents), strict=True)
    return sum((jnp.sum(jnp.where(v == 0, 0, v * t)) for v, t in pairs), jnp.zeros(()))


class _Value(NamedTuple):
    """An array of the trace, and its known properties.

    Attributes:
      linear: True if the array is linear in the direction of differentiation.
      wild: FINITE, TOGETHER or EACH.
      uniform: True if all elements are known to be equal.
      touched: in forward mode, a mask of the elements that the direction reaches, even through zero coefficients.
    """

    array: Any
    linear: bool = False
    wild: int = FINITE
    uniform: bool = False
    touched: Any = None


class _Rule(NamedTuple):
    forward: bool
    watch: Callable | None = None


_PLAIN_CALLS = {"jit", "pjit", "closed_call", "core_call"}
_ELEMENTWISE = {
    *("add", "sub", "mul", "div", "neg", "max", "min", "abs", "sign", "square", "sqrt", "rsqrt", "cbrt", "pow"),
    *("integer_pow", "exp", "log", "log1p", "sin", "cos", "tanh", "select_n"),
    *("copy", "convert_element_type", "broadcast_in_dim", "reshape", "squeeze"),
}
_WITH_POLES = {"div", "pow", "rsqrt", "log", "log1p", "tan", "atanh", "erf_inv", "digamma", "lgamma", "acosh"}
_LOOPS = {"scan", "while"}


def _carry_out(derivative: Callable, direction: PyTree, primals: tuple, rule: _Rule) -> tuple[list[_Value], Any]:
    """The leaves and the structure of `derivative(direction, primals)`, which is linear in `direction`."""
    closed, shapes = jax.make_jaxpr(derivative, return_shape=True)(direction, primals)
    moving = [
        _Value(leaf, linear=True, touched=leaf != 0 if rule.forward else None)
        for leaf in map(jnp.asarray, jax.tree.leaves(direction))
    ]
    still = [_still(leaf) for leaf in jax.tree.leaves(primals)]
    return _evaluate(closed.jaxpr, closed.consts, [*moving, *still], rule), jax.tree.structure(shapes)


def _still(array: Any) -> _Value:
    return _Value(array, uniform=np.size(array) == 1)


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[_Value], rule: _Rule) -> list[_Value]:
    values = dict(zip(jaxpr.constvars, map(_still, consts), strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom) -> _Value:
        return _still(atom.val) if isinstance(atom, Literal) else values[atom]

    for eqn in _alive(jaxpr):
        inputs = [read(atom) for atom in eqn.invars]
        name = eqn.primitive.name
        if name in CALLS:
            inner = eqn.params[CALLS[name]]
            body, closed_over = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
            outputs = _evaluate(body, closed_over, inputs, rule)
        elif name == "cond" and any(value.linear for value in inputs):
            outputs = _branch(eqn, inputs, rule)
        else:
            outputs = _apply(eqn, inputs, rule)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _alive(jaxpr: Jaxpr) -> list[JaxprEqn]:
    """The equations that the outputs need."""
    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    alive = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            needed.update(atom for atom in eqn.invars if not isinstance(atom, Literal))
            alive.append(eqn)
    return alive[::-1]


def _apply(eqn: JaxprEqn, inputs: list[_Value], rule: _Rule) -> list[_Value]:
    """The outputs of one operation, guarded if it combines a linear value with a coefficient that may be infinite."""
    name, linear = eqn.primitive.name, [value.linear for value in inputs]
    wild = max([_own_wildness(eqn, inputs), *(value.wild for value in inputs)])
    if not any(linear):
        uniform = bool(inputs) and name in _ELEMENTWISE and all(value.uniform for value in inputs)
        arrays = _bind(eqn, [value.array for value in inputs])
        return [_Value(a, wild=wild, uniform=uniform or np.size(a) == 1) for a in arrays]
    arrays = _bind(eqn, [value.array for value in inputs])
    if name in ("mul", "div") and sum(linear) == 1:
        arrays = [_guard(arrays[0], eqn, inputs, rule)]
    touched = _touched(eqn, inputs, arrays) if rule.forward else [None] * len(arrays)
    if rule.watch is not None and not _finite(arrays) and _finite([v.array for v in inputs if v.linear]):
        rule.watch(eqn)
    return [_Value(a, linear=True, wild=wild, touched=t) for a, t in zip(arrays, touched, strict=True)]


def _guard(product: jax.Array, eqn: JaxprEqn, inputs: list[_Value], rule: _Rule) -> jax.Array:
    """`product`, the product or quotient of a linear value and a coefficient, with zeros where 0 · ∞ counts as zero."""
    moving, coefficient = sorted(inputs, key=lambda value: not value.linear)
    steep = max(coefficient.wild, _own_wildness(eqn, inputs))
    if not rule.forward:
        return jnp.where(moving.array == 0, 0, product) if steep else product
    if not (steep or moving.wild):
        return product
    zero = ~moving.touched
    if eqn.primitive.name == "mul":
        zero |= coefficient.array == 0
    return jnp.where(zero, 0, product)


def _touched(eqn: JaxprEqn, inputs: list[_Value], arrays: list[Any]) -> list[Any]:
    """Masks of the output elements that the direction reaches.

    The operation is applied to the masks of the linear inputs as zeros and ones, with coefficients of one.
    """
    moving = [value for value in inputs if value.linear]
    name = eqn.primitive.name
    if name in ("mul", "div") and len(moving) == 1:
        return [jnp.broadcast_to(moving[0].touched, np.shape(arrays[0]))]
    if name in _LOOPS:
        anywhere = jnp.stack([jnp.any(value.touched) for value in moving]).any()
        return [jnp.broadcast_to(anywhere, np.shape(a)) for a in arrays]
    if name in ("add", "sub", "add_any"):
        masks = [jnp.broadcast_to(value.touched, np.shape(arrays[0])) for value in moving]
        return [masks[0] if len(masks) == 1 else masks[0] | masks[1]]

    def mask(value: _Value) -> Any:
        if value.linear:
            return value.touched.astype(value.array.dtype)
        return jnp.ones_like(value.array) if name == "dot_general" else value.array

    return [mark != 0 for mark in _bind(eqn, [mask(value) for value in inputs])]


def _own_wildness(eqn: JaxprEqn, inputs: list[_Value]) -> int:
    """FINITE, TOGETHER or EACH: the infinities that the operation can produce from finite inputs."""
    name, params = eqn.primitive.name, eqn.params
    if name in ("scan", "while", "cond"):
        return EACH if any(map(_has_poles, _inner(eqn))) else FINITE
    if not _is_pole(name, params):
        return FINITE
    at = inputs[1 if name == "div" else 0]
    if name == "pow":
        exponent = inputs[1].array
        return FINITE if _is_constant(exponent) and exponent >= 0 else TOGETHER if at.uniform else EACH
    if _is_constant(at.array) and np.all(at.array != 0):
        return FINITE
    return TOGETHER if at.uniform else EACH


def _is_pole(name: str, params: dict[str, Any]) -> bool:
    return name in _WITH_POLES or (name == "integer_pow" and params["y"] < 0)


def _is_constant(array: Any) -> bool:
    return isinstance(array, (float, int, np.generic, np.ndarray))


def _has_poles(jaxpr: Jaxpr) -> bool:
    return any(_is_pole(eqn.primitive.name, eqn.params) or any(map(_has_poles, _inner(eqn))) for eqn in jaxpr.eqns)


def _inner(eqn: JaxprEqn) -> list[Jaxpr]:
    """The jaxprs inside an equation."""
    items = [x for value in eqn.params.values() for x in (value if isinstance(value, (tuple, list)) else (value,))]
    return [x.jaxpr if isinstance(x, ClosedJaxpr) else x for x in items if isinstance(x, (ClosedJaxpr, Jaxpr))]


def _branch(eqn: JaxprEqn, inputs: list[_Value], rule: _Rule) -> list[_Value]:
    """The outputs of a conditional with linear operands; each branch is evaluated by the same rule."""
    index, *operands = inputs
    found: list[list[_Value]] = []

    def run(branch: ClosedJaxpr) -> Callable:
        def body(arrays, touched):
            values = [v._replace(array=a, touched=t) for v, a, t in zip(operands, arrays, touched, strict=True)]
            outputs = _evaluate(branch.jaxpr, branch.consts, values, rule._replace(watch=None))
            found.append([value._replace(array=None, touched=None) for value in outputs])
            masks = [v.touched if v.linear else jnp.zeros(np.shape(v.array), bool) for v in outputs]
            return [jnp.asarray(v.array) for v in outputs], masks if rule.forward else []

        return body

    branches = [run(branch) for branch in eqn.params["branches"]]
    operand_masks = [value.touched for value in operands]
    if rule.watch is not None:
        arrays, masks = branches[int(index.array)]([value.array for value in operands], operand_masks)
    else:
        arrays, masks = lax.switch(index.array, branches, [value.array for value in operands], operand_masks)
    masks = masks or [None] * len(arrays)
    joined = [(any(v.linear for v in each), max(v.wild for v in each)) for each in zip(*found, strict=True)]
    outputs = [
        _Value(a, linear=linear, wild=wild, touched=t if linear else None)
        for a, t, (linear, wild) in zip(arrays, masks, joined, strict=True)
    ]
    if rule.watch is not None and not _finite(arrays) and _finite([v.array for v in operands if v.linear]):
        rule.watch(eqn)
    return outputs


def _bind(eqn: JaxprEqn, arrays: list[Any]) -> list[Any]:
    primitive = eqn.primitive
    with source_info_util.user_context(eqn.source_info.traceback):
        results = primitive.bind(*arrays, **primitive.get_bind_params(eqn.params))
    return list(results) if primitive.multiple_results else [results]


def _finite(arrays: list[Any]) -> bool:
    real = [a for a in map(jnp.asarray, arrays) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return all(bool(jnp.all(jnp.isfinite(a))) for a in real)


@jax.custom_jvp
def _quotient(x: jax.Array, y: jax.Array) -> jax.Array:
    """x / y with the derivative `(ẋ − (x/y) ẏ) / y`. JAX's own derivative uses y⁻², which overflows in float32 for
    |y| < 1e-19.
    """
    return lax.div(x, y)


def _quotient_jvp(primals, tangents):
    """The derivative without terms of constants.

    A dense zero tangent would be multiplied by `ratio / y`, which XLA rewrites as `x / (y y)`; that may overflow.
    """
    (x, y), (x_dot, y_dot) = primals, tangents
    ratio = _quotient(x, y)
    still = [isinstance(dot, SymbolicZero) for dot in tangents]
    if still[1]:
        return ratio, jnp.zeros_like(ratio) if still[0] else x_dot / y
    through_y = -y_dot * (ratio / y)
    return ratio, through_y if still[0] else x_dot / y + through_y


_quotient.defjvp(_quotient_jvp, symbolic_zeros=True)


def _with_stable_quotients(function: Callable) -> Callable:
    """`function` with every quotient replaced by `_quotient`; the values are the same."""

    def same(*arguments):
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _with_quotients(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return same


def _with_quotients(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        inputs, name = [read(atom) for atom in eqn.invars], eqn.primitive.name
        if name in _PLAIN_CALLS:
            inner = eqn.params[CALLS[name]]
            outputs = _with_quotients(inner.jaxpr, inner.consts, inputs)
        elif name == "cond":
            index, *operands = inputs
            outputs = lax.switch(index, [_same_branch(branch) for branch in eqn.params["branches"]], *operands)
        elif name == "div" and _is_real(eqn.outvars[0]) and not isinstance(eqn.invars[1], Literal):
            with source_info_util.user_context(eqn.source_info.traceback):
                outputs = [_quotient(*inputs)]
        else:
            outputs = _bind(eqn, inputs)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _same_branch(branch: ClosedJaxpr) -> Callable:
    return lambda *operands: _with_quotients(branch.jaxpr, branch.consts, operands)


def _is_real(var: Any) -> bool:
    return jnp.issubdtype(var.aval.dtype, jnp.floating)
