"""A search step whose alphas move by REINFORCE, in place of a hypergradient (ProxylessNAS, Cai et al. 2019, §3.3)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jdarts import hypergrad
from jdarts.methods.paths import path_of
from jdarts.methods.rewards import RewardUpdate, no_baseline, reward_gradient
from jdarts.search.objective import Batch
from jdarts.search.path_step import PathStep


@dataclass(frozen=True, eq=False)
class RewardStep(PathStep):
    """A step along single paths; the alphas climb the mean reward of paths, with `method.reinforce`.

    The baseline lies in `hypergradient_memory` of the state.
    """

    def moved_alphas(self, state: Any, ahead: Batch, train_batch: Batch, val_batch: Batch) -> tuple[Any, hypergrad.Aux]:
        """The state after an update; loss and accuracy are means over the paths, batch norms use the batch."""
        del ahead, train_batch
        settings, space, key = self.reinforce, self.objective.space, val_batch["relax_key"]
        paths = settings.draw(space, state.alphas, key)

        def score(_, k):
            path = path_of(paths, k)
            value, aux = self.objective.network_loss(state.weights, path, val_batch)
            return (), (value, aux["accuracy"], settings.reward(aux["accuracy"], path, space))

        _, (losses, accuracies, rewards) = lax.scan(score, (), jnp.arange(settings.samples))
        baseline = self.update_alphas.once_started(
            self.objective.clock(state.step),
            settings.moved(state.hypergradient_memory, rewards),
            state.hypergradient_memory,
        )
        grads = reward_gradient(state.alphas, paths, rewards - baseline["value"])
        alphas, opt_state = self.update_alphas(grads, state.alpha_opt_state, state.alphas, key, state.step)
        state = state.replace(alphas=alphas, alpha_opt_state=opt_state, hypergradient_memory=baseline)
        loss = jnp.mean(losses)
        aux = {"loss": loss, "accuracy": jnp.mean(accuracies), "batch_stats": val_batch["batch_stats"], "carried": ()}
        return state, hypergrad.Aux(loss, aux)

    def initial_memory(self, w: jax.Array, alphas: Any) -> Any:
        """The baseline before the first update."""
        del w, alphas
        return no_baseline()

    @property
    def reinforce(self) -> RewardUpdate:
        """The choices of the method."""
        found = self.objective.method.reinforce
        assert found is not None
        return found
