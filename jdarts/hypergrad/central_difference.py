"""The finite difference of the DARTS paper, for comparison with the exact estimators that replace it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_choice, check_count, check_number
from jdarts.hypergrad.diagnosis import checked_steps
from jdarts.hypergrad.infinite import anywhere, generic
from jdarts.hypergrad.products import add, alpha_gradients, gradients, norm, scale
from jdarts.hypergrad.types import Aux, AxisName, Estimator, Loss, PyTree
from jdarts.hypergrad.update import Step

Redraw = Callable[[Any, int], Any]


def redraw_key(batch: Any, side: int) -> Any:
    """`batch` with `side` folded into its entry `key`; a batch without a key is returned unchanged."""
    if isinstance(batch, Mapping) and "key" in batch:
        return {**batch, "key": jax.random.fold_in(batch["key"], side)}
    return batch


def finite_difference(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    epsilon: float = 0.01,
    noise: Literal["same", "legacy"] | Redraw = "same",
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """APPROXIMATE: `unrolled` with its mixed product replaced by a central difference (Liu et al. 2019, eq. 8).

        ∇²_{αw} L_train u ≈ (∇_α L_train(w + ε u) − ∇_α L_train(w − ε u)) / 2ε,     ε = epsilon / ‖u‖

    with `u = (∂U/∂g)ᵀ v` through the same optimiser step as `unrolled`. For SGD `u = −ξ v`, and the two points are
    those of the paper, `w ± (0.01 / ‖v‖) v`. The validation loss is taken at the unrolled weights w'.

    Where the training loss is smooth between the two points, the error is the sum of a part that grows like ε² and a
    rounding part that grows like 1/ε. A network with ReLU or max pooling is not smooth. A kink between the points adds
    the jump of the gradient divided by 2ε, so a smaller ε can be worse until no kink lies between the points. On a
    supernet with 4 channels and one cell, on 8 × 8 digits in float64, the error of the whole hypergradient was 12 % at
    ε = 0.01 and 20 % at 1e-3 (4.0 and 6.6 times the second-order term), 8e-5 at 1e-4 and 4e-12 at 1e-5. In float32
    rounding raises it to 1e-3 at 1e-5. `jdarts bench hypergrad CONFIG --noise` measures this for a configuration.

    Args:
      epsilon: distance of the two points from w, as a Euclidean norm over all weights.
      noise: "same" uses the same noise (dropout, drop-path) at both points. "legacy" draws it separately for each, as
        the published implementations do, by `redraw_key`. The difference of the two noises is then divided by 2ε and
        can exceed the product by far. A function `(batch, side) -> batch` draws the noise of side 1 and of side 2.
      optimizer, microbatches, axis_name: as for `unrolled`.

    `aux.points_aux` holds the aux of the training loss at the two points.
    """
    check_number("epsilon", epsilon, positive=True)
    if not callable(noise):
        check_choice("noise", noise, ("same", "legacy"))
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    train_gradients, val_gradients = gradients(train_loss, microbatches), gradients(val_loss, microbatches)
    product = _difference(alpha_gradients(train_loss, microbatches), epsilon, two_sides(noise))
    step = Step(optimizer)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        (train_value, train_aux), (g, by_alphas) = train_gradients(w, alphas, train_batch)
        at = step.point(g, opt_state, w, train_value, by_alphas)
        (val_value, val_aux), (v, d) = val_gradients(step.from_point(at)[0], alphas, val_batch)
        u, by_value, singular = step.pull_to_gradient(v, at)
        change, points_aux = product(u, g, w, alphas, train_batch, singular)
        grads = add(at.through_value(by_value, d), change)
        return grads, Aux(val_value, val_aux, train_value, train_aux, points_aux=points_aux)

    return checked_steps(estimator, train_loss, val_loss, optimizer, microbatches=microbatches, axis_name=axis_name)


def two_sides(noise: str | Redraw) -> Callable[[Any], tuple[Any, Any]]:
    """`batch -> (batch of the upper point, batch of the lower point)`."""
    if noise == "same":
        return lambda batch: (batch, batch)
    redraw = noise if callable(noise) else redraw_key
    return lambda batch: (redraw(batch, 1), redraw(batch, 2))


def _difference(slope: Callable, epsilon: float, two_sides: Callable) -> Callable:
    """`(u, g, w, alphas, batch, singular) -> (difference along u, aux of the lower and the upper point)`."""

    def central(u, w, alphas, batches):
        s = distance(epsilon, u)
        lower, lower_aux = slope(add(w, scale(-s, u)), alphas, batches[1])
        upper, upper_aux = slope(add(w, scale(s, u)), alphas, batches[0])
        change = jax.tree.map(lambda a, b: (0.5 / s).astype(a.dtype) * (a - b), upper, lower)
        return change, (lower_aux, upper_aux)

    def product(u, g, w, alphas, batch, singular):
        if not singular:
            return central(u, w, alphas, two_sides(batch))
        rest, apart, lost = split(u, g)
        change, auxes = central(rest, w, alphas, two_sides(batch))
        more = jax.lax.cond(
            anywhere(jax.tree.map(lambda leaf: leaf != 0, apart)),
            lambda: central(apart, w, alphas, (batch, batch))[0],
            lambda: jax.tree.map(jnp.zeros_like, alphas),
        )
        return jax.tree.map(lambda a, b: jnp.where(lost & (b != 0), jnp.nan, a + b), change, more), auxes

    return product


def distance(epsilon: float, u: PyTree) -> jax.Array:
    """`epsilon / ‖u‖`, the multiple of u between w and each point; `epsilon` if u is zero."""
    length = norm(u)
    return epsilon / jnp.where(length > 0, length, 1)


def split(u: PyTree, g: PyTree) -> tuple[PyTree, PyTree, jax.Array]:
    """`(rest, apart, lost)`: u split in two, for a step that divides each coordinate by a number that can be zero.

    Where the gradient is exactly zero, u is as large as Adam's 1/ε, even if the weight has no influence (because its
    input is always zero). Such coordinates would dominate the norm of u, and the points would hardly move along the
    others. They are therefore differenced separately (`apart`), which gives exactly zero if they have no influence.
    `lost` is true if u is infinite somewhere. `apart` then has a finite entry there, and its difference shows whether
    the coordinate has influence.
    """
    bad = jax.tree.map(lambda leaf: ~jnp.isfinite(leaf), u)
    alone = jax.tree.map(lambda leaf, slope, wrong: (slope == 0) | wrong, u, g, bad)
    rest = jax.tree.map(lambda leaf, mask: jnp.where(mask, 0, leaf), u, alone)
    known = jax.tree.map(lambda leaf, mask, wrong: jnp.where(mask & ~wrong, leaf, 0), u, alone, bad)
    largest = jnp.stack([jnp.max(jnp.abs(leaf), initial=0) for leaf in jax.tree.leaves(known)]).max()
    size = jnp.where(largest > 0, largest, 1)
    apart = jax.tree.map(lambda leaf, wrong: leaf + size.astype(leaf.dtype) * generic(leaf, wrong), known, bad)
    return rest, apart, anywhere(bad)
