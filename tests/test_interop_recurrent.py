"""Exchange of recurrent weights with PyTorch's names; a NumPy forward pass reads the arrays as the DARTS code does."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.interop import load_torch_recurrent, save_torch_recurrent
from jdarts.networks.recurrent import RecurrentModel

WORDS, UNITS, TIME, BATCH = 7, 4, 3, 2
GENOTYPE = parse("DARTS_RNN")
TOKENS = np.random.default_rng(1).integers(0, WORDS, (TIME, BATCH))
P = np.random.default_rng(2).dirichlet(np.ones(5), 36)


def state_dict(*, search=False, embedding=UNITS):
    """Arrays in the order and the shapes of the PyTorch network."""
    rng = np.random.default_rng(0)
    shapes = {"encoder.weight": (WORDS, embedding), "rnns.0._W0": (embedding + UNITS, 2 * UNITS)}
    shapes |= {f"rnns.0._Ws.{i}": (UNITS, 2 * UNITS) for i in range(8)}
    if search:
        shapes |= {f"rnns.0.bn.running_{name}": (UNITS,) for name in ("mean", "var")}
    shapes |= {"decoder.weight": (WORDS, UNITS), "decoder.bias": (WORDS,)}
    arrays = {name: rng.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}
    if search:
        arrays["rnns.0.bn.running_var"] += 1
    if embedding == UNITS:
        arrays["decoder.weight"] = arrays["encoder.weight"]
    return arrays


def forward(arrays, p=None):
    """Log probabilities in evaluation: those of the derived cell, or with op weights those of the search cell."""
    functions = {"tanh": np.tanh, "relu": lambda x: x * (x > 0), "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2)}
    functions["identity"] = np.asarray

    def node(s, name, f):
        c, h = np.hsplit(s @ arrays[name], 2)
        return s + functions["sigmoid"](c) * (functions[f](h) - s)

    def norm(s):
        if p is None:
            return s
        return (s - arrays["rnns.0.bn.running_mean"]) / np.sqrt(arrays["rnns.0.bn.running_var"] + 1e-5)

    h, found = np.zeros((BATCH, UNITS)), []
    for words in TOKENS:
        c0, h0 = np.hsplit(np.hstack([arrays["encoder.weight"][words], h]) @ arrays["rnns.0._W0"], 2)
        states, row = [norm(h + functions["sigmoid"](c0) * (np.tanh(h0) - h))], 0
        for i, (f, j) in enumerate(GENOTYPE.recurrent):
            if p is None:
                states.append(node(states[j], f"rnns.0._Ws.{i}", f))
                continue
            names = ("tanh", "relu", "sigmoid", "identity")
            total = sum(
                p[row + j, k + 1] * node(states[j], f"rnns.0._Ws.{i}", f)
                for j in range(i + 1)
                for k, f in enumerate(names)
            )
            states, row = [*states, norm(total)], row + i + 1
        h = np.mean(states[1:], 0)
        logits = h @ arrays["decoder.weight"].T + arrays["decoder.bias"]
        found.append(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    return np.array(found)


@pytest.mark.parametrize("embedding", [UNITS, 3])
def test_derived_network_computes_what_the_arrays_say(x64, embedding):
    arrays, tied = state_dict(embedding=embedding), embedding == UNITS
    model = RecurrentModel(genotype=GENOTYPE, vocabulary=WORDS, embedding=embedding, units=UNITS, tied=tied)
    hidden = model.initial_hidden(BATCH)
    variables = load_torch_recurrent(arrays, tied=tied)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), TOKENS, hidden, train=False))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    outputs = model.apply(variables, TOKENS, hidden, train=False)
    np.testing.assert_allclose(jax.nn.log_softmax(outputs.logits), forward(arrays), rtol=1e-12)


def test_search_network_computes_what_the_arrays_say(x64):
    arrays = state_dict(search=True)
    supernet = spaces.darts_rnn.supernet(vocabulary=WORDS, embedding=UNITS, units=UNITS)
    variables = load_torch_recurrent(arrays)
    outputs = supernet.apply(variables, TOKENS, supernet.initial_hidden(BATCH), jnp.asarray(P), train=False)
    np.testing.assert_allclose(jax.nn.log_softmax(outputs.logits), forward(arrays, P), rtol=1e-10)


@pytest.mark.parametrize("options", [{}, {"search": True}, {"embedding": 3}])
def test_round_trip_through_a_file_is_exact(tmp_path, options):
    arrays = {name: array.astype(np.float32) for name, array in state_dict(**options).items()}
    tied = "embedding" not in options
    np.savez(tmp_path / "weights.npz", **arrays, **{"rnns.0.bn.num_batches_tracked": np.int64(3)})
    with np.load(tmp_path / "weights.npz") as file:
        variables = load_torch_recurrent(file, tied=tied)
    saved = save_torch_recurrent(variables)
    assert list(saved) == list(arrays), "the order of a state_dict"
    for name, array in saved.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, arrays[name])
    again = load_torch_recurrent(saved, tied=tied)
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_a_tied_decoder_may_be_absent():
    arrays = state_dict()
    without = {name: array for name, array in arrays.items() if name != "decoder.weight"}
    jax.tree.map(np.testing.assert_array_equal, load_torch_recurrent(without), load_torch_recurrent(arrays))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.weight": None}, "'encoder.weight' is missing"),
        ({"rnns.0._W0": None}, "'rnns.0._W0' is missing"),
        ({"rnns.0._Ws.3": None}, "'rnns.0._Ws.7' is not a part of a recurrent network with .* 7 nodes"),
        ({"rnns.0._Ws.3": np.zeros((4, 9))}, r"'rnns.0._Ws.3' has shape \(4, 9\); .* needs \(4, 8\)"),
        ({"rnns.0._Ws.3": np.zeros((4, 8), int)}, "has dtype int64; it must be floating-point"),
        ({"rnns.1._W0": np.zeros((8, 8))}, "'rnns.1._W0' is not a part of"),
        ({"rnns.0.bn.running_var": np.zeros(4)}, "'rnns.0.bn.running_mean' .* is missing"),
        ({"decoder.weight": np.zeros((7, 4))}, "differs from 'encoder.weight'; give equal ones, or use tied = False"),
        ({"decoder.bias": np.zeros(4)}, r"'decoder.bias' has shape \(4,\)"),
        ({f"rnns.0._Ws.{i}": None for i in range(8)}, "'rnns.0._Ws.0' is missing"),
    ],
)
def test_wrong_arrays_are_named(change, message):
    given = {name: array for name, array in (state_dict() | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        load_torch_recurrent(given)


def test_variables_of_another_network_are_refused():
    with pytest.raises(UserError, match=re.escape("the variables are ['stem']; a recurrent network")):
        save_torch_recurrent({"params": {"stem": {}}})
