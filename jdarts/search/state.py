"""The state of a search as one pytree: a checkpoint of it resumes the search bit for bit."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jdarts.hypergrad.types import PyTree

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
"""The metrics of a step; those of an epoch are means over its steps."""


@struct.dataclass
class SearchState:
    """The state of a search after `step` steps.

    Attributes:
      step: finished steps, int32 scalar.
      weights: the supernet's weights as one vector (`Search.variables` gives the Flax variables).
      batch_stats: running averages of batch norm as one vector (policy: `jdarts.search.objective`).
      alphas: `{"normal": [14, ops], "reduce": [14, ops]}`.
      weight_opt_state, alpha_opt_state: states of the two optax optimisers.
      hypergradient_memory: memory of the hypergradient estimator (`jdarts.hypergrad.memory`); None if it has none.
      carried: `{"train": …, "val": …}`, the values that one batch of a stream hands to the next, such as the hidden
        state of a language model; `()` where batches are drawn independently.
      key: PRNG key of the run; every draw is a function of `key` and `step`.
      sums: sums of this epoch's metrics over its finished steps, for the epoch's record.
    """

    step: jax.Array
    weights: jax.Array
    batch_stats: jax.Array
    alphas: PyTree
    weight_opt_state: PyTree
    alpha_opt_state: PyTree
    hypergradient_memory: PyTree
    carried: dict[str, PyTree]
    key: jax.Array
    sums: dict[str, jax.Array]


def finished(
    before: SearchState, moved: SearchState, metrics: dict[str, jax.Array], steps_per_epoch: int
) -> tuple[SearchState, dict[str, jax.Array]]:
    """`(state, metrics)` after a step: `step` is increased, `metrics` are added to the sums of the epoch.

    The returned metrics contain `finite`, which is true if all numbers are finite.
    """
    fresh = before.step % steps_per_epoch == 0
    sums = {name: jnp.where(fresh, 0, before.sums[name]) + metrics[name] for name in METRICS}
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((moved.weights, moved.alphas))])
    state: Any = moved
    return state.replace(step=before.step + 1, sums=sums), {**metrics, "finite": jnp.all(finite)}
