"""One training step of a derived network: SGD array by array, and arithmetic in 16 bits compared with that in 32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.config import DataConfig, Experiment, SGDConfig, TrainConfig
from jdarts.data import load, normalize
from jdarts.genotypes import published
from jdarts.losses import cross_entropy
from jdarts.networks.of_genotype import derived_network
from jdarts.spaces import nasbench201
from jdarts.train import make_training

CONFIG = Experiment(
    data=DataConfig(source="synthetic:32x32x3:4:32", crop_padding=2),
    train=TrainConfig(batch_size=8, channels=4, cells=3, epochs=2, cutout=4),
)


def trained(activations: str):
    """State before and after one step, and its metrics."""
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, activations=activations))
    training = make_training(config, published.get("DARTS_V2"), load(config.data).for_training(0.0))
    state = training.init(jax.random.key(0))
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


def test_two_steps_are_clipped_sgd_with_decay_and_momentum_on_every_array():
    source = DataConfig(source="synthetic:4x4x1:2:16", crop_padding=0, flip=False)
    optimizer = SGDConfig(learning_rate=0.5, learning_rate_min=0.0, weight_decay=0.1, momentum=0.9, gradient_clip=0.5)
    settings = TrainConfig(
        batch_size=16, channels=4, cells=1, epochs=5, auxiliary_weight=0.0, cutout=0, optimizer=optimizer
    )
    genotype = nasbench201.decode((1, 2, 0, 1, 4, 1))
    network = derived_network(genotype, channels=4, cells=1, classes=2)
    with jax.enable_x64(True):
        split = load(source).for_training(0.0)
        training = make_training(Experiment(data=source, train=settings), genotype, split)
        state = training.init(jax.random.key(0))
        images = normalize(training.arrays["images"], mean=split.mean, std=split.std)

        @jax.jit
        def gradient(weights, stats):
            def loss(weights):
                variables = {"params": weights, "batch_stats": stats}
                logits = network.apply(variables, images, True, mutable=["batch_stats"])[0][0]
                return cross_entropy(logits, training.arrays["labels"], settings.label_smoothing)

            return jax.grad(loss)(weights)

        weights, velocity = jax.tree.map(np.asarray, state.weights), None
        stats = jax.tree.map(np.asarray, state.batch_stats)
        for epoch in range(2):  # a batch has all images, in an order that does not matter
            g = jax.tree.map(np.asarray, gradient(weights, stats))
            norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(g)))
            assert norm > 0.5, "the gradient must be clipped"
            g = jax.tree.map(lambda leaf, w, norm=norm: leaf * 0.5 / (norm + 1e-6) + 0.1 * w, g, weights)
            velocity = g if velocity is None else jax.tree.map(lambda v, leaf: 0.9 * v + leaf, velocity, g)
            rate = 0.5 * (1 + np.cos(np.pi * epoch / 5)) / 2
            weights = jax.tree.map(lambda w, v, rate=rate: w - rate * v, weights, velocity)
            state, metrics = training.step(state, training.arrays)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), state.weights, weights)
            assert bool(metrics["finite"])
