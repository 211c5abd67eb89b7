"""The table-based spaces: sizes of their supernets, derivation, genotypes as op weights, refused input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, parse
from jdarts.networks.reductions import reduction_cells
from jdarts.networks.wiring import EDGES, OFFSETS, row
from jdarts.spaces import CellSpace, darts_cnn, robust_s1, robust_s2, robust_s3

SPACES = ["darts_cnn", "robust_s1", "robust_s2", "robust_s3", "robust_s4"]


def _zeros(space):
    return {name: np.zeros(shape) for name, shape in space.alpha_shapes.items()}


@pytest.mark.parametrize(
    ("name", "weights"), list(zip(SPACES, [1_930_618, 405_146, 665_466, 665_466, 624_506], strict=True))
)
def test_weights_of_the_published_supernets(name, weights):
    space = spaces.get(name)
    supernet = space.supernet(channels=16, cells=8, classes=10)
    p = {c: jnp.zeros(shape) for c, shape in space.alpha_shapes.items()}
    shapes = jax.eval_shape(lambda key: supernet.init(key, p, jnp.zeros((1, 4, 4, 3)), False), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == weights


def test_edges_are_ordered_by_target_then_source():
    edges = [(source, target) for target in OFFSETS for source in range(target)]
    assert [row(*edge) for edge in edges] == list(range(EDGES))


@pytest.mark.parametrize(("cells", "expected"), [(8, (2, 5)), (20, (6, 13)), (14, (4, 9)), (2, (0, 1)), (1, (0,))])
def test_reduction_cells(cells, expected):
    assert reduction_cells(cells) == expected


def test_registry():
    assert set(SPACES) <= set(spaces.names())
    with pytest.raises(UserError, match="did you mean 'robust_s3'"):
        spaces.get("robust-s3")
    with pytest.raises(UserError, match="'darts_cnn' is already registered"):
        spaces.register(darts_cnn)


def test_derive_takes_the_two_strongest_edges_in_order_of_strength():
    p = _zeros(darts_cnn)
    ops = darts_cnn.normal[0]
    p["normal"][row(2, 4), ops.index("max_pool_3x3")] = 0.3
    p["normal"][row(0, 4), ops.index("dil_conv_5x5")] = 0.5
    p["normal"][row(0, 4), ops.index("sep_conv_3x3")] = 0.4  # second on its edge: not taken
    p["normal"][row(1, 4), ops.index("skip_connect")] = 0.2
    p["normal"][row(3, 4), ops.index("none")] = 0.9  # never taken
    cell = darts_cnn.derive(p).normal
    assert cell.nodes[2] == (("dil_conv_5x5", 0), ("max_pool_3x3", 2))
    assert cell.concat == (2, 3, 4, 5)


def test_derive_breaks_ties_towards_the_lower_index():
    cell = darts_cnn.derive(_zeros(darts_cnn)).reduce
    assert cell.nodes == ((("max_pool_3x3", 0), ("max_pool_3x3", 1)),) * 4


def test_derive_compares_op_weights_across_edges_not_alphas():
    # Edge 0→4 has the larger alpha, but its softmax gives more to `none`.
    alphas = _zeros(robust_s3)
    alphas["normal"][row(0, 4)] = [6.0, 3.0, 0.0]
    alphas["normal"][row(1, 4)] = [-5.0, 2.0, -5.0]
    alphas["normal"][row(2, 4)] = [-5.0, -5.0, 2.5]
    softmaxed = {c: jax.nn.softmax(a) for c, a in alphas.items()}
    assert robust_s3.derive(softmaxed).normal.nodes[2] == (("sep_conv_3x3", 2), ("skip_connect", 1))
    assert robust_s3.derive(alphas).normal.nodes[2][0] == ("skip_connect", 0)


def test_derive_reads_each_edges_own_candidates():
    p = _zeros(robust_s1)
    p["normal"][row(4, 5)] = [0.2, 0.8]
    p["normal"][row(1, 5)] = [0.7, 0.3]
    assert robust_s1.derive(p).normal.nodes[3] == (("dil_conv_5x5", 4), ("max_pool_3x3", 1))


@pytest.mark.parametrize("name", SPACES)
def test_random_genotypes_are_valid_reproducible_and_their_own_derivation(name):
    space = spaces.get(name)
    genotypes = [space.random_genotype(seed) for seed in range(20)]
    assert genotypes[3] == space.random_genotype(3)
    assert len({g.to_text() for g in genotypes}) > 15
    for genotype in genotypes:
        for cell in genotype.cells.values():
            assert len(cell.nodes) == 4
            for target, edges in enumerate(cell.nodes, 2):
                assert len({source for _, source in edges}) == 2
                assert all(op != "none" and source < target for op, source in edges)
        weights = space.one_hot(genotype)
        assert all(float(w.sum()) == 8 and set(np.unique(w)) == {0.0, 1.0} for w in weights.values())
        assert space.derive(weights) == genotype  # sources ascend, as ties do


def test_one_hot_refuses_ops_that_are_no_candidates():
    with pytest.raises(UserError, match=r"max_pool_3x3 on edge 0→2 of the reduce cell is not a candidate.*robust_s2"):
        robust_s2.one_hot(Genotype(normal=robust_s2.random_genotype(0).normal, reduce=parse("DARTS_V2").reduce))


def _small():
    """Variables and `logits(params, op weights)` in training mode of one reduction cell of S3."""
    supernet = robust_s3.supernet(channels=2, cells=1, classes=2)
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    zeros = {c: jnp.zeros(shape) for c, shape in robust_s3.alpha_shapes.items()}
    variables = jax.jit(lambda k: supernet.init(k, zeros, x, False))(jax.random.key(0))

    def logits(params, weights):
        return supernet.apply(variables | {"params": params}, weights, x, True)

    return variables["params"], logits


def test_weights_of_ops_that_are_switched_off_have_no_gradient():
    params, logits = _small()
    edges = ((("sep_conv_3x3", 0), ("skip_connect", 1)),)
    cell = Cell(nodes=edges * 3 + ((("sep_conv_3x3", 4), ("skip_connect", 3)),), concat=(2, 3, 4, 5))
    weights = robust_s3.one_hot(Genotype(normal=cell, reduce=cell))
    grad = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(logits(p, weights)))))(params)["cell_0"]
    used = jnp.any(grad["from_0_sep_conv_3x3"]["pointwise_2"], axis=(1, 2))
    assert used.tolist() == [True, True, True, False]  # edges 0→2, 0→3, 0→4, 0→5
    for source in (1, 2, 3):
        assert not any(jnp.any(g) for g in jax.tree.leaves(grad[f"from_{source}_sep_conv_3x3"]))
    assert jnp.any(grad["from_4_sep_conv_3x3"]["depthwise_1"])
    assert jnp.any(grad["from_1_skip_connect"]["reduce"]["conv_2"][0])
    assert not jnp.any(grad["from_0_skip_connect"]["reduce"]["conv_2"])


def test_logits_are_linear_in_the_op_weights_of_the_last_edge():
    # Edge 4→5 of the last cell: behind it are a sum, a mean and the linear classifier only.
    params, logits = _small()
    weights = {c: jnp.full(shape, 0.3) for c, shape in robust_s3.alpha_shapes.items()}

    def with_last(p):
        return logits(params, weights | {"reduce": weights["reduce"].at[row(4, 5)].set(p)})

    rows = jnp.array([[5.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 2, -3]])
    off, skip, sep, both = jax.jit(jax.vmap(with_last))(rows)
    assert not np.allclose(skip, off) and not np.allclose(sep, off)
    np.testing.assert_allclose(both - off, 2 * (skip - off) - 3 * (sep - off), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"normal": np.zeros((14, 8))}, r"op_weights has the entries \['normal'\]"),
        (
            {"normal": np.zeros((14, 7)), "reduce": np.zeros((14, 8))},
            r'\["normal"\] has shape \(14, 7\).*\(14, 8\)',
        ),
    ],
)
def test_op_weights_of_another_form_are_refused(weights, message):
    for check in (darts_cnn.check_weights, darts_cnn.derive):
        with pytest.raises(UserError, match=message):
            check(weights)


def test_images_that_cannot_be_halved_are_refused():
    darts_cnn.check_image(32, 28, cells=8)
    with pytest.raises(UserError, match=r"images of 30x32 .* 2 reduction cells.*space\.cells = 8.* divisible by 4"):
        darts_cnn.check_image(30, 32, cells=8)


def test_uneven_tables_are_refused():
    with pytest.raises(UserError, match="space odd: the reduce table needs 14 edges"):
        CellSpace("odd", normal=darts_cnn.normal, reduce=(*darts_cnn.reduce[:13], ("none",)))
