"""Genotypes with a cell for every position: text, order, counts, drawing, the network that trains them, mistakes."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, StackedGenotype, normal_cells, parse
from jdarts.genotypes.stacked import cells_in_order
from jdarts.losses import cross_entropy
from jdarts.networks.counting import count_darts_cnn, count_nasbench201
from jdarts.networks.of_genotype import check_network, derived_network
from jdarts.report.cell_drawing import draw_svg, draw_terminal

SKIP = Cell(((("skip_norm", 0), ("sep_conv_3x3", 1)),), (2,))
WIDE = Cell(((("sep_conv_3x3", 0), ("skip_connect", 0)), (("dil_conv_3x3", 2),)), (2, 3))
SMALL = StackedGenotype((SKIP, WIDE, SKIP))


def test_the_text_is_json_that_is_read_again():
    assert parse(SMALL.to_text()) == SMALL and parse(f"epoch 3 {SMALL.to_text()}\nnext line") == SMALL
    assert [cell["concat"] for cell in json.loads(SMALL.to_json())["stack"]] == [[2], [2, 3], [2]]
    one = spaces.nasbench201.random_genotype(0).normal
    assert parse(StackedGenotype((one,) * 3).to_text()).nasbench201


def test_cells_at_a_third_and_at_two_thirds_halve_the_image():
    eight = StackedGenotype((SKIP,) * 8)
    assert eight.reductions == (2, 5) and len(normal_cells(eight)) == 6
    assert list(eight.cells) == [f"cell_{i}" for i in range(8)]
    pair = Genotype(SKIP, WIDE)
    assert [cell is WIDE for cell in cells_in_order(pair, 8)] == [i in (2, 5) for i in range(8)]
    assert normal_cells(pair) == (SKIP,)


@pytest.mark.parametrize("cells", [1, 3, 8])
def test_a_stack_of_two_kinds_counts_as_the_two_cells_do(cells):
    pair = parse("DARTS_V2")
    stack = StackedGenotype(tuple(cells_in_order(pair, cells)))
    assert count_darts_cnn(stack, channels=8, cells=cells, classes=10) == count_darts_cnn(
        pair, channels=8, cells=cells, classes=10
    )
    small = spaces.nasbench201.random_genotype(3)
    assert count_nasbench201(StackedGenotype((small.normal,) * 15)) == count_nasbench201(small)


def test_the_network_has_the_weights_that_are_counted_and_trains():
    network = derived_network(SMALL, channels=4, cells=3, classes=3)
    images, labels = jax.random.normal(jax.random.key(0), (8, 8, 8, 3)), jnp.arange(8) % 3
    variables = network.init(jax.random.key(1), images, False)
    weights = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert weights == count_darts_cnn(SMALL, channels=4, cells=3, classes=3).parameters
    assert "node_2_edge_0_skip_norm" in variables["params"]["cell_0"]

    @jax.jit
    def loss(params):
        state = {**variables, "params": params}
        (logits, _), _ = network.apply(state, images, True, mutable=["batch_stats"])
        return cross_entropy(logits, labels)

    gradient = jax.grad(loss)(variables["params"])
    for i in range(3):
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient[f"cell_{i}"])) > 1e-4
    moved = jax.tree.map(lambda w, g: w - 0.05 * g, variables["params"], gradient)
    assert float(loss(moved)) < float(loss(variables["params"]))


def test_equal_cells_are_drawn_once_with_their_positions():
    texts = draw_terminal(StackedGenotype((SKIP, SKIP, WIDE, SKIP, SKIP, WIDE, WIDE, SKIP)))
    assert "cells 0, 1, 3, 4, 7" in texts and "cells 2, 5, reduction" in texts and "cell 6" in texts
    assert draw_svg(SMALL).count("<text") > 10


def test_wrong_numbers_of_cells_are_refused_with_the_right_one():
    with pytest.raises(UserError, match=r"3 cells, each for its own position.*20; set train\.cells to 3"):
        check_network(SMALL, channels=4, cells=20, image_size=32)
    stages = StackedGenotype((spaces.nasbench201.random_genotype(0).normal,) * 6)
    with pytest.raises(UserError, match=r"would have 15; set train\.cells to 2"):
        check_network(stages, channels=4, cells=5, image_size=32)


MISTAKES = {
    "no cells": ((), "stack has 0 cells"),
    "no cell": (("cell",), "cell 0 of stack is 'cell'; expected a Cell"),
    "mixed": (
        (SKIP, spaces.nasbench201.random_genotype(0).normal),
        "cell 1 of stack has 1 input nodes; all cells have 2",
    ),
    "stages": ((spaces.nasbench201.random_genotype(0).normal,) * 4, "three stages need a multiple of 3"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_other_stacks_are_refused(name):
    stack, message = MISTAKES[name]
    with pytest.raises(UserError, match=message):
        StackedGenotype(stack)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stack": [{"nodes": []}]}', "cell 0 of stack: the cell lacks concat"),
        ('{"stack": [], "reduce": 1}', "reduce.*stack"),
        ('{"stack": 3}', "stack is 3; expected a tuple or list"),
    ],
)
def test_wrong_json_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def test_what_needs_two_cells_refuses_a_stack():
    for space, use in itertools.product((spaces.robust_s2, spaces.nasbench201), ("one_hot", "encode")):
        with pytest.raises(UserError, match=r"each for its own position|does not belong to space"):
            getattr(space, use)(SMALL)
    with pytest.raises(UserError, match="no NAS-Bench-201 arch string"):
        SMALL.to_nasbench201()
    assert np.isfinite(count_darts_cnn(SMALL, channels=4, cells=3, classes=3).macs)
