"""Micro-batches and recomputed activations of a training step, on one device."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from support.mobile import mobile

from jdarts.config import DataConfig, Experiment, SGDConfig, TrainConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.genotypes import published, published_networks
from jdarts.networks.of_genotype import derived_network
from jdarts.train import train_step

KEY = jax.random.key(0)
CONFIG = Experiment(
    data=DataConfig(source="synthetic:4x4x1:2:32", crop_padding=1),
    train=TrainConfig(
        batch_size=16,
        channels=4,
        cells=1,
        epochs=2,
        auxiliary_weight=0.0,
        drop_path=0.0,
        optimizer=SGDConfig(learning_rate=0.5),
    ),
)


class WithoutNorms(nn.Module):
    """Every row by itself; the running average is that of the pixels."""

    @nn.compact
    def __call__(self, images, train, drop_path=0.0):
        mean = self.variable("batch_stats", "mean", lambda: np.zeros(()))
        if train and not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * images.mean()
        return nn.Dense(2, param_dtype=images.dtype)(nn.tanh(images.reshape(len(images), -1))), None


def test_parts_of_a_batch_add_up_to_the_whole(x64):
    """Batch norm and random draws, which this network does not have, are those of each part."""
    states, split = {}, load(CONFIG.data).for_training()
    arrays = {"images": split.train.images, "labels": split.train.labels}
    for parts in (1, 4):
        config = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, microbatches=parts))
        pure = train_step(config, published.get("DARTS_V2"), split)
        variables = WithoutNorms().init(jax.random.key(0), np.zeros((2, 4, 4, 1)), False)
        weights = ravel_pytree(variables["params"])[0]
        state = pure.init(jax.random.key(1)).replace(
            weights=variables["params"],
            batch_stats=variables["batch_stats"],
            opt_state=pure.optimizer.init(weights),
        )
        step = jax.jit(dataclasses.replace(pure, network=WithoutNorms()).step)
        for _ in range(3):
            state, metrics = step(state, arrays)
        states[parts] = jax.tree.leaves((state.weights, state.batch_stats, state.sums, metrics))
    for whole, added in zip(states[1], states[4], strict=True):
        np.testing.assert_allclose(whole, added, rtol=1e-12)
    assert not np.allclose(states[1][1], variables["params"]["Dense_0"]["kernel"]), "the weights must have moved"


@pytest.mark.parametrize("microbatches", [3, 16])
def test_unequal_parts_are_refused(microbatches):
    with pytest.raises(UserError, match=f"train.microbatches is {microbatches} with batch_size 16"):
        dataclasses.replace(CONFIG.train, microbatches=microbatches)


BLOCKS = ("AMOEBANET_A_CIFAR", "ENAS_MICRO", "ENAS_MACRO")
CELLS = ("DARTS_V2", "nasbench201_resnet")


@pytest.mark.parametrize("name", [*BLOCKS, *CELLS, "fairnas: conv_k3_c4_s2 mb_k3_e2_c4 conv_k1_c6"])
def test_recomputing_keeps_the_parameters(name):
    """Values are compared on emulated devices; here every kind of network knows the setting."""
    if name in BLOCKS:
        genotype = published_networks.networks()[name].genotype
    else:
        genotype = published.get(name) if name in CELLS else mobile(name)
    network, images = derived_network(genotype, channels=4, cells=1, classes=2), np.zeros((2, 8, 8, 3), np.float32)
    structures, counts = [], []
    for own in (network, network.clone(remat=True)):
        variables = jax.eval_shape(lambda key, own=own: own.init(key, images, False), KEY)

        def logits(variables, own=own):
            rngs = {"drop_path": KEY}
            return own.apply(variables, images, True, jnp.float32(0.2), mutable=["batch_stats"], rngs=rngs)[0][0]

        structures.append(jax.tree.map(lambda leaf: leaf.shape, variables))
        traced = jax.make_jaxpr(logits)(variables)
        counts.append(sum(eqn.primitive.name in ("remat", "remat2", "checkpoint") for eqn in traced.eqns))
    assert structures[0] == structures[1]
    assert counts[0] == 0 < counts[1]
