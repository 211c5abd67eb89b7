from dataclasses import replace
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.genotypes import BlockCell, BlockGenotype, block_cell
from jdarts.genotypes.blocks import Family
from jdarts.genotypes.published_networks import CIFAR, networks
from jdarts.networks.families import count_blocks
from jdarts.networks.nasnet import cell as cell_module
from jdarts.networks.nasnet import network as network_module
from jdarts.networks.nasnet.cell import NasnetCell
from jdarts.networks.nasnet.layers import FactorizedReduction, NormSettings, pool
from jdarts.networks.nasnet.layout import layout
from jdarts.networks.nasnet.network import NasnetNetwork, StemKind, check_nasnet
from jdarts.networks.nasnet.ops import BlockOp
from jdarts.networks.nasnet.size import count_nasnet, network_of
from jdarts.ops.initializers import init_network
from jdarts.ops.network_size import multiply_adds

NORM = NormSettings(1e-5, 0.1)
# Parameters and MMACs by an independent counter; the papers print the same to their digits (AmoebaNet-C: not the MACs).
SIZES = {
    "NASNET_A_MOBILE": (5_289_978, "563.64"),
    "NASNET_A_LARGE": (88_753_150, "23783"),
    "NASNET_A_CIFAR": (3_346_538, "544.33"),
    "PNASNET5_MOBILE": (5_064_487, "587.29"),
    "PNASNET5_LARGE": (86_057_668, "24937"),
    "PNASNET5_CIFAR": (3_189_082, "574.9"),
    "AMOEBANET_A_MOBILE": (5_086_930, "554.69"),
    "AMOEBANET_A_CIFAR": (3_218_266, "509.67"),
    "AMOEBANET_C_MOBILE": (6_353_815, "676.94"),
    "ENAS_MICRO": (3_894_372, "620.9"),
}


def genotype_of(name):
    genotype = networks()[name].genotype
    assert isinstance(genotype, BlockGenotype)
    return genotype


@pytest.mark.parametrize("name", [name for name in networks() if name != "ENAS_MACRO"])
def test_size_of_published_networks(name):
    count = count_blocks(genotype_of(name), networks()[name].size)
    digits = len(SIZES[name][1].partition(".")[2])
    assert (count.parameters, f"{count.macs / 1e6:.{digits}f}") == SIZES[name]


@pytest.mark.parametrize(
    ("genotype", "channels", "cells", "parameters"),
    [
        (genotype_of("AMOEBANET_A_CIFAR"), 32, 18, 2_567_754),
        (genotype_of("NASNET_A_CIFAR"), 32, 6, 1_294_698),
        (replace(genotype_of("AMOEBANET_A_CIFAR"), family="nasnet"), 24, 9, 988_834),  # no bottlenecks
        (genotype_of("PNASNET5_CIFAR"), 24, 6, 559_090),
        (replace(genotype_of("PNASNET5_CIFAR"), skip_reduction_layer_input=False), 24, 6, 545_266),
    ],
)
def test_size_of_children_of_a_search(genotype, channels, cells, parameters):
    assert count_nasnet(genotype, replace(CIFAR, channels=channels, cells=cells)).parameters == parameters


def cell_shapes(name):
    size = networks()[name].size
    network = network_of(genotype_of(name), size)
    images = jax.ShapeDtypeStruct((1, size.image_size, size.image_size, 3), jnp.float32)

    def run(images):
        captured = {"capture_intermediates": lambda module, _: isinstance(module, NasnetCell), "mutable": True}
        _, state = network.init_with_output(jax.random.key(0), images, False, **captured)
        return {name: output["__call__"][0] for name, output in state["intermediates"].items()}

    return {name: (y.shape[-1], *y.shape[1:3]) for name, y in jax.eval_shape(run, images).items()}


@pytest.mark.parametrize(
    ("name", "sides", "widths", "reductions", "stem"),
    [
        ("NASNET_A_CIFAR", (32, 16, 8), (192, 384, 768), (256, 512), {}),
        ("NASNET_A_MOBILE", (28, 14, 7), (264, 528, 1056), (352, 704), {0: (44, 56), 1: (88, 28)}),
        ("NASNET_A_LARGE", (42, 21, 11), (1008, 2016, 4032), (1344, 2688), {1: (336, 42)}),
    ],
)
def test_shapes_of_all_cell_outputs(name, sides, widths, reductions, stem):
    """The numbers of the tests of the release."""
    shapes, third = cell_shapes(name), networks()[name].size.cells // 3
    for i in range(3 * third):
        assert shapes[f"cell_{i}"] == (widths[i // third], sides[i // third], sides[i // third])
    for i, width in enumerate(reductions):
        assert shapes[f"reduction_{i}"] == (width, sides[i + 1], sides[i + 1])
    for i, (width, side) in stem.items():
        assert shapes[f"stem_cell_{i}"] == (width, side, side)
    assert len(shapes) == 3 * third + 2 + (2 if stem else 0)


# Wiring


def wires(genotype, cells, stem: StemKind = "cifar"):
    placed = layout(genotype, channels=8, cells=cells, stem=stem)
    names = ["conv", *(place.name for place in placed)]
    return {
        place.name: (names[place.current], None if place.previous is None else names[place.previous])
        for place in placed
    }


def test_wiring_around_inserted_reductions():
    """Each cell reads (current, previous); the wiring of the 6-cell CIFAR network, by hand from the release."""
    common = {
        "cell_0": ("conv", None),
        "cell_1": ("cell_0", "conv"),
        "reduction_0": ("cell_1", "cell_0"),
        "cell_3": ("cell_2", "reduction_0"),
        "reduction_1": ("cell_3", "cell_2"),
        "cell_5": ("cell_4", "reduction_1"),
    }
    behind = {"cell_2": ("reduction_0", "cell_1"), "cell_4": ("reduction_1", "cell_3")}
    skipping = {"cell_2": ("reduction_0", "cell_0"), "cell_4": ("reduction_1", "cell_2")}
    assert wires(genotype_of("NASNET_A_CIFAR"), 6) == common | behind
    assert wires(genotype_of("AMOEBANET_A_CIFAR"), 6) == common | behind
    assert wires(genotype_of("NASNET_A_LARGE"), 6) == common | skipping


def test_wiring_of_strided_cells():
    chain = {f"cell_{i}": (f"cell_{i - 1}", f"cell_{i - 2}") for i in range(2, 6)}
    chain |= {"cell_0": ("conv", None), "cell_1": ("cell_0", "conv")}
    genotype = genotype_of("PNASNET5_CIFAR")
    assert wires(genotype, 6) == chain
    stale = {"cell_2": ("cell_1", "conv"), "cell_4": ("cell_3", "cell_1")}
    assert wires(replace(genotype, skip_reduction_layer_input=False), 6) == chain | stale
    strides = [place.stride for place in layout(genotype, channels=8, cells=6, stem="cifar")]
    assert strides == [1, 1, 2, 1, 2, 1]


def test_wiring_and_widths_of_the_imagenet_stem():
    placed = layout(genotype_of("NASNET_A_MOBILE"), channels=44, cells=3, stem="imagenet")
    assert [(place.name, place.channels, place.stride) for place in placed] == [
        ("stem_cell_0", 11, 2),
        ("stem_cell_1", 22, 2),
        ("cell_0", 44, 1),
        ("reduction_0", 88, 2),
        ("cell_1", 88, 1),
        ("reduction_1", 176, 2),
        ("cell_2", 176, 1),
    ]
    found = wires(genotype_of("NASNET_A_MOBILE"), 3, "imagenet")
    assert found["stem_cell_0"] == ("conv", None) and found["stem_cell_1"] == ("stem_cell_0", "conv")
    assert found["cell_0"] == ("stem_cell_1", "stem_cell_0")


class Recorded(nn.Module):
    """Instead of a cell: an image that holds the number of the call, and a record of what was read."""

    cell: BlockCell
    channels: int
    stride: int
    norm: NormSettings
    bottleneck: bool

    calls: ClassVar[list] = []

    def __call__(self, current, previous, train, drop_path=None):
        number = len(self.calls) + 1
        read = [None if x is None else int(x[0, 0, 0, 0]) for x in (current, previous)]
        self.calls.append((self.name, *read, drop_path))
        return jnp.full((2, 2, 2, 4), number, jnp.float32)


@pytest.mark.parametrize("name", ["NASNET_A_CIFAR", "NASNET_A_LARGE", "PNASNET5_CIFAR", "AMOEBANET_A_CIFAR"])
def test_cells_of_the_network_read_what_the_layout_says(name, monkeypatch):
    monkeypatch.setattr(network_module, "NasnetCell", Recorded)
    network = NasnetNetwork(genotype_of(name), channels=4, cells=6, classes=2)
    images = jnp.zeros((2, 4, 4, 3))
    variables = network.init(jax.random.key(0), images, False)
    Recorded.calls.clear()
    network.apply(variables, images, True, 0.4, mutable=["batch_stats"], rngs={"drop_path": jax.random.key(1)})
    placed = layout(genotype_of(name), channels=4, cells=6, stem="cifar")
    share = [1.0] * 8 if name.startswith("AMOEBANET") else [(i + 1) / len(placed) for i in range(len(placed))]
    assert [call[:3] for call in Recorded.calls] == [(place.name, place.current, place.previous) for place in placed]
    assert [call[3] for call in Recorded.calls] == pytest.approx([0.4 * part for part in share])


RELEASED = {  # ops, inputs, used: the lists of the release (input 0 is the cell before, 1 the one before that)
    ("NASNET_A_CIFAR", "normal"): ("0 1 1 1 0 1 1 1 0 0", "1000000"),
    ("NASNET_A_CIFAR", "reduce"): ("0 1 0 1 0 1 3 2 2 0", "1110000"),
    ("PNASNET5_CIFAR", "normal"): ("1 1 0 0 0 0 4 0 1 0", "1100000"),
    ("AMOEBANET_A_CIFAR", "normal"): ("0 0 1 1 0 1 0 2 5 0", "1010010"),
    ("AMOEBANET_A_CIFAR", "reduce"): ("1 0 0 2 1 0 4 0 1 0", "1100000"),
    ("AMOEBANET_C_MOBILE", "normal"): ("0 0 0 0 2 1 0 1 3 0", "1001000"),
    ("AMOEBANET_C_MOBILE", "reduce"): ("0 0 2 0 0 1 4 4 1 1", "0100000"),
}


class Scale(nn.Module):
    """Instead of an op: multiply by a number that belongs to the place in the cell alone."""

    op: str
    channels: int
    stride: int
    norm: NormSettings
    bottleneck: bool

    def __call__(self, x, train):
        assert self.name is not None
        target, side = self.name.split("_")[1:3]
        return x * weight(2 * (int(target) - 2) + (side == "right"))


def weight(place):
    return float(np.random.default_rng(place).uniform(1, 2))


@pytest.mark.parametrize(("name", "kind"), RELEASED)
def test_wiring_inside_a_cell(name, kind, monkeypatch):
    """With ops that only scale, each output is a known combination of the two inputs."""
    monkeypatch.setattr(cell_module, "BlockOp", Scale)
    monkeypatch.setattr(cell_module.NasnetCell, "_previous", lambda self, current, previous, train: previous)
    monkeypatch.setattr(cell_module, "ConvNorm", lambda *args, **kwargs: lambda x, train: x)
    module = NasnetCell(cast(BlockCell, genotype_of(name).cells[kind]), 1, 1, NORM)
    inputs, used = RELEASED[name, kind]
    basis = np.eye(2)
    states = [basis[0], basis[1]]
    for block in range(5):
        left, right = (int(index) for index in inputs.split()[2 * block : 2 * block + 2])
        states.append(weight(2 * block) * states[left] + weight(2 * block + 1) * states[right])
    expected = [state for state, flag in zip(states, used, strict=True) if flag == "0"]
    image = lambda values: jnp.asarray(values, jnp.float32).reshape(2, 1, 1, 1)  # noqa: E731
    found = np.asarray(module.apply({}, image(basis[0]), image(basis[1]), False))[:, 0, 0].T
    assert found.shape == (len(expected), 2)
    order = lambda rows: np.asarray(sorted(map(tuple, np.round(rows, 4))))  # noqa: E731
    np.testing.assert_allclose(order(found), order(expected), atol=2e-4)


# Layers and ops


def parameters(op, channels_in, channels, stride, size=8, bottleneck=True):
    x = jax.ShapeDtypeStruct((1, size, size, channels_in), jnp.float32)
    module = BlockOp(op, channels, stride, NORM, bottleneck)
    y, variables = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, False), x)
    assert y.shape == (1, -(-size // stride), -(-size // stride), channels)
    return sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {})))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("skip_connect", 24 * 16 + 32),
        ("conv_1x1", 24 * 16 + 32),
        ("sep_conv_3x3", 9 * 24 + 24 * 16 + 32 + 9 * 16 + 16 * 16 + 32),
        ("max_pool_5x5", 24 * 16 + 32),
        ("avg_pool_3x3", 24 * 16 + 32),
        ("conv_3x3", 24 * 4 + 8 + 9 * 16 + 8 + 4 * 16 + 32),
        ("conv_2x2", 24 * 4 + 8 + 4 * 16 + 8 + 4 * 16 + 32),
        ("sep_conv_1x1", 24 + 24 * 16 + 32 + 16 + 16 * 16 + 32),
        ("sep_conv_2x2", 4 * 24 + 24 * 16 + 32 + 4 * 16 + 16 * 16 + 32),
        ("max_pool_2x2", 24 * 16 + 32),
        ("avg_pool_2x2", 24 * 16 + 32),
        ("dil_conv_3x3", 24 * 4 + 8 + 9 * 16 + 8 + 4 * 16 + 32),
        ("conv_7x1_1x7", 24 * 4 + 8 + 2 * (7 * 16 + 8) + 4 * 16 + 32),
        ("conv_3x1_1x3", 24 * 6 + 12 + 2 * (3 * 36 + 12) + 6 * 16 + 32),
    ],
)
def test_parameters_of_ops(op, expected):
    assert parameters(op, 24, 16, 2) == parameters(op, 24, 16, 1, 7) == expected
    free = op.endswith("connect") or "pool" in op
    assert (parameters(op, 16, 16, 1) == 0) == free
    assert (parameters(op, 16, 16, 2) == 0) == ("pool" in op)


def test_narrow_ops_have_no_bottleneck():
    assert parameters("conv_3x3", 3, 3, 1) == 9 * 9 + 6
    assert parameters("conv_3x3", 4, 4, 1) == 4 + 2 + 9 + 2 + 4 + 8
    assert parameters("conv_3x3", 4, 4, 1, bottleneck=False) == 9 * 16 + 8
    assert parameters("conv_7x1_1x7", 6, 4, 1, bottleneck=False) == 7 * 24 + 8 + 7 * 16 + 8


def windows(x, size, stride, fill=0.0):
    """The pixels `[N, H', W', size·size, C]` that an output reads, padded as SAME, by NumPy."""
    outputs = -(-x.shape[1] // stride)
    missing = max((outputs - 1) * stride + size - x.shape[1], 0)
    padded = np.pad(x, ((0, 0), *[(missing // 2, missing - missing // 2)] * 2, (0, 0)), constant_values=fill)
    cut = [
        [padded[:, i * stride : i * stride + size, j * stride : j * stride + size] for j in range(outputs)]
        for i in range(outputs)
    ]
    return np.array([[part.reshape(len(x), -1, x.shape[-1]) for part in row] for row in cut]).transpose(2, 0, 1, 3, 4)


@pytest.mark.parametrize("op", ["conv_2x2", "sep_conv_1x1", "sep_conv_2x2", "max_pool_2x2", "avg_pool_2x2"])
@pytest.mark.parametrize("stride", [1, 2])
def test_ops_of_2x2_and_1x1(x64, op, stride):
    """The ops that only spaces of the user have, against NumPy, and the products that their convolutions need."""
    x = np.random.default_rng(2).normal(size=(2, 5, 5, 3))
    module, size = BlockOp(op, 3, stride, NormSettings(0.0, 0.1)), int(op[-1])
    variables = jax.tree.map(lambda leaf: leaf.astype(float), module.init(jax.random.key(0), jnp.asarray(x), False))
    found: Any = module.apply(variables, jnp.asarray(x), False)
    p, outputs = variables.get("params", {}), -(-5 // stride)
    if op.startswith("sep"):
        wanted = x
        for i in range(2):
            kernels = {name: np.asarray(array) for name, array in p[f"separable_{i}"].items() if name != "norm"}
            seen = windows(np.maximum(wanted, 0), size, 1 if i else stride)
            deep = (seen * kernels["depthwise"].reshape(size * size, 3)).sum(3)
            wanted = deep @ kernels["pointwise"][0, 0]
        macs = 2 * (size * size * 3 + 3 * 3) * outputs**2
    elif op.startswith("conv"):
        seen = windows(np.maximum(x, 0), size, stride)
        wanted = np.einsum("nijkc,kcd->nijd", seen, np.asarray(p["conv_0"]["kernel"]).reshape(4, 3, 3))
        macs = 4 * 3 * 3 * outputs**2
    else:
        seen, macs = windows(x, size, stride, np.nan), 0
        wanted = np.nanmax(seen, 3) if op.startswith("max") else np.nanmean(seen, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    program = jax.make_jaxpr(lambda x: module.apply(variables, x, False))(x[:1])
    assert multiply_adds(program) == macs


@pytest.mark.parametrize(("kind", "size", "stride", "side"), [("max", 3, 2, 6), ("avg", 3, 2, 6), ("avg", 3, 1, 5)])
def test_pools_read_the_window_of_the_release(kind, size, stride, side):
    """SAME: of the pixels that are missing, half, rounded down, are in front of the image."""
    x = np.random.default_rng(0).normal(size=(1, side, side, 2)).astype(np.float32)
    outputs = -(-side // stride)
    front = max((outputs - 1) * stride + size - side, 0) // 2
    found = np.asarray(pool(jnp.asarray(x), kind, size, stride))
    for i in range(outputs):
        for j in range(outputs):
            rows, columns = (slice(max(k * stride - front, 0), k * stride - front + size) for k in (i, j))
            window = x[0, rows, columns].reshape(-1, 2)
            expected = window.max(0) if kind == "max" else window.mean(0)
            np.testing.assert_allclose(found[0, i, j], expected, rtol=1e-5)


@pytest.mark.parametrize(("side", "channels"), [(4, 6), (5, 3)])
def test_factorised_reduction(side, channels):
    x = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype(np.float32)
    module = FactorizedReduction(channels, NormSettings(0.0, 0.1))
    variables = module.init(jax.random.key(0), jnp.asarray(x), False)
    first, second = (np.asarray(variables["params"][f"conv_{i}"])[0, 0] for i in (1, 2))
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = np.concatenate([x[:, ::2, ::2] @ first, padded[:, 1::2, 1::2] @ second], -1)
    np.testing.assert_allclose(np.asarray(module.apply(variables, jnp.asarray(x), False)), expected, atol=1e-5)


# The whole network


def test_it_runs_and_every_parameter_has_a_gradient():
    cell = block_cell([(("sep_conv_3x3", 0), ("avg_pool_3x3", 1)), (("conv_3x3", 1), ("skip_connect", 2))])
    reduce = replace(cell, concat=(0, 2, 3))
    network = NasnetNetwork(
        BlockGenotype(cell, reduce, "amoebanet"), channels=4, cells=3, classes=2, auxiliary=True, dropout=0.5
    )
    images = jax.random.normal(jax.random.key(0), (4, 10, 10, 3))
    variables = init_network(network, jax.random.key(1), images, True)

    @jax.jit
    def run(params):
        rngs = {"drop_path": jax.random.key(2)}
        given = {**variables, "params": params}
        (logits, auxiliary), changed = network.apply(given, images, True, 0.1, mutable=["batch_stats"], rngs=rngs)
        return logits.std() + auxiliary.std(), changed

    (value, changed), gradient = jax.value_and_grad(run, has_aux=True)(variables["params"])
    assert jnp.isfinite(value) and all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), changed["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(moved))


def test_size_with_the_auxiliary_head():
    genotype, size = genotype_of("NASNET_A_CIFAR"), replace(CIFAR, channels=4, cells=3)
    plain, full = (count_nasnet(genotype, size, auxiliary=auxiliary) for auxiliary in (False, True))
    head = [module for module in full.modules if module.name == "auxiliary_head"]
    channels = 24  # 32² pixels in front of the first reduction, 16² behind it: 4 × 4 behind the pool
    assert head[0].parameters == (2 * channels * 128 + 256) + (16 * 128 * 768 + 1536) + 7690
    assert [module for module in full.modules if module.name != "auxiliary_head"] == list(plain.modules)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 0}, "channels is 0; it must be a whole number of at least 1"),
        ({"channels": 3, "stem": "imagenet"}, "channels is 3; it must be a whole number of at least 4"),
        ({"cells": 2, "auxiliary": True}, "cells is 2; it must be a whole number of at least 3"),
        ({"image_size": 8, "auxiliary": True}, "images of 8x8 reach the auxiliary head.* use at least 9x9"),
        ({"image_size": (2, 9), "stem": "imagenet"}, "image height is 2"),
        ({"stem": "cifer"}, "unknown stem 'cifer'; did you mean 'cifar'"),
    ],
)
def test_wrong_settings(options, words):
    settings = {"channels": 8, "cells": 6, "image_size": 32} | options
    with pytest.raises(UserError, match=words):
        check_nasnet(genotype_of("NASNET_A_CIFAR"), **settings)


def test_wrong_genotypes():
    for op, family, words in (
        ("none", "nasnet", "unknown op of a NASNet-type network 'none'"),
        ("skip_connect", "enas", "a genotype of the family enas has a network of its own"),
    ):
        cell = block_cell([((op, 0), (op, 1))])
        with pytest.raises(UserError, match=words):
            check_nasnet(BlockGenotype(cell, cell, cast(Family, family)), channels=8, cells=6, image_size=32)
