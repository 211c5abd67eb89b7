"""Checks that refuse bad input with one clear `UserError`, before the network is traced if possible."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jdarts.errors import UserError
from jdarts.hypergrad.axes import axis_names, check_reduced, check_replicated, check_whole
from jdarts.hypergrad.memory import with_batches
from jdarts.hypergrad.microbatch import check_divides
from jdarts.hypergrad.types import AxisName, Loss, split_arrays
from jdarts.hypergrad.update import Step, dtype_of
from jdarts.jax_versions import mapped_axes


@functools.lru_cache(maxsize=64)
def scalar_loss(loss: Loss) -> Loss:
    """`loss` with checks while it is traced: it must accept its arguments and return `(real scalar, aux)`.

    An error is attributed to the arguments if the loss also fails when it is not differentiated.
    """

    @functools.wraps(loss)
    def checked(w, alphas, batch):
        try:
            result = loss(w, alphas, batch)
        except UserError:
            raise
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if not isinstance(error, (KeyError, IndexError)) and _is_traceable(loss, w, alphas, batch):
                raise
            raise UserError(
                f"the loss {name_of(loss)} cannot use its arguments: {first_line(error)}; "
                f"alphas are {describe(alphas)}, the batch is {describe(batch)}"
            ) from error
        if not (isinstance(result, tuple) and len(result) == 2):
            raise UserError(
                f"the loss {name_of(loss)} returned {describe(result)}; return (scalar, aux), aux may be None"
            )
        value = result[0]
        if jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise UserError(f"the loss {name_of(loss)} returned {describe(value)} as its value; return one real scalar")
        return result

    return checked


def checked(
    estimator: Callable[..., tuple[Any, Any]],
    *,
    train_loss: Loss | None = None,
    val_loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    batches: int = 1,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Callable[..., tuple[Any, Any]]:
    """`estimator` with its arguments checked once for each set of shapes.

    If both losses are one function, both batches must have the same structure. With several `batches`, `train_batch`
    must hold as many, stacked. `opt_state` must be a state of `optimizer`. No loss is traced, except inside a mapped
    axis without `axis_name`; there the gradient of each loss is checked (`jdarts.hypergrad.axes.check_reduced`). A
    memory (`jdarts.hypergrad.memory`) is passed on.
    """
    known, names = set(), axis_names(axis_name)

    def checked_estimator(w, alphas, opt_state, train_batch, val_batch, *memory):
        leaves, structure = jax.tree.flatten((w, alphas, opt_state, train_batch, val_batch))
        kinds = tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        signature = (structure, kinds, mapped_axes())
        if signature not in known:
            check_floats("w", w)
            check_floats("alphas", alphas)
            if optimizer is not None:
                check_opt_state(optimizer, w, opt_state)
            one = train_batch if batches == 1 else check_stacked(train_batch, batches)
            if train_loss is not None and train_loss is val_loss:
                check_same_structure(one, val_batch)
            check_divides(one, microbatches, "train_batch")
            check_divides(val_batch, microbatches, "val_batch")
            check_replicated(names, w=w, alphas=alphas, opt_state=opt_state)
            if mapped_axes() and not names:
                first = train_batch if batches == 1 else jax.tree.map(lambda leaf: leaf[0], train_batch)
                for loss, batch in ((train_loss, first), (val_loss, val_batch)):
                    if loss is not None:
                        check_reduced(scalar_loss(loss), w, alphas, batch)
        grads, aux = estimator(w, alphas, opt_state, train_batch, val_batch, *memory)
        if signature not in known:
            check_whole((aux.val_loss, aux.train_loss), (w, alphas))
            known.add(signature)
        return grads, aux

    return with_batches(checked_estimator, batches)


def check_count(name: str, value: Any, least: int) -> None:
    """Raise `UserError` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UserError(f"{name} is {value!r}; use a whole number, {least} or more")


def check_number(name: str, value: Any, *, positive: bool = False) -> None:
    """Raise `UserError` unless `value` is a finite number, 0 or more (above 0 if `positive`).

    A traced number, as in a sweep, is not checked.
    """
    if isinstance(value, Tracer):
        return
    ok = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and np.isfinite(value)
    if not ok or value < 0 or (positive and value == 0):
        raise UserError(f"{name} is {value!r}; use a {'positive number' if positive else 'number, 0 or more'}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise `UserError` unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")


def check_floats(name: str, tree: Any) -> None:
    """Raise `UserError` unless `tree` holds at least one array, and only arrays of real numbers."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    if not found:
        raise UserError(f"{name} is {tree!r}; it holds no arrays, so there is nothing to differentiate by")
    for path, leaf in found:
        if not jnp.issubdtype(getattr(leaf, "dtype", np.dtype(object)), jnp.floating):
            raise UserError(
                f"{name}{jax.tree_util.keystr(path)} is {describe(leaf)}; it must be a floating-point array"
            )


def check_opt_state(optimizer: optax.GradientTransformation, w: Any, opt_state: Any) -> None:
    """Raise `UserError` unless `opt_state` has the structure, shapes and dtypes of a state of `optimizer` for `w`.

    Raises it also if the optimiser cannot make a state for `w` or take a step from it. Weak types are ignored.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), w)
    fresh = _attempt("make a state for w", optimizer.init, shapes)
    expected, found = _shapes(fresh), _shapes(opt_state)
    if jax.tree.structure(opt_state) != jax.tree.structure(fresh) or expected != found:
        raise UserError(
            f"opt_state does not fit w: {_difference(expected, found)}; pass the state that this optimizer's init(w) "
            "makes (another optimizer takes the same state if optax.identity() stands for each part that it omits)"
        )
    value = jax.ShapeDtypeStruct((), jnp.result_type(float))
    _, later = _attempt("take a step", Step(optimizer).advance, shapes, fresh, shapes, value)
    leaves = zip(jax.tree_util.tree_flatten_with_path(opt_state)[0], *map(jax.tree.leaves, (fresh, later)), strict=True)
    for (path, leaf), *known in leaves:
        # a Python number takes the dtype that is needed
        if hasattr(leaf, "dtype") and dtype_of(leaf) not in [like.dtype for like in known]:
            raise UserError(
                f"opt_state does not fit w: {jax.tree_util.keystr(path) or 'it'} is {leaf.dtype} where "
                f"{known[0].dtype} is needed; pass the state that this optimizer's init(w) makes, or cast it like w"
            )


def _attempt(what: str, function: Callable, *arguments: Any) -> Any:
    """The shapes that an optimiser's `function` returns; an error in it becomes a `UserError`."""
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:  # optax and its users may raise any error
        raise UserError(f"the optimizer cannot {what}: {type(error).__name__}: {error}") from error


def check_stacked(batches: Any, steps: int) -> Any:
    """The shapes of one of the `batches`; `UserError` unless they are stacked along a leading axis of `steps`."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(batches)[0]:
        shape = np.shape(leaf)
        if not shape or shape[0] != steps:
            raise UserError(
                f"train_batch{jax.tree_util.keystr(path)} has shape {shape}; {steps} steps need {steps} different "
                "batches stacked along a new leading axis (jdarts.hypergrad.stack_batches)"
            )
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), batches)


def check_same_structure(train_batch: Any, val_batch: Any) -> None:
    """Raise `UserError` unless two batches for one loss have the same structure (their lengths may differ)."""
    if jax.tree.structure(train_batch) != jax.tree.structure(val_batch):
        names = _difference(_shapes(train_batch), _shapes(val_batch))
        raise UserError(f"one loss takes both batches, so they need the same structure; train to validation: {names}")


def describe(tree: Any) -> str:
    """`tree` with dtype and shape for every array, e.g. `{'normal': float32[14, 8]}`."""

    def leaf(x):
        if not hasattr(x, "dtype"):
            return _Text(type(x).__name__)
        return _Text(f"{x.dtype}{list(np.shape(x)) if np.shape(x) else ' scalar'}")

    text = repr(jax.tree.map(leaf, tree))
    return text if len(text) <= 400 else f"{text[:400]} …"


class _Text(str):
    __slots__ = ()
    __repr__ = str.__str__


def first_line(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def name_of(loss: Loss) -> str:
    """The name of a loss, for messages."""
    return repr(getattr(loss, "__name__", type(loss).__name__))


def _is_traceable(loss, *arguments) -> bool:
    """True if `loss` can be traced on its own, for arrays like those of `arguments`."""
    arrays, rebuild, _ = split_arrays(arguments)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
    try:
        jax.eval_shape(lambda arrays: loss(*rebuild(arrays))[0], shapes)
    except Exception:
        return False
    return True


def _shapes(tree):
    return {jax.tree_util.keystr(p): np.shape(x) for p, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _difference(expected: dict[str, tuple], found: dict[str, tuple]) -> str:
    for path, shape in expected.items():
        if path not in found:
            return f"{path or 'it'} is missing"
        if found[path] != shape:
            return f"{path or 'it'} has shape {found[path]} where {shape} is needed"
    extra = [path for path in found if path not in expected]
    return f"{extra[0] or 'it'} is not expected" if extra else "the containers differ"
