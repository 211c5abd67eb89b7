"""One vector for all arrays, edge by edge, and back."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jdarts import spaces, staging
from jdarts.networks.fast.packing import Packing, init_vector
from jdarts.ops.initializers import abstract_network
from jdarts.spaces import define_space


def shapes_of(name, channels=4, cells=3):
    space = spaces.get(name) if isinstance(name, str) else name
    network = space.supernet(channels=channels, cells=cells, classes=3)
    op_weights = {cell: jnp.zeros(shape) for cell, shape in space.alpha_shapes.items()}
    return network, *abstract_network(network, op_weights, jnp.zeros((2, 16, 16, 3)), True)


def numbered(shapes):
    """A tree of that form in which all numbers differ."""
    leaves, structure = jax.tree.flatten(shapes)
    start, filled = 0, []
    for leaf in leaves:
        filled.append(jnp.arange(start, start + leaf.size, dtype=jnp.float32).reshape(leaf.shape))
        start += leaf.size
    return jax.tree.unflatten(structure, filled), start


OTHER_ORDER = define_space(  # the first edge out of node 0 that has weights in order of the names is the second one
    "other_order",
    nodes=2,
    normal=(("none", "skip_connect"), *[("skip_connect", "dil_conv_3x3")] * 4),
)


@pytest.mark.parametrize("name", ["darts_cnn", "robust_s1", "robust_s4", "nasbench201", OTHER_ORDER])
@pytest.mark.parametrize("collection", ["params", "batch_stats"])
def test_vectors_and_trees_are_two_forms_of_the_same(name, collection):
    network, shapes, _ = shapes_of(name, cells=2)
    packing = Packing(shapes[collection], network.edges_of, network.body_of)
    tree, size = numbered(shapes[collection])
    vector = packing.ravel(tree)
    assert packing.size == size == len(vector)
    assert sorted(np.asarray(vector)) == list(range(size))
    back = packing.unravel(vector)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True))
    for unit in get_args(staging.Unit):
        assert np.array_equal(packing.unpack(packing.pack(vector, unit), unit), vector)


def test_the_weights_of_an_edge_lie_side_by_side():
    network, shapes, _ = shapes_of("darts_cnn")
    packing = Packing(shapes["params"], network.edges_of)
    tree, _ = numbered(shapes["params"])
    packed = traverse_util.flatten_dict(packing.pack(packing.ravel(tree), "edges"))
    edges = [path for path in packed if path[1].startswith("edge_")]
    assert len(edges) == 3 * 14
    cell = tree["cell_0"]
    block = np.asarray(packed["cell_0", "edge_1_3"])
    for op in ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"):
        for leaf in cell[f"from_1_{op}"].values():
            assert set(np.asarray(leaf[1]).ravel()) <= set(block)  # the edge 1→3 is the second out of node 1
    assert len(block) == sum(
        leaf[1].size for op, ops in cell.items() if op.startswith("from_1_") for leaf in ops.values()
    )


def test_gradients_pass_through():
    network, shapes, _ = shapes_of("robust_s2", cells=1)
    packing = Packing(shapes["params"], network.edges_of)
    vector = jnp.linspace(-1, 1, packing.size)
    for unit in get_args(staging.Unit):

        def squares(v, unit=unit):
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(packing.pack(v, unit)))

        np.testing.assert_allclose(jax.grad(squares)(vector), 2 * vector, rtol=1e-6)


def test_initial_weights_keep_to_the_ranges_of_their_arrays():
    network, shapes, ranges = shapes_of("robust_s3")
    packing = Packing(shapes["params"], network.edges_of)
    vector = jax.jit(lambda key: init_vector(key, packing, ranges))(jax.random.key(0))
    bounds = traverse_util.flatten_dict(ranges)
    for path, leaf in traverse_util.flatten_dict(packing.unravel(vector)).items():
        values = np.asarray(leaf) - bounds[path].centre
        assert np.abs(values).max() <= bounds[path].half_width
        if bounds[path].half_width and values.size > 100:
            assert np.abs(values).max() > 0.9 * bounds[path].half_width
    other = init_vector(jax.random.key(1), packing, ranges)
    assert not np.array_equal(vector, other)


def test_nothing_in_nothing_out():
    packing = Packing({})
    assert packing.size == 0 and packing.unravel(jnp.zeros(0)) == {} and packing.ravel({}).shape == (0,)
