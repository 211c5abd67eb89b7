"""ProxylessNAS: gates, their gradients, the rescaling of two alphas, the latency in the loss, the rhythm of updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import DataConfig, Experiment, SearchConfig, SpaceConfig, latency, load_data, make_search, methods
from jdarts.cli import main
from jdarts.errors import UserError
from jdarts.genotypes import MobileLayer
from jdarts.methods.proxyless_nas import LatencyLoss, draw_gates, latency_matrices, rescaled
from jdarts.networks.edges import EdgeSettings
from jdarts.ops.initializers import init_network
from jdarts.schedules import clock_at
from jdarts.spaces.mobile import MobileSpace


def candidates(width, stride):
    return tuple(MobileLayer("mb", width, kernel, 2, stride=stride) for kernel in (1, 3, 5))


INNER = (*candidates(4, 1), MobileLayer("identity", 4))
SPACE = MobileSpace("tiny", "proxyless", (4,), (candidates(4, 2), INNER, INNER), 8)
"""Three layers; the identity is the last of the four candidates of the second and third."""
ALPHAS = {"first": jnp.array([[0.3, -0.5, 0.1]]), "inner": jnp.array([[0.2, 0.4, -0.1, -0.3], [0.0, 1.0, -1.0, 0.5]])}
PLACE = {"classes": 2, "image_size": 8}


@pytest.fixture
def table(tmp_path):
    """Entries of 2, 3, 4, … milliseconds."""
    keys = latency.keys_of(SPACE, **PLACE)
    found = latency.LatencyTable({key: float(i) for i, key in enumerate(keys, start=2)})
    latency.write_table(found, tmp_path / "table.yaml")
    return str(tmp_path / "table.yaml")


def keys(count):
    return jax.random.split(jax.random.key(0), count)


@pytest.mark.parametrize("mode", ["two", "full"])
def test_gates_are_drawn_from_the_softmax(mode):
    """Means over 20,000 draws; the active op of two drawn without replacement has the law of a race of both."""
    gates, p = jax.vmap(lambda key: draw_gates(ALPHAS, key, SPACE, mode))(keys(20_000))
    for name, a in ALPHAS.items():
        drawn = np.asarray(gates[name])
        assert set(np.unique(drawn)) == ({0.0, 0.5, 1.0} if mode == "two" else {0.5, 1.0})
        assert np.all((drawn == 1).sum(-1) == 1) and np.all((drawn > 0).sum(-1) == (2 if mode == "two" else a.shape[1]))
        np.testing.assert_allclose(np.asarray(p[name]).sum(-1), 1, rtol=1e-5)
        soft = np.exp(a) / np.exp(a).sum(-1, keepdims=True)
        expected = soft
        if mode == "two":
            expected = np.zeros_like(soft)
            for row, q in enumerate(soft):
                for i in range(len(q)):
                    for j in range(len(q)):
                        if i != j:  # i first, then j; then i is active with the share of the two
                            together = q[i] * q[j] / (1 - q[i])
                            expected[row, i] += together * q[i] / (q[i] + q[j])
                            expected[row, j] += together * q[j] / (q[i] + q[j])
        np.testing.assert_allclose((drawn == 1).mean(0), expected, atol=0.015)


@pytest.mark.parametrize("mode", ["two", "full"])
def test_the_gradient_by_the_alphas_is_that_of_the_paper(mode):
    """∂L/∂α_i = Σ_j ∂L/∂g_j p_j (δ_ij − p_i) over the drawn ops; 0 in rows whose active op is the identity."""
    slopes = jax.tree.map(lambda a: jnp.asarray(np.random.default_rng(1).normal(size=a.shape), a.dtype), ALPHAS)
    seen = set()
    for key in keys(12):
        gates, _ = draw_gates(ALPHAS, key, SPACE, mode)
        found = jax.grad(
            lambda alphas, key=key: sum(
                jnp.sum(g * slopes[name]) for name, g in draw_gates(alphas, key, SPACE, mode)[0].items()
            )
        )(ALPHAS)
        for name, a in ALPHAS.items():
            for row in range(len(a)):
                inside = np.flatnonzero(gates[name][row] > 0)
                left_out = name == "inner" and bool(gates[name][row, 3] == 1)
                seen.add(left_out)
                expected = np.zeros(a.shape[1])
                if not left_out:
                    p = np.exp(a[row, inside]) / np.exp(a[row, inside]).sum()
                    slope = np.asarray(slopes[name][row, inside])
                    expected[inside] = p * (slope - p @ slope)
                np.testing.assert_allclose(found[name][row], expected, atol=1e-6)
                assert abs(float(found[name][row].sum())) < 1e-6
    assert seen == {True, False}


def test_rescaling_leaves_the_other_probabilities_unchanged():
    for key in keys(5):
        gates, _ = draw_gates(ALPHAS, key, SPACE, "two")
        moved = {name: a + 0.3 * jnp.sign(gates[name]) * jnp.arange(a.shape[1]) for name, a in ALPHAS.items()}
        new = rescaled(ALPHAS, moved, key)
        for name, a in ALPHAS.items():
            before, after, raw = (np.asarray(jax.nn.softmax(each)) for each in (a, new[name], moved[name]))
            others = np.asarray(gates[name]) == 0
            np.testing.assert_allclose(after[others], before[others], atol=1e-6)
            assert np.abs(raw[others] - before[others]).max() > 1e-3, "the update alone changes them"
            for row, pair in enumerate(~others):
                ratios = [p[row, pair][0] / p[row, pair][1] for p in (after, raw)]
                np.testing.assert_allclose(ratios[0], ratios[1], rtol=1e-5)


def test_a_gate_learns_the_output_of_its_op(x64):
    """The gated network against the mixture of all ops at the one-hot weights of the active ones."""
    rng = np.random.default_rng(3)
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)))
    gates = {"first": jnp.array([[0.5, 0.0, 1.0]]), "inner": jnp.array([[1.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 1.0]])}
    hard = jax.tree.map(lambda g: jnp.where(g == 1, 1.0, 0.0), gates)
    mixed, gated = (
        SPACE.supernet(channels=1, cells=1, classes=2, edge=edge)
        for edge in (EdgeSettings(), EdgeSettings(sampled=True, gates=True))
    )
    variables = init_network(mixed, jax.random.key(1), hard, images, True)
    variables = jax.tree.map(lambda v: v + 0.1 * jnp.asarray(rng.normal(size=v.shape)) ** 2, variables)

    def loss(network):
        def of(params, p):
            state = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, _ = network.apply(state, p, images, True, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(logits))

        return of

    value, (by_weights, by_gates) = jax.value_and_grad(loss(gated), (0, 1))(variables["params"], gates)
    expected, (full, by_all) = jax.value_and_grad(loss(mixed), (0, 1))(variables["params"], hard)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for name, g in gates.items():
        learned = np.where(g > 0, by_all[name], 0)
        np.testing.assert_allclose(by_gates[name], learned, rtol=1e-9, atol=1e-12)
        assert np.abs(learned).min(where=np.asarray(g) > 0, initial=1) > 0
    chosen = {("layer_1", "choice_2"), ("layer_2", "choice_0")}
    for layer, blocks in by_weights.items():
        for block, grads in blocks.items() if layer in ("layer_1", "layer_2") else ():
            for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(full[layer][block]), strict=True):
                np.testing.assert_allclose(a, b if (layer, block) in chosen else 0, rtol=1e-9, atol=1e-12)


def test_the_expected_latency_and_its_gradient(table):
    """In full mode, where all gates learn: dE/dα = p (F − Σ p F), and E is the mean over networks."""
    loss = LatencyLoss(latency_table=table, size=8, classes=2, latency_loss="add_linear", latency_reference=20.0)
    fixed, costs = latency_matrices(SPACE, latency.read_table(table), classes=2, size=8)
    soft = {name: np.exp(a) / np.exp(a).sum(-1, keepdims=True) for name, a in ALPHAS.items()}
    key = next(k for k in keys(50) if not np.any(draw_gates(ALPHAS, k, SPACE, "full")[0]["inner"][:, 3] == 1))
    expected = lambda alphas: loss.expected(draw_gates(alphas, key, SPACE, "full")[1], SPACE)  # noqa: E731
    value, found = jax.value_and_grad(expected)(ALPHAS)
    mean = 0.0
    read = latency.read_table(table)
    for choices in np.ndindex(3, 4, 4):
        chance = soft["first"][0, choices[0]] * soft["inner"][0, choices[1]] * soft["inner"][1, choices[2]]
        mean += chance * read.predict(SPACE.decode(choices), **PLACE)
    np.testing.assert_allclose(value, mean, rtol=1e-5)
    assert fixed > 0
    for name, p in soft.items():
        rows = p * (costs[name] - (p * costs[name]).sum(-1, keepdims=True))
        np.testing.assert_allclose(found[name], rows, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss.term(jnp.array(20.0)), 0, atol=1e-7)
    np.testing.assert_allclose(loss.term(jnp.array(25.0)), 0.1 * 0.25, rtol=1e-6)


def test_the_product_with_logarithms():
    loss = LatencyLoss(latency_table="unused", latency_reference=80.0)
    np.testing.assert_allclose(loss.factor(jnp.array(80.0)), 0.2, rtol=1e-6)
    np.testing.assert_allclose(loss.factor(jnp.array(160.0)), 0.2 * (np.log(160) / np.log(80)) ** 0.3, rtol=1e-5)


def config(**options):
    settings = {"warm_up": 0, "alpha_every": 2} | options
    return Experiment(
        data=DataConfig(source="synthetic:8x8x3:2:32", crop_padding=1, flip=False),
        space=SpaceConfig(name="tiny"),
        search=SearchConfig(
            method="proxyless_nas",
            method_options=tuple(f"{name}={value}" for name, value in settings.items()),
            epochs=3,
            batch_size=4,
        ),
    )


def test_a_search_moves_alphas_by_its_rhythm_and_one_path_of_weights(table):
    """Four steps an epoch; alphas move in steps 2 and 4 of the third one, after a warm-up of 1 epoch and one more."""
    options = {"latency_table": table, "size": 8, "classes": 2, "latency_reference": 20, "warm_up": 1}
    experiment = config(**options)
    method = methods.build("proxyless_nas", experiment.search.method_options)
    search = make_search(experiment, SPACE, load_data(experiment.data).for_search(experiment.data), method=method)
    state, step = search.init(jax.random.key(0)), jax.jit(search.step)
    moved, weights = [], []
    for _ in range(12):
        new, metrics = step(state, search.arrays)
        assert np.isfinite(float(metrics["val_loss"]))
        moved.append(any(np.any(np.asarray(new.alphas[n] != state.alphas[n])) for n in state.alphas))
        tree, before = (search.variables(each)["params"] for each in (new, state))
        for layer in ("layer_1", "layer_2", "layer_3"):
            pairs = {
                block: zip(*map(jax.tree.leaves, (tree[layer][block], before[layer][block])), strict=True)
                for block in tree[layer]
            }
            changed = [block for block, leaves in pairs.items() if any(np.any(a != b) for a, b in leaves)]
            weights.append(len(changed))
        state = new
    assert moved == [False] * 8 + [False, True] * 2
    assert max(weights) == 1


def test_the_warm_up_and_one_more_epoch_keep_the_alphas():
    method = methods.build("proxyless_nas")
    assert (method.alpha_start, method.alpha_every, method.order) == (41, 5, "weights_first")
    assert float(clock_at(jnp.int32(41 * 10), 10, 160).epoch) == 41


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--search.hypergradient", "unrolled"], "moves the alphas in every step number 5 only"),
        (["--search.method_options", "latency_table=none.yaml,warm_up=0"], "cannot read none.yaml"),
        (["--space.name", "nasbench201"], "has no layers to choose from"),
        (["--search.method_options", "warm_up=1"], "begins to move the alphas after 2 epochs"),
    ],
)
def test_mistakes_are_told_before_anything_compiles(overrides, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.py").write_text(
        "from jdarts import DataConfig, Experiment, SearchConfig, SpaceConfig\n"
        "config = Experiment(data=DataConfig(source='synthetic:8x8x3:2:32'),\n"
        "    space=SpaceConfig(name='nasbench_macro'),\n"
        "    search=SearchConfig(method='proxyless_nas', method_options=('warm_up=0',), epochs=2, batch_size=4))\n"
    )
    assert main(["search", "c.py", *overrides]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error


def test_logarithms_of_less_than_a_millisecond_are_refused(table):
    with pytest.raises(UserError, match=r"latency_reference is 0\.5 ms"):
        LatencyLoss(latency_table=table, latency_reference=0.5, size=8, classes=2).check(SPACE)
