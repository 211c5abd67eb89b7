"""Sizes, initial weights and mistakes of recurrent language models."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.genotypes.recurrent import enas_tokens
from jdarts.networks.recurrent import RecurrentModel, RecurrentSupernet
from jdarts.networks.recurrent.size import count_language_model
from jdarts.ops.initializers import init_network

TIME, BATCH, WORDS, UNITS = 5, 3, 11, 6
SIZES = {"vocabulary": WORDS, "embedding": UNITS, "units": UNITS}
TOKENS = np.random.default_rng(3).integers(0, WORDS, (TIME, BATCH))
P = np.full((36, 5), 0.2)


@pytest.mark.parametrize(("units", "words", "parameters"), [(850, 10_000, 22_960_000), (700, 33_278, 33_127_878)])
def test_published_sizes(units, words, parameters):
    model = RecurrentModel(genotype=parse("DARTS_RNN"), vocabulary=words, embedding=units, units=units)
    count = count_language_model(model)
    assert count.parameters == parameters == words * (units + 1) + 20 * units**2
    assert count.macs == words * units + 20 * units**2


def test_size_of_the_search_network():
    supernet = spaces.darts_rnn.supernet(vocabulary=10_000)
    count = count_language_model(supernet, jax.ShapeDtypeStruct((36, 5), jnp.float32))
    assert count.parameters == 4_810_000
    assert count.macs == 10_000 * 300 + (4 + 36 * 2) * 300**2, "node i multiplies the states of i nodes"


@pytest.mark.parametrize("bias", [True, False])
def test_size_of_a_model_whose_word_vectors_are_smaller_than_its_hidden_state(bias):
    """20 words, vectors of 5, a hidden state of 7: W0 [5 + 7, 14], eight W [7, 14], a decoder of its own [20, 7]."""
    sizes = {"vocabulary": 20, "embedding": 5, "units": 7, "tied": False, "decoder_bias": bias}
    embedding, cell, decoder = count_language_model(RecurrentModel(genotype=parse("DARTS_RNN"), **sizes)).modules
    assert (embedding.parameters, embedding.macs) == (20 * 5, 0)
    assert cell.parameters == cell.macs == (5 + 7) * 14 + 8 * 7 * 14
    assert (decoder.parameters, decoder.macs) == (20 * 7 + 20 * bias, 20 * 7)


def test_size_of_a_model_with_another_hidden_state():
    """The shape of the hidden state is that of `initial_hidden`; here the cell keeps a second copy of it."""

    class TwoStates(RecurrentModel, kw_only=True):
        def initial_hidden(self, batch, dtype=None):
            return jnp.zeros((batch, 2 * self.units), dtype or jnp.result_type(float))

        def __call__(self, tokens, hidden, train):
            assert hidden.shape == (1, 2 * self.units)
            return super().__call__(tokens, hidden[:, self.units :], train)

    genotype = parse("DARTS_RNN")
    assert count_language_model(TwoStates(genotype=genotype, **SIZES)) == count_language_model(
        RecurrentModel(genotype=genotype, **SIZES)
    )


def test_the_batch_norms_of_the_enas_supernet_belong_to_its_cell():
    supernet = spaces.enas_rnn.supernet(vocabulary=100, embedding=8, units=8)
    arc = jnp.array(enas_tokens(parse("ENAS_RNN_ARC")))
    embedding, cell, decoder = count_language_model(supernet, arc).modules
    assert (embedding.parameters, decoder.parameters, decoder.macs) == (800, 0, 800)
    assert cell.parameters == 4 * 16 * 16 + 66 * 4 * 8 * 16 + 2 * (12 * 16 + 8)


def test_size_of_the_enas_child():
    """The child of the ENAS release: 748 units, no bias of the decoder (spec, addendum 2.7)."""
    genotype = parse("ENAS_RNN_ARC")
    sizes = {"vocabulary": 10_000, "embedding": 748, "units": 748}
    assert count_language_model(RecurrentModel(genotype=genotype, **sizes, decoder_bias=False)).parameters == 22_027_104


def test_initial_weights_are_uniform():
    model = RecurrentModel(genotype=parse("DARTS_RNN"), vocabulary=500, embedding=20, units=20)
    params = model.init(jax.random.key(0), TOKENS, model.initial_hidden(BATCH), train=False)["params"]
    for name, bound in (("embedding_table", 0.1), ("W0", 0.04), ("W", 0.04)):
        value = np.asarray(params[name])
        assert 0.95 * bound < abs(value).max() <= bound
        assert abs(value.std() / (bound / math.sqrt(3)) - 1) < 0.1
    assert not params["bias"].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 7}, "embedding is 6 and units is 7; a tied decoder needs equal sizes"),
        ({"vocabulary": 0}, "vocabulary is 0; it must be a whole number of at least 1"),
        ({"dropout_hidden": 1.0}, "dropout_hidden is 1.0; it is a probability"),
    ],
)
def test_wrong_sizes_are_named(changes, message):
    model = RecurrentModel(genotype=parse("DARTS_RNN"), **SIZES | changes)
    with pytest.raises(UserError, match=message):
        model.init(jax.random.key(0), TOKENS, jnp.zeros((BATCH, UNITS)), train=False)


def test_wrong_inputs_are_named():
    supernet = RecurrentSupernet(**SIZES)
    for tokens, p, message in (
        (TOKENS, P[:35], r"op_weights has shape \(35, 5\); it needs \(36, 5\)"),
        (TOKENS[0], P, r"tokens have shape \(3,\) and type int"),
        (TOKENS * 1.0, P, "type float"),
    ):
        with pytest.raises(UserError, match=message):
            supernet.init(
                jax.random.key(0), jnp.asarray(tokens), jnp.zeros((BATCH, UNITS)), jnp.asarray(p), train=False
            )


def test_sizes_of_the_enas_supernet():
    supernet = spaces.enas_rnn.supernet(vocabulary=100, embedding=8, units=8)
    arc = jnp.array(enas_tokens(parse("ENAS_RNN_ARC")))
    shapes = jax.eval_shape(lambda: supernet.init(jax.random.key(0), TOKENS, jnp.zeros((BATCH, 8)), arc, False))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == 100 * 8 + 4 * 16 * 16 + 66 * 4 * 8 * 16 + 2 * (12 * 16 + 8)
    drawn = init_network(supernet, jax.random.key(0), TOKENS, jnp.zeros((BATCH, 8)), arc, False)
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, shapes)
    for name, value in (drawn["batch_stats"] | drawn["params"]).items():
        if name.endswith(("var", "scale", "mean", "shift")):
            np.testing.assert_array_equal(value, float(name.endswith(("var", "scale"))))
    lm = spaces.enas_lm_rnn.supernet(vocabulary=100, embedding=8, units=8)
    shapes = jax.eval_shape(lambda: lm.init(jax.random.key(0), TOKENS, jnp.zeros((BATCH, 8)), arc[:17], False))
    assert "batch_stats" not in shapes
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 100 * 8 + 16 * 16 + 36 * 4 * 8 * 16
