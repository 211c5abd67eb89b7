"""Networks of published genotypes: sizes, drop-path, auxiliary head, refused settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, published
from jdarts.networks.counting import count_darts_cnn
from jdarts.networks.derived import AuxiliaryHead
from jdarts.networks.edges import drop_path
from jdarts.spaces import DerivedNetwork, check_derived

CIFAR = {"channels": 36, "cells": 20, "classes": 10}
IMAGENET = {"channels": 48, "cells": 14, "classes": 1000, "stem": "imagenet"}
V2 = published.get("DARTS_V2")
DARTS_FAMILY = [name for name in published.names() if published.get(name).reduce is not None]
SPECIAL = [
    "NASNet",
    "AmoebaNet",
    "ENASNet",
    "FairDARTS_a",
    "FairDARTS_b",
    "DCO_SPARSE_BS_64",
    "DARTS_V1",
    "DARTS_V2",
]
SAMPLE = sorted({*SPECIAL, *DARTS_FAMILY[::5]})
MARKED = [pytest.param(name, marks=() if name in SPECIAL else pytest.mark.slow) for name in SAMPLE]


def _init_shapes(network, size):
    return jax.eval_shape(lambda key: network.init(key, jnp.zeros((1, size, size, 3)), False), jax.random.key(0))


def _parameters(genotype, **settings):
    size = 224 if settings.get("stem") == "imagenet" else 32
    variables = _init_shapes(DerivedNetwork(genotype, **settings), size)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("name", MARKED)
def test_size_of_published_genotypes_on_cifar(name):
    assert len(SAMPLE) >= 40
    # Counting is arithmetic on the genotype, without the modules. Six cells, of which 2 and 4 reduce, have every kind
    # of cell of twenty: one and two cells after the stem, reducing ones, one and two cells after a reduction.
    short = CIFAR | {"cells": 6}
    assert _parameters(published.get(name), **short) == count_darts_cnn(published.get(name), **short).parameters


def test_published_sizes():
    assert count_darts_cnn(published.get("DARTS_V1"), **CIFAR).parameters == 3_169_414
    assert _parameters(published.get("DARTS_V1"), **CIFAR) == 3_169_414
    assert _parameters(published.get("DARTS_V2"), **CIFAR, auxiliary=True) == 3_349_342 + 476_426
    assert _parameters(published.get("DARTS_V2"), **IMAGENET, auxiliary=True) == 4_718_752 + 1_262_312


def test_the_auxiliary_head_without_its_second_norm():
    """The ImageNet network of the DARTS authors."""
    settings = IMAGENET | {"auxiliary": True, "auxiliary_second_norm": False}
    assert _parameters(V2, **settings) == 4_718_752 + 1_260_776
    network = DerivedNetwork(V2, **settings | {"channels": 4, "cells": 3, "classes": 5})
    variables = _init_shapes(network, 224)
    assert variables["params"]["auxiliary_head"].keys() == {"conv_1", "norm_1", "conv_2", "classifier"}
    assert variables["batch_stats"]["auxiliary_head"].keys() == {"norm_1"}


def test_the_auxiliary_head_written_out():
    x = jax.random.normal(jax.random.key(0), (4, 7, 7, 6))
    for norms in ((True, False), (True, True)):
        head = AuxiliaryHead(classes=3, stride=2, norms=norms)
        variables = head.init(jax.random.key(1), x, True)
        logits, _ = head.apply(variables, x, True, mutable=["batch_stats"])
        params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
        h = np.maximum(np.asarray(x, np.float64), 0)
        h = np.stack([[h[:, i : i + 5, j : j + 5].mean((1, 2)) for j in (0, 2)] for i in (0, 2)]).transpose(2, 0, 1, 3)
        h = h @ params["conv_1"][0, 0]
        h = np.maximum((h - h.mean((0, 1, 2))) / np.sqrt(h.var((0, 1, 2)) + 1e-5), 0)
        h = np.einsum("nijc,ijcd->nd", h, params["conv_2"])
        if norms[1]:
            h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
        expected = np.maximum(h, 0) @ params["classifier"]["kernel"] + params["classifier"]["bias"]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["NASNet", "FairDARTS_b"])
def test_size_with_imagenet_stem_and_auxiliary_head(name):
    genotype = published.get(name)
    count = count_darts_cnn(genotype, **IMAGENET, image_size=224, auxiliary=True)
    assert _parameters(genotype, **IMAGENET, auxiliary=True) == count.parameters


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_short_networks(cells):
    settings = {"channels": 4, "cells": cells, "classes": 3, "auxiliary": True}
    size = 16 if cells == 1 else 32
    network = DerivedNetwork(published.get("DARTS_V2"), **settings)
    variables = _init_shapes(network, size)
    assert "auxiliary_head" in variables["params"]
    x = jnp.zeros((2, size, size, 3))

    def train(variables, key):
        return network.apply(variables, x, True, 0.1, rngs={"drop_path": key}, mutable=["batch_stats"])

    (logits, auxiliary), _ = jax.eval_shape(train, variables, jax.random.key(0))
    assert logits.shape == auxiliary.shape == (2, 3)
    logits, auxiliary = jax.eval_shape(lambda v: network.apply(v, x, False), variables)
    assert logits.shape == (2, 3) and auxiliary is None


@pytest.mark.parametrize("name", ["NASNet", "FairDARTS_b"])
def test_forward_is_finite_and_evaluation_deterministic(name):
    network = DerivedNetwork(published.get(name), channels=2, cells=3, classes=3)
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    variables = jax.jit(lambda key: network.init(key, x, False))(jax.random.key(0))
    forward = jax.jit(lambda v, rate: network.apply(v, x, False, rate)[0])
    logits = forward(variables, 0.0)
    assert logits.shape == (2, 3) and np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, forward(variables, 0.5))  # without rngs: nothing is dropped


def _reduction_network(op, source=0):
    """One reduction cell of one node with one edge, besides an identity between nodes."""
    cell = Cell(nodes=(((op, source),), (("skip_connect", 2),)), concat=(3,))
    return Genotype(normal=cell, reduce=cell)


def _cell_output(genotype, rate, seed=0, samples=400):
    """The output of the only cell, per sample, in training."""
    network = DerivedNetwork(genotype, channels=2, cells=1, classes=2)
    x = jax.random.normal(jax.random.key(1), (samples, 4, 4, 3))
    variables = network.init(jax.random.key(0), x[:1], False)
    _, state = network.apply(
        variables,
        x,
        True,
        rate,
        rngs={"drop_path": jax.random.key(seed)},
        mutable=["batch_stats", "intermediates"],
        capture_intermediates=lambda module, _: module.name == "cell_0",
    )
    return np.asarray(state["intermediates"]["cell_0"]["__call__"][0])


def test_drop_path_zeroes_whole_samples_and_rescales_the_others():
    genotype = _reduction_network("skip_connect")  # strided, so it may be dropped; its copy to node 3 may not
    kept, dropped = _cell_output(genotype, 0.0), _cell_output(genotype, 0.3)
    zero = np.all(dropped == 0, axis=(1, 2, 3))
    assert zero.mean() == pytest.approx(0.3, abs=0.08)
    np.testing.assert_allclose(dropped[~zero], kept[~zero] / 0.7, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(zero, np.all(_cell_output(genotype, 0.3, seed=1) == 0, axis=(1, 2, 3)))


def test_images_are_dropped_as_often_in_16_bits_as_asked():
    """A rate of 0.001 is none at all if it is rounded to bfloat16, in which 0.999 is 1."""
    kept = drop_path(jax.random.key(0), jnp.ones((200_000, 1, 1, 1), jnp.bfloat16), 0.001)
    assert kept.dtype == jnp.bfloat16
    assert abs(float((kept == 0).sum()) - 200) < 60  # four standard deviations


def test_masks_of_the_edges_of_a_node_are_independent():
    cell = Cell(nodes=((("max_pool_3x3", 0),), (("max_pool_3x3", 1),)), concat=(2, 3))
    output = _cell_output(Genotype(normal=cell, reduce=cell), 0.5)
    zero = np.stack([np.all(output[..., part] == 0, axis=(1, 2, 3)) for part in (slice(4), slice(4, 8))])
    assert abs(np.corrcoef(zero)[0, 1]) < 0.2


def test_rate_zero_is_no_drop_path_in_value_and_gradient():
    network = DerivedNetwork(published.get("FairDARTS_b"), channels=2, cells=1, classes=2)
    x = jax.random.normal(jax.random.key(1), (3, 4, 4, 3))
    variables = network.init(jax.random.key(0), x, False)

    def loss(params, rate, rngs):
        variables_ = variables | {"params": params}
        (logits, _), _ = network.apply(variables_, x, True, rate, rngs=rngs, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(logits))

    plain = jax.jit(lambda p: jax.value_and_grad(loss)(p, 0.0, None))
    traced = jax.jit(
        lambda p, rate: jax.value_and_grad(loss)(p, rate, {"drop_path": jax.random.key(7)}),
    )
    expected = plain(variables["params"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        traced(variables["params"], 0.0),
        expected,
    )
    assert traced(variables["params"], 0.5)[0] != expected[0]
    assert traced._cache_size() == 1  # the rate changed, the program did not


def test_noise_needs_its_rng_and_changes_with_it():
    network = DerivedNetwork(_reduction_network("noise"), channels=2, cells=1, classes=2)
    x = jnp.ones((2, 4, 4, 3))
    variables = network.init(jax.random.key(0), x, False)
    first, second = (network.apply(variables, x, False, rngs={"noise": jax.random.key(k)})[0] for k in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 15}, "channels is 15; it must be even"),
        ({"cells": 0}, "cells is 0"),
        ({"image_size": 30}, "images of 30x30 cannot pass.*divisible by 4"),
        ({"image_size": (32, 34)}, "images of 32x34"),
        ({"image_size": 28}, "as 7 pixels and it needs 8 to 10; use 32x32"),
        ({"image_size": 44}, "as 11 pixels"),
        ({"cells": 1}, "as 16 pixels and it needs 8 to 10; use 16x16"),
        ({"stem": "imagenet"}, "as 1 pixels and it needs 7 to 8; use 224x224"),
        ({"stem": "imagenet", "image_size": 230}, "images of 230x230 cannot pass.*divisible by 32"),
        ({"stem": "svhn"}, "unknown stem 'svhn'"),
        ({"genotype": published.get("nasbench201_resnet")}, "no reduction cell"),
        ({"genotype": _reduction_network("nor_conv_3x3")}, "unknown op of a derived network 'nor_conv_3x3'"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    settings = {"genotype": V2, "channels": 16, "cells": 8, "image_size": 32, "auxiliary": True} | change
    with pytest.raises(UserError, match=message) as error:
        check_derived(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("image_size", [32, 36, 40, (32, 40)])
def test_possible_networks_pass(image_size):
    check_derived(V2, channels=16, cells=8, image_size=image_size, auxiliary=True)
    check_derived(V2, channels=16, cells=14, image_size=224, auxiliary=True, stem="imagenet")


def test_network_refuses_what_the_check_refuses():
    x = jnp.zeros((1, 28, 28, 3))
    with pytest.raises(UserError, match="as 7 pixels"):
        DerivedNetwork(V2, 4, 8, 10, auxiliary=True).init(jax.random.key(0), x, False)
    with pytest.raises(UserError, match=r"drop_path is 1\.0"):
        DerivedNetwork(V2, 4, 8, 10).init(jax.random.key(0), x, True, 1.0)
