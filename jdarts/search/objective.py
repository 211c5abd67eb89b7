"""The losses of a search: the cross-entropy of the supernet on a batch, by op weights and by alphas.

**The batch-norm policy.** In training mode every forward pass normalises by the statistics of its own batch (of the
global batch on several devices) and is differentiated through them. It also returns the running averages of
`batch["batch_stats"]`, updated by its batch, as `aux["batch_stats"]`; a loss has no other effect on them. The search
keeps the averages from the pass of the weight step and drops all others, unless `search.alpha_step_moves_statistics`
is set (`jdarts.search.conventions`). In evaluation mode (`train=False`) the running averages normalise and do not
change.

A batch is the dictionary that `jdarts.search.batches` draws: `images` `[batch, height, width, channels]`, normalised;
`labels` `[batch]`; `key` for the noise of the network; `relax_key` for the noise of the relaxation; `batch_stats`;
`step`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.devices.replicas import averaging_gradients, pmean
from jdarts.losses import accuracy, cross_entropy
from jdarts.methods import Method
from jdarts.ops.plain import RUNNING_MOMENTUM
from jdarts.schedules import Clock
from jdarts.search.vectors import VectorNetwork
from jdarts.spaces.space import Space

Batch = dict[str, Any]
LossAux = dict[str, jax.Array]


@dataclass(frozen=True, eq=False)
class Objective:
    """The losses as pure functions of the weight vector `w`, the alphas (or op weights) and a batch.

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
        """`(cross-entropy, {"accuracy", "batch_stats"})` for op weights, without a relaxation."""
        w = averaging_gradients(w, self.axis_name)
        op_weights = averaging_gradients(op_weights, self.axis_name, whole=False)
        dtype = jnp.bfloat16 if self.bfloat16 else w.dtype
        # Running averages are linear in their old values: start from zero and add the decayed old values afterwards.
        running = jnp.zeros_like(batch["batch_stats"]) if train else batch["batch_stats"]
        weights, op_weights, images = jax.tree.map(lambda x: x.astype(dtype), (w, op_weights, batch["images"]))
        logits, changed = self.supernet.network.apply(
            self.supernet.packed(weights, running),
            op_weights,
            images,
            train,
            self.edge_values(batch["step"]),
            mutable=["batch_stats"],
            rngs={"noise": batch["key"], "drop_path": jax.random.fold_in(batch["key"], 1)},
        )
        logits = logits.astype(w.dtype)
        running = batch["batch_stats"]
        if train:
            running = (1 - RUNNING_MOMENTUM) * running + self.supernet.statistics(changed["batch_stats"])
        aux = {"accuracy": accuracy(logits, batch["labels"]), "batch_stats": running}
        return pmean((cross_entropy(logits, batch["labels"]), aux), self.axis_name)

    def loss(self, w: jax.Array, alphas: Any, batch: Batch) -> tuple[jax.Array, LossAux]:
        """L(w, α) on a batch: the loss of the alphas, without regularisers."""
        p = self.method.op_weights(self.space, alphas, batch["relax_key"], self.clock(batch["step"]))
        return self.network_loss(w, p, batch)

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

    def score(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = False) -> jax.Array:
        """The accuracy of one candidate with shared weights, without drop-path and with fixed noise.

        Reads only `images`, `labels`, `batch_stats` and `step` of `batch`. The running averages do not change.
        """
        logits, _ = self.supernet.network.apply(
            self.supernet.packed(w, batch["batch_stats"]),
            op_weights,
            batch["images"],
            train,
            {
                **self.edge_values(batch["step"]),
                **{name: jnp.zeros(()) for name in ("skip_dropout", "drop_path")},
            },
            mutable=["batch_stats"],
            rngs={"noise": jax.random.key(0), "drop_path": jax.random.key(0)},
        )
        return pmean(accuracy(logits, batch["labels"]), self.axis_name)

    def edge_values(self, step: jax.Array) -> dict[str, jax.Array]:
        """The scheduled numbers of the edges in this step, by name, e.g. the probability of drop-path."""
        return edge_values(self.method, self.clock, step)


def edge_values(method: Method, clock: Callable[[jax.Array], Clock], step: jax.Array) -> dict[str, jax.Array]:
    """The values of the schedules `method.edge_values` in this step."""
    return {name: schedule(clock(step)) for name, schedule in method.edge_values.items()}
