"""Micro-batch accumulation: a mean over a batch as a mean over its parts, with the memory of one part.

All quantities that an estimator computes from a batch (value, gradients, Hessian products) are linear in the loss, and
the loss is a mean over the batch. Accumulating each of them is therefore exact. Differentiating through a sum over the
parts would also be exact, but would keep the activations of all parts in memory. Two things are not means over images:
batch norm sees only the statistics of its part, and noise is drawn separately for each part.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.errors import UserError

SHARED_ENTRIES = ("key", "relax_key", "batch_stats")


def averaged(function: Callable, microbatches: int) -> Callable:
    """`function(w, alphas, batch, *rest)` averaged over `microbatches` equal parts of the batch.

    With one part, this is `function` itself. Floating-point results are averaged; others are those of the last part.
    """
    if microbatches == 1:
        return function

    def mean(w, alphas, batch, *rest):
        part, parts = split_batch(batch, microbatches)

        def add(total, part_of_each):
            new = function(w, alphas, part(part_of_each), *rest)
            return jax.tree.map(lambda t, n: t + n if _is_float(n) else n, total, new), None

        like = jax.eval_shape(lambda each: function(w, alphas, part(jax.tree.map(lambda x: x[0], each)), *rest), parts)
        total, _ = jax.lax.scan(add, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like), parts)
        return jax.tree.map(lambda t: t / microbatches if _is_float(t) else t, total)

    return mean


def split_batch(batch: Any, microbatches: int) -> tuple[Callable[[Any], Any], Any]:
    """`(part, parts)`: `part(parts[i])` is the i-th of the equal parts of `batch`.

    Arrays are cut along their leading axis. The parts share scalars and, if the batch is a dict, its entries
    `batch_stats` and `relax_key`, so that all parts see one draw of a random relaxation. An entry `key` becomes one
    PRNG key per part: the number of the part is folded in. Raises `UserError` if the parts would not be equal.
    """
    check_divides(batch, microbatches)
    entries = dict(batch) if isinstance(batch, Mapping) else {"": batch}
    own = {name: entry for name, entry in entries.items() if name not in SHARED_ENTRIES or not _is_dict(batch)}
    leaves, structure = jax.tree.flatten(own)
    cut = [leaf.reshape(microbatches, -1, *leaf.shape[1:]) if leaf.ndim else None for leaf in map(jnp.asarray, leaves)]

    def part(each):
        index, pieces = each
        filled = [whole if piece is None else piece for whole, piece in zip(leaves, pieces, strict=True)]
        made = jax.tree.unflatten(structure, filled)
        if not _is_dict(batch):
            return made[""]
        if "key" in entries:
            made["key"] = jax.random.fold_in(entries["key"], index)
        return {name: made.get(name, entry) for name, entry in entries.items()}

    return part, (jnp.arange(microbatches), cut)


def check_divides(batch: Any, microbatches: int, what: str = "the batch") -> None:
    """Raise `UserError` unless the batch's arrays have one leading length, divisible by `microbatches`."""
    entries = {k: v for k, v in batch.items() if k not in SHARED_ENTRIES} if _is_dict(batch) else batch
    lengths = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(entries)[0]:
        if getattr(leaf, "ndim", 0):
            lengths.setdefault(leaf.shape[0], jax.tree_util.keystr(path) or "it")
    for length, name in lengths.items():
        if length % microbatches:
            raise UserError(
                f"microbatches is {microbatches}, but {what} has {length} examples ({name}); "
                "use a number that divides the batch size"
            )
    if len(lengths) > 1:
        named = ", ".join(f"{name}: {length}" for length, name in lengths.items())
        raise UserError(f"{what} cannot be split into microbatches: its arrays differ in leading length ({named})")


def _is_dict(batch):
    return isinstance(batch, Mapping)


def _is_float(leaf):
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
