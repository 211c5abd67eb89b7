"""S6: sizes, the supernet against its derived network, the sampled form, the table."""

import gzip
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import staging
from jdarts.benchmarks import load_table
from jdarts.derivation import all_architectures
from jdarts.errors import UserError
from jdarts.genotypes import NASBENCH201_OPS, parse
from jdarts.networks.counting import count_nasbench201
from jdarts.networks.edges import EdgeSettings, join_channels, split_channels
from jdarts.networks.fast.nasbench201 import CellByNode
from jdarts.networks.of_genotype import derived_network
from jdarts.networks.wiring import NASBENCH201_EDGES as EDGES
from jdarts.ops.initializers import init_network
from jdarts.relaxation import harden
from jdarts.spaces import NASBench201Space, nasbench201
from jdarts.staging import compiling

ALL_SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
IMAGES = jax.random.normal(jax.random.key(5), (4, 8, 8, 3))


def weights_in(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_weights_of_the_published_supernet():
    supernet = nasbench201.supernet(channels=16, cells=5, classes=10)
    p = {"cell": jnp.zeros((6, 5))}
    made = jax.eval_shape(lambda: supernet.init(jax.random.key(0), p, jnp.zeros((1, 32, 32, 3)), True))
    assert weights_in(made["params"]) == 1_692_826


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_derived_networks_are_those_that_are_counted(seed):
    genotype = nasbench201.random_genotype(seed)
    network = derived_network(genotype, channels=16, cells=5, classes=10)
    made = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), True))
    assert weights_in(made["params"]) == count_nasbench201(genotype).parameters


def test_every_architecture_has_the_size_in_the_table(real_data):
    table = load_table(real_data / "nasbench201.csv.gz")
    assert len(table) == 15_625
    architectures = {nasbench201.genotype(ops).to_text() for ops in all_architectures()}
    assert architectures == set(table.architectures)
    for arch, parameters, flops in zip(
        table.architectures, table.columns["params_c10"], table.columns["flops_c10"], strict=True
    ):
        count = count_nasbench201(parse(arch))
        assert (count.parameters, count.macs) == (parameters, flops), arch


def test_rank_and_regret_in_the_table(real_data):
    table = load_table(real_data / "nasbench201.csv.gz")
    assert table.query(ALL_SKIP)["c10_test_200"] == pytest.approx(54.30, abs=5e-3)
    assert table.query(ALL_SKIP)["c100_test_200"] == pytest.approx(15.61, abs=5e-3)
    assert table.best()["c10_test_200"] == pytest.approx(94.37, abs=5e-3)
    assert table.regret(table.best().arch) == 0 and table.rank(table.best().arch) == 1
    assert table.regret(ALL_SKIP) == pytest.approx(94.3733 - 54.2967)
    better = sum(value > 54.2967 for value in table.columns["c10_test_200"])
    assert table.rank(ALL_SKIP) == better + 1


def test_tables_that_are_none_are_refused(tmp_path):
    pickle = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    pickle.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UserError, match="Python pickle"):
        load_table(pickle)
    with pytest.raises(UserError, match="No such file"):
        load_table(tmp_path / "absent.csv")
    (tmp_path / "broken.csv.gz").write_bytes(gzip.compress(b"arch,c10_test_200\n")[:10])
    with pytest.raises(UserError, match="cannot read"):
        load_table(tmp_path / "broken.csv.gz")
    (tmp_path / "other.csv").write_text("name,value\nx,1\n")
    with pytest.raises(UserError, match="no column arch"):
        load_table(tmp_path / "other.csv")
    (tmp_path / "text.csv").write_text(f"arch,c10_test_200\n{ALL_SKIP},high\n")
    with pytest.raises(UserError, match="c10_test_200"):
        load_table(tmp_path / "text.csv")
    (tmp_path / "one.csv").write_text(f"arch,c10_test_200\n{ALL_SKIP},54.3\n")
    table = load_table(tmp_path / "one.csv")
    with pytest.raises(UserError, match="not in the table"):
        table.query(nasbench201.random_genotype(0))
    with pytest.raises(UserError, match="unknown accuracy"):
        table.rank(ALL_SKIP, "c11")


def supernet(**edge):
    return nasbench201.supernet(channels=4, cells=1, classes=3, edge=EdgeSettings(**edge))


@pytest.fixture(scope="module")
def variables():
    return jax.jit(lambda k: init_network(supernet(), k, {"cell": jnp.zeros((6, 5))}, IMAGES, True))(jax.random.key(1))


def logits(net, variables, p, values=None):
    return net.apply(variables, p, IMAGES, True, values, mutable=["batch_stats"])[0]


def test_a_one_hot_supernet_is_the_derived_network(variables):
    """The derived network gets the supernet's kernels (its norms start at scale 1 and shift 0)."""
    genotype = nasbench201.genotype(
        ["nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "none", "nor_conv_3x3"]
    )
    network = derived_network(genotype, channels=4, cells=1, classes=3)
    derived = network.init(jax.random.key(0), IMAGES, True)
    params = jax.tree.map(lambda x: x, derived["params"])
    for name, value in variables["params"].items():
        if not name.startswith("cell_"):
            params[name] = value
            continue
        for target, edges in enumerate(genotype.normal.nodes, start=1):
            for op, source in edges:
                if "conv" in op:
                    kernel = value[f"from_{source}_{op}"]["kernel"][target - source - 1]
                    params[name][f"node_{target}_from_{source}_{op}"]["conv"] = kernel
    expected = network.apply({**derived, "params": params}, IMAGES, True, mutable=["batch_stats"])[0][0]
    got = jax.jit(partial(logits, supernet()))(variables, nasbench201.one_hot(genotype))
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)


def test_the_sampled_form_is_the_dense_one_in_value_and_in_the_weights_gradients(variables):
    soft = jax.nn.softmax(jax.random.normal(jax.random.key(3), (6, 5)))

    def loss(net, params, p):
        y = logits(net, {**variables, "params": params}, {"cell": harden(p)})
        return jnp.sum(y**2)

    results = {}
    for name, net in (("dense", supernet()), ("sampled", supernet(sampled=True))):
        results[name] = jax.jit(jax.value_and_grad(partial(loss, net), argnums=(0, 1)))(variables["params"], soft)
    (dense, (dense_w, dense_p)), (sampled, (sampled_w, sampled_p)) = results["dense"], results["sampled"]
    np.testing.assert_allclose(sampled, dense, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(sampled_w), jax.tree.leaves(dense_w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    chosen = np.asarray(jnp.argmax(soft, -1))
    for edge, op in enumerate(chosen):
        if NASBENCH201_OPS[op] != "none":
            np.testing.assert_allclose(sampled_p[edge, op], dense_p[edge, op], rtol=1e-3, atol=1e-4)
        others = np.delete(np.asarray(sampled_p[edge]), op)
        np.testing.assert_allclose(others, others[0], rtol=1e-5)  # the gradient of a constant 1, the same for each


def test_the_sampled_form_holds_a_conditional(variables):
    net = supernet(sampled=True)
    p = {"cell": jax.nn.one_hot(jnp.arange(6) % 5, 5)}
    text = str(jax.make_jaxpr(lambda p: logits(net, variables, p))(p))
    assert text.count(" cond[") >= 6  # one an edge, so that only one branch runs


def test_the_sampled_form_in_pieces_takes_its_branches_in_python(variables):
    """On a CPU: the same numbers as the whole program, and no more convolutions than were sampled."""
    cell = CellByNode((NASBENCH201_OPS,) * 6, 4, None, EdgeSettings(sampled=True), EDGES)
    x, params = jax.random.normal(jax.random.key(6), (2, 8, 8, 4)), {"params": variables["params"]["cell_0"]}
    p = jax.nn.one_hot(jnp.array([3, 0, 1, 2, 4, 1]), 5)  # one 3 × 3 and one 1 × 1 convolution
    grads = jax.value_and_grad(
        lambda params, x, p: jnp.mean(jnp.square(cell.apply(params, x, p, True))), argnums=(0, 1, 2)
    )
    program = staging.compile(grads, params, x, p)
    ran = []
    call = compiling.Executable.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            compiling.Executable,
            "__call__",
            lambda self, *arrays: ran.append(self._compiled.as_text().count(" convolution(")) or call(self, *arrays),
        )
        got = program(params, x, p)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(jax.jit(grads)(params, x, p)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert 2 <= sum(ran) <= 2 * 4, "each of the two: forward, by its input, by its kernel, perhaps forward once more"


def test_auxiliary_skip_and_edge_weights(variables):
    p = {"cell": jax.random.uniform(jax.random.key(4), (6, 5))}
    plain = jax.jit(partial(logits, supernet()))
    with_skip = jax.jit(partial(logits, supernet(auxiliary_skip="identity")))
    same = {"auxiliary_skip": jnp.zeros(())}
    np.testing.assert_allclose(with_skip(variables, p, same), plain(variables, p), rtol=1e-5, atol=1e-6)
    more = {"cell": p["cell"].at[:, 1].add(0.7)}
    got = with_skip(variables, p, {"auxiliary_skip": jnp.float32(0.7)})
    np.testing.assert_allclose(got, plain(variables, more), rtol=1e-4, atol=1e-5)
    halved = {**p, "cell_edges": jnp.full(6, 0.5)}
    np.testing.assert_allclose(
        plain(variables, halved), plain(variables, {"cell": p["cell"] / 2}), rtol=1e-4, atol=1e-5
    )


def test_the_shuffle_spreads_every_group():
    x = jnp.arange(8.0).reshape(1, 1, 1, 8)
    first, others = split_channels(x, 4)
    assert first.shape[-1] == 2
    got = np.ravel(join_channels(first, others, 4, 1))
    assert list(got) == [0, 2, 4, 6, 1, 3, 5, 7]
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    pooled = join_channels(jnp.zeros((1, 2, 2, 1)), image, 2, 2)
    assert list(np.ravel(pooled[..., 1])) == [5, 7, 13, 15]


def test_spaces_of_fewer_ops_and_wrong_ones():
    small = NASBench201Space("small", cell=(("none", "nor_conv_3x3"),) * 6)
    assert small.alpha_shapes == {"cell": (6, 2)} and small.edges == EDGES
    with pytest.raises(UserError, match="not an op of NAS-Bench-201"):
        NASBench201Space("bad", cell=(("sep_conv_3x3",),) * 6)
    with pytest.raises(UserError, match="equally many"):
        NASBench201Space("bad", cell=(("none",),) * 5 + (("none", "skip_connect"),))
    with pytest.raises(UserError, match="not a candidate"):
        small.one_hot(parse(ALL_SKIP))
    with pytest.raises(UserError, match="halved twice"):
        nasbench201.check_image(6, 8, 1)
