"""The optax chains against PyTorch's update rules written out in NumPy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdarts.config import AdamConfig, SGDConfig, TrainConfig
from jdarts.errors import UserError
from jdarts.optimizers import alpha_adam, cosine_per_epoch, of_alphas, training_schedule, weight_sgd


def test_cosine_is_constant_inside_an_epoch():
    config = SGDConfig(learning_rate=0.025, learning_rate_min=0.001)
    schedule = cosine_per_epoch(config, epochs=50, steps_per_epoch=390)
    for epoch in (0, 1, 25, 49):
        expected = 0.001 + (0.025 - 0.001) * (1 + np.cos(np.pi * epoch / 50)) / 2
        for step in (0, 1, 389):
            assert float(schedule(epoch * 390 + step)) == pytest.approx(expected, rel=1e-5)


SCHEDULES = {
    "cosine": lambda e, step: 0.1 + 0.4 * (1 + np.cos(np.pi * e / 12)) / 2,
    "cosine_by_step": lambda e, step: 0.1 + 0.4 * (1 + np.cos(np.pi * step / 48)) / 2,
    "linear": lambda e, step: 0.5 * (7 - e) / 7 if e < 7 else 0.5 * (12 - e) / (5 * 7),
    "exponential": lambda e, step: 0.5 * 0.9**e,
}


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_of_trainings(name, warmup):
    optimizer = SGDConfig(learning_rate=0.5, learning_rate_min=0.1)
    settings = TrainConfig(epochs=12, schedule=name, decay_rate=0.9, warmup_epochs=warmup, optimizer=optimizer)
    schedule = training_schedule(settings, steps_per_epoch=4)
    for step in range(48):
        epoch = step // 4
        factor = min(1, (epoch + 1) / 5) if warmup else 1
        assert float(schedule(step)) == pytest.approx(SCHEDULES[name](epoch, step) * factor, rel=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("clip", [0.0, 1.0, 1e6])
def test_sgd_clips_then_decays_then_accumulates(nesterov, clip):
    config = SGDConfig(
        learning_rate=0.1, learning_rate_min=0.0, nesterov=nesterov, gradient_clip=clip, weight_decay=0.05
    )
    optimizer = weight_sgd(config, epochs=3, steps_per_epoch=2)
    rng = np.random.default_rng(0)
    w = rng.normal(size=7)
    params, state = jnp.asarray(w), optimizer.init(jnp.asarray(w))
    momentum = np.zeros(7)
    for step in range(6):
        g = rng.normal(size=7) * 3
        updates, state = optimizer.update(jnp.asarray(g), state, params)
        params = optax.apply_updates(params, updates)
        norm = np.linalg.norm(g)
        clipped = g * min(1.0, clip / (norm + 1e-6)) if clip else g
        decayed = clipped + 0.05 * w
        momentum = 0.9 * momentum + decayed
        direction = decayed + 0.9 * momentum if nesterov else momentum
        w = w - 0.1 * (1 + np.cos(np.pi * (step // 2) / 3)) / 2 * direction
        np.testing.assert_allclose(params, w, rtol=1e-5)


def test_adam_adds_the_decay_to_the_gradient():
    config = AdamConfig(learning_rate=0.01, b1=0.5, b2=0.9, weight_decay=0.3)
    optimizer = alpha_adam(config)
    rng = np.random.default_rng(1)
    a = rng.normal(size=5)
    params, state = jnp.asarray(a), optimizer.init(jnp.asarray(a))
    m, v = np.zeros(5), np.zeros(5)
    for t in range(1, 5):
        g = rng.normal(size=5)
        updates, state = optimizer.update(jnp.asarray(g), state, params)
        params = optax.apply_updates(params, updates)
        g = g + 0.3 * a
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g * g
        a = a - 0.01 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
        np.testing.assert_allclose(params, a, rtol=1e-5)


def test_the_schedule_of_detection():
    """A thousandth at the first step, linear to the full rate in 10 steps, a tenth after epochs 3 and 5 of 4 steps."""
    optimizer = SGDConfig(learning_rate=0.5, learning_rate_min=0.0)
    settings = TrainConfig(
        epochs=6, schedule="steps", decay_rate=0.1, decay_epochs=(3, 5), warmup_steps=10, optimizer=optimizer
    )
    schedule = training_schedule(settings, steps_per_epoch=4)
    for step in range(24):
        factor = 0.001 + 0.999 * step / 10 if step < 10 else 1.0
        decay = 0.1 ** sum(step >= 4 * epoch for epoch in (3, 5))
        assert float(schedule(step)) == pytest.approx(0.5 * factor * decay, rel=1e-5)
    with pytest.raises(UserError, match="decay_epochs"):
        TrainConfig(schedule="steps")
    with pytest.raises(UserError, match="decay_epochs"):
        TrainConfig(decay_epochs=(3,))


def test_alphas_by_sgd():
    """Against PyTorch's rule: g ← clipped g + λ a, m ← μ m + g, a ← a − lr m."""
    optimizer = of_alphas(AdamConfig(learning_rate=0.1, weight_decay=0.3, gradient_clip=0.5, kind="sgd", momentum=0.9))
    rng = np.random.default_rng(2)
    a = rng.normal(size=5)
    params, state, m = jnp.asarray(a), optimizer.init(jnp.asarray(a)), np.zeros(5)
    for _ in range(4):
        g = rng.normal(size=5)
        updates, state = optimizer.update(jnp.asarray(g), state, params)
        params = optax.apply_updates(params, updates)
        m = 0.9 * m + g * min(1.0, 0.5 / (np.linalg.norm(g) + 1e-6)) + 0.3 * a
        a = a - 0.1 * m
        np.testing.assert_allclose(params, a, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"momentum": 0.9}, "which adam does not have"), ({"kind": "sgd", "b1": 0.9}, "which sgd does not have")],
)
def test_numbers_of_the_other_optimiser_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        AdamConfig(**settings)
