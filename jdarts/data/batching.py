"""The images of each batch: pure functions of a key, for use inside a jitted step.

Dimension letters: N images, B images in a batch.
"""

import math

import jax
import jax.numpy as jnp

from jdarts.errors import UserError


def steps_per_epoch(n: int, batch: int) -> int:
    """Whole batches in an epoch of `n` images, the incomplete last one dropped; `UserError` if there are none."""
    if not 1 <= batch <= n:
        raise UserError(f"batch size is {batch} with {n} images; use 1 to {n}")
    return n // batch


def epoch_permutation(key: jax.Array, n: int) -> jax.Array:
    """The order of one epoch: a uniformly random permutation, int32 [N]."""
    return jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))


def batch_indices(permutation: jax.Array, step: jax.Array | int, batch: int) -> jax.Array:
    """Batch number `step` of an epoch, int32 [B]: rows of `permutation` [N], each used at most once an epoch.

    `step` may be traced and may count from the start of the run: it is taken modulo the steps of an epoch.

        permutation = epoch_permutation(key, 25_000)
        rows = batch_indices(permutation, step, 64)          # step 0 to 389
        images, labels = train_images[rows], train_labels[rows]
    """
    position = jnp.asarray(step) % steps_per_epoch(len(permutation), batch)
    return jax.lax.dynamic_slice_in_dim(permutation, position * batch, batch)


def random_batch(key: jax.Array, n: int, batch: int) -> jax.Array:
    """A fresh uniformly random batch of `batch` different rows out of `n`, in random order, int32 [B].

    This is the DARTS code's validation batch: `next(iter(loader))` of a shuffled loader at every step. The cost depends
    on the batch, not on `n`: only the first `batch` swaps of a Fisher-Yates shuffle are made.
    """
    steps_per_epoch(n, batch)
    if batch * batch > 64 * n:  # a large part of a small set: the pairwise comparison would cost more than a sort
        return epoch_permutation(key, n)[:batch]
    return partial_shuffle(draw_swaps(key, n, batch))


def draw_swaps(key: jax.Array, n: int, batch: int) -> jax.Array:
    """Swaps for the first `batch` places of a Fisher-Yates shuffle: entry i uniform in [i, n), int32 [B]."""
    return jax.random.randint(key, (batch,), jnp.arange(batch, dtype=jnp.int32), n, dtype=jnp.int32)


def partial_shuffle(swaps: jax.Array) -> jax.Array:
    """The first B of 0, 1, 2, … after swapping place i with place `swaps[i]` for i = 0 .. B-1, int32 [B].

    Computed in parallel: the last earlier swap j with swaps[j] = p put its place j into place p; following these links
    by pointer doubling takes log2(B) rounds.
    """
    b = swaps.shape[0]
    places = jnp.arange(b, dtype=jnp.int32)

    def last_writer(place: jax.Array) -> jax.Array:
        """For each i, the last swap j < i that wrote to place[i], or -1."""
        wrote = (swaps[None, :] == place[:, None]) & (places[None, :] < places[:, None])
        return jnp.max(jnp.where(wrote, places[None, :], -1), axis=1)

    writer = last_writer(places)
    root = jnp.where(writer < 0, places, writer)
    for _ in range(max(1, math.ceil(math.log2(b)))):
        root = root[root]
    taken_from = last_writer(swaps)
    return jnp.where(taken_from < 0, swaps, root[taken_from])
