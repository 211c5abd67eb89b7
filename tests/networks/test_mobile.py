"""Networks of mobile architectures: sizes, values, gradients, and the training of small ones."""

import dataclasses
import functools
import json
from typing import TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mobile import mobile
from support.real_data import REAL_DATA

from jdarts import spaces
from jdarts.config import DataConfig, Experiment, TrainConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.estimation import FromScratch
from jdarts.genotypes import parse_architecture
from jdarts.genotypes.macro import MacroNetwork
from jdarts.genotypes.published_mobile import networks
from jdarts.networks.mobile.blocks import MobileBlock
from jdarts.networks.mobile.layers import split_by_parity
from jdarts.networks.mobile.network import MobileNetwork
from jdarts.networks.mobile.size import count_mobile
from jdarts.networks.of_genotype import check_network, derived_network
from jdarts.ops.initializers import init_network
from jdarts.ops.network_size import module_sizes
from jdarts.spaces.decisions import uniform
from jdarts.train import make_training

PUBLISHED = """
PROXYLESS_CPU 4361648 439.24
PROXYLESS_GPU 7119848 465.26
PROXYLESS_MOBILE 4080512 320.43
PROXYLESS_MOBILE_14 6857568 580.88
FAIRNAS_A 4651352 388.12
FAIRNAS_B 4506272 345.30
FAIRNAS_C 4397864 321.02
FAIRNAS_A_SE05 5881920
FAIRNAS_B_SE05 5693040
FAIRNAS_C_SE05 5551776
FAIRNAS_A_SE 7103512
FAIRNAS_B_SE 6871432
FAIRNAS_C_SE 6697720
MNASNET_A1 3887038 311.58
MNASNET_B1 4383312 314.42
MNASNET_SMALL 2030264
SPOS 3558464 322.92
MOBILENET_V2 3504872 300.77
"""
"""Parameters and millions of MACs; published where the papers' sources print them."""
TEN_CLASSES = {
    "FAIRNAS_A_SE05": 4_613_730,
    "FAIRNAS_B_SE05": 4_424_850,
    "FAIRNAS_C_SE05": 4_283_586,
    "FAIRNAS_A_SE": 5_835_322,
    "FAIRNAS_B_SE": 5_603_242,
    "FAIRNAS_C_SE": 5_429_530,
}


def test_sizes_of_published_networks():
    rows = [line.split() for line in PUBLISHED.split("\n") if line]
    assert {row[0] for row in rows} == set(networks())
    for name, parameters, *macs in rows:
        count = count_mobile(networks()[name].architecture)
        assert count.parameters == int(parameters), name
        assert [f"{count.macs / 1e6:.2f}"] * len(macs) == macs, name
    for name, parameters in TEN_CLASSES.items():
        assert count_mobile(networks()[name].architecture, classes=10).parameters == parameters, name


@pytest.mark.parametrize(
    ("multiplier", "parameters", "macs"), [(0.35, 1.66, 59), (0.5, 1.95, 97), (0.75, 2.61, 209), (1.4, 6.06, 582)]
)
def test_widths_of_mobilenet_v2(multiplier, parameters, macs):
    """Table of the authors' release (tensorflow/models, slim/nets/mobilenet), in millions."""
    count = count_mobile(networks()["MOBILENET_V2"].architecture.scaled(multiplier))
    assert count.parameters / 1e6 == pytest.approx(parameters, rel=0.015)
    assert count.macs / 1e6 == pytest.approx(macs, rel=0.01)


def test_sizes_of_nasbench_macro():
    sizes = {"11111221": (2_181_386, 65_012_224), "22212220": (1_985_514, 85_164_544)}
    table = REAL_DATA / "benchmarks" / "nas-bench-macro_cifar10.json"
    if table.exists():
        rows = json.loads(table.read_text())
        sizes |= {code: (int(row["params"]), int(row["flops"])) for code, row in rows.items()}
    for code, size in sizes.items():
        count = count_mobile(MacroNetwork(code).to_mobile(), classes=10, image_size=32)
        assert (count.parameters, count.macs) == size, code


@pytest.mark.parametrize("space", ["proxyless", "mobile_s5", "mnasnet_mobile", "spos", "nasbench_macro"])
def test_the_network_has_the_size_that_arithmetic_gives(space):
    """The size read off the program of the network, layer by layer, for a random architecture and an odd image."""
    found = spaces.get_decisions(space)
    architecture = found.decode(uniform(found, np.random.default_rng(7)))
    if isinstance(architecture, MacroNetwork):
        architecture = architecture.to_mobile()
    # SAME padding of an even side at stride 2 computes one more pixel, which is dropped
    sides = (33, 65) if architecture.conventions.same_padding else (33, 47)
    sizes = module_sizes(MobileNetwork(architecture, 10), (*sides, 3))
    counted = count_mobile(architecture, classes=10, image_size=sides).modules
    assert sizes == {m.name: (m.parameters, m.macs) for m in counted if m.parameters}


@pytest.mark.parametrize(("name", "sides"), [("MNASNET_A1", (224, 112, 56, 28, 14, 7)), ("SPOS", (32, 16, 8, 4, 2, 1))])
def test_shapes_of_the_stages(name, sides):
    """The sides of the features shrink with every stride of 2, and the widths are those of the architecture."""
    network = networks()[name].architecture
    module, images = MobileNetwork(network, 5), jax.ShapeDtypeStruct((2, sides[0], sides[0], 3), jnp.float32)

    def call(images):
        of_layers = lambda module, method: isinstance(module, MobileBlock) and method == "__call__"  # noqa: E731
        variables = module.init(jax.random.key(0), images, False)
        return module.apply(variables, images, False, capture_intermediates=of_layers, mutable=["intermediates"])

    (logits, auxiliary), seen = jax.eval_shape(call, images)
    assert (logits.shape, auxiliary) == ((2, 5), None)
    halved = np.cumsum([layer.stride == 2 for layer in network.layers])
    for i, layer in enumerate(network.layers):
        (features,) = seen["intermediates"][f"layer_{i}"]["__call__"]
        assert features.shape == (2, sides[halved[i]], sides[halved[i]], layer.width), i


# Values: an evaluation in NumPy, with loops over pixels and filters


def convolve(x, kernel, stride, groups, same):
    k, rows, columns = kernel.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    before = [
        max((n - 1) * stride + k - side, 0) // 2 if same else k // 2
        for n, side in ((rows, x.shape[1]), (columns, x.shape[2]))
    ]
    padded = np.pad(x, ((0, 0), (before[0], k), (before[1], k), (0, 0)))
    y = np.zeros((x.shape[0], rows, columns, kernel.shape[-1]))
    per_input, per_output = kernel.shape[2], kernel.shape[3] // groups
    for i in range(rows):
        for j in range(columns):
            window = padded[:, i * stride : i * stride + k, j * stride : j * stride + k]
            for o in range(kernel.shape[-1]):
                first = o // per_output * per_input
                y[:, i, j, o] = np.einsum("nabc,abc->n", window[..., first : first + per_input], kernel[..., o])
    return y


class Evaluation:
    """A mobile layer in evaluation mode, from its variables."""

    def __init__(self, network, variables, index):
        self.layer, self.family = network.layers[index], network.conventions
        self.weights = variables["params"].get(f"layer_{index}", {})
        self.statistics = variables["batch_stats"].get(f"layer_{index}", {})
        self.activation = {
            "relu": lambda x: np.maximum(x, 0),
            "relu6": lambda x: np.clip(x, 0, 6),
            "swish": lambda x: x / (1 + np.exp(-x)),
        }[network.activation_of(self.layer)]

    def conv(self, name, x, stride=1, depthwise=False, linear=False):
        kernel, norm = self.weights[name]["kernel"], self.weights[name]["norm"]
        moments = self.statistics[name]["norm"]
        y = convolve(x, kernel, stride, x.shape[-1] if depthwise else 1, self.family.same_padding)
        y = (y - moments["mean"][0]) / np.sqrt(moments["var"][0] + self.family.norm_epsilon)
        y = y * norm["scale"][0] + norm["bias"][0]
        return y if linear else self.activation(y)

    def inverted(self, x):
        y = self.conv("expand", x) if self.layer.expansion > 1 else x
        y = self.conv("depthwise", y, self.layer.stride, depthwise=True)
        if self.layer.squeeze:
            gate = self.weights["squeeze_excite"]
            hidden = self.activation(y.mean((1, 2)) @ gate["down"] + gate["down_bias"])
            y = y / (1 + np.exp(-(hidden @ gate["up"] + gate["up_bias"])))[:, None, None]
        return self.conv("project", y, linear=True)

    def shuffle(self, x):
        stride = self.layer.stride
        bypass, main = (x[..., 0::2], x[..., 1::2]) if stride == 1 else (x, x)
        if stride == 2:
            bypass = self.conv("bypass_project", self.conv("bypass_depthwise", bypass, 2, depthwise=True, linear=True))
        main = self.conv("depthwise", self.conv("expand", main), stride, depthwise=True, linear=True)
        return np.concatenate([bypass, self.conv("project", main)], -1)

    def xception(self, x):
        bypass, main = x[..., 0::2], x[..., 1::2]
        for i in (1, 2):
            main = self.conv(f"point_{i}", self.conv(f"depthwise_{i}", main, depthwise=True, linear=True))
        main = self.conv("project", self.conv("depthwise_3", main, depthwise=True, linear=True))
        return np.concatenate([bypass, main], -1)


def maxima(x):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    return np.max([padded[:, i : i + x.shape[1], j : j + x.shape[2]] for i in range(3) for j in range(3)], 0)


def evaluated(text, images):
    """The logits of a network with random variables: jdarts' and NumPy's."""
    network = mobile(text)
    module, rng = MobileNetwork(network, 3), np.random.default_rng(1)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), images)
    variables = jax.tree.map(lambda leaf: rng.uniform(0.3, 1.2, leaf.shape) * rng.choice([-1, 1], leaf.shape), shapes)
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    x = images
    for i, layer in enumerate(network.layers):
        part = Evaluation(network, variables, i)
        match layer.op:
            case "conv":
                y = part.conv("conv", x, layer.stride)
            case "mb":
                y = part.inverted(x)
            case "shuffle":
                y = part.shuffle(x)
            case "xception":
                y = part.xception(x)
            case _:
                y = x if layer.stride == 1 else part.conv("project", x, layer.stride, linear=True)
        skip = {"identity": x, "pool": maxima(x), "none": 0}[layer.skip] if network.has_skip(i) else 0
        x = y + skip
    weights = variables["params"]["classifier"]
    found = jax.jit(lambda variables, images: module.apply(variables, images, False)[0])(variables, images)
    return found, x.mean((1, 2)) @ weights["kernel"] + weights.get("bias", 0)


@pytest.mark.parametrize(
    "text",
    [
        "proxyless: conv_k3_c4_s2 mb_k5_e3_c4 identity_c4 mb_k3_c6_s2 dropout_0.5",
        "mnasnet: conv_k3_c4_s2 mb_k3_e2_se0.5_c4 mb_k3_c4_poolskip mb_k5_e2_c4_noskip mb_k5_c6_s2 conv_k1_c6_poolskip",
        "fairnas: conv_k3_c4_swish mb_k3_e2_se1_c4_swish mb_k7_c4",
        "nasbench_macro: conv_k3_c4 identity_c6_s2 mb_k3_e3_c6",
        "spos: conv_k3_c4 shuffle_k5_c8_s2 shuffle_k3_c8 xception_c8",
    ],
)
def test_a_network_computes_what_the_papers_say(text, x64):
    found, expected = evaluated(text, np.random.default_rng(2).normal(size=(2, 8, 5, 3)))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_channels_are_split_by_parity():
    even, odd = split_by_parity(jnp.arange(6.0).reshape(1, 1, 1, 6))
    assert (even.ravel().tolist(), odd.ravel().tolist()) == ([0, 2, 4], [1, 3, 5])


# Training

TRAINED = {
    "proxyless": "proxyless: conv_k3_c8_s2 mb_k3_e3_c8 identity_c8 conv_k1_c16",
    "mnasnet": "mnasnet: conv_k3_c8_s2 mb_k3_e3_se0.25_c8 mb_k3_c8_poolskip conv_k1_c16 dropout_0.2",
    "spos": "spos: conv_k3_c8 shuffle_k3_c16_s2 xception_c16 conv_k1_c16",
}
CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:2:64", crop_padding=1, flip=False),
    train=TrainConfig(batch_size=16, epochs=2, auxiliary_weight=0.0, cutout=0, drop_path=0.2),
)


@pytest.fixture(scope="module")
def data():
    return load(CONFIG.data)


@pytest.mark.parametrize("family", TRAINED)
def test_a_step_moves_every_weight(family, data):
    network = mobile(TRAINED[family])
    training = make_training(CONFIG, network, data.for_search(CONFIG.data))
    start = jax.jit(training.init)(jax.random.key(0))
    before = jax.device_get((start.weights, start.batch_stats))
    state, metrics = training.step(start, training.arrays)
    assert bool(metrics["finite"])
    assert np.isfinite(float(metrics["train_loss"]))
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves((state.weights, state.batch_stats)), strict=True):
        assert not np.array_equal(old, new)
    momentum = network.conventions.norm_momentum
    variance = state.batch_stats["layer_0"]["conv"]["norm"]["var"]
    assert np.all(variance >= 1 - momentum), "the running variance starts at 1 and keeps that share of it"


def test_dropout_and_drop_path_act_in_training_only():
    """The mean of the logits over many keys is that without dropout; drop-path drops the branch beside a skip."""
    architecture = mobile("fairnas: conv_k1_c4 mb_k1_c4 dropout_0.5")
    images = jax.random.normal(jax.random.key(0), (8, 2, 2, 3))
    variables = init_network(MobileNetwork(architecture, 2), jax.random.key(1), images, True)

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def logits(dropout, keys, train, drop_path):
        network = MobileNetwork(dataclasses.replace(architecture, dropout=dropout), 2)
        one = lambda key: network.apply(variables, images, train, drop_path, rngs={"drop_path": key})[0]  # noqa: E731
        return jax.vmap(one)(keys)

    keys = jax.random.split(jax.random.key(2), 2000)
    plain, drawn, dropped = logits(0.0, keys, True, 0.0), logits(0.5, keys, True, 0.0), logits(0.5, keys, True, 0.9)
    assert float(jnp.std(drawn, 0).min()) > 0
    np.testing.assert_allclose(drawn.mean(0), plain[0], atol=5 * float(jnp.std(drawn, 0).max()) / 2000**0.5)
    assert float(jnp.std(dropped, 0).min()) > float(jnp.std(drawn, 0).min())
    evaluated = logits(0.5, keys, False, 0.9)
    np.testing.assert_array_equal(evaluated, np.broadcast_to(evaluated[0], evaluated.shape))


def test_a_trial_trains_and_counts_a_network_of_a_space(data):
    """NAS-Bench-Macro at an eighth of its width, from scratch."""
    train = dataclasses.replace(CONFIG.train, epochs=1, width_multiplier=1.0)
    config = dataclasses.replace(CONFIG, train=train, space=dataclasses.replace(CONFIG.space, name="nasbench_macro"))
    network = MacroNetwork("01000000")
    estimator = FromScratch(config, data)
    score = estimator(network, {"width": 0.125})
    small = network.to_mobile().scaled(0.125)
    count = count_mobile(small, classes=2, image_size=8)
    assert (score["parameters"], score["macs"]) == (count.parameters, count.macs)
    assert 0 <= score["accuracy"] <= 100
    with pytest.raises(UserError, match="budget channels has no effect on architectures of space nasbench_macro"):
        estimator.check(network, {"channels": 8})
    with pytest.raises(UserError, match="budget width has no effect"):
        estimator.check(parse_architecture("DARTS_V2"), {"width": 0.5})


class Sizes(TypedDict):
    channels: int
    cells: int


def test_what_mobile_networks_do_not_have():
    network, sizes = mobile("FAIRNAS_A"), Sizes(channels=16, cells=8)
    check_network(network, **sizes, image_size=(1, 300))
    for refused in (
        lambda: check_network(network, **sizes, image_size=32, auxiliary=True),
        lambda: derived_network(network, **sizes, classes=10, auxiliary=True),
    ):
        with pytest.raises(UserError, match=r"have no auxiliary head; set train\.auxiliary_weight to 0"):
            refused()
    with pytest.raises(UserError, match="at stride 2 it needs more"):
        check_network(parse_architecture("SPOS"), **sizes, image_size=32, width_multiplier=0.1)
    with pytest.raises(UserError, match="drop_path is 1"):
        jax.eval_shape(lambda x: MobileNetwork(network, 2).init(jax.random.key(0), x, True, 1), jnp.zeros((1, 8, 8, 3)))
