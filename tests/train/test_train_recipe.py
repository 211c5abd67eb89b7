"""The parts of the ImageNet recipe in a training step, against NumPy."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from jdarts.config import DataConfig, Experiment, SGDConfig, TrainConfig
from jdarts.data import load
from jdarts.data.dataset import TestImages
from jdarts.data.evaluation import evaluation_batches
from jdarts.data.streaming import BatchShare
from jdarts.errors import UserError
from jdarts.genotypes import published
from jdarts.networks.of_genotype import check_network, count_network, derived_network
from jdarts.spaces import nasbench201
from jdarts.train import TrainStep, train_step
from jdarts.train.step import is_norm_or_bias

CONFIG = Experiment(
    data=DataConfig(source="synthetic:4x4x3:7:140", crop_padding=0, flip=False),
    train=TrainConfig(
        batch_size=140,
        channels=4,
        cells=1,
        epochs=3,
        auxiliary_weight=0.0,
        cutout=0,
        drop_path=0.0,
        optimizer=SGDConfig(learning_rate=0.5, weight_decay=0.1, gradient_clip=0.0),
    ),
)
GENOTYPE = nasbench201.decode((1, 2, 0, 1, 4, 1))


class Linear(nn.Module):
    """A linear network with a scale, and the mean square of its inputs as a running average."""

    @nn.compact
    def __call__(self, images, train, drop_path=0.0):
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(()))
        x = images.reshape(len(images), -1)
        if train and not self.is_initializing():
            mean.value = 0.5 * mean.value + 0.5 * (x * x).mean()
        scale = self.param("scale", nn.initializers.ones, (x.shape[1],))
        kernel = self.param("kernel", nn.initializers.normal(0.1), (x.shape[1], 7))
        return (x * scale) @ kernel + self.param("bias", nn.initializers.ones, (7,)), None


def linear(**train: Any) -> tuple[TrainStep, Any, dict[str, np.ndarray]]:
    """The step of the linear network, its state and the images."""
    config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **train))
    split = load(config.data).for_training()
    pure = dataclasses.replace(train_step(config, GENOTYPE, split), network=Linear())
    variables = Linear().init(jax.random.key(0), np.zeros((2, 4, 4, 3)), False)
    start = variables["params"], variables["batch_stats"]
    opt_state = pure.optimizer.init(ravel_pytree(start[0])[0])
    state = train_step(config, GENOTYPE, split).init(jax.random.key(1))
    state = state.replace(weights=start[0], batch_stats=start[1], opt_state=opt_state)
    state = state.replace(average=jax.tree.map(jnp.copy, start) if pure.settings.average else None)
    return pure, state, {"images": split.train.images, "labels": split.train.labels}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def gradient(weights: dict[str, np.ndarray], x: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Of the mean cross-entropy with these targets."""
    wrong = (softmax((x * weights["scale"]) @ weights["kernel"] + weights["bias"]) - targets) / len(x)
    scaled = x.T @ wrong
    return {
        "kernel": weights["scale"][:, None] * scaled,
        "scale": (scaled * weights["kernel"]).sum(1),
        "bias": wrong.sum(0),
    }


def inputs(pure: TrainStep, arrays: dict[str, np.ndarray]) -> np.ndarray:
    mean, std = (np.asarray(value) for value in (pure.augmentation.mean, pure.augmentation.std))
    return ((arrays["images"] / 255 - mean) / std).reshape(140, -1)


def test_norms_and_biases_do_not_decay_and_the_average_follows(x64):
    pure, state, arrays = linear(decay_norms=False, average=0.9)
    x, targets = inputs(pure, arrays), np.eye(7)[arrays["labels"]]
    weights = jax.tree.map(np.array, state.weights)
    mean, average = 0.0, (jax.tree.map(np.array, state.weights), 0.0)
    velocity, step = jax.tree.map(np.zeros_like, weights), jax.jit(pure.step)
    for epoch in range(3):  # a batch has all images
        g = gradient(weights, x, targets)
        g["kernel"] = g["kernel"] + 0.1 * weights["kernel"]
        rate = 0.001 + 0.499 * (1 + np.cos(np.pi * epoch / 3)) / 2
        for name in weights:
            velocity[name] = 0.9 * velocity[name] + g[name]
            weights[name] = weights[name] - rate * velocity[name]
        mean = 0.5 * mean + 0.5 * (x * x).mean()
        decay = min(0.9, (1 + epoch) / (10 + epoch))
        average = (
            {name: decay * average[0][name] + (1 - decay) * weights[name] for name in weights},
            decay * average[1] + (1 - decay) * mean,
        )
        state, _ = step(state, arrays)
    for name in weights:
        np.testing.assert_allclose(state.weights[name], weights[name], rtol=1e-9)
        np.testing.assert_allclose(state.average[0][name], average[0][name], rtol=1e-9)
    np.testing.assert_allclose(state.average[1]["mean"], average[1], rtol=1e-9)
    wanted = (x * average[0]["scale"]) @ average[0]["kernel"] + average[0]["bias"]
    np.testing.assert_allclose(pure.logits(state, arrays["images"]), wanted, rtol=1e-9)


def test_everything_decays_by_default(x64):
    pure, state, arrays = linear()
    before = jax.tree.map(np.array, state.weights)
    after = jax.jit(pure.step)(state, arrays)[0].weights
    g = gradient(before, inputs(pure, arrays), np.eye(7)[arrays["labels"]])
    for name in before:
        np.testing.assert_allclose(after[name], before[name] - 0.5 * (g[name] + 0.1 * before[name]), rtol=1e-9)


def test_the_loss_of_mixed_images_is_that_of_mixed_labels(x64):
    pure, state, arrays = linear(mixup=0.4, label_smoothing=0.1)
    batch = pure.batch(state, arrays)
    kept = float(batch["kept"])
    assert 0 < kept < 1
    both = [0.9 * np.eye(7)[np.asarray(batch[name])] + 0.1 / 7 for name in ("labels", "partners")]
    x = np.asarray(batch["images"]).reshape(140, -1)
    weights = jax.tree.map(np.asarray, state.weights)
    logits = (x * weights["scale"]) @ weights["kernel"] + weights["bias"]
    wanted = -((kept * both[0] + (1 - kept) * both[1]) * np.log(softmax(logits))).sum(1).mean()
    np.testing.assert_allclose(pure.loss(state.weights, batch)[0], wanted, rtol=1e-9)


def test_the_five_largest_logits(x64):
    pure, state, arrays = linear()
    images = TestImages(arrays["images"][:10], arrays["labels"][:10])
    logits = np.asarray(pure.logits(state, images.images))
    ranks = (logits > logits[np.arange(10), images.labels][:, None]).sum(1)
    sums = {"right": 0, "right_5": 0}
    for rows in evaluation_batches(images, BatchShare(batch_size=6)):
        totals = pure.totals(state, {name: jnp.asarray(array[0]) for name, array in rows.items()})
        sums = {name: sums[name] + int(totals[name]) for name in sums}
    assert sums == {"right": (ranks < 1).sum(), "right_5": (ranks < 5).sum()}
    assert 0 < sums["right_5"] < 10


@pytest.mark.parametrize("name", ["DARTS_V2", "nasbench201_resnet"])
def test_norms_and_biases_are_found_by_name(name):
    network = derived_network(published.get(name), channels=4, cells=3, classes=2)
    images = np.zeros((2, 16, 16, 3), np.float32)
    params = jax.eval_shape(partial(network.init, train=False), jax.random.key(0), images)["params"]
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        names = [key.key for key in path]
        norm_or_bias = any("norm" in part for part in names) or names[-1] == "bias"
        assert is_norm_or_bias(path) == norm_or_bias, names
        assert norm_or_bias or np.prod(leaf.shape) > 4


def test_the_imagenet_stem():
    sizes = {"channels": 48, "cells": 14}
    genotype = published.get("DARTS_V2")
    count = count_network(genotype, classes=1000, image_size=224, stem="imagenet", **sizes)
    assert (count.parameters, count.macs) == (4_718_752, 529_911_552)
    network = derived_network(genotype, classes=1000, stem="imagenet", **sizes)
    assert network.stem == "imagenet" and not network.auxiliary_second_norm
    check_network(genotype, image_size=224, auxiliary=True, stem="imagenet", **sizes)
    with pytest.raises(UserError, match="NAS-Bench-201 networks have only that for CIFAR"):
        check_network(GENOTYPE, image_size=32, stem="imagenet", **sizes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_epochs": 9}, "train.warmup_epochs is 9 with 3 epochs"),
        ({"schedule": "linear"}, "train.schedule is linear with 3 epochs; it needs more than 5"),
        ({"mixup": 0.2, "batch_size": 7}, "mixup and cutmix mix pairs"),
        ({"hue_jitter": 0.7}, "train.hue_jitter is 0.7; it must be 0 to 0.5"),
    ],
)
def test_mistakes(settings, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(CONFIG.train, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "rand_augment"}, "train.policy is rand_augment, which changes images as they are decoded"),
        ({"color_jitter": 0.4}, r"train.color_jitter is 0.4, but the images have 1 channel\(s\)"),
    ],
)
def test_augmentations_that_the_images_cannot_have(settings, message):
    data = dataclasses.replace(CONFIG.data, source="synthetic:4x4x1:2:32")
    config = dataclasses.replace(CONFIG, data=data, train=dataclasses.replace(CONFIG.train, **settings))
    with pytest.raises(UserError, match=message):
        train_step(config, GENOTYPE, load(data).for_training())
