"""Hypergradients of bilevel problems: `dJ/dα` for `J(α) = L_val(w'(α), α)`.

An estimator is built from two losses and the optimiser of the weights, and called as

    estimator = unrolled(train_loss, val_loss, optimizer)
    grads, aux = estimator(w, alphas, opt_state, train_batch, val_batch)

Losses are `loss(w, alphas, batch) -> (scalar, aux)`; `w`, `alphas` and `batch` are any pytrees. Estimators are pure:
jit, vmap and shard them freely.

**The exact one-step hypergradient.** The optimiser turns a gradient `g` into an update, `w' = w + U(g)`, with
`g = ∇_w L_train(w, α)`; momentum, decay, clipping and schedule are all inside `U`. By the chain rule

    dJ/dα = ∂_α L_val(w', α) + (∂g/∂α)ᵀ (∂U/∂g)ᵀ v,     v = ∇_{w'} L_val(w', α)
          = d                + ∇²_{αw} L_train(w, α) u,   u = (∂U/∂g)ᵀ v

`u` is one vjp through the optimiser. Mixed partial derivatives commute, so the last product is the directional
derivative of the alpha gradient, `jax.jvp(w ↦ ∇_α L_train(w, α), (w,), (u,))`: forward over reverse, no step size, no
reverse pass over a reverse pass. DARTS (Liu et al. 2019, eq. 7–8) approximates it by a finite difference.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

PyTree = Any
Loss = Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, Any]]
Stage = Callable[[Callable], Callable]
Estimator = Callable[[PyTree, PyTree, PyTree, PyTree, PyTree], tuple[PyTree, "Aux"]]


class Aux(NamedTuple):
    """What an estimator saw on the way: losses and the losses' own aux; None where it did not look."""

    val_loss: jax.Array
    val_aux: Any
    train_loss: jax.Array | None = None
    train_aux: Any = None


def no_stage(function: Callable) -> Callable:
    """The default stage: leave a piece of an estimator as it is (part of whatever is being traced)."""
    return function


@functools.lru_cache(maxsize=64)
def gradients(loss: Loss) -> Callable:
    """`(w, alphas, batch) -> ((value, aux), (∂/∂w, ∂/∂alphas))`; the same function object for the same loss."""
    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)


@functools.lru_cache(maxsize=64)
def mixed_product(loss: Loss) -> Callable:
    """`(w, alphas, batch, u, d) -> d + ∇²_{αw} L · u`, shaped like alphas; the same function for the same loss."""

    def product(w, alphas, batch, u, d):
        q = mixed_hvp(lambda w_, alphas_: loss(w_, alphas_, batch)[0], w, alphas, u)
        return jax.tree.map(lambda a, b: a + b, d, q)

    return product


def mixed_hvp(function: Callable, w: PyTree, alphas: PyTree, u: PyTree) -> PyTree:
    """`∇²_{αw} f(w, α) · u` by forward over reverse: `f(w, alphas) -> scalar`, `u` like `w`, result like `alphas`."""
    return jax.jvp(lambda w_: jax.grad(function, argnums=1)(w_, alphas), (w,), (u,))[1]


def hvp(function: Callable, x: PyTree, v: PyTree) -> PyTree:
    """Hessian-vector product `∇²f(x) · v` by forward over reverse; `v` and the result are like `x`."""
    return jax.jvp(jax.grad(function), (x,), (v,))[1]


def first_order(train_loss: Loss, val_loss: Loss, optimizer=None, *, stage: Stage = no_stage) -> Estimator:
    """The first-order approximation ξ = 0: `∂_α L_val(w, α)` at the present weights (Liu et al. 2019, §2.3)."""
    del train_loss, optimizer
    val_gradients = stage(gradients(val_loss))

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        del opt_state, train_batch
        (value, aux), (_, grads) = val_gradients(w, alphas, val_batch)
        return grads, Aux(val_loss=value, val_aux=aux)

    return estimator


def unrolled(
    train_loss: Loss, val_loss: Loss, optimizer: optax.GradientTransformation, *, stage: Stage = no_stage
) -> Estimator:
    """The exact hypergradient of one real optimiser step (derivation in the module docstring).

    Args:
      train_loss, val_loss: `loss(w, alphas, batch) -> (scalar, aux)`.
      optimizer: the optax chain that trains the weights, as it is; `opt_state` is its present state.
      stage: how to run the pieces, e.g. `jax.jit` to compile each by itself (see `jdarts.staging`). An estimator
        computes nothing outside its pieces.

    The validation loss is taken at the unrolled weights w'; so are its value and aux in the result.
    """
    train_gradients = stage(gradients(train_loss))
    val_gradients = stage(gradients(val_loss))
    product = stage(mixed_product(train_loss))

    def move(g, opt_state, w):
        return optax.apply_updates(w, optimizer.update(g, opt_state, w)[0])

    def pull_back(v, g, opt_state, w):
        return jax.vjp(lambda g_: optimizer.update(g_, opt_state, w)[0], g)[1](v)[0]

    move, pull_back = stage(move), stage(pull_back)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        (train_value, train_aux), (g, _) = train_gradients(w, alphas, train_batch)
        (val_value, val_aux), (v, d) = val_gradients(move(g, opt_state, w), alphas, val_batch)
        grads = product(w, alphas, train_batch, pull_back(v, g, opt_state, w), d)
        return grads, Aux(val_value, val_aux, train_value, train_aux)

    return estimator
