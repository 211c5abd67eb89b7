"""One-Shot cells: the network by hand, the supernet with masks, exact sizes, the space and its texts."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from support.chains import random_variables

from jdarts.errors import UserError
from jdarts.genotypes import OneShotGenotype, load, parse
from jdarts.genotypes.one_shot import CHOICE_OPS
from jdarts.methods.resources import op_costs
from jdarts.networks.counting import count_nasbench201
from jdarts.networks.of_genotype import check_network, count_network, derived_network
from jdarts.networks.one_shot.network import OneShotNetwork
from jdarts.report.cell_drawing import draw_terminal
from jdarts.spaces.one_shot import OneShotSpace, input_sets, one_shot

TWO = OneShotSpace("two", 2)
TEXT = "one_shot: 0,1>skip_connect+sep_conv_3x3 0,2>conv_7x1_1x7+max_pool_3x3"
IMAGES = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))


def supernet_and_variables():
    supernet = TWO.supernet(channels=3, cells=2, classes=2)
    ones = {name: jnp.ones(shape) for name, shape in TWO.alpha_shapes.items()}
    return supernet, random_variables(supernet, jax.random.key(0), ones, IMAGES, True)


def own_part(variables, wanted):
    """The variables of the supernet under the names that a network has; scale 1 and shift 0 where it has none."""
    flat = {name: traverse_util.flatten_dict(tree) for name, tree in variables.items()}
    found = {
        name: traverse_util.unflatten_dict(
            {
                path: flat[name].get(path, jnp.full(leaf.shape, float(path[-1] == "scale")))
                for path, leaf in traverse_util.flatten_dict(tree).items()
            }
        )
        for name, tree in wanted.items()
    }
    return found


@pytest.mark.parametrize("train", [True, False])
def test_zeroing_paths_equals_building_the_network(train):
    supernet, variables = supernet_and_variables()
    genotype = parse(TEXT)
    network = OneShotNetwork(genotype, 3, 2, 2)
    wanted = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGES, train))
    own = own_part(variables, wanted)
    run = jax.jit(lambda p: supernet.apply(variables, p, IMAGES, train, mutable=["batch_stats"])[0])
    masked = run(TWO.one_hot(genotype))
    (built, none), _ = jax.jit(lambda own: network.apply(own, IMAGES, train, mutable=["batch_stats"]))(own)
    np.testing.assert_allclose(masked, built, rtol=1e-5, atol=1e-5)
    assert none is None and float(jnp.std(built)) > 0.01
    assert float(jnp.max(jnp.abs(run(TWO.one_hot(TWO.random_genotype(1))) - built))) > 1e-3


def normed(x, scale=1.0, bias=0.0):
    return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) * scale + bias


def pool(x, reduce, fill):
    """3 × 3 windows of stride 1; `fill` outside."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)
    h, w = x.shape[1:3]
    return reduce([padded[:, i : i + h, j : j + w] for i, j in product(range(3), range(3))])


def dense(x, kernel):
    """A convolution of stride 1 that keeps the size, tap by tap."""
    out = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for n, c, d in product(range(len(x)), range(kernel.shape[2]), range(kernel.shape[3])):
        out[n, :, :, d] += correlate2d(x[n, :, :, c], kernel[:, :, c, d], mode="same")
    return out


def depthwise(x, kernel):
    return np.stack(
        [[correlate2d(x[n, :, :, c], kernel[:, :, c], mode="same") for c in range(x.shape[-1])] for n in range(len(x))]
    ).transpose(0, 2, 3, 1)


def by_hand(p, s0, s1):
    """The cell of `TEXT` in NumPy, with the parameters of one cell and without halving."""

    def norm(tree, x):
        return normed(x, np.asarray(tree["scale"]).reshape(-1), np.asarray(tree["bias"]).reshape(-1))

    relu, p = lambda x: np.maximum(x, 0), jax.tree.map(np.asarray, p)
    a = p["block_0"]
    h = norm(a["sum_norm"], relu(s0) @ a["input_0"] + relu(s1) @ a["input_1"])
    pair = a["sep_conv_3x3"]
    y = depthwise(relu(h), pair["depthwise_1"][0]) @ pair["pointwise_1"][0]
    y = depthwise(relu(norm(pair["norm_1"], y)), pair["depthwise_2"][0]) @ pair["pointwise_2"][0]
    x2 = norm(a["norm"], h + y)
    b = p["block_1"]
    h = norm(b["sum_norm"], relu(s0) @ b["input_0"] + relu(x2) @ b["input_2"])
    rows = dense(dense(relu(h), b["conv_7x1_1x7"]["conv_1x7"]), b["conv_7x1_1x7"]["conv_7x1"])
    x3 = norm(b["norm"], rows + pool(h, lambda each: np.max(each, 0), -np.inf))
    return np.concatenate([x2, x3], -1)


def test_the_network_by_hand():
    """Stem, a cell that halves its inputs, classifier, in NumPy; both inputs of the only cell are the stem's output."""
    network = OneShotNetwork(parse(TEXT), 3, 1, 2)
    variables = random_variables(network, jax.random.key(2), IMAGES, True)
    (found, _), _ = network.apply(variables, IMAGES, True, mutable=["batch_stats"])
    p = jax.tree.map(np.asarray, variables["params"])
    stem = dense(np.asarray(IMAGES), p["stem"]["conv"])
    stem = normed(stem, p["stem"]["norm"]["scale"].reshape(-1), p["stem"]["norm"]["bias"].reshape(-1))
    half = stem.reshape(4, 4, 2, 4, 2, 3).mean((2, 4))
    features = by_hand(p["cell_0"], half, half).mean((1, 2))
    logits = features @ p["classifier"]["kernel"] + p["classifier"]["bias"]
    np.testing.assert_allclose(found, logits, rtol=1e-3, atol=1e-3)


def test_the_size_of_a_network_in_closed_form():
    """Three cells of F = 4, 8 and 16 channels a block on 16 × 16, 8 × 8 and 4 × 4 pixels; the stem has F channels."""
    parameters, macs = 27 * 4 + 8, 27 * 4 * 256
    for f, side, (s0, s1) in ((4, 16, (4, 4)), (8, 8, (4, 8)), (16, 4, (8, 16))):
        inputs = (s0 + s1) * f + (s0 + f) * f
        separable = 2 * (9 * f + f * f)
        rows = 2 * 7 * f * f
        parameters += inputs + separable + rows + 2 * f * 5  # two batch norms a block, one inside of the pair
        macs += (inputs + separable + rows) * side**2
    parameters, macs = parameters + 32 * 2 + 2, macs + 32 * 2
    count = count_network(parse(TEXT), channels=4, cells=3, classes=2, image_size=16)
    assert (count.parameters, count.macs) == (parameters, macs)
    network = derived_network(parse(TEXT), channels=4, cells=3, classes=2)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((2, 16, 16, 3)), True))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == parameters


def test_costs_of_all_paths_are_the_weights_of_the_supernet():
    """All inputs and ops; besides them only the stem and the classifier have weights."""
    supernet = TWO.supernet(channels=4, cells=3, classes=2)
    ones = {name: jnp.ones(shape) for name, shape in TWO.alpha_shapes.items()}
    images = jnp.zeros((2, 16, 16, 3))
    shapes = jax.eval_shape(lambda: supernet.init(jax.random.key(0), ones, images, True))["params"]
    cells = sum(leaf.size for name, tree in shapes.items() if "cell" in name for leaf in jax.tree.leaves(tree))
    costs = op_costs(TWO, "parameters", channels=4, cells=3, size=16)
    inside = 2 * (4 + 8 + 16) * 2 * 3  # costs have scale and shift of the inner batch norms of three separable pairs
    assert sum(cost.sum() for cost in costs.values()) == cells + inside
    genotype, macs = parse(TEXT), op_costs(TWO, "flops", channels=4, cells=3, size=16)
    chosen = sum((macs[name] * np.asarray(p)).sum() for name, p in TWO.one_hot(genotype).items())
    count = count_network(genotype, channels=4, cells=3, classes=2, image_size=16)
    assert chosen == sum(module.macs for module in count.modules if module.name.startswith("cell"))


def test_the_size_of_the_space():
    assert one_shot.size == 28**4 * 3 * 7 * 15 * 31 == 6_002_115_840
    assert [len(input_sets(b)) for b in range(4)] == [3, 7, 15, 31]
    assert one_shot.alpha_shapes == {
        "ops": (4, 7),
        "inputs_0": (1, 2),
        "inputs_1": (1, 3),
        "inputs_2": (1, 4),
        "inputs_3": (1, 5),
    }


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_texts_and_weights_read_back(seed):
    genotype = one_shot.random_genotype(seed)
    assert parse(genotype.to_text()) == load(genotype.to_json()) == genotype
    assert one_shot.derive(one_shot.one_hot(genotype)) == genotype
    p = one_shot.one_hot(genotype)
    for b, block in enumerate(genotype.blocks):
        assert [CHOICE_OPS[k] for k in np.flatnonzero(p["ops"][b])] == list(block.ops)
        assert np.flatnonzero(p[f"inputs_{b}"][0]).tolist() == list(block.inputs)


def test_the_graph_is_drawn():
    drawn = draw_terminal(parse(TEXT))
    assert "Σ_{1}" in drawn and "0 1 ══ concat" in drawn
    assert parse(TEXT).cells["normal"].nodes[2:] == (
        (("conv_1x1", 0), ("conv_1x1", 3)),
        (("conv_7x1_1x7", 4), ("max_pool_3x3", 4)),
    )


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: parse("one_shot: 0,2>skip_connect"), "inputs of choice block 0 are .0, 2.; list at least one of 0"),
        (lambda: parse("one_shot: 0>conv_3x3"), "unknown op of choice block 0 'conv_3x3'"),
        (lambda: parse("one_shot: 0>sep_conv_3x3+skip_connect"), "list one or 2 different ones, in the order of"),
        (lambda: parse("one_shot: 0:skip_connect"), "no choice block; expected INPUTS>OPS"),
        (lambda: parse('{"blocks": [{"inputs": [0]}]}'), "choice block 0 is"),
        (lambda: OneShotGenotype(()), "no choice blocks"),
        (lambda: one_shot.encode(parse(TEXT)), "does not belong to space one_shot; expected a OneShotGenotype of 4"),
        (lambda: check_network(parse(TEXT), channels=4, cells=3, image_size=10), "divisible by 4"),
        (lambda: check_network(parse(TEXT), channels=4, cells=3, image_size=16, auxiliary=True), "no auxiliary head"),
        (lambda: check_network(parse(TEXT), channels=4, cells=3, image_size=64, stem="imagenet"), "only that for CIF"),
        (
            lambda: count_nasbench201(parse(TEXT), channels=4, cells_per_stage=1, classes=2, image_size=8),
            "a One-Shot cell has choice blocks",
        ),
        (lambda: OneShotSpace("none", 0), "blocks of space none is 0"),
    ],
)
def test_mistakes(use, words):
    with pytest.raises(UserError, match=words):
        use()
