"""The supernet as a function of two vectors: its weights, and the running averages of its batch norms.

A supernet has hundreds of weight arrays. Optimisers and their pull-backs over so many arrays take longer to compile
than the cells, so a search holds one vector (`Packing`) and converts it to a tree only on request.
"""

from dataclasses import dataclass
from typing import Any

import jax
from flax import linen as nn

from jdarts.networks.fast.packing import Packing, init_vector, initial_statistics_vector
from jdarts.ops.initializers import abstract_network

Variables = dict[str, Any]


@dataclass(frozen=True, eq=False)
class VectorNetwork:
    """A supernet whose variables are two vectors; `vector_network` builds it.

    Attributes:
      network: the Flax module.
      params, stats: the place of each array in the vector of weights and in the vector of running averages.
      ranges: the initial distribution of each weight.
    """

    network: nn.Module
    params: Packing
    stats: Packing
    ranges: Any

    def initial_weights(self, key: jax.Array) -> jax.Array:
        """Random weights, `[weights]`."""
        return init_vector(key, self.params, self.ranges)

    def initial_statistics(self) -> jax.Array:
        """The running averages before the first step, `[statistics]`: mean 0, variance 1."""
        return initial_statistics_vector(self.stats)

    def packed(self, w: jax.Array, running: jax.Array) -> Variables:
        """The Flax variables in the form that the network reads in a compiled step (`jdarts.staging.unit`)."""
        return {"params": self.params.pack(w), "batch_stats": self.stats.pack(running)}

    def statistics(self, packed: Any) -> jax.Array:
        """The vector of the running averages that a forward pass returned, `[statistics]`."""
        return self.stats.unpack(packed)

    def tree(self, w: jax.Array, running: jax.Array) -> Variables:
        """`{"params", "batch_stats"}`, the Flax variables as trees of named arrays."""
        return {"params": self.params.unravel(w), "batch_stats": self.stats.unravel(running)}

    def vectors(self, variables: Variables) -> tuple[jax.Array, jax.Array]:
        """The inverse of `tree`."""
        return self.params.ravel(variables["params"]), self.stats.ravel(variables.get("batch_stats", {}))


def vector_network(network: Any, *inputs: Any) -> VectorNetwork:
    """`network` as a function of vectors; `inputs` are those of a forward pass, with shapes or arrays."""
    shapes, ranges = abstract_network(network, *inputs)
    collections = (shapes["params"], shapes.get("batch_stats", {}))
    params, stats = (Packing(each, network.edges_of, network.body_of) for each in collections)
    return VectorNetwork(network, params, stats, ranges)
