"""The user's spaces: other nodes and edges, own ops, and a search of such a space from its file to the test."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from jax import lax

from jdarts import cli, spaces
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.networks.counting import count_darts_cnn
from jdarts.networks.fast.by_cell import CellByCell
from jdarts.networks.fast.ops import candidate
from jdarts.networks.of_genotype import derived_network
from jdarts.ops import user_ops
from jdarts.ops.initializers import init_network
from jdarts.spaces import define_space

EXAMPLE = Path(__file__).parents[2] / "configs" / "my_space.py"
TINY = """
from flax import linen as nn
from jdarts.spaces import define_space

class Gate(nn.Module):
    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        x = x[:, ::self.stride, ::self.stride]
        return x * nn.sigmoid(nn.Dense(self.channels)(x))

def mean(x, stride):
    return nn.avg_pool(x, (2, 2), (stride, stride), "SAME")

space = define_space("tiny", edges=[(0, 2), (1, 2), (1, 3)], normal=("skip_connect", "gate", "mean"),
                     reduce=("gate", "mean"), ops={"gate": Gate, "mean": mean})
"""
TOY = """
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
config = Experiment(
    name="toy",
    data=DataConfig(source="synthetic:4x4x1:3:24", crop_padding=1),
    space=SpaceConfig(name="tiny.py", channels=4, cells=1),
    search=SearchConfig(epochs=1, batch_size=6, hypergradient="first_order"),
    train=TrainConfig(epochs=1, batch_size=8, channels=4, cells=1, auxiliary_weight=0.0, drop_path=0.0, cutout=0),
)
"""


class Pair(nn.Module):
    """Widen, norm, narrow; for the tests."""

    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, norm):
        y = nn.Conv(2 * self.channels, (3, 3), self.stride, use_bias=False)(x)
        return norm(nn.Conv(self.channels, (1, 1), use_bias=False)(nn.relu(norm(y))))


class Wrong(nn.Module):
    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        return nn.Conv(self.channels, (3, 3))(x)


class Remembers(nn.Module):
    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


OPS = ("skip_connect", "pair")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"normal": ("pear", "pair")}, "edge 0→2: unknown op 'pear'; did you mean 'pair'"),
        ({"normal": ("pair", "pair")}, "normal lists pair twice on one edge"),
        ({"normal": ("none",), "reduce": ("pair",)}, "whose only candidate is none"),
        ({"edges": [(0, 2), (1, 2), (2, 4)]}, "no edge enters node 3"),
        ({"edges": [(0, 2), (0, 2)]}, "edge 0→2 is listed twice"),
        ({"edges": [(3, 2), (1, 3)]}, "edge 3→2"),
        ({"edges": [(0, 2)], "nodes": 2}, "nodes is 2, so edges must enter 2 to 3; they enter [2]"),
        ({"edges": [(0, 2), "1-2"]}, "edges has '1-2'"),
        ({"nodes": 0}, "nodes is 0"),
        ({"normal": {(0, 2): OPS}}, "no list for the edge (1, 2)"),
        ({"normal": [OPS] * 3}, "has 3 lists for 2 edges"),
        ({"normal": [OPS, ("pair",)]}, "equally many candidates"),
        ({"ops": {"pair": Wrong}}, "gives (2, 8, 8, 16) for an input (2, 8, 8, 16) at stride 2; it must give (2, 4, 4"),
        ({"ops": {"pair": Remembers}}, "keeps batch statistics of its own"),
        ({"ops": {"pair": lambda x, stride: x @ jnp.ones((3, 3))}}, "fails at stride 1: TypeError"),
        ({"ops": {"pair": nn.relu(jnp.ones(2))}}, "give a flax.linen Module class, or a function"),
        ({"ops": {"pair": Pair, "sep_conv_3x3": Pair}}, "'sep_conv_3x3' is one of jdarts' own names"),
        ({"ops": {"pair": Pair, "a b": Pair}}, "'a b' cannot name an op"),
        ({"ops": {"pair": Pair, "idle": Pair}}, "op 'idle' is not a candidate of any edge"),
    ],
)
def test_mistakes_are_one_line(changes, expected):
    given = {"nodes": None if "edges" in changes else 1, "normal": OPS, "ops": {"pair": Pair}, **changes}
    with pytest.raises(UserError) as caught:
        define_space("mine", **given)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_one_name_for_two_ops_is_refused():
    define_space("first", nodes=1, normal=("skip_connect", "twin"), ops={"twin": Pair})
    define_space("again", nodes=1, normal=("skip_connect", "twin"), ops={"twin": Pair})
    with pytest.raises(UserError, match="'twin' is defined in"):
        define_space(
            "second", nodes=1, normal=("skip_connect", "twin"), ops={"twin": lambda x, stride: x[:, ::stride, ::stride]}
        )


def test_lists_follow_their_edges_in_any_order():
    edges = [(1, 3), (0, 2), (1, 2)]
    space = define_space("mixed", edges=edges, normal=[("none", "noise"), ("noise", "none"), ("skip_connect", "none")])
    assert space.edges == ((0, 2), (1, 2), (1, 3))
    assert space.normal == (("noise", "none"), ("skip_connect", "none"), ("none", "noise"))
    genotype = space.derive({c: np.eye(3, 2) for c in ("normal", "reduce")})
    assert genotype.normal.nodes == ((("noise", 0), ("skip_connect", 1)), (("noise", 1),))
    assert genotype.normal.concat == (2, 3)
    again = parse(space.random_genotype(3).to_text())
    assert space.one_hot(again)["normal"].sum() == 3


def by_hand(params, t, x, stride):
    """`Pair` on edge `t`, with the test's own convolutions and norms."""
    kernels = [params["Pair_0"][f"Conv_{i}"]["kernel"][t] for i in (0, 1)]

    def conv(x, kernel, stride):
        return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def norm(y):
        return (y - y.mean((0, 1, 2))) / jnp.sqrt(y.var((0, 1, 2)) + 1e-5)

    first = conv(x, kernels[0], stride)
    return norm(conv(nn.relu(norm(first)), kernels[1], 1)), first


@pytest.mark.parametrize("stride", [1, 2])
def test_an_own_module_on_two_edges_is_that_module_with_batch_norms(stride):
    define_space("pairs", nodes=1, normal=OPS, ops={"pair": Pair})
    op = candidate("pair", search=True, channels=4, stride=stride, edges=2, affine=False)
    x = jax.random.normal(jax.random.key(1), (3, 6, 6, 4))
    variables = init_network(op, jax.random.key(0), x, True)
    params = variables["params"]["op"]
    kernel = params["Pair_0"]["Conv_0"]["kernel"]
    assert kernel.shape == (2, 3, 3, 4, 8) and not np.allclose(kernel[0], kernel[1])
    assert 0.1 < float(kernel.std()) < 0.25  # lecun_normal, as flax has it: 1/√36
    y, changed = op.apply(variables, x, True, mutable=["batch_stats"])
    for t in (0, 1):
        expected, first = by_hand(params, t, x, stride)
        np.testing.assert_allclose(y[..., 4 * t : 4 * (t + 1)], expected, atol=1e-4)
        mean = changed["batch_stats"]["op"]["Pair_0"]["BatchNorm_0"]["mean"][t, 0]
        np.testing.assert_allclose(mean, 0.1 * first.mean((0, 1, 2)), atol=1e-5)


def test_own_ops_are_counted_as_built_and_by_the_formula():
    space = spaces.get(str(EXAMPLE))
    genotype = space.random_genotype(1)
    count = count_darts_cnn(genotype, channels=8, cells=3, classes=10, image_size=8)
    network = derived_network(genotype, channels=8, cells=3, classes=10)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, True), jnp.zeros((2, 8, 8, 3)))
    assert count.parameters == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    from jdarts.ops.user_module import count_own

    c, s = 8, 4  # stride 2: the first convolution sees the whole image
    weights = [c * 2 * c, 9 * 2 * c, 2 * c * c]
    assert count_own("inverted", c, 2, (s, s)) == (
        sum(weights) + 2 * (2 * c + 2 * c + c),
        weights[0] * (2 * s) ** 2 + (weights[1] + weights[2]) * s**2,
    )
    assert count_own("blur", c, 2, (s, s)) == (0, 0)


def test_records_name_ops_that_this_process_does_not_know():
    user_ops.declare(["foreign_op"])
    genotype = parse(
        "Genotype(normal=[('foreign_op', 0), ('skip_connect', 1)], normal_concat=[2], "
        "reduce=[('foreign_op', 0), ('skip_connect', 1)], reduce_concat=[2])"
    )
    with pytest.raises(UserError, match="give the file that defines it with --space"):
        count_darts_cnn(genotype, channels=8, cells=1, classes=3)


@pytest.mark.slow
def test_from_the_file_to_the_tested_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "toy.py").write_text(TOY)
    assert cli.main(["search", "toy.py"]) == 0
    folder = tmp_path / "runs" / "toy"
    text = (folder / "genotype.txt").read_text()
    records = [json.loads(line) for line in (folder / "search" / "genotypes.jsonl").read_text().splitlines()]
    assert {name: np.shape(a) for name, a in records[-1]["alphas"].items()} == {"normal": (3, 3), "reduce": (3, 2)}
    p = {name: np.exp(a) / np.exp(a).sum(-1, keepdims=True) for name, a in records[-1]["alphas"].items()}
    assert spaces.get("tiny.py").derive(p) == parse(text)
    assert json.loads((folder / "own_ops.json").read_text())["names"][-2:] == ["gate", "mean"]
    assert cli.main(["train", "toy.py", "--genotype", "runs/toy/genotype.txt"]) == 0
    result = json.loads((tmp_path / "runs" / "toy-train" / "result.json").read_text())
    assert 0 <= result["test_accuracy"] <= 1
    capsys.readouterr()
    space = ["--space", "tiny.py"]
    assert cli.main(["count", "runs/toy/genotype.txt", *space, "--channels", "4", "--cells", "1", "--image", "4"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert cli.main(["draw", "runs/toy/genotype.txt", *space, "-o", "cells.svg"]) == 0
    ops = {op for edges in parse(text).reduce.live_nodes for op, _ in edges}
    assert all(f">{op}<" in (tmp_path / "cells.svg").read_text() for op in ops)


def test_an_op_listed_twice_has_both_weights():
    """StacNAS' placeholder: two columns of one op equal one column with the sum of their weights."""
    two, one = (("skip_connect", "sep_conv_3x3", "skip_connect"),) * 2, (("skip_connect", "sep_conv_3x3"),) * 2
    cells = [CellByCell(table, 4, edges=((0, 2), (1, 2))) for table in (two, one)]
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 4))
    p = jnp.array([[0.1, 0.5, 0.4], [0.3, 0.2, 0.5]])
    variables = init_network(cells[1], jax.random.key(1), x, x, p[:, :2], True)
    merged = jnp.stack([p[:, 0] + p[:, 2], p[:, 1]], axis=1)
    outputs = [cell.apply(variables, x, x, q, True) for cell, q in zip(cells, (p, merged), strict=True)]
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_pieces_of_own_ops_compute_what_the_whole_computes(tmp_path):
    """The step in pieces, as CPUs run it, against the same step as one program."""
    from jdarts import staging
    from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
    from jdarts.data import load
    from jdarts.search import make_search

    (tmp_path / "tiny.py").write_text(TINY.replace('"gate"', '"gate_2"').replace('"mean"', '"mean_2"'))
    config = Experiment(
        data=DataConfig(source="synthetic:4x4x1:3:24", crop_padding=1),
        space=SpaceConfig(name=str(tmp_path / "tiny.py"), channels=4, cells=1),
        search=SearchConfig(epochs=1, batch_size=6, hypergradient="unrolled"),
    )
    space = spaces.get(config.space.name)
    search = make_search(config, space, load(config.data).for_search(config.data))
    state = search.init(jax.random.key(0))
    whole, _ = jax.jit(search.step)(state, search.arrays)
    parts, _ = staging.compile(search.step, jax.eval_shape(lambda: state), search.arrays)(state, search.arrays)
    assert not np.allclose(whole.weights, state.weights)
    for name in ("weights", "batch_stats", "alphas"):
        for a, b in zip(*(jax.tree.leaves(getattr(s, name)) for s in (whole, parts)), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    flat = traverse_util.flatten_dict(search.variables(state)["params"])
    kernel = flat["cell_0", "from_1_gate_2", "op", "Gate_0", "Dense_0", "kernel"]
    assert kernel.shape == (2, 8, 8) and float(kernel.std()) > 0.1
