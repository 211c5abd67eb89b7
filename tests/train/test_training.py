"""One training step of a derived network: its arithmetic in 16 bits compared with that in 32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.config import DataConfig, Experiment, TrainConfig
from jdarts.data import load
from jdarts.genotypes import published
from jdarts.train import make_training

CONFIG = Experiment(
    data=DataConfig(source="synthetic:32x32x3:4:32", crop_padding=2),
    train=TrainConfig(batch_size=8, channels=4, cells=3, epochs=2, cutout=4),
)


def trained(activations: str):
    """State before and after one step, and its metrics."""
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, activations=activations))
    training = make_training(config, published.get("DARTS_V2"), load(config.data).for_training(0.0))
    state = jax.jit(training.init)(jax.random.key(0))
    before = jax.tree.map(np.asarray, (state.weights, state.batch_stats))
    after, metrics = training.step(state, training.arrays)
    return before, after, metrics


@pytest.fixture(scope="module")
def both():
    return trained("float32"), trained("bfloat16")


def test_bfloat16_moves_the_weights_nearly_as_float32_does(both):
    (start, wide, metrics), (same_start, narrow, narrow_metrics) = both
    assert jax.tree.all(jax.tree.map(np.array_equal, start, same_start))
    np.testing.assert_allclose(metrics["train_loss"], narrow_metrics["train_loss"], rtol=0.02)
    assert metrics["train_loss"] != narrow_metrics["train_loss"], "the network must have computed in bfloat16"
    moves = [
        np.concatenate([np.ravel(b - a) for a, b in zip(jax.tree.leaves(start[0]), leaves, strict=True)])
        for leaves in (jax.tree.leaves(wide.weights), jax.tree.leaves(narrow.weights))
    ]
    cosine = np.vdot(*moves) / np.linalg.norm(moves[0]) / np.linalg.norm(moves[1])
    assert cosine > 0.9, cosine


def test_weights_statistics_and_losses_stay_in_float32(both):
    _, (_, state, metrics) = both
    kept = (state.weights, state.batch_stats, state.sums, metrics["train_loss"])
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}
