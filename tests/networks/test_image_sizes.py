"""Networks used as a library refuse images that they cannot halve with the message of the command line."""

import jax
import jax.numpy as jnp
import pytest

from jdarts.errors import UserError
from jdarts.genotypes import parse, published
from jdarts.networks.of_genotype import check_network, derived_network
from jdarts.spaces import DerivedNetwork, darts_cnn, define_space, nasbench201, robust_s2

KEY = jax.random.key(0)
OWN = define_space("tiny", nodes=1, normal=("skip_connect", "max_pool_3x3"), reduce=("none", "avg_pool_3x3"))
SPACES = {space.name: space for space in (darts_cnn, robust_s2, OWN, nasbench201)}
CELLS = {"darts_cnn": 3, "robust_s2": 3, "tiny": 1, "nasbench201": 1}
FACTOR = {"darts_cnn": 4, "robust_s2": 4, "tiny": 2, "nasbench201": 4}
UNFIT = [(30, 30), (27, 41), (2, 2), (1, 1), (32, 30), (30, 32), (0, 32), (4, 6), (8, 3)]
ALL_SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"


def call(space, height, width):
    """The supernet's call, with no variables that it could use."""
    network = space.supernet(channels=4, cells=CELLS[space.name], classes=3)
    weights = {c: jnp.ones(shape) for c, shape in space.alpha_shapes.items()}
    return network, (weights, jnp.zeros((2, height, width, 3)), True)


@pytest.mark.parametrize("name", SPACES)
def test_supernets_refuse_images_that_they_cannot_halve(name):
    space, factor = SPACES[name], FACTOR[name]
    unfit = [size for size in UNFIT if size[0] % factor or size[1] % factor or not all(size)]
    assert len(unfit) >= 4
    for size in unfit:
        with pytest.raises(UserError) as asked:
            space.check_image(*size, cells=CELLS[name])
        network, args = call(space, *size)
        for use in (network.init, network.apply):
            with pytest.raises(UserError) as caught:
                use({"params": KEY} if use == network.init else {}, *args)
            assert str(caught.value) == str(asked.value).replace("space.cells", "cells")
            assert f"images of {size[0]}x{size[1]}" in str(caught.value)
            assert f"divisible by {factor}" in str(caught.value)


@pytest.mark.parametrize("name", ["robust_s2", "tiny", "nasbench201"])
def test_supernets_take_the_smallest_and_oblong_images(name):
    space, factor = SPACES[name], FACTOR[name]
    for height, width in ((factor, factor), (factor, 3 * factor)):
        space.check_image(height, width, cells=CELLS[name])
        network, (weights, images, train) = call(space, height, width)

        def logits(weights, images, network=network, train=train):
            variables = network.init({"params": KEY}, weights, images, train)
            return network.apply(variables, weights, images, train, mutable=["batch_stats"])[0]

        assert jax.eval_shape(logits, weights, images).shape == (2, 3)


@pytest.mark.parametrize("genotype", [published.get("DARTS_V2"), parse(ALL_SKIP)])
def test_derived_networks_refuse_images_that_they_cannot_halve(genotype):
    network = derived_network(genotype, channels=4, cells=3, classes=3)
    for size in UNFIT:
        with pytest.raises(UserError, match=r"images of|image height is 0") as asked:
            check_network(genotype, channels=4, cells=3, image_size=size)
        with pytest.raises(UserError) as caught:
            network.apply({}, jnp.zeros((2, *size, 3)), True)
        assert str(caught.value) == str(asked.value)


@pytest.mark.parametrize("shape", [(32, 32, 3), (2, 32, 32), (1, 2, 32, 32, 3)])
def test_networks_say_what_shape_images_have(shape):
    networks = [
        (space.supernet(channels=4, cells=3, classes=3), ({c: jnp.ones(s) for c, s in space.alpha_shapes.items()},))
        for space in SPACES.values()
    ]
    networks.append((DerivedNetwork(published.get("DARTS_V2"), channels=4, cells=3, classes=3), ()))
    networks.append((derived_network(parse(ALL_SKIP), channels=4, cells=1, classes=3), ()))
    for network, weights in networks:
        with pytest.raises(
            UserError, match=r"images have shape .*; a network takes \[batch, height, width, channels\]"
        ):
            network.apply({}, *weights, jnp.zeros(shape), True)
