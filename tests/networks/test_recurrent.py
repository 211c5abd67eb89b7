"""Recurrent language models against an independent forward pass in NumPy, and their masks, states and gradients."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.genotypes import RecurrentGenotype, parse
from jdarts.networks.recurrent import EnasSupernet, RecurrentModel, RecurrentSupernet
from jdarts.networks.recurrent.cell import mixed_node
from jdarts.networks.recurrent.masks import CellMasks

TIME, BATCH, WORDS, UNITS = 5, 3, 11, 6
SIZES = {"vocabulary": WORDS, "embedding": UNITS, "units": UNITS}
DROPOUTS = {f"dropout_{name}": 0.4 for name in ("embedding", "input", "x", "hidden", "output")}
OTHER_FIRST = RecurrentGenotype((("relu", 0), ("identity", 0)), (0, 2), first="sigmoid")
rng = np.random.default_rng(3)
TOKENS = rng.integers(0, WORDS, (TIME, BATCH))
HIDDEN = rng.standard_normal((BATCH, UNITS))
P = rng.dirichlet(np.ones(5), 36)


def variables_of(model, *op_weights):
    """Random variables in float64, larger than the initial ones."""
    init = jax.eval_shape(lambda: model.init(jax.random.key(0), TOKENS, jnp.asarray(HIDDEN), *op_weights, train=False))
    values = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(values.uniform(-0.7, 0.7, leaf.shape)), init)


# The equations of the papers in NumPy


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


NUMPY_FUNCTIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "sigmoid": sigmoid, "identity": lambda x: x}


def highway(product, f, s):
    c, h = product[..., : product.shape[-1] // 2], product[..., product.shape[-1] // 2 :]
    return (1 - sigmoid(c)) * s + sigmoid(c) * NUMPY_FUNCTIONS[f](h)


def numpy_cell(genotype, w, x, h):
    s = {0: highway(x @ w["W0"][: x.shape[1]] + h @ w["W0"][x.shape[1] :], genotype.first, h)}
    for i, (f, j) in enumerate(genotype.recurrent, start=1):
        s[i] = highway(s[j] @ w["W"][i - 1], f, s[j])
    return np.mean([s[i] for i in genotype.concat], axis=0)


class NumpyNorm:
    """Batch norm without scale and shift; in training it moves its running averages as PyTorch does."""

    def __init__(self, mean, var, train):
        self.mean, self.var, self.train = np.array(mean), np.array(var), train

    def __call__(self, x):
        if not self.train:
            return (x - self.mean) / np.sqrt(self.var + 1e-5)
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        self.var = 0.9 * self.var + 0.1 * x.var(0, ddof=1)
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def numpy_search_cell(p, norm, w, x, h):
    s, row = [norm(highway(np.hstack([x, h]) @ w["W0"], "tanh", h))], 0
    for i in range(8):
        total = np.zeros_like(h)
        for j in range(i + 1):
            for k, f in enumerate(("tanh", "relu", "sigmoid", "identity"), start=1):
                total += p[row, k] * highway(s[j] @ w["W"][i], f, s[j])
            row += 1
        s.append(norm(total))
    return sum(s[1:]) / 8


def numpy_model(cell, w, tokens, hidden):
    raw, h = [], hidden
    for words in tokens:
        h = cell(w, w["embedding_table"][words], h)
        raw.append(h)
    logits = np.array(raw) @ w.get("decoder", w["embedding_table"]).T + w.get("bias", 0.0)
    return logits, h, np.array(raw)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["DARTS_RNN", "ENAS_RNN_ARC", "ENAS_LM", "other first"])
def test_derived_model_equals_numpy(x64, name, tied):
    genotype = OTHER_FIRST if name == "other first" else parse(name)
    sizes = SIZES if tied else SIZES | {"embedding": 4, "tied": False, "decoder_bias": False}
    model = RecurrentModel(genotype=genotype, **sizes)
    variables = variables_of(model)
    outputs = model.apply(variables, TOKENS, jnp.asarray(HIDDEN), train=True)
    w = jax.tree.map(np.asarray, variables["params"])
    logits, hidden, raw = numpy_model(partial(numpy_cell, genotype), w, TOKENS, HIDDEN)
    assert outputs.logits.dtype == jnp.float64
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(outputs.hidden, hidden, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(outputs.raw, raw, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(outputs.dropped, outputs.raw)


@pytest.mark.parametrize("train", [True, False])
def test_supernet_equals_numpy(x64, train):
    supernet = RecurrentSupernet(**SIZES)
    variables = variables_of(supernet, P)
    variables["batch_stats"] = jax.tree.map(lambda x: abs(x) + 3, variables["batch_stats"])
    outputs, moved = supernet.apply(
        variables, TOKENS, jnp.asarray(HIDDEN), jnp.asarray(P), train=train, mutable=["batch_stats"]
    )
    norm = NumpyNorm(variables["batch_stats"]["mean"], variables["batch_stats"]["var"], train)
    w = jax.tree.map(np.asarray, variables["params"])
    logits, hidden, _ = numpy_model(partial(numpy_search_cell, P, norm), w, TOKENS, HIDDEN)
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(outputs.hidden, hidden, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved["batch_stats"]["mean"], norm.mean, rtol=1e-9)
    np.testing.assert_allclose(moved["batch_stats"]["var"], norm.var, rtol=1e-9)


ENAS_ARC = (2, 0, 1, 1, 3, 0, 0, 1, 2)
"""Four nodes behind node 0; nodes 2, 3 and 4 are loose ends."""


def numpy_enas_cell(arc, norms, w, x, h):
    names = ("tanh", "relu", "identity", "sigmoid")
    s, read = [], set()
    for i in range(5):
        j = None if i == 0 else arc[2 * i - 1]
        f = arc[2 * i]
        product = np.hstack([x, h]) @ w["W0"][f] if j is None else s[j] @ w["W"][i * (i - 1) // 2 + j, f]
        product = norms[i](product) * w["product_scale"][i] + w["product_shift"][i]
        s.append(highway(product, names[f], h if j is None else s[j]))
        read.add(j)
    return norms[5](np.mean([s[i] for i in range(5) if i not in read], 0)) * w["output_scale"] + w["output_shift"]


class EnasNorm(NumpyNorm):
    """With the constants of the ENAS release."""

    def __call__(self, x):
        if not self.train:
            return (x - self.mean) / np.sqrt(self.var + 1)
        self.mean = 0.999 * self.mean + 0.001 * x.mean(0)
        self.var = 0.999 * self.var + 0.001 * x.var(0)
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1)


@pytest.mark.parametrize("train", [True, False])
def test_enas_supernet_equals_numpy(x64, train):
    supernet = EnasSupernet(**SIZES, decoder_bias=False, steps=4)
    variables = variables_of(supernet, jnp.array(ENAS_ARC))
    stats = variables["batch_stats"] = jax.tree.map(lambda x: abs(x) + 1, variables["batch_stats"])
    run = jax.jit(
        lambda arc: supernet.apply(variables, TOKENS, jnp.asarray(HIDDEN), arc, train, mutable=["batch_stats"])
    )
    outputs, moved = run(jnp.array(ENAS_ARC))
    norms = [EnasNorm(stats["mean"][i], stats["var"][i], train) for i in range(5)]
    norms.append(EnasNorm(stats["output_mean"], stats["output_var"], train))
    w = jax.tree.map(np.asarray, variables["params"])
    logits, hidden, _ = numpy_model(partial(numpy_enas_cell, ENAS_ARC, norms), w, TOKENS, HIDDEN)
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-10)
    np.testing.assert_allclose(outputs.hidden, hidden, rtol=1e-10)
    moved = moved["batch_stats"]
    for name in ("mean", "var"):
        np.testing.assert_allclose(moved[name], [getattr(norm, name) for norm in norms[:5]], rtol=1e-10)
        np.testing.assert_allclose(moved[f"output_{name}"], getattr(norms[5], name), rtol=1e-10)
    other, _ = run(jnp.array((0, *ENAS_ARC[1:])))  # the same program
    assert not np.allclose(other.logits, outputs.logits)


def test_enas_gradients_reach_the_weights_of_the_architecture_alone(x64):
    supernet = EnasSupernet(**SIZES, steps=4)
    variables = variables_of(supernet, jnp.array(ENAS_ARC))

    def loss(params):
        variables["params"] = params
        return jnp.square(
            supernet.apply(variables, TOKENS, jnp.asarray(HIDDEN), jnp.array(ENAS_ARC), True).logits
        ).sum()

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    used = {(0, 1), (2, 3), (3, 0), (7, 2)}  # row of (predecessor, node), activation
    assert set(zip(*map(np.ndarray.tolist, np.asarray(gradient["W"]).any((2, 3)).nonzero()), strict=True)) == used
    assert np.asarray(gradient["W0"]).any((1, 2)).tolist() == [False, False, True, False]


def test_one_hot_op_weights_and_unit_statistics_make_the_derived_cell(x64):
    """In evaluation with mean 0 and variance 1 − eps, batch norm is the identity."""
    genotype = parse("DARTS_RNN_V1")
    supernet, model = spaces.darts_rnn.supernet(**SIZES), RecurrentModel(genotype=genotype, **SIZES)
    variables = variables_of(model)
    plain = {"mean": jnp.zeros(UNITS), "var": jnp.full(UNITS, 1 - 1e-5)}
    p = spaces.darts_rnn.one_hot(genotype)["recurrent"]
    searched = supernet.apply({**variables, "batch_stats": plain}, TOKENS, jnp.asarray(HIDDEN), p, train=False)
    np.testing.assert_allclose(
        searched.logits, model.apply(variables, TOKENS, jnp.asarray(HIDDEN), train=False).logits, rtol=1e-12
    )


def test_gradients_of_op_weights_and_weights_are_those_of_central_differences(x64):
    supernet = RecurrentSupernet(**SIZES, steps=3)
    variables = variables_of(supernet, P[:6])
    stats = variables.pop("batch_stats")

    @jax.jit
    def loss(p, params, hidden):
        outputs = supernet.apply({"params": params, "batch_stats": stats}, TOKENS, hidden, p, train=True)
        return -jax.nn.log_softmax(outputs.logits)[..., 0].mean()

    inputs = (jnp.asarray(P[:6]), variables["params"], jnp.asarray(HIDDEN))
    gradients = jax.grad(loss, (0, 1, 2))(*inputs)
    assert jnp.all(gradients[0][:, 0] == 0), "none adds nothing"
    for seed in range(3):
        values = np.random.default_rng(seed)
        direction = jax.tree.map(lambda leaf, values=values: jnp.asarray(values.standard_normal(leaf.shape)), inputs)
        step = 1e-6
        ahead, behind = (jax.tree.map(lambda x, d, s=s: x + s * d, inputs, direction) for s in (step, -step))
        expected = (loss(*ahead) - loss(*behind)) / (2 * step)
        along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradients, direction)))
        np.testing.assert_allclose(along, expected, rtol=1e-6)
    # Forward over reverse, the mixed product of the exact hypergradient
    tangent = direction[1]
    of_p = jax.jit(lambda params: jax.grad(loss)(inputs[0], params, inputs[2]))
    product = jax.jit(lambda params, tangent: jax.jvp(of_p, (params,), (tangent,))[1])(inputs[1], tangent)
    ahead, behind = (jax.tree.map(lambda x, d, s=s: x + s * d, inputs[1], tangent) for s in (step, -step))
    np.testing.assert_allclose(product, (of_p(ahead) - of_p(behind)) / (2 * step), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("search", [False, True])
def test_a_hidden_state_carried_over_equals_one_long_sequence(x64, search):
    model = RecurrentSupernet(**SIZES) if search else RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES)
    p = (jnp.asarray(P),) if search else ()
    variables = variables_of(model, *p)
    whole = model.apply(variables, TOKENS, jnp.asarray(HIDDEN), *p, train=False)
    first = model.apply(variables, TOKENS[:2], jnp.asarray(HIDDEN), *p, train=False)
    second = model.apply(variables, TOKENS[2:], first.hidden, *p, train=False)
    np.testing.assert_allclose(jnp.concatenate([first.logits, second.logits]), whole.logits, rtol=1e-12)
    np.testing.assert_allclose(second.hidden, whole.hidden, rtol=1e-12)
    assert not model.initial_hidden(BATCH).any() and model.initial_hidden(BATCH).shape == (BATCH, UNITS)


def test_statistics_are_those_of_the_global_batch(x64):
    """Two replicas with half a batch each compute what one does with the whole batch."""
    tokens, hidden = (np.concatenate([x, x[..., ::-1] if x is TOKENS else -x], -1) for x in (TOKENS, HIDDEN.T))
    whole, split = RecurrentSupernet(**SIZES), RecurrentSupernet(**SIZES, axis_name="data")
    variables = variables_of(whole, P)

    def run(model, tokens, hidden):
        return model.apply(variables, tokens, hidden, jnp.asarray(P), train=True, mutable=["batch_stats"])

    outputs, moved = run(whole, jnp.asarray(tokens), jnp.asarray(hidden.T))
    halves = jnp.asarray(np.split(tokens, 2, 1)), jnp.asarray(np.split(hidden.T, 2))
    parts, statistics = jax.vmap(partial(run, split), axis_name="data")(*halves)
    np.testing.assert_allclose(jnp.concatenate(list(parts.logits), 1), outputs.logits, rtol=1e-9)
    for of_replica in (0, 1):
        jax.tree.map(
            lambda a, b, i=of_replica: np.testing.assert_allclose(a[i], b, rtol=1e-9), dict(statistics), dict(moved)
        )


# Dropout


def test_output_mask_is_constant_over_time_and_scaled(x64):
    model = RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES, dropout_output=0.4)
    rngs = {"dropout": jax.random.key(1)}
    outputs = model.apply(variables_of(model), TOKENS, jnp.asarray(HIDDEN), train=True, rngs=rngs)
    factors = np.asarray(outputs.dropped / outputs.raw)
    np.testing.assert_allclose(factors, np.broadcast_to(factors[0], factors.shape), rtol=1e-12)
    np.testing.assert_allclose(np.unique(factors.round(9)), [0, 1 / 0.6], rtol=1e-8)
    assert len(np.unique(factors[0], axis=0)) > 1, "every sequence has a mask of its own"


@pytest.mark.parametrize("rate", ["dropout_input", "dropout_x", "dropout_hidden"])
def test_masks_of_the_cell_are_constant_over_time(x64, rate):
    """One key makes the same masks for any length, so a sequence may be computed token by token."""
    model = RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES, **{rate: 0.5})
    variables, rngs = variables_of(model), {"dropout": jax.random.key(2)}
    masked = model.apply(variables, TOKENS, jnp.asarray(HIDDEN), train=True, rngs=rngs).raw
    assert not np.allclose(masked, model.apply(variables, TOKENS, jnp.asarray(HIDDEN), train=False).raw)
    one_token = jax.jit(lambda token, h: model.apply(variables, token, h, train=True, rngs=rngs).hidden)
    h = jnp.asarray(HIDDEN)
    for t in range(TIME):
        h = one_token(TOKENS[t : t + 1], h)
        np.testing.assert_allclose(h, masked[t], rtol=1e-10)


def test_masks_of_the_supernet_are_those_of_the_derived_cell(x64):
    """With one-hot op weights the search cell masks what its products read, and nothing else."""
    mask = jnp.asarray(np.random.default_rng(1).uniform(0, 2, (BATCH, UNITS)))
    W = jnp.asarray(np.random.default_rng(2).standard_normal((UNITS, 2 * UNITS)))
    p = jnp.zeros((1, 5)).at[0, 2].set(1.0)
    s = jnp.asarray(HIDDEN)
    np.testing.assert_allclose(
        mixed_node(p, W, [s], CellMasks(1.0, mask)), highway((HIDDEN * mask) @ W, "relu", HIDDEN), rtol=1e-12
    )


def test_a_dropped_word_is_dropped_wherever_it_occurs(x64):
    words = np.arange(WORDS)[:, None].repeat(2, 1)
    model = RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES, dropout_embedding=0.5)
    variables = variables_of(model)
    vectors = model.apply(variables, words, True, method=RecurrentModel.embed, rngs={"dropout": jax.random.key(0)})
    factors = np.asarray(vectors / variables["params"]["embedding_table"][words])
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape), rtol=1e-12)
    np.testing.assert_allclose(np.unique(factors.round(9)), [0, 2])


def test_rates_of_masks():
    model = RecurrentModel(genotype=parse("DARTS_RNN"), vocabulary=2, embedding=200, units=200, dropout_x=0.75)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 1), int), jnp.zeros((1, 200)), train=False)
    mask = model.apply(variables, 50, True, method=RecurrentModel.cell_masks, rngs={"dropout": jax.random.key(0)}).x
    assert mask.shape == (50, 200)
    assert abs(float((mask > 0).mean()) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / mask.size)
    np.testing.assert_allclose(np.unique(mask), [0, 4])


def test_no_dropout_without_training_and_no_rng_without_dropout():
    model = RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES, **DROPOUTS)
    plain = RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES)
    variables = model.init(jax.random.key(0), TOKENS, model.initial_hidden(BATCH), train=True)
    hidden = model.initial_hidden(BATCH)
    expected = plain.apply(variables, TOKENS, hidden, train=True).logits
    np.testing.assert_array_equal(model.apply(variables, TOKENS, hidden, train=False).logits, expected)
