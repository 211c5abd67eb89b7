"""The losses of a search by op weights and by alphas: what all tasks share.

A task (`jdarts.search.task`) says what its network reads and what its loss is; here alphas become op weights, and the
weight step may have op weights of its own.

A batch is a dictionary. Besides the examples of the task it holds `key` for the noise of the network; `relax_key` for
the noise of the relaxation; `batch_stats`; `carried`, what the stream's last batch handed on; and `step`. The aux of a
loss holds `loss`, the value that records show; `accuracy`; the new `batch_stats`; and the new `carried`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax

from jdarts.methods import Method
from jdarts.schedules import Clock
from jdarts.search.vectors import VectorNetwork
from jdarts.spaces.space import Space

Batch = dict[str, Any]
LossAux = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Objective:
    """The losses as pure functions of the weight vector `w`, the alphas (or op weights) and a batch.

    A task fills in `network_loss` and `score`.

    Attributes:
      supernet: the network as a function of vectors.
      method, space: turn alphas into op weights.
      clock: `step -> Clock`, for relaxations and edges that change over the epochs.
      axis_name: mapped axis over which the batch is split; losses and aux are means over it.
      bfloat16: compute the network in bfloat16; the loss is computed in the dtype of `w`.
    """

    supernet: VectorNetwork
    method: Method
    space: Space
    clock: Callable[[jax.Array], Clock]
    axis_name: str | None = None
    bfloat16: bool = False

    def network_loss(
        self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = True
    ) -> tuple[jax.Array, LossAux]:
        """`(loss, aux)` for op weights, without a relaxation."""
        raise NotImplementedError

    def score(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = False) -> jax.Array:
        """A score of one candidate with shared weights, the higher the better, without drop-path, with fixed noise."""
        raise NotImplementedError

    def loss(self, w: jax.Array, alphas: Any, batch: Batch) -> tuple[jax.Array, LossAux]:
        """L(w, α) on a batch: the loss of the alphas, without regularisers but with the method's factor."""
        key, now = batch["relax_key"], self.clock(batch["step"])
        value, aux = self.network_loss(w, self.method.op_weights(self.space, alphas, key, now), batch)
        return value * self.method.factor(self.space, alphas, key, now), aux

    def weight_loss(self, w: jax.Array, alphas: Any, batch: Batch) -> tuple[jax.Array, LossAux]:
        """The loss of a weight step that has its own op weights (`Method.own_weight_step`); no gradient by alphas."""
        still = lax.stop_gradient(w)
        p = self.method.weight_step_weights(
            self.space,
            lax.stop_gradient(alphas),
            batch["relax_key"],
            self.clock(batch["step"]),
            lambda q: self.network_loss(still, q, batch, False)[0],
        )
        return self.network_loss(w, lax.stop_gradient(p), batch)

    def path_loss(self, w: jax.Array, op_weights: Any, batch: Batch) -> tuple[jax.Array, LossAux]:
        """The loss on a single path, given as op weights; no gradient by them."""
        return self.network_loss(w, lax.stop_gradient(op_weights), batch)

    def edge_values(self, step: jax.Array) -> dict[str, jax.Array]:
        """The scheduled numbers of the edges in this step, by name, e.g. the probability of drop-path."""
        return edge_values(self.method, self.clock, step)


def edge_values(method: Method, clock: Callable[[jax.Array], Clock], step: jax.Array) -> dict[str, jax.Array]:
    """The values of the schedules `method.edge_values` in this step."""
    return {name: schedule(clock(step)) for name, schedule in method.edge_values.items()}
