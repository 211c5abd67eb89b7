"""The LSTM language model against NumPy: its equations, its state, its masks and its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.networks.recurrent import LSTM
from jdarts.networks.recurrent.size import count_language_model
from jdarts.reproduce.ptb import lstm_units

TIME, BATCH, WORDS, UNITS, EMBEDDING = 5, 3, 11, 6, 4
SIZES = {"vocabulary": WORDS, "embedding": EMBEDDING, "units": UNITS, "tied": False}
rng = np.random.default_rng(3)
TOKENS, STATE = rng.integers(0, WORDS, (TIME, BATCH)), rng.standard_normal((BATCH, 2 * UNITS))


def variables_of(model):
    init = jax.eval_shape(lambda: model.init(jax.random.key(0), TOKENS, jnp.asarray(STATE), train=False))
    values = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(values.uniform(-0.7, 0.7, leaf.shape)), init)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_lstm(w, tokens, state):
    """Logits and the last state, by one gate after the other."""
    c, h, logits = state[:, :UNITS], state[:, UNITS:], []
    gates = [slice(k * UNITS, (k + 1) * UNITS) for k in range(4)]
    for words in tokens:
        both = np.hstack([w["embedding_table"][words], h])
        i, f, g, o = (both @ w["W0"][:, gate] + w["cell_bias"][gate] for gate in gates)
        c = c * sigmoid(f + 1) + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits.append(h @ w["decoder"].T + w["bias"])
    return np.array(logits), np.hstack([c, h])


@pytest.mark.parametrize("train", [False, True])
def test_equals_numpy(x64, train):
    model = LSTM(**SIZES)
    variables = variables_of(model)
    outputs = model.apply(variables, TOKENS, jnp.asarray(STATE), train=train)
    logits, state = numpy_lstm(jax.tree.map(np.asarray, variables["params"]), TOKENS, STATE)
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(outputs.hidden, state, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(outputs.raw, outputs.states[..., UNITS:])


def test_a_state_carried_over_equals_one_long_sequence(x64):
    model = LSTM(**SIZES)
    variables, start = variables_of(model), model.initial_hidden(BATCH)
    assert start.shape == (BATCH, 2 * UNITS) and not start.any()
    whole = model.apply(variables, TOKENS, start, train=False)
    first = model.apply(variables, TOKENS[:2], start, train=False)
    second = model.apply(variables, TOKENS[2:], first.states[-1], train=False)
    np.testing.assert_allclose(second.logits, whole.logits[2:], rtol=1e-12)


def test_masks_are_constant_over_time(x64):
    """With the same key, two sequences that differ in one word drop the same inputs and hidden states."""
    model = LSTM(**SIZES, dropout_x=0.5, dropout_hidden=0.5)
    variables, key = variables_of(model), jax.random.key(1)

    def gradient_of_rows(tokens):
        def total(W0):
            params = variables["params"] | {"W0": W0}
            outputs = model.apply({"params": params}, tokens, jnp.asarray(STATE), train=True, rngs={"dropout": key})
            return outputs.raw[:, 0].sum()

        return np.asarray(jax.grad(total)(variables["params"]["W0"]))

    dropped = [~gradient_of_rows(tokens).any(axis=1) for tokens in (TOKENS, (TOKENS + 1) % WORDS, TOKENS[:1])]
    assert 0 < dropped[0].sum() < EMBEDDING + UNITS, "of the first sequence of the batch"
    assert all(np.array_equal(dropped[0], other) for other in dropped)


def test_size_is_that_of_the_formula():
    """4 (e + u + 1) u parameters of the cell, of which the bias is in no product."""
    _, cell, decoder = count_language_model(LSTM(**SIZES)).modules
    assert cell.parameters == 4 * (EMBEDDING + UNITS + 1) * UNITS and cell.macs == 4 * (EMBEDDING + UNITS) * UNITS
    assert decoder.parameters == WORDS * (UNITS + 1)


@pytest.mark.parametrize(("parameters", "words"), [(1_210_000, 10_000), (22_960_000, 10_000), (33_127_878, 33_278)])
def test_an_lstm_of_a_given_size(parameters, words):
    def size(units):
        return count_language_model(LSTM(vocabulary=words, embedding=units, units=units)).parameters

    units = lstm_units(parameters, words)
    assert min((units - 1, units, units + 1), key=lambda each: abs(size(each) - parameters)) == units
