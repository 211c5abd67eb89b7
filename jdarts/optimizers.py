"""The optimisers of the DARTS family as optax chains, in PyTorch's order of operations."""

from typing import Any

import jax.numpy as jnp
import optax

from jdarts.config import AdamConfig, SGDConfig, is_off


def cosine_per_epoch(config: SGDConfig, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """Cosine decay from `learning_rate` to `learning_rate_min`, constant inside an epoch.

    `lr_e = lr_min + (lr − lr_min)(1 + cos(π e / epochs)) / 2` for e = 0 … epochs − 1.
    """
    cosine = optax.cosine_decay_schedule(config.learning_rate, epochs, config.learning_rate_min / config.learning_rate)
    return lambda step: cosine(jnp.asarray(step) // steps_per_epoch)


def weight_sgd(config: SGDConfig, epochs: int, steps_per_epoch: int) -> optax.GradientTransformation:
    """SGD for weights: clip by global norm, add coupled weight decay, momentum, then the learning rate.

    Its numbers may be traced arrays; a part whose number is a plain 0 is left out of the chain.
    """
    parts = _clip(config.gradient_clip)
    if not is_off(config.weight_decay):
        parts.append(optax.add_decayed_weights(config.weight_decay))
    if not is_off(config.momentum):
        parts.append(optax.trace(config.momentum, nesterov=config.nesterov))
    parts.append(optax.scale_by_learning_rate(cosine_per_epoch(config, epochs, steps_per_epoch)))
    return optax.chain(*parts)


def alpha_adam(config: AdamConfig) -> optax.GradientTransformation:
    """Adam for alphas with coupled L2: the decay joins the gradient before the moments (PyTorch's Adam, not AdamW).

    Its numbers may be traced arrays.
    """
    return optax.chain(
        *_clip(config.gradient_clip),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_adam(config.b1, config.b2, eps=1e-8),
        optax.scale_by_learning_rate(config.learning_rate),
    )


def _clip(norm: Any) -> list[optax.GradientTransformation]:
    """Clipping to a global norm, of which 0 means none."""
    if is_off(norm):
        return []
    limit = norm if isinstance(norm, (int, float)) else jnp.where(norm > 0, norm, jnp.inf)
    return [optax.clip_by_global_norm(limit)]
