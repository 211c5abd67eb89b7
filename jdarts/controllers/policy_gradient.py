"""REINFORCE (Williams 1992) for a controller: its loss, samples and entropies for batches of tuples."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jdarts.controllers.policy import Params, Policy


def reinforce_loss(controller: Policy, params: Params, choices: jax.Array, advantages: jax.Array) -> jax.Array:
    """−(1/m) Σ_k (R_k − b) Σ_t log P(a_t | a_<t; θ); its gradient is minus the estimate of ∇J."""
    return -jnp.mean(advantages * batch_log_probability(controller, params, choices))


def batch_log_probability(controller: Policy, params: Params, choices: jax.Array) -> jax.Array:
    """log P(a; θ) of tuples `[batch, T]`, `[batch]`."""
    return jnp.sum(jax.vmap(lambda each: controller.log_probabilities(params, each))(choices), axis=1)


def batch_entropy(controller: Policy, params: Params, choices: jax.Array) -> jax.Array:
    """For tuples `[batch, T]` the sums of the entropies of their T softmaxes, in nats, `[batch]`.

    The expectation over tuples from the controller is the entropy of the controller.
    """
    return jnp.sum(jax.vmap(lambda each: controller.entropies(params, each))(choices), axis=1)


def batch_bonus(controller: Policy, params: Params, choices: jax.Array) -> jax.Array:
    """The sums of `Policy.bonuses` of tuples `[batch, T]`, `[batch]`."""
    return jnp.sum(jax.vmap(lambda each: controller.bonuses(params, each))(choices), axis=1)


def mean_penalty(controller: Policy, params: Params, choices: jax.Array) -> jax.Array:
    """The mean of `Policy.penalty` over tuples `[batch, T]`, a scalar."""
    return jnp.mean(jax.vmap(lambda each: controller.penalty(params, each))(choices))


def step_along(
    loss: Callable[..., jax.Array], optimizer: optax.GradientTransformation
) -> Callable[..., tuple[Params, Any]]:
    """One step of the optimiser: `(params, state, *batch)` to new parameters and state."""

    def update(params, state, *batch):
        changes, state = optimizer.update(jax.grad(loss)(params, *batch), state, params)
        return optax.apply_updates(params, changes), state

    return update


@cache
def sampler(controller: Policy) -> Callable[[Params, Any], jax.Array]:
    """The compiled `controller.sample`."""
    return jax.jit(controller.sample)


@partial(jax.jit, static_argnums=(0, 3))
def samples(controller: Policy, params: Params, key: jax.Array, count: int) -> jax.Array:
    """`count` independent tuples from the controller, `[count, T]`."""
    uniforms = jax.random.uniform(key, (count, len(controller.options)))
    return jax.vmap(controller.sample, in_axes=(None, 0))(params, uniforms)
