"""The alpha-Hessian against `jax.hessian`, float64 differences, and the invariants of softmax."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from support.mixture import mixture_loss, mixture_network, mixture_problem

from jdarts import staging
from jdarts.analysis import (
    LiveSearch,
    alpha_hessian,
    alpha_products,
    bilevel_objective,
    compiling,
    hessian_from_products,
    sharded_products,
)
from jdarts.analysis.alpha_hessian import directions_at_once
from jdarts.analysis.dense_hessian import RelaxedLoss, hessian_of
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.devices.memory import Available
from jdarts.errors import UserError
from jdarts.relaxation import softmax
from jdarts.search import make_search
from jdarts.spaces import define_space

hessian_module = sys.modules["jdarts.analysis.alpha_hessian"]  # its function has the module's name
pytestmark = pytest.mark.usefixtures("x64")


def dense(loss, w, alphas, batch):
    vector, unflatten = ravel_pytree(alphas)
    return _dense(loss, w, vector, unflatten, batch)


@partial(jax.jit, static_argnums=(0, 3))
def _dense(loss, w, vector, unflatten, batch):
    return jax.hessian(lambda v: loss(w, unflatten(v), batch)[0])(vector)


def test_it_is_the_mean_of_jax_hessian_over_batches():
    w, alphas, batches = mixture_problem(batches=3)
    found = alpha_hessian(mixture_loss, w, alphas, batches, chunk=5)
    each = np.stack([dense(mixture_loss, w, alphas, b) for b in batches])
    np.testing.assert_allclose(found.matrix, each.mean(0), atol=1e-13)
    assert found.asymmetry < 1e-13
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(each.mean(0))[::-1], atol=1e-12)
    np.testing.assert_allclose(found.batch_eigenvalues, [np.linalg.eigvalsh(h)[-1] for h in each], atol=1e-12)
    v = found.eigenvectors[:, 0]
    spread = [v @ h @ v for h in each]
    assert found.errors[0] == pytest.approx(np.std(spread, ddof=1) / np.sqrt(3), rel=1e-9)
    slope = jax.jit(jax.grad(mixture_loss, 1, has_aux=True))
    grads = [ravel_pytree(slope(w, alphas, b)[0])[0] for b in batches]
    np.testing.assert_allclose(found.gradient, np.mean(grads, 0), atol=1e-14)


@pytest.mark.parametrize("chunk", [7, 100])
def test_the_chunk_changes_nothing(chunk):
    w, alphas, batches = mixture_problem(batches=1)
    reference = dense(mixture_loss, w, alphas, batches[0])
    np.testing.assert_allclose(
        alpha_hessian(mixture_loss, w, alphas, batches, chunk=chunk).matrix, reference, atol=1e-13
    )


@pytest.mark.parametrize(("by_rows", "chunk"), [(False, 4), (True, 1), (True, 4)])
def test_along_op_weights_that_the_network_sees(by_rows, chunk):
    """As arrays, and in groups of rows as in programs compiled in pieces; small groups are joined."""
    w, alphas, batches = mixture_problem(batches=1)
    idle = np.array([[False, False, False], [True, False, True]])
    loss = RelaxedLoss(
        lambda alphas, batch: softmax(jax.tree.map(lambda a: a * batch["x"][0, 0], alphas)),
        lambda w, p, batch: mixture_network(w, p, batch, unseen=((1, 0), (1, 2))),
        {"normal": idle, "reduce": idle},
        {"normal": (3, 2)},
    )
    run = compiling.compile_pieces if by_rows else jax.jit
    gradient, found = run(partial(hessian_of, loss, chunk=chunk))(w, alphas, batches[0])
    np.testing.assert_allclose(found, dense(loss, w, alphas, batches[0]), atol=1e-13)
    expected = jax.jit(jax.grad(lambda a: loss(w, a, batches[0])[0]))(alphas)
    np.testing.assert_allclose(gradient, ravel_pytree(expected)[0], atol=1e-14)


def two_node_search(cells):
    """`(loss, w, alphas, batch)` of a small search in float64, whose edges may be `none`."""
    config = Experiment(
        data=DataConfig(source="synthetic:8x8x3:3:24"),
        space=SpaceConfig(channels=2, cells=cells),
        search=SearchConfig(batch_size=6),
    )
    space = define_space("two_nodes", nodes=2, normal=("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"))
    data = load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    live = LiveSearch(config, space, data, search, search.init(jax.random.key(0)))
    w, alphas, batch = jax.tree.map(
        lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, (live.w, live.alphas, live.batches(1)[0])
    )
    return live.loss(train=True), w, alphas, batch


@pytest.mark.slow
def test_a_search_compiled_in_pieces():
    """In mixed edges, and in cells as on accelerators, against differences of gradients. Two cells are both reduction
    cells: nothing depends on the alphas of the other kind.
    """
    loss, w, alphas, batch = two_node_search(cells=2)
    assert isinstance(loss, RelaxedLoss) and loss.idle["normal"].sum() == 5  # `none` on every edge
    assert loss.nodes["reduce"] == (2, 2, 3, 3, 3)
    found, hessian = compiling.compile_pieces(partial(hessian_of, loss, chunk=2))(w, alphas, batch)
    by_cells = staging.compile(partial(hessian_of, loss, chunk=7), w, alphas, batch, unit="cells", shared=True)
    for a, b in zip(by_cells(w, alphas, batch), (found, hessian), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * np.abs(b).max())
    vector, unflatten = ravel_pytree(alphas)
    gradient = compiling.compile_pieces(lambda v: jax.grad(lambda v: loss(w, unflatten(v), batch)[0])(v))
    np.testing.assert_allclose(found, gradient(vector), rtol=1e-9, atol=1e-14)
    assert np.abs(hessian - hessian.T).max() < 1e-12 * np.abs(hessian).max()
    for seed in range(2):
        v = np.random.default_rng(seed).normal(size=vector.size)
        difference = (gradient(vector + 1e-6 * v) - gradient(vector - 1e-6 * v)) / 2e-6
        np.testing.assert_allclose(hessian @ v, difference, atol=1e-7 * np.abs(difference).max() + 1e-8)


@pytest.mark.slow
def test_groups_leave_the_first_cell_where_they_enter_it():
    """The first of three cells is normal: its directions need fewer operations than one group of all rows."""
    loss, w, alphas, batch = two_node_search(cells=3)

    def program(loss):
        return staging.compile(partial(hessian_of, loss, chunk=1), w, alphas, batch, shared=True)

    by_node, whole = program(loss), program(RelaxedLoss(loss.relax, loss.network, loss.idle))
    for a, b in zip(by_node(w, alphas, batch), whole(w, alphas, batch), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * np.abs(b).max())
    assert by_node.flops < 0.95 * whole.flops
    assert by_node.peak_bytes < 1.1 * whole.peak_bytes


def test_directions_at_once_follow_the_size_of_the_batch():
    def batch(*shape):
        return np.zeros(shape, np.uint8), np.zeros(shape[0], np.int32)

    shapes = (64, 32, 32, 3), (16, 32, 32, 3), (256, 32, 32, 3), (8, 8, 8, 3), (5, 7)
    assert [directions_at_once(batch(*shape)) for shape in shapes] == [1, 4, 1, 56, 8]


def test_what_does_not_fit_takes_one_direction_at_a_time(monkeypatch):
    w, alphas, batches = mixture_problem(batches=2)
    loss = RelaxedLoss(lambda alphas, batch: softmax(alphas), mixture_network)
    ways = []

    def recorded(loss, w, alphas, batch, chunk):
        ways.append(chunk)
        return hessian_of(loss, w, alphas, batch, chunk)

    room = iter([100, 10**12])
    monkeypatch.setattr(compiling, "available", lambda: Available(next(room), "of this machine's memory"))
    monkeypatch.setattr(hessian_module, "hessian_of", recorded)
    found = alpha_hessian(loss, w, alphas, batches)
    assert list(dict.fromkeys(ways)) == [8, 1]
    each = [dense(mixture_loss, w, alphas, batch) for batch in batches]
    np.testing.assert_allclose(found.matrix, np.mean(each, 0), atol=1e-13)


def test_a_hessian_that_cannot_fit_is_refused_before_it_runs(monkeypatch):
    w, alphas, batches = mixture_problem(batches=1)
    monkeypatch.setattr(compiling, "available", lambda: Available(100, "of this machine's memory"))
    with pytest.raises(UserError, match=r"needs .* but 100 B of this machine's memory are available; .*--batch-size"):
        alpha_hessian(lambda *args: mixture_loss(*args), w, alphas, batches)


def test_softmax_has_a_zero_mode_an_edge_and_weight_decay_moves_it_to_lambda():
    w, alphas, batches = mixture_problem()
    plain = alpha_hessian(mixture_loss, w, alphas, batches)
    assert plain.shifts.shape == (12, 4)
    assert plain.shift_residual < 1e-13
    assert np.sum(np.abs(plain.eigenvalues) < 1e-12) >= 4
    decayed = alpha_hessian(mixture_loss, w, alphas, batches, weight_decay=1e-3)
    np.testing.assert_allclose(decayed.eigenvalues, plain.eigenvalues + 1e-3, atol=1e-13)
    assert np.sum(np.abs(decayed.eigenvalues - 1e-3) < 1e-12) >= 4
    assert decayed.shift_residual < 1e-13

    # the decay as a term of the loss itself gives the same
    def loss(w, alphas, batch):
        penalty = 0.5e-3 * sum(jnp.sum(a**2) for a in alphas.values())
        return mixture_loss(w, alphas, batch)[0] + penalty, None

    in_loss = alpha_hessian(loss, w, alphas, batches)
    np.testing.assert_allclose(in_loss.matrix, decayed.matrix, atol=1e-13)
    np.testing.assert_allclose(in_loss.gradient, decayed.gradient, atol=1e-13)
    assert len(plain.without_shifts()) == 8
    np.testing.assert_allclose(
        np.sort(np.concatenate([plain.without_shifts(), np.zeros(4)])), np.sort(plain.eigenvalues), atol=1e-12
    )
    np.testing.assert_allclose(plain.projected(), plain.matrix, atol=1e-12)


def test_the_hessian_of_the_whole_bilevel_objective():
    w, alphas, batches = mixture_problem()
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.3, momentum=0.9))
    state = optimizer.init(w)
    loss = bilevel_objective(mixture_loss, mixture_loss, optimizer)
    found = alpha_hessian(loss, w, alphas, [(state, *batches)], compile=jax.jit)
    vector, unflatten = ravel_pytree(alphas)

    def objective(v):
        g = jax.grad(lambda x: mixture_loss(x, unflatten(v), batches[0])[0])(w)
        moved = optax.apply_updates(w, optimizer.update(g, state, w)[0])
        return mixture_loss(moved, unflatten(v), batches[1])[0]

    gradient = jax.jit(jax.grad(objective))
    step = 1e-5
    columns = [(gradient(vector + step * e) - gradient(vector - step * e)) / (2 * step) for e in np.eye(len(vector))]
    np.testing.assert_allclose(found.matrix, np.stack(columns), atol=2e-8)
    fixed = alpha_hessian(mixture_loss, w, alphas, batches[1:])
    assert np.abs(found.matrix - fixed.matrix).max() > 1e-3, "the unrolled step must matter"
    assert found.shift_residual < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False])
def test_a_supernet_in_both_batch_norm_modes(supernet, train):
    losses, w, alphas, batches = supernet
    loss = losses[train]
    found = alpha_hessian(loss, w, alphas, batches[:1], chunk=84, compile=jax.jit)
    assert found.matrix.shape == (84, 84)
    assert found.asymmetry < 1e-12
    assert found.shift_residual <= 1e-10
    vector, unflatten = ravel_pytree(alphas)
    gradient = jax.jit(jax.grad(lambda v: loss(w, unflatten(v), batches[0])[0]))
    rng = np.random.default_rng(1)
    for _ in range(2):
        v = rng.normal(size=84)
        v[42:] = 0  # one cell: only the alphas of its kind matter
        difference = (gradient(vector + 1e-6 * v) - gradient(vector - 1e-6 * v)) / 2e-6
        np.testing.assert_allclose(found.matrix @ v, difference, atol=1e-7 * np.abs(difference).max() + 1e-8)


SHARDED = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jdarts.analysis import alpha_hessian, hessian_from_products, sharded_products
from support.mixture import mixture_problem
w, alphas, batches = mixture_problem(rows=6)

def loss(axis_name):
    def mean(x):
        x = x.mean(0)
        return x if axis_name is None else jax.lax.pmean(x, axis_name)
    def f(w, alphas, batch):
        p = jax.nn.softmax(alphas["normal"], -1)
        z = batch["x"] @ w["layers"][0]
        z = p[0, 0] * jnp.tanh(z) + p[0, 1] * z**2 + p[1, 2] * jnp.sin(z)
        centred = z - mean(z)
        z = centred / jnp.sqrt(mean(centred**2) + 1e-3)
        return jnp.mean((z @ w["head"] - batch["y"][:, None]) ** 2), None
    return f

mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
one = alpha_hessian(loss(None), w, alphas, batches)
two = hessian_from_products(sharded_products(loss("data"), mesh), w, alphas, batches)
assert np.abs(one.matrix).max() > 1e-2
np.testing.assert_allclose(two.matrix, one.matrix, atol=1e-13)
np.testing.assert_allclose(two.gradient, one.gradient, atol=1e-13)
print("equal")
"""


def test_two_devices_give_what_one_gives():
    here = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], cwd=here, capture_output=True, text=True, env=None, check=False
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


def test_mistakes():
    w, alphas, batches = mixture_problem()
    with pytest.raises(UserError, match="at least one batch"):
        alpha_hessian(mixture_loss, w, alphas, [])
    with pytest.raises(UserError, match="chunk is 0"):
        alpha_hessian(mixture_loss, w, alphas, batches, chunk=0)
    with pytest.raises(UserError, match="not finite"):
        alpha_hessian(mixture_loss, w, jax.tree.map(lambda a: a * jnp.nan, alphas), batches)
    with pytest.raises(UserError, match="needs 'data'"):
        mesh = jax.make_mesh((1,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
        sharded_products(mixture_loss, mesh)


def test_products_are_one_pure_function():
    w, alphas, batches = mixture_problem(batches=1)
    directions = np.random.default_rng(0).normal(size=(3, 12))
    gradient, products = jax.jit(alpha_products(mixture_loss))(w, alphas, batches[0], directions)
    reference = dense(mixture_loss, w, alphas, batches[0])
    np.testing.assert_allclose(products, directions @ reference, atol=1e-12)
    found = hessian_from_products(jax.jit(alpha_products(mixture_loss)), w, alphas, batches, chunk=5)
    np.testing.assert_allclose(found.matrix, reference, atol=1e-12)
    np.testing.assert_allclose(found.gradient, gradient, atol=1e-14)
