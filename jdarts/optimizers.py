"""The optimisers of the DARTS family as optax chains, in PyTorch's order of operations."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jdarts.config import AdamConfig, SGDConfig, TrainConfig
from jdarts.config.swept import is_off
from jdarts.config.training import LAST_EPOCHS


def cosine_per_epoch(config: SGDConfig, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """Cosine decay from `learning_rate` to `learning_rate_min`, constant within each epoch.

    `lr_e = lr_min + (lr − lr_min)(1 + cos(π e / epochs)) / 2` for e = 0 … epochs − 1.
    """
    cosine = optax.cosine_decay_schedule(config.learning_rate, epochs, config.learning_rate_min / config.learning_rate)
    return lambda step: cosine(jnp.asarray(step) // steps_per_epoch)


def cosine_waves(config: SGDConfig, period: int, steps_per_epoch: int) -> optax.Schedule:
    """A cosine that falls to `learning_rate_min` in `period` epochs, rises in the next `period`, and so on.

    `lr_e = lr_min + (lr − lr_min)(1 + cos(π e / period)) / 2`, where e grows with every step, not only every epoch.
    """

    def rate(step):
        epochs = jnp.asarray(step) % (2 * period * steps_per_epoch) / steps_per_epoch
        height = (1 + jnp.cos(jnp.pi * epochs / period)) / 2
        return config.learning_rate_min + (config.learning_rate - config.learning_rate_min) * height

    return rate


def cosine_restarts(config: SGDConfig, period: int, steps_per_epoch: int) -> optax.Schedule:
    """A cosine that falls to `learning_rate_min` in `period` epochs, then again in twice as many, and so on.

    The rate is constant within an epoch. Warm restarts of Loshchilov & Hutter (2017, arXiv:1608.03983) with
    T_mul = 2; run n begins after `period` · (2ⁿ − 1) epochs.
    """

    def rate(step):
        epoch = jnp.asarray(step) // steps_per_epoch
        run = 31 - lax.clz((epoch // period + 1).astype(jnp.int32))  # the exponent of the largest power of 2
        length = period * 2**run
        height = (1 + jnp.cos(jnp.pi * (epoch - (length - period)) / length)) / 2
        return config.learning_rate_min + (config.learning_rate - config.learning_rate_min) * height

    return rate


def linear_per_step(config: SGDConfig, steps: int) -> optax.Schedule:
    """Linear decay over all `steps` of a search, `lr_min + (lr − lr_min)(1 − t / steps)` in step t = 1, 2, …

    The last step has `learning_rate_min` (the code of SPOS, Guo et al. 2020).
    """
    span = config.learning_rate - config.learning_rate_min
    return lambda step: config.learning_rate_min + span * (1 - jnp.minimum((jnp.asarray(step) + 1) / steps, 1))


def cosine_per_step(config: SGDConfig, steps: int) -> optax.Schedule:
    """Cosine decay from `learning_rate` to `learning_rate_min` over all steps."""
    return optax.cosine_decay_schedule(config.learning_rate, steps, config.learning_rate_min / config.learning_rate)


def linear_per_epoch(config: SGDConfig, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """The linear decay of P-DARTS and PC-DARTS on ImageNet, constant within each epoch.

    With E epochs it is lr (E − 5 − e) / (E − 5) in epochs e < E − 5, and lr (E − e) / (5 (E − 5)) in the last five.
    `learning_rate_min` has no effect.
    """
    long = epochs - LAST_EPOCHS

    def rate(step):
        epoch = jnp.asarray(step) // steps_per_epoch
        share = jnp.where(epoch < long, long - epoch, (epochs - epoch) / LAST_EPOCHS) / long
        return config.learning_rate * share

    return rate


def exponential_per_epoch(config: SGDConfig, decay_rate: float, steps_per_epoch: int) -> optax.Schedule:
    """`learning_rate` times `decay_rate` to the power of the finished epochs (DARTS on ImageNet: 0.97)."""
    return lambda step: config.learning_rate * decay_rate ** (jnp.asarray(step) // steps_per_epoch)


def warmed_up(schedule: optax.Schedule, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """`schedule` times (e + 1) / `epochs` in its first `epochs` epochs e; `schedule` itself for 0."""
    if epochs == 0:
        return schedule

    def rate(step):
        epoch = jnp.asarray(step) // steps_per_epoch
        return schedule(step) * jnp.minimum(epoch + 1, epochs) / epochs

    return rate


def decayed_at(config: SGDConfig, decay_rate: float, epochs: Sequence[int], per_epoch: int) -> optax.Schedule:
    """`learning_rate` times `decay_rate` for each of the finished `epochs`; an epoch has `per_epoch` steps."""
    return optax.piecewise_constant_schedule(config.learning_rate, {epoch * per_epoch: decay_rate for epoch in epochs})


def warmed_up_by_step(schedule: optax.Schedule, steps: int) -> optax.Schedule:
    """`schedule` times a factor that grows linearly from 0.001 in step 0 to 1 in step `steps`; `schedule` for 0."""
    if steps == 0:
        return schedule

    def rate(step):
        share = jnp.minimum(jnp.asarray(step) / steps, 1)
        return schedule(step) * (0.001 + 0.999 * share)

    return rate


def training_schedule(settings: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate of a training by `settings.schedule`, `warmup_epochs` and `warmup_steps`."""
    config, epochs = settings.optimizer, settings.epochs
    schedules = {
        "cosine": lambda: cosine_per_epoch(config, epochs, steps_per_epoch),
        "cosine_by_step": lambda: cosine_per_step(config, epochs * steps_per_epoch),
        "linear": lambda: linear_per_epoch(config, epochs, steps_per_epoch),
        "exponential": lambda: exponential_per_epoch(config, settings.decay_rate, steps_per_epoch),
        "steps": lambda: decayed_at(config, settings.decay_rate, settings.decay_epochs, steps_per_epoch),
    }
    warm = warmed_up(schedules[settings.schedule](), settings.warmup_epochs, steps_per_epoch)
    return warmed_up_by_step(warm, settings.warmup_steps)


def weight_decay(strength: Any) -> optax.GradientTransformationExtraArgs:
    """Add `strength` times the parameters to the gradient.

    The extra argument `decayed` of `update`, like the parameters, replaces them: it is 0 where nothing decays.
    """

    def update(updates, state, params=None, *, decayed=None, **others):
        del others
        added = params if decayed is None else decayed
        return jax.tree.map(lambda g, w: g + strength * w, updates, added), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def weight_sgd(
    config: SGDConfig,
    epochs: int,
    steps_per_epoch: int,
    *,
    clip: bool = True,
    schedule: optax.Schedule | None = None,
    chosen_decay: bool = False,
) -> optax.GradientTransformation:
    """SGD for the weights: clipping by global norm, coupled weight decay, momentum, then the learning rate.

    The numbers in `config` may be traced arrays. A transformation whose number is a Python 0 is left out of the chain.
    With `clip` False the gradient is not clipped, and the optimiser state has the same structure. `schedule` gives the
    learning rate of every step; None is `cosine_per_epoch`. With `chosen_decay` the weight decay is `weight_decay`.
    """
    parts = clipping(config.gradient_clip)
    if not clip:
        parts = [optax.identity() for _ in parts]
    if not is_off(config.weight_decay):
        parts.append((weight_decay if chosen_decay else optax.add_decayed_weights)(config.weight_decay))
    if not is_off(config.momentum):
        parts.append(optax.trace(config.momentum, nesterov=config.nesterov))
    parts.append(optax.scale_by_learning_rate(schedule or cosine_per_epoch(config, epochs, steps_per_epoch)))
    return optax.chain(*parts)


def alpha_adam(config: AdamConfig) -> optax.GradientTransformation:
    """Adam for the alphas with coupled weight decay.

    The decay is added to the gradient before the moments are computed, as in PyTorch's Adam and unlike AdamW. The
    numbers in `config` may be traced arrays.
    """
    return optax.chain(
        *clipping(config.gradient_clip),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_adam(config.b1, config.b2, eps=1e-8),
        optax.scale_by_learning_rate(config.learning_rate),
    )


def alpha_sgd(config: AdamConfig) -> optax.GradientTransformation:
    """SGD for the alphas with coupled weight decay, PyTorch's momentum and a constant learning rate."""
    parts = [*clipping(config.gradient_clip), optax.add_decayed_weights(config.weight_decay)]
    if not is_off(config.momentum):
        parts.append(optax.trace(config.momentum))
    return optax.chain(*parts, optax.scale_by_learning_rate(config.learning_rate))


def of_alphas(config: AdamConfig) -> optax.GradientTransformation:
    """The optimiser of the alphas: `alpha_adam` or `alpha_sgd`, by `config.kind`."""
    return {"adam": alpha_adam, "sgd": alpha_sgd}[config.kind](config)


def clip_grad_norm(limit: Any) -> optax.GradientTransformation:
    """Multiply the gradient g by min(1, `limit` / (‖g‖ + 1e-6)), with the norm over all arrays.

    PyTorch's `clip_grad_norm_`: its 1e-6 makes a clipped gradient shorter than `optax.clip_by_global_norm` would, by
    1e-6 / ‖g‖ of its length.
    """

    def update(updates, state, params=None):
        del params
        squared = optax.tree.norm(updates, squared=True)
        norm = jnp.sqrt(jnp.where(squared > 0, squared, 1))  # √ has no derivative at 0
        factor = jnp.where(squared > 0, jnp.minimum(1.0, limit / (norm + 1e-6)), 1.0)
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def clipping(norm: Any) -> list[optax.GradientTransformation]:
    """The transformation that clips to a global norm; none if the norm is 0."""
    if is_off(norm):
        return []
    return [clip_grad_norm(norm if isinstance(norm, (int, float)) else jnp.where(norm > 0, norm, jnp.inf))]
