"""One step of any optax optimiser as a differentiable map `(g, state, w, value) -> (w', state')`.

`g` and `value` are gradient and value of the training loss at w. Transformations such as `polyak_sgd` and
`reduce_on_plateau` read the value, which also depends on the alphas. The map includes the cast of w' to w's dtype, so
every adjoint has the dtype of its array. States also hold integers such as counters. Derivatives exist only for the
reals, so tangents and adjoints of a state are lists with one entry for each floating leaf.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jdarts.hypergrad.extra_arguments import refuse_what_no_estimator_can_pass
from jdarts.hypergrad.singular import pull_back, push_forward
from jdarts.hypergrad.types import PyTree


class Point(NamedTuple):
    """The start of a step: the values that are kept for the reverse pass.

    Attributes:
      g, value: gradient and value of the training loss at `w`.
      opt_state: the optimiser's state.
      slope: `∂_α` of the value if the optimiser reads the value, else None.
    """

    g: PyTree
    opt_state: PyTree
    w: PyTree
    value: jax.Array
    slope: PyTree = None

    def through_value(self, by_value: jax.Array | None, total: PyTree, by: PyTree = None) -> PyTree:
        """`total + by_value · by`, the contribution of the value's adjoint; `by` is `slope` unless given."""
        if by_value is None:
            return total

        def add(t, b):
            return t + jnp.where(b == 0, 0, by_value.astype(b.dtype) * b).astype(t.dtype)

        return jax.tree.map(add, total, self.slope if by is None else by)


class Adjoints(NamedTuple):
    """The adjoints of the inputs of one step.

    Attributes:
      g, w: shaped like the weights.
      reals: one array for each floating leaf of the state.
      value: a scalar; None if the optimiser does not read the value.
      singular: True if, by the operations of the step, some elements of `g` may be infinite or NaN and others finite.
    """

    g: PyTree
    reals: list[jax.Array]
    w: PyTree
    value: jax.Array | None
    singular: bool


class Step:
    """One step of `optimizer` and its derivatives; see the module's docstring.

    Raises `UserError` if no estimator can take the step.
    """

    def __init__(self, optimizer: optax.GradientTransformation):
        refuse_what_no_estimator_can_pass(optimizer)
        self._update = optax.with_extra_args_support(optimizer).update

    def advance(self, g: PyTree, opt_state: PyTree, w: PyTree, value: jax.Array) -> tuple[PyTree, PyTree]:
        """`(w', state')`."""
        updates, opt_state = self._update(g, opt_state, w, value=value, grad=g)
        return optax.apply_updates(w, updates), opt_state

    def from_point(self, at: Point) -> tuple[PyTree, PyTree]:
        """`(w', state')` of the step from `at`."""
        return self.advance(at.g, at.opt_state, at.w, at.value)

    def point(self, g: PyTree, opt_state: PyTree, w: PyTree, value: jax.Array, slope: PyTree) -> Point:
        """The point of a step, with `slope` if the optimiser reads the value."""
        return Point(g, opt_state, w, value, slope if self._reads_value(g, opt_state, w, value) else None)

    def pull_to_gradient(self, v: PyTree, at: Point) -> tuple[PyTree, jax.Array | None, bool]:
        """`((∂w'/∂g)ᵀ v, (∂w'/∂value)ᵀ v, singular)`; the second is None if the optimiser does not read the value."""
        reads = at.slope is not None

        def move(g, *value):
            return self.advance(g, at.opt_state, at.w, *(value or (at.value,)))[0]

        (u, *by_value), singular = pull_back(move, (at.g, at.value) if reads else (at.g,), v)
        return u, by_value[0] if reads else None, singular

    def pull_back(self, adjoints: tuple[PyTree, list], at: Point, watch: Callable | None = None) -> Adjoints:
        """The adjoints of all inputs, for `adjoints` of (w', the reals of state')."""
        reals, rebuild = floating(at.opt_state)
        reads = at.slope is not None

        def move(g, reals, w, *value):
            moved, state = self.advance(g, rebuild(reals), w, *(value or (at.value,)))
            return moved, floating(state)[0]

        inputs = (at.g, reals, at.w, *((at.value,) if reads else ()))
        (u, by_reals, by_w, *by_value), singular = pull_back(move, inputs, adjoints, watch)
        return Adjoints(u, by_reals, by_w, by_value[0] if reads else None, singular)

    def push_forward(self, at: Point, tangents: tuple) -> tuple[tuple[PyTree, PyTree], tuple[PyTree, list]]:
        """`((w', state'), tangents of (w', the reals of state'))` for tangents of (g, reals, w, value)."""
        reals, rebuild = floating(at.opt_state)

        def move(g, reals, w, value):
            moved, state = self.advance(g, rebuild(reals), w, value)
            return moved, floating(state)[0]

        _, moving = push_forward(move, (at.g, reals, at.w, at.value), tangents)
        return self.from_point(at), moving

    def settled(self, g: PyTree, opt_state: PyTree, w: PyTree, value: jax.Array) -> PyTree:
        """`opt_state` in the dtypes that it has after a step, so that a loop can carry it."""
        after = jax.eval_shape(self.advance, g, opt_state, w, value)[1]
        return jax.tree.map(
            lambda leaf, like: leaf if dtype_of(leaf) == like.dtype else jnp.asarray(leaf, like.dtype),
            opt_state,
            after,
        )

    def _reads_value(self, g, opt_state, w, value) -> bool:
        """True if the trace of the step depends on the value."""
        jaxpr = jax.make_jaxpr(lambda value: self.advance(g, opt_state, w, value))(value).jaxpr
        used = [atom for eqn in jaxpr.eqns for atom in eqn.invars] + list(jaxpr.outvars)
        return any(atom is jaxpr.invars[0] for atom in used)


def floating(state: PyTree) -> tuple[list[jax.Array], Callable]:
    """The floating leaves of `state` and a function that replaces them."""
    leaves, structure = jax.tree.flatten(state)
    is_real = [jnp.issubdtype(dtype_of(leaf), jnp.floating) for leaf in leaves]

    def rebuild(reals):
        remaining = iter(reals)
        filled = [next(remaining) if real else leaf for leaf, real in zip(leaves, is_real, strict=True)]
        return jax.tree.unflatten(structure, filled)

    return [jnp.asarray(leaf) for leaf, real in zip(leaves, is_real, strict=True) if real], rebuild


def dtype_of(leaf: Any) -> Any:
    """The dtype that JAX gives to an array (PRNG keys included) or to a number."""
    dtype = getattr(leaf, "dtype", None)
    return dtype if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.extended) else jnp.result_type(leaf)


def no_adjoint(state: PyTree) -> list[jax.Array]:
    """Zeros, one for each floating leaf of `state`."""
    return [jnp.zeros_like(leaf) for leaf in floating(state)[0]]
