"""Diagnosis of a non-finite hypergradient: the weights and the transformation of the optimiser that cause it."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from jax.core import Tracer
from jax.extend.core import JaxprEqn

from jdarts.errors import UserError
from jdarts.hypergrad.checks import checked
from jdarts.hypergrad.infinite import along, generic
from jdarts.hypergrad.memory import like
from jdarts.hypergrad.products import add, both_products, gradients
from jdarts.hypergrad.types import AxisName, Estimator, Loss, PyTree
from jdarts.hypergrad.update import Point, Step, no_adjoint

_REMEDIES = ("eps_root", "eps", "initial_accumulator_value")


class _OptimizerAtFault(UserError):
    """The optimiser, not a loss, produced an infinity."""


def explain_non_finite(
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    arguments: tuple[PyTree, PyTree, PyTree, PyTree, PyTree],
    *,
    steps: int = 1,
    microbatches: int = 1,
) -> str | None:
    """The reason that the hypergradient through `steps` optimiser steps is infinite or NaN; None if it is finite.

    An estimator that is called with arrays raises this sentence as a `UserError` if the optimiser is at fault.
    `jax.jit` cannot raise an error for a value, so there the hypergradient is NaN; call this function outside of it
    with the same arguments.

    Args:
      train_loss, val_loss, optimizer, steps, microbatches: as for `unrolled`.
      arguments: the five arguments of the estimator, arrays.
    """
    try:
        _replay(train_loss, val_loss, Step(optimizer), arguments, steps, microbatches)
    except UserError as error:
        return str(error)
    return None


def checked_steps(
    estimator: Estimator,
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    steps: int = 1,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """An estimator that takes `steps` steps of `optimizer`, with its arguments checked (`checked`).

    It raises `UserError` if it is called with arrays and the optimiser produces an infinity or NaN.
    """
    sound = checked(
        estimator,
        train_loss=train_loss,
        val_loss=val_loss,
        optimizer=optimizer,
        batches=steps,
        microbatches=microbatches,
        axis_name=axis_name,
    )

    def explained(*arguments):
        grads, aux = sound(*arguments)
        leaves = jax.tree.leaves(grads)
        if not any(isinstance(leaf, Tracer) for leaf in leaves) and not _finite(grads):
            try:
                _replay(train_loss, val_loss, Step(optimizer), arguments, steps, microbatches)
            except _OptimizerAtFault as error:
                raise UserError(str(error)) from None
            except UserError:
                pass  # a non-finite loss is a result that the caller sees
        return grads, aux

    return like(sound, explained)


def _replay(train_loss, val_loss, step: Step, arguments, steps: int, microbatches: int) -> None:
    """Run the reverse recursion of `k_step` operation by operation; raises `UserError` at the first infinity or NaN."""
    w, alphas, opt_state, train_batch, val_batch = arguments
    gradient = jax.jit(gradients(train_loss, microbatches))
    products = jax.jit(both_products(train_loss, microbatches))
    batches = [train_batch] if steps == 1 else [jax.tree.map(lambda x, i=i: x[i], train_batch) for i in range(steps)]
    points: list[Point] = []
    for number, batch in enumerate(batches, 1):
        (value, _), (g, slope) = gradient(w, alphas, batch)
        _expect_finite("the training loss or its gradient", (value, g), UserError, number)
        points.append(step.point(g, opt_state, w, value, slope))
        w, opt_state = step.advance(g, opt_state, w, value)
        _expect_finite("the optimizer's step itself", w, _OptimizerAtFault, number)
    (value, _), (v, d) = jax.jit(gradients(val_loss, microbatches))(w, alphas, val_batch)
    _expect_finite("the validation loss or its gradient", (value, v, d), UserError, steps)
    carry = (v, no_adjoint(points[-1].opt_state), d)
    for number, at, batch in zip(range(steps, 0, -1), points[::-1], batches[::-1], strict=True):
        carry = _back(step, at, carry, lambda u, w=at.w, batch=batch: products(w, alphas, batch, u))
        _expect_finite("the product with second derivatives of the training loss", carry[2], UserError, number)


def _back(step: Step, at: Point, carry: tuple, products: Callable) -> tuple:
    adjoint, reals, d = carry
    found: list[JaxprEqn] = []
    u, reals, adjoint, by_value, singular = step.pull_back((adjoint, reals), at, found.append)
    by_w, by_alphas = along(products, u, singular)
    if not _finite(u) and not (singular and _finite(by_alphas) and _finite(by_w)):
        raise _OptimizerAtFault(_sentence(u, at.g, found, products))
    adjoint = at.through_value(by_value, add(adjoint, by_w), at.g)
    return adjoint, reals, at.through_value(by_value, add(d, by_alphas))


def _sentence(u: PyTree, g: PyTree, found: list[JaxprEqn], products: Callable) -> str:
    """The message for the first leaf of `u` with infinite elements that the `products` depend on."""
    (paths, leaves), structure = zip(*jax.tree_util.tree_flatten_with_path(u)[0], strict=True), jax.tree.structure(u)
    bad = [~np.isfinite(leaf) for leaf in leaves]

    def matters(index: int) -> bool:
        chosen = [jnp.asarray(b & (i == index)) for i, b in enumerate(bad)]
        probe = products(jax.tree.unflatten(structure, [generic(*pair) for pair in zip(leaves, chosen, strict=True)]))
        return any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(probe))

    wrong = [i for i, b in enumerate(bad) if b.any()]
    at = next((i for i in wrong if matters(i)), wrong[0])
    zero = " where the gradient is zero" if (np.asarray(jax.tree.leaves(g)[at])[bad[at]] == 0).all() else ""
    name, operation = _origin(found[0]) if found else ("the optimizer", "its derivative")
    return (
        f"the derivative of {name} is infinite ({operation}) for w{jax.tree_util.keystr(paths[at])}, at "
        f"{bad[at].sum()} of {bad[at].size} elements{zero}, and the alphas depend on them; {_remedy(name)}"
    )


def _origin(eqn: JaxprEqn) -> tuple[str, str]:
    """The transformation that an operation belongs to, and the operation: `("scale_by_adam", "sqrt")`."""
    traceback: Any = eqn.source_info.traceback
    frames = list(traceback.frames) if traceback is not None else []
    for frame in frames:
        owner, _, inner = frame.function_name.partition(".<locals>.")
        if inner.split(".")[0].startswith("update"):
            return owner, _place(frame)
    own = [f for f in frames if not any(part in f.file_name for part in ("/jax/", "/optax/", "/jdarts/"))]
    return (own[0].function_name, _place(own[0])) if own else ("the optimizer", eqn.primitive.name)


def _place(frame: Any) -> str:
    return f"{frame.file_name.rsplit('/', 1)[-1]}, line {frame.line_num}"


def _remedy(name: str) -> str:
    function: Any = getattr(optax, name, None) or getattr(optax.contrib, name, None)
    options = inspect.signature(function).parameters if function is not None else {}
    for option in _REMEDIES:
        if option in options:
            return f"give {name} a larger {option}" + (", such as 1e-8" if option == "eps_root" else "")
    return "add a small number under the root, or to the divisor, in that transformation"


def _expect_finite(what: str, tree: PyTree, error: type[UserError], step: int) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if not bool(jnp.all(jnp.isfinite(leaf))):
            raise error(f"{what} is infinite or NaN at step {step} ({jax.tree_util.keystr(path)})")


def _finite(tree: PyTree) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))
