"""Alphas for each cell: names and shapes, derivation, decisions, and the network against that of shared alphas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.one_cell import NARROW_CELL

from jdarts import derivation, methods, spaces
from jdarts.analysis.monitor import collapse_indicators
from jdarts.config import SpaceConfig
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.methods.resources import op_costs
from jdarts.ops.initializers import abstract_network
from jdarts.relaxation import softmax
from jdarts.spaces.decisions import is_canonical, uniform
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.per_cell import PerCellSpace
from jdarts.stopping import too_many_skips

TINY = spaces.define_space(
    "per_cell_tiny",
    nodes=1,
    normal=("skip_connect", "none", "dil_conv_3x3"),
    reduce=("max_pool_3x3", "skip_norm", "dil_conv_3x3"),
)
SPACES = {
    "S1": PerCellSpace(spaces.robust_s1, 4),
    "own": PerCellSpace(TINY, 3),
    "nasbench201": PerCellSpace(NASBench201Space(cell=NARROW_CELL), 3),
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def alphas_of(space, seed=0):
    return {name: np.asarray(a) for name, a in space.init_alphas(jax.random.key(seed), 1.0).items()}


def test_the_configuration_names_it():
    assert spaces.configured(SpaceConfig(name="robust_s2")) is spaces.robust_s2
    own = spaces.configured(SpaceConfig(name="robust_s2", cells=5, shared=False, stem="imagenet"))
    assert own.cells == 5 and own.shared.stem == "imagenet" and own.name == "robust_s2"
    assert spaces.configured(SpaceConfig(name="nasbench201", cells=2, shared=False)).cells == 6
    for name in ("spos", "enas_micro"):
        with pytest.raises(UserError, match=f"space.shared is false, but space {name} has no alphas that cells share"):
            spaces.configured(SpaceConfig(name=name, shared=False))
    with pytest.raises(UserError, match="supernet of 8 cells needs others"):
        own.supernet(channels=4, cells=8, classes=3)


def test_each_cell_has_the_candidates_of_its_kind():
    own = SPACES["S1"]
    assert list(own.kinds.values()) == ["normal", "reduce", "reduce", "normal"]
    assert own.tables["cell_1"] == spaces.robust_s1.reduce and own.alpha_shapes["cell_0"] == (14, 2)
    drawn = alphas_of(own)
    assert not np.array_equal(drawn["cell_0"], drawn["cell_3"])


def test_every_rule_derives_each_cell_as_the_shared_space_does(space):
    weights = {name: np.asarray(p) for name, p in softmax(alphas_of(space)).items()}
    rules = {
        "derive": lambda s, p: s.derive(p),
        "threshold": lambda s, p: derivation.threshold(s, p, 0.3),
        "pairs": derivation.best_pairs,
    }
    for name, rule in rules.items():
        found = rule(space, weights)
        assert parse(found.to_text()) == found
        for i, (cell, kind) in enumerate(space.kinds.items()):
            p = {k: weights[cell] if k == kind else np.full(s, 0.1) for k, s in space.shared.alpha_shapes.items()}
            shared = rule(space.shared, p)
            expected = shared.reduce if kind == "reduce" else shared.normal
            assert found.stack[i] == expected, (name, cell)


def test_decisions_are_those_of_every_cell(space):
    rng = np.random.default_rng(0)
    for _ in range(5):
        genotype = space.decode(uniform(space, rng))
        choices = space.encode(genotype)
        assert is_canonical(space, choices) and space.decode(choices) == genotype
        weights = space.one_hot(genotype)
        assert space.derive(weights).cells.keys() == genotype.cells.keys()
        assert {name: int(p.sum()) for name, p in weights.items()} == {
            name: sum(map(len, cell.nodes)) for name, cell in genotype.cells.items()
        }
    assert len({d.name for d in space.decisions}) == len(space.decisions)
    assert space.encode(space.random_genotype(3)) != space.encode(space.random_genotype(4))
    with pytest.raises(UserError, match=r"no cell for each.*has \d positions"):
        space.encode(parse("DARTS_V1"))


def test_sizes_are_products_over_the_cells():
    """Two edges of one node: 2 ops without none in the normal cell, 3 in a reduction cell."""
    assert SPACES["own"].size == (2 * 2) * (3 * 3) ** 2
    assert SPACES["nasbench201"].size == (3**6) ** 3


def test_costs_of_the_cells_add_up_to_those_of_shared_alphas(space):
    cells = space.cells // 3 if space.one_input else space.cells
    sizes = {"channels": 4, "cells": cells, "size": 16}
    own, shared = op_costs(space, "flops", **sizes), op_costs(space.shared, "flops", **sizes)
    for kind, total in shared.items():
        summed = sum(own[name] for name, other in space.kinds.items() if other == kind)
        np.testing.assert_array_equal(summed, total)


def draws(space):
    return derivation.most_probable(space, softmax(alphas_of(space)), 4, jax.random.key(0))


def test_probable_stacks_are_drawn_cell_by_cell():
    found = draws(SPACES["own"])
    assert len(set(found)) > 1 and found == draws(SPACES["own"])
    with pytest.raises(UserError, match=r"cannot be found by ranking.*space\.shared true"):
        draws(SPACES["nasbench201"])
    with pytest.raises(UserError, match="ranking"):
        methods.build("setn").check(SPACES["nasbench201"])


@pytest.mark.parametrize("name", ["own", "nasbench201"])
def test_with_equal_alphas_the_network_is_the_shared_one(name):
    """Value and gradients in float64: the gradients of the cells of a kind add up to the gradient of shared alphas."""
    space = SPACES[name]
    cells = 1 if space.one_input else 3
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        shared = {kind: jnp.asarray(rng.normal(size=shape)) for kind, shape in space.shared.alpha_shapes.items()}
        own = {cell: shared[kind] for cell, kind in space.kinds.items()}
        edges = {f"{kind}_edges": jnp.asarray(rng.uniform(0.5, 1.5, len(space.edges))) for kind in shared}
        own_edges = {f"{cell}_edges": edges[f"{kind}_edges"] for cell, kind in space.kinds.items()}
        network = space.supernet(channels=2, cells=cells, classes=3).clone(form="plain")
        images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)))
        shapes, _ = abstract_network(network, softmax(shared), images, True)
        params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(scale=0.5, size=leaf.shape)), shapes["params"])
        running = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes.get("batch_stats", {}))

        def value(alphas, factors):
            variables = {"params": params, "batch_stats": running}
            logits, _ = network.apply(variables, {**softmax(alphas), **factors}, images, True, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(logits))

        together, expected = jax.value_and_grad(value)(shared, edges)
        apart, gradients = jax.value_and_grad(value)(own, own_edges)
    expected, gradients = jax.tree.map(np.asarray, (expected, gradients))
    np.testing.assert_array_equal(apart, together)
    for kind, gradient in expected.items():
        parts = [gradients[cell] for cell, other in space.kinds.items() if other == kind]
        assert np.abs(gradient).max() > 1e-6
        np.testing.assert_allclose(sum(parts), gradient, rtol=1e-10, atol=1e-12)
        if len(parts) > 1:
            assert not np.allclose(parts[0], parts[1]), "the cells see different features"


def test_darts_plus_and_the_monitor_look_at_all_normal_cells():
    own = PerCellSpace(spaces.robust_s2, 4)  # cells 0 and 3 are normal
    skips = {name: np.tile([0.4, 0.6], (14, 1)) for name in own.tables}
    skips["cell_3"] = np.tile([0.9, 0.1], (14, 1))  # skip_connect leads
    genotype = own.derive(skips)
    assert [derivation.free_edges(genotype), derivation.skips_in(genotype)] == [{"skip_connections": 8}, 8]
    seen = collapse_indicators(skips, own)
    assert (seen["normal_skips"], seen["normal_edges"]) == (8, 16)
    assert seen["skip_dominance"] == pytest.approx((0.8 - 0.2) / 2)
    record = {"epoch": 7, "genotype": genotype.to_text()}
    assert too_many_skips(8)([record], own) == 7 and too_many_skips(9)([record], own) is None
