"""The network of a detector: its size, its levels, its backbones, and the parts that do not train."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mobile import mobile

from jdarts.detection.anchors import level_sizes
from jdarts.detection.resnet import ResNet50
from jdarts.detection.retinanet import PRIOR, Heads, RetinaNet
from jdarts.errors import UserError
from jdarts.genotypes import load_architecture
from jdarts.networks.backbones import backbone_network, feature_shapes
from jdarts.ops.initializers import abstract_network, init_network
from jdarts.spaces import nasbench201
from jdarts.train.frozen import Frozen

CELLS = {"channels": 8, "cells": 3, "stem": "imagenet"}
SMALL = "fairnas: conv_k3_c4_s2 mb_k3_c4_s2 mb_k3_c4_s2 mb_k3_c4_s2 mb_k3_c4_s2"


def size(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_the_size_with_a_resnet_is_that_of_mmdetection():
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables, _ = abstract_network(RetinaNet(ResNet50(), 80), images, True)
    weights = variables["params"]
    assert size(weights) == 37_968_692
    trained, still = Frozen(("stem", "stage_1", "statistics"), weights).split(weights)
    assert size(trained) == 37_743_348 and size(still) == 37_968_692 - 37_743_348


@pytest.mark.parametrize("backbone", ["resnet", "cells", "mobile"])
def test_the_levels_have_the_places_of_the_anchors(backbone):
    made = {
        "resnet": ResNet50,
        "cells": lambda: backbone_network(load_architecture("DARTS_V2"), CELLS),  # pyright: ignore[reportArgumentType]
        "mobile": lambda: backbone_network(mobile(SMALL), {"channels": 2, "cells": 1}),
    }[backbone]()
    network, images = RetinaNet(made, 5), jax.ShapeDtypeStruct((2, 160, 96, 3), jnp.float32)
    keys = {name: jax.random.key(0) for name in ("params", "drop_path")}
    (levels, _), _ = jax.eval_shape(lambda images: network.init_with_output(keys, images, False), images)
    assert [level.classes.shape[1:3] for level in levels] == level_sizes(160, 96)
    assert {level.classes.shape[3:] for level in levels} == {(9, 5)}
    assert {level.boxes.shape[3:] for level in levels} == {(9, 4)}


def test_every_class_has_the_prior_at_the_start():
    network = RetinaNet(backbone_network(mobile(SMALL), {"channels": 2, "cells": 1}), 5)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = init_network(network, jax.random.key(0), jnp.asarray(images), True)
    levels, _ = jax.jit(lambda variables: network.apply(variables, images, False))(variables)
    for level in levels:
        np.testing.assert_allclose(jax.nn.sigmoid(level.classes), PRIOR, rtol=0.05)
        assert np.abs(level.boxes).max() < 0.1


@pytest.mark.parametrize("channels", [16, 64, 256])
def test_narrow_pyramids_are_smaller_and_their_outputs_spread_as_widely(channels):
    """Weights of deviation 0.01 at 256 channels let a layer multiply the spread by 0.01 · √(9 · 256)."""
    heads, x = Heads(5, channels), np.random.default_rng(0).normal(size=(1, 24, 24, channels)).astype(np.float32)
    variables = init_network(heads, jax.random.key(0), [jnp.asarray(x)])
    hidden, last = channels * channels * 9 + channels, 9 * channels
    assert size(variables) == 8 * hidden + 45 * (last + 1) + 36 * (last + 1)
    (level,) = jax.jit(heads.apply)(variables, [x])
    layer = 0.01 * math.sqrt(9 * 256)
    assert float(jnp.std(level.boxes)) == pytest.approx(layer * (layer / math.sqrt(2)) ** 4, rel=0.3)


def test_the_features_of_a_backbone():
    cells = backbone_network(load_architecture("DARTS_V2"), CELLS)  # pyright: ignore[reportArgumentType]
    assert feature_shapes(cells, (64, 96, 3)) == [(8, 12, 32), (4, 6, 64), (2, 3, 128)]
    found = feature_shapes(backbone_network(mobile(SMALL), {"channels": 2, "cells": 1}), (64, 64, 3))
    assert found == [(side, side, 4) for side in (32, 16, 8, 4, 2)]


def test_networks_without_a_pyramid_are_refused():
    with pytest.raises(UserError, match="give another genotype"):
        backbone_network(nasbench201.decode((1, 2, 0, 1, 4, 1)), {"channels": 8, "cells": 2})


def test_a_backbone_with_the_stem_for_small_images_is_refused():
    network = RetinaNet(backbone_network(load_architecture("DARTS_V2"), CELLS | {"stem": "cifar"}), 5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="stem imagenet"):
        abstract_network(network, jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32), True)
