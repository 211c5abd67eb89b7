"""Accuracy of the finite difference: its error against ε, compared with the exact product, at one point.

    J'(α) = d + ∇²_{αw} L_train u,      d = ∂_α L_val(w', α),   u = (∂U/∂g)ᵀ ∇_{w'} L_val     (package docstring)

`unrolled` and `finite_difference` share d and u and differ only in the last product. Here d and u are computed once.
The difference `(∇_α L_train(w + s u) − ∇_α L_train(w − s u)) / 2s` with `s = ε / ‖u‖` is computed for each ε, by one
compiled gradient that later studies of the same losses use again. For networks with ReLU or max pooling, kinks between
the two points add to the parts of the error from ε² and rounding (see `finite_difference`). A study in float64
(`in_float64`, under `jax.enable_x64`) separates kinks from rounding.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdarts.errors import UserError
from jdarts.hypergrad.central_difference import distance, split, two_sides
from jdarts.hypergrad.checks import check_choice, check_number
from jdarts.hypergrad.infinite import along
from jdarts.hypergrad.products import add, gradients, mixed_product, scale
from jdarts.hypergrad.types import Loss, PyTree
from jdarts.hypergrad.update import Step

NoiseKind = Literal["same", "legacy"]


@dataclass(frozen=True)
class Deviation:
    """Deviation of an estimate of dJ/dα from the reference.

    Attributes:
      relative_error: `‖estimate − reference‖ / ‖reference‖` of the whole gradient.
      cosine: cosine of the angle between estimate and reference.
      term_error: the same error as a multiple of the second-order term, `‖estimate − reference‖ / ‖∇²_{αw} L u‖`. At
        1 or more, the second-order term is lost, and the gradient d alone would have been as good.
    """

    relative_error: float
    cosine: float
    term_error: float


@dataclass(frozen=True)
class Study:
    """Deviations at one point of training.

    Attributes:
      exact: deviation of `unrolled`, in the precision of the arguments.
      without: deviation of d alone, the gradient at the unrolled weights without its second-order term.
      differences: deviations of the finite differences, by kind of noise, one for each ε.
      epsilons: the values of ε, the distances of the two points from w.
      term: `‖∇²_{αw} L u‖ / ‖dJ/dα‖`, the relative size of the second-order term.
    """

    exact: Deviation
    without: Deviation
    differences: dict[str, tuple[Deviation, ...]]
    epsilons: tuple[float, ...]
    term: float

    def best(self, noise: NoiseKind = "same") -> tuple[float, Deviation]:
        """The ε with the smallest error, and its deviation."""
        pairs = zip(self.epsilons, self.differences[noise], strict=True)
        return min(pairs, key=lambda pair: pair[1].relative_error)


Compile = Callable[[Callable], Callable]


def difference_study(
    losses: tuple[Loss, Loss],
    optimizer: optax.GradientTransformation,
    arguments: tuple[PyTree, PyTree, PyTree, PyTree, PyTree],
    *,
    epsilons: Sequence[float],
    noise: Sequence[NoiseKind] = ("same", "legacy"),
    precise: bool = True,
    compile: Compile = jax.jit,
) -> Study:
    """Errors of the finite difference and of the exact product at `arguments`, an estimator's five arguments.

    Args:
      losses: the training loss and the validation loss.
      epsilons: positive distances, as `finite_difference(epsilon=…)`.
      noise: as for `finite_difference`.
      precise: use the exact product in float64 as the reference, with all floating arguments cast (exactly) to
        float64. The losses must then compute in the dtype of their arguments (a loss that casts to float32 gives a
        reference no better than float32) and draw noise in a fixed dtype (`jax.random` draws other numbers in float64).
        With False the reference is the exact product in the given precision; its error is then 0.
      compile: compiles the gradient and the product of a loss. It receives the same function object for the same loss.
        The compiled function is called with arguments of both precisions.
    """
    _check(epsilons, noise)
    d, parts, product = _exact(*losses, optimizer, arguments, compile)
    exact = product()
    difference = _differences(compile(gradients(losses[0])), arguments, parts, d)
    found = {kind: [flat(difference(epsilon, kind)) for epsilon in epsilons] for kind in noise}
    if precise:
        reference_d, reference = float64_reference(*losses, optimizer, arguments, compile=compile)
    else:
        reference_d, reference = flat(d), flat(exact)
    term = float(np.linalg.norm(reference - reference_d))

    def deviation(estimate: np.ndarray) -> Deviation:
        error = float(np.linalg.norm(estimate - reference))
        return Deviation(*compare(estimate, reference), error / term if term else float("inf"))

    return Study(
        exact=deviation(flat(exact)),
        without=deviation(flat(d)),
        differences={kind: tuple(map(deviation, estimates)) for kind, estimates in found.items()},
        epsilons=tuple(map(float, epsilons)),
        term=term / float(np.linalg.norm(reference)),
    )


def estimate(
    losses: tuple[Loss, Loss],
    optimizer: optax.GradientTransformation,
    arguments: tuple[PyTree, PyTree, PyTree, PyTree, PyTree],
    *,
    epsilon: float | None = None,
    noise: NoiseKind = "same",
    compile: Compile = jax.jit,
) -> PyTree:
    """dJ/dα at `arguments`: exact, as `unrolled`, or with an `epsilon` as `finite_difference`.

    It calls the functions that `difference_study` compiles, so searches with any ε and any noise share one compiled
    gradient and one compiled product. Arguments are as for `difference_study`.
    """
    _check([1.0 if epsilon is None else epsilon], [noise])
    d, parts, exact = _exact(*losses, optimizer, arguments, compile)
    if epsilon is None:
        return exact()
    return _differences(compile(gradients(losses[0])), arguments, parts, d)(epsilon, noise)


def _check(epsilons: Sequence[float], noise: Sequence[NoiseKind]) -> None:
    if not epsilons:
        raise UserError("no epsilons to study; give one or more positive numbers")
    for epsilon in epsilons:
        check_number("epsilon", epsilon, positive=True)
    for kind in noise:
        check_choice("noise", kind, ("same", "legacy"))


def _differences(gradient: Callable, arguments: tuple, parts: list, d: PyTree) -> Callable[[float, NoiseKind], PyTree]:
    """`(epsilon, kind of noise) -> dJ/dα` by the finite difference along each of the `parts` of u."""
    w, alphas, _, batch, _ = arguments

    def central(u, epsilon, batches):
        s = distance(epsilon, u)
        upper, lower = (
            gradient(add(w, scale(side, u)), alphas, side_batch)[1][1]
            for side, side_batch in zip((s, -s), batches, strict=True)
        )
        return scale(0.5 / s, jax.tree.map(lambda a, b: a - b, upper, lower))

    def difference(epsilon, kind):
        sides = [two_sides(kind)(batch), *[(batch, batch)] * (len(parts) - 1)]  # as in `finite_difference`
        return functools.reduce(add, [central(u, epsilon, side) for u, side in zip(parts, sides, strict=True)], d)

    return difference


def float64_reference(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    arguments: tuple[PyTree, PyTree, PyTree, PyTree, PyTree],
    *,
    compile: Compile = jax.jit,
) -> tuple[np.ndarray, np.ndarray]:
    """`(d, dJ/dα)` at `arguments` by the exact product in float64, as vectors over all alphas."""
    with jax.enable_x64(True):
        precise = in_float64(arguments)
        d, _, exact = _exact(train_loss, val_loss, optimizer, precise, compile)
        return flat(d), flat(exact())


def in_float64(arguments: PyTree) -> PyTree:
    """`arguments` with all floating arrays cast to float64; call it where x64 is enabled."""
    return jax.tree.map(_to_float64, arguments)


def compare(estimate: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """`(relative error, cosine)` of two vectors."""
    length = np.linalg.norm(reference)
    cosine = estimate @ reference / max(np.linalg.norm(estimate) * length, np.finfo(np.float64).tiny)
    return float(np.linalg.norm(estimate - reference) / length), float(cosine)


def flat(tree: PyTree) -> np.ndarray:
    """All leaves as one float64 vector on the host."""
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


@functools.lru_cache(maxsize=16)
def _step(optimizer):
    """The functions of an optimiser's step, cached so that jit compiles each once."""
    step = Step(optimizer)
    known: dict[Any, bool] = {}

    def singular_at(v, at) -> bool:
        leaves, structure = jax.tree.flatten((v, at))
        shapes = structure, *map(jax.typeof, leaves)
        if shapes not in known:  # it depends on nothing else, and a trace takes milliseconds
            jax.eval_shape(lambda v, at: known.update({shapes: step.pull_to_gradient(v, at)[2]}), v, at)
        return known[shapes]

    return step, jax.jit(step.from_point), jax.jit(lambda v, at: step.pull_to_gradient(v, at)[:2]), singular_at


def _exact(train_loss, val_loss, optimizer, arguments, compile):
    """`(d, [u, or the parts of u in finite_difference], () -> dJ/dα)`: `unrolled`, compiled in two parts."""
    w, alphas, opt_state, train_batch, val_batch = arguments
    step, advance, pull, singular_at = _step(optimizer)
    (value, _), (g, slope) = compile(gradients(train_loss))(w, alphas, train_batch)
    at = step.point(g, opt_state, w, value, slope)
    _, (v, d) = compile(gradients(val_loss))(advance(at)[0], alphas, val_batch)
    (u, by_value), singular = pull(v, at), singular_at(v, at)
    d = at.through_value(by_value, d)
    product = compile(mixed_product(train_loss))

    def exact():
        return along(lambda u, d: product(w, alphas, train_batch, u, d), u, singular, d)

    parts = [u]
    if singular:
        parts = [part for part in split(u, g)[:2] if any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(part))]
    return d, parts or [u], exact


def _to_float64(leaf):
    return jnp.asarray(leaf, jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
