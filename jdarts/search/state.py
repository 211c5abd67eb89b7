"""Everything a search is, as one pytree: what is in here resumes bit for bit, and nothing else matters."""

from typing import Any

import jax
from flax import struct

PyTree = Any


@struct.dataclass
class SearchState:
    """The state of a search after `step` steps.

    Attributes:
      step: finished steps, int32 scalar.
      weights: the supernet's weights as one vector (`Search.variables` gives the Flax variables).
      batch_stats: running averages of batch norm as one vector; only the weight step moves them.
      alphas: `{"normal": [14, ops], "reduce": [14, ops]}`.
      weight_opt_state, alpha_opt_state: states of the two optax optimisers.
      key: PRNG key of the run; every draw is a function of it and of `step`.
      sums: sums of this epoch's metrics over its finished steps, for the epoch's record.
      method_state: whatever a search method carries between steps (empty for DARTS).
    """

    step: jax.Array
    weights: jax.Array
    batch_stats: jax.Array
    alphas: PyTree
    weight_opt_state: PyTree
    alpha_opt_state: PyTree
    key: jax.Array
    sums: dict[str, jax.Array]
    method_state: PyTree
