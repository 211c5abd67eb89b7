"""The part of a global batch that a replica holds in a data-parallel step.

A step runs once on each replica of a mesh axis, and its results are those of the *global* batch: losses, gradients and
statistics are means over the axis, and every random draw for an image is a function of the key and of the image's row
in the global batch. The number of replicas therefore changes only the speed. With `axis_name=None` there is one device.

Letters: B rows of the global batch, R replicas, P micro-batches.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.errors import UserError
from jdarts.jax_versions import varying_axes


def pmean(tree: Any, axis_name: str | None) -> Any:
    """The mean of every array over the replicas; `tree` itself without an axis.

    If the type of an array says that all replicas hold the same value (in `shard_map` with `check_vma`), the array is
    returned unchanged, without communication.
    """
    if axis_name is None:
        return tree
    typed = is_typed(axis_name)
    return jax.tree.map(lambda x: lax.pmean(x, axis_name) if not typed or axis_name in varying_axes(x) else x, tree)


def psum(tree: Any, axis_name: str | None) -> Any:
    """The sum of every array over the replicas; `tree` itself without an axis."""
    return tree if axis_name is None else lax.psum(tree, axis_name)


def gathered(rows: jax.Array, axis_name: str | None) -> jax.Array:
    """The rows of all replicas, `[batch, …]`, on each of them; `rows` itself without an axis."""
    if axis_name is None:
        return rows
    # A sum of disjoint parts, unlike `lax.all_gather`, is known to be equal on all replicas (`check_vma`).
    whole = jnp.zeros((rows.shape[0] * lax.axis_size(axis_name), *rows.shape[1:]), rows.dtype)
    first = lax.axis_index(axis_name) * rows.shape[0]
    return lax.psum(lax.dynamic_update_slice_in_dim(whole, rows, first, 0), axis_name)


def averaging_gradients(tree: Any, axis_name: str | None, *, whole: bool = True) -> Any:
    """`tree`, equal on all replicas; its gradient becomes the mean over the replicas, that of the global batch.

    Use it in a loss that ends in `pmean`. The two together are right under `pmap` and `shard_map`, with and without
    `check_vma`, for every gradient that an estimator computes, including products with second derivatives. With
    `whole`, the gradient of every array (such as a vector of all weights) is reduced once, and the type of the array
    varies over the replicas. Otherwise the type does not vary, and the gradient of each use of the array is reduced.

    Raises `UserError` if, by its types, `tree` differs between replicas.
    """
    if axis_name is None:
        return tree
    if is_typed(axis_name):
        differing = [axis_name in varying_axes(leaf) for leaf in jax.tree.leaves(tree)]
        if any(differing):
            raise UserError(
                f"weights or op weights differ between the replicas of axis {axis_name!r}; draw them with a key that "
                "is the same on all replicas (no axis_index in relaxations)"
            )
        # The transpose of the cast is a sum over the replicas.
        return jax.tree.map(lambda x: lax.pcast(x, axis_name, to="varying"), tree) if whole else tree
    # The mean of equal values is the value (to the last bit for 2, 4, 8 … replicas), and the mean is its own transpose.
    # A custom derivative would save the forward collective, but would allow only one mode of differentiation.
    return lax.pmean(tree, axis_name)


def is_typed(axis_name: str) -> bool:
    """True if types record which arrays vary over the axis: in `shard_map` with `check_vma`, not in `pmap`."""
    return axis_name in varying_axes(lax.axis_index(axis_name))


@dataclass(frozen=True)
class Share:
    """The replica's share of a global batch.

    Attributes:
      axis_name: the mesh axis of the replicas; None for one device.
      microbatches: number of parts of a batch that are computed in turn. Part i of the global batch consists of the
        parts i of all replicas, so batch norm sees the same part for any number of replicas.
    """

    axis_name: str | None = None
    microbatches: int = 1

    @property
    def replicas(self) -> int:
        """Number of replicas, R; known while tracing inside the axis."""
        return 1 if self.axis_name is None else lax.axis_size(self.axis_name)

    def of(self, rows: jax.Array) -> jax.Array:
        """The replica's rows of `rows [B, …]`, `[B/R, …]`; B must be divisible by R·P."""
        if self.axis_name is None:
            return rows
        parts = rows.reshape(self.microbatches, self.replicas, -1, *rows.shape[1:])
        mine = lax.dynamic_index_in_dim(parts, lax.axis_index(self.axis_name), axis=1, keepdims=False)
        return mine.reshape(-1, *rows.shape[1:])

    def total(self, rows: int) -> int:
        """Number of rows of the global batch if this replica holds `rows` rows."""
        return rows * self.replicas

    def keys(self, key: jax.Array, rows: int) -> jax.Array:
        """One key per row of this replica, `[rows]`: `key` folded with the row's number in the global batch."""
        first = 0 if self.axis_name is None else lax.axis_index(self.axis_name) * rows
        return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(rows, dtype=jnp.int32))


WHOLE = Share()
