from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.genotypes import BlockCell, BlockGenotype, block_cell
from jdarts.genotypes.enas import MACRO_ARC, MICRO_ARC, MacroArchitecture, micro_cell, released_micro
from jdarts.genotypes.published_networks import networks
from jdarts.networks.enas import macro as macro_module
from jdarts.networks.enas import micro as micro_module
from jdarts.networks.enas.macro import EnasMacroNetwork, check_enas_macro, macro_pools
from jdarts.networks.enas.micro import EnasCell, EnasMicroNetwork, check_enas_micro, micro_reductions
from jdarts.networks.enas.size import count_enas_macro, count_enas_micro
from jdarts.networks.nasnet.layers import NormSettings
from jdarts.ops.initializers import init_network

RELEASED = MacroArchitecture.read(MACRO_ARC)
NORM = NormSettings(1e-3, 0.1)


def test_size_of_the_released_macro_network():
    count = count_enas_macro(RELEASED)
    assert (count.parameters, round(count.macs / 1e6)) == (42_559_392, 5646)


def test_separable_layers_as_the_paper_has_them_are_smaller():
    """Each k × k convolution of C channels becomes a depthwise and a 1 × 1 one."""
    dense, separable = (
        count_enas_macro(MacroArchitecture.read("0 3 1"), channels=4, release_compat=compat).parameters
        for compat in (True, False)
    )
    assert dense - separable == 25 * 16 - (25 * 4 + 16)


def test_places_of_the_reductions():
    assert [micro_reductions(layers) for layers in (6, 15)] == [(2, 5), (5, 11)]
    assert [macro_pools(layers) for layers in (12, 24, 2)] == [(3, 7), (7, 15), (-1, -1)]


class Recorded(nn.Module):
    """Instead of a layer: an image that holds the number of the call; `calls` has the numbers that were read."""

    calls: ClassVar[list] = []

    def __call__(self, *inputs):
        read = [int(x[0, 0, 0, 0]) for x in jax.tree.leaves(inputs) if hasattr(x, "shape")]
        self.calls.append(read)
        return jnp.full((1, 4, 4, 2), len(self.calls), jnp.float32)


def test_which_cells_a_micro_cell_reads(monkeypatch):
    Recorded.calls.clear()
    monkeypatch.setattr(micro_module, "EnasCell", lambda *args, name: Recorded(name=name))
    monkeypatch.setattr(micro_module, "ConvNorm", lambda *args, **kwargs: lambda x, train: jnp.zeros((1, 4, 4, 6)))
    network = EnasMicroNetwork(released_micro(), 2, 3, 2)
    network.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), False)
    assert Recorded.calls == [[0, 0], [0, 1], [1, 2], [2, 3], [3, 4]]


def test_which_outputs_a_macro_layer_reads(monkeypatch):
    """The layer before it first, then its skips; reductions hand on every output."""
    Recorded.calls.clear()
    stem = lambda *args, **kwargs: lambda x, train: jnp.zeros((1, 4, 4, 2))  # noqa: E731
    monkeypatch.setattr(macro_module, "MacroLayer", lambda *args, name, **kw: Recorded(name=name))
    monkeypatch.setattr(macro_module, "ConvNorm", stem)
    monkeypatch.setattr(macro_module, "FactorizedReduction", lambda *args, **kwargs: lambda x, train: x)
    network = EnasMacroNetwork(MacroArchitecture.read("0  3 0  0 1 1  2 0 1 0  1 1 0 0 1  0 0 0 1 0 1"), 2, 2)
    network.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), False)
    assert Recorded.calls == [[0], [1], [2, 0, 1], [3, 1], [4, 0, 3], [5, 2, 4]]


@pytest.mark.parametrize("index", [0, 1])
def test_wiring_inside_a_cell(index, monkeypatch):
    """With ops that only scale, each output is a known combination of the two inputs."""

    class Scale(nn.Module):
        op: str
        channels: int
        stride: int
        norm: NormSettings

        def __call__(self, x, train):
            return x * (1 + ["sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3"].index(self.op))

    monkeypatch.setattr(micro_module, "BlockOp", Scale)
    monkeypatch.setattr(micro_module, "ConvNorm", lambda *args, **kwargs: lambda x, train: x)
    arc = [int(number) for number in MICRO_ARC[index].split()]
    states, read = [np.eye(2)[0], np.eye(2)[1]], set()
    for node in range(5):
        x, x_op, y, y_op = arc[4 * node : 4 * node + 4]
        scale = (1, 2, 3, 4, 1)
        states.append(scale[x_op] * states[x] + scale[y_op] * states[y])
        read |= {x, y}
    expected = [state for i, state in enumerate(states) if i not in read]
    cell = list(released_micro().cells.values())[index]
    assert isinstance(cell, BlockCell)
    inputs = [jnp.asarray(np.eye(2)[i], jnp.float32).reshape(2, 1, 1, 1) for i in (0, 1)]
    found = np.asarray(EnasCell(cell, 1, 1, NORM).apply({}, *inputs, False))
    np.testing.assert_array_equal(found[:, 0, 0].T, expected)


def test_an_input_that_no_node_reads_is_halved_in_the_output():
    cell = micro_cell("1 2 1 3")
    x = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
    run = lambda x: EnasCell(cell, 4, 2, NORM).init_with_output(jax.random.key(0), x, x, False)  # noqa: E731
    y, variables = jax.eval_shape(run, x)
    assert cell.concat == (0, 2) and y.shape == (1, 4, 4, 8)
    assert set(variables["params"]) == {"base_1", "output_0"}


def test_networks_run_and_every_parameter_has_a_gradient():
    cell = micro_cell("0 0 1 2")
    micro = EnasMicroNetwork(BlockGenotype(cell, cell, "enas"), 2, 3, 2, auxiliary=True)
    macro = EnasMacroNetwork(MacroArchitecture.read("0 3 1"), 2, 2, release_compat=False)
    for network, options in ((micro, (0.1,)), (macro, (0.1,))):
        images = jax.random.normal(jax.random.key(0), (4, 20, 20, 3))
        variables = init_network(network, jax.random.key(1), images, True)

        @jax.jit
        def run(params, network=network, variables=variables, options=options, images=images):
            given, rngs = {**variables, "params": params}, {"drop_path": jax.random.key(2)}
            outputs, _ = network.apply(given, images, True, *options, mutable=["batch_stats"], rngs=rngs)
            return sum(y.std() for y in jax.tree.leaves(outputs))

        gradient = jax.grad(run)(variables["params"])
        assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


def test_wrong_settings():
    genotype = released_micro()
    good: dict[str, Any] = {"channels": 8, "cells": 6, "image_size": 32}
    nasnet = networks()["NASNET_A_CIFAR"].genotype
    assert isinstance(nasnet, BlockGenotype)
    cell = block_cell([(("conv_1x1", 0), ("conv_1x1", 1))])
    other = BlockGenotype(cell, cell, "enas")
    for candidate, change, words in (
        (genotype, {"channels": 7}, "channels is 7; it must be even"),
        (genotype, {"cells": 0}, "cells is 0"),
        (genotype, {"image_size": 30}, "images of 30x30 cannot pass the 2 reduction cells"),
        (genotype, {"image_size": 16, "auxiliary": True}, "use at least 20x20"),
        (nasnet, {}, "the genotype is of the family nasnet"),
        (other, {}, "unknown op of ENAS micro 'conv_1x1'"),
    ):
        settings: dict[str, Any] = {**good, **change}
        with pytest.raises(UserError, match=words):
            check_enas_micro(candidate, **settings)
    with pytest.raises(UserError, match="layer 1 is max_pool_3x3, which the ENAS release cannot build"):
        check_enas_macro(MacroArchitecture.read("0 5 0"), channels=4, image_size=32)
    with pytest.raises(UserError, match="channels is 5; it must be an even"):
        count_enas_macro(RELEASED, channels=5)


def test_size_with_the_auxiliary_head():
    size = networks()["ENAS_MICRO"].size
    plain, full = (count_enas_micro(released_micro(), size, auxiliary=auxiliary) for auxiliary in (False, True))
    assert [module for module in full.modules if module.name != "auxiliary_head"] == list(plain.modules)
    assert len(full.modules) == len(plain.modules) + 1
