"""The building blocks: gradients and products with second derivatives, forward over reverse wherever JAX allows it.

The functions that end in `vp` take any function of any pytree. The others are built from a loss `loss(w, alphas,
batch) -> (scalar, aux)`. They return the same function object for the same loss, so that JAX traces it once. Their
`axis_name` is the mapped axis (or a tuple of axes) over which the batch is split (`jdarts.hypergrad.axes`).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jdarts import staging
from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import scalar_loss
from jdarts.hypergrad.differentiable import once, twice
from jdarts.hypergrad.microbatch import averaged
from jdarts.hypergrad.types import AxisName, Loss, PyTree


def hvp(function: Callable, x: PyTree, v: PyTree) -> PyTree:
    """Hessian-vector product `∇²f(x) · v` by forward over reverse; `v` and the result are like `x`."""
    return jax.jvp(jax.grad(function), (x,), (v,))[1]


def mixed_hvp(function: Callable, w: PyTree, alphas: PyTree, u: PyTree) -> PyTree:
    """`∇²_{αw} f(w, α) · u` by forward over reverse: `f(w, alphas) -> scalar`, `u` like `w`, result like `alphas`."""
    return jax.jvp(lambda w_: jax.grad(function, argnums=1)(w_, alphas), (w,), (u,))[1]


def gauss_newton_vp(network: Callable, loss: Callable, w: PyTree, v: PyTree) -> PyTree:
    """Gauss–Newton product `Jᵀ (∇²ℓ) J · v` for the objective `loss(network(w))`.

    `network(w) -> outputs` (any pytree), `loss(outputs) -> scalar`; `v` and the result are like `w`. For a loss that
    is convex in the outputs (cross-entropy, squares) the matrix is positive semi-definite, unlike the Hessian. The
    two agree where the network is linear in `w` or the outputs fit the targets exactly. The product costs one jvp and
    one vjp of the network and no second derivative of it (Schraudolph 2002).
    """
    outputs, tangents = jax.jvp(network, (w,), (v,))
    return jax.vjp(network, w)[1](hvp(loss, outputs, tangents))[0]


def gradients(loss: Loss, microbatches: int = 1, axis_name: AxisName = None) -> Callable:
    """`(w, alphas, batch) -> ((value, aux), (∂/∂w, ∂/∂alphas))`, averaged over micro-batches."""
    return _gradients(over_axis(loss, axis_name), microbatches)


def alpha_gradients(loss: Loss, microbatches: int = 1, axis_name: AxisName = None) -> Callable:
    """`(w, alphas, batch) -> (∂/∂alphas, aux)`, averaged over micro-batches."""
    return _alpha_gradients(over_axis(loss, axis_name), microbatches)


def mixed_product(loss: Loss, microbatches: int = 1, axis_name: AxisName = None) -> Callable:
    """`(w, alphas, batch, u, d) -> d + ∇²_{αw} L · u`, shaped like alphas."""
    return _mixed_product(over_axis(loss, axis_name), microbatches)


def hessian_product(loss: Loss, microbatches: int = 1, axis_name: AxisName = None) -> Callable:
    """`(w, alphas, batch, u) -> ∇²_{ww} L · u`, shaped like w."""
    return _hessian_product(over_axis(loss, axis_name), microbatches)


def both_products(loss: Loss, microbatches: int = 1, axis_name: AxisName = None) -> Callable:
    """`(w, alphas, batch, u) -> (∇²_{ww} L · u, ∇²_{αw} L · u)` from one pass, as tangents of one gradient."""
    return _both_products(over_axis(loss, axis_name), microbatches)


def add(a: PyTree, b: PyTree) -> PyTree:
    """`a + b`, leaf by leaf."""
    return jax.tree.map(lambda x, y: x + y, a, b)


def scale(factor: float | jax.Array, a: PyTree) -> PyTree:
    """`factor · a`, leaf by leaf, in the dtype of `a`."""
    return jax.tree.map(lambda x: jnp.asarray(factor, x.dtype) * x, a)


def inner(a: PyTree, b: PyTree) -> jax.Array:
    """Inner product over all leaves."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return functools.reduce(jnp.add, [jnp.vdot(x, y) for x, y in pairs])


def norm(a: PyTree) -> jax.Array:
    """Euclidean norm over all leaves; safe for numbers whose squares overflow or underflow."""
    unit, back = power_of_two(a)
    scaled = scale(unit, a)
    return back * jnp.sqrt(inner(scaled, scaled))


def power_of_two(a: PyTree) -> tuple[jax.Array, jax.Array]:
    """`(s, 1/s)`, powers of two, such that the largest magnitude of `s · a` is about 1; scaling by them is exact."""
    largest = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(a)])
    most = jnp.finfo(largest.dtype).maxexp - 2
    exponent = jnp.clip(jnp.frexp(largest)[1], -most, most)
    one = jnp.ones_like(largest)
    return jnp.ldexp(one, -exponent), jnp.ldexp(one, exponent)


@functools.lru_cache(maxsize=64)
def _gradients(loss, microbatches):
    one = once(loss, jax.value_and_grad(scalar_loss(loss), argnums=(0, 1), has_aux=True))
    return staging.traced_once(averaged(one, microbatches))


@functools.lru_cache(maxsize=64)
def _alpha_gradients(loss, microbatches):
    one = once(loss, jax.grad(scalar_loss(loss), argnums=1, has_aux=True))
    return staging.traced_once(averaged(one, microbatches))


@functools.lru_cache(maxsize=64)
def _mixed_product(loss, microbatches):
    value, both, reverse = _ways(loss)

    def forward(w, alphas, batch, u):
        return mixed_hvp(lambda w_, alphas_: value(w_, alphas_, batch), w, alphas, u)

    one = twice(loss, forward, lambda *arguments: both(*arguments)[1], lambda *arguments: reverse(*arguments)[1])
    mean = averaged(one, microbatches)

    def product(w, alphas, batch, u, d):
        return add(d, mean(w, alphas, batch, u))

    return product


@functools.lru_cache(maxsize=64)
def _hessian_product(loss, microbatches):
    value, _, reverse = _ways(loss)

    def forward(w, alphas, batch, u):
        return hvp(lambda w_: value(w_, alphas, batch), w, u)

    return averaged(twice(loss, forward, lambda *arguments: reverse(*arguments)[0]), microbatches)


@functools.lru_cache(maxsize=64)
def _both_products(loss, microbatches):
    _, both, reverse = _ways(loss)
    return averaged(twice(loss, both, reverse), microbatches)


def _ways(loss):
    """The value of a loss, and both products in two ways: forward over reverse, and reverse over reverse.

    Forward over reverse needs less memory. It fails where it differentiates a `custom_vjp` in forward mode: outside the
    function that the inner gradient differentiates (by w and alphas together in `both`), or nested in another rule.
    """

    def value(w, alphas, batch):
        return scalar_loss(loss)(w, alphas, batch)[0]

    def both(w, alphas, batch, u):
        gradient = jax.grad(value, argnums=(0, 1))
        return jax.jvp(lambda w_: gradient(w_, alphas, batch), (w,), (u,))[1]

    def reverse(w, alphas, batch, u):
        return jax.vjp(lambda w_, alphas_: jax.grad(value)(w_, alphas_, batch), w, alphas)[1](u)

    return value, both, reverse
