"""Exported language models of recurrent cells."""

import textwrap
from collections.abc import Sequence

from jdarts.export import recurrent_layers
from jdarts.export.source import Written
from jdarts.train.language.trained import TrainedLanguageModel

_USAGE = """
import {module}
variables = {module}.load()
logits, hidden = {module}.Network().apply(variables, {module}.numbers("some words"), {module}.start(batch=1))
"""
_FUNCTIONS = {"tanh": "jnp.tanh", "relu": "jax.nn.relu", "sigmoid": "jax.nn.sigmoid", "identity": "identity"}

_NETWORK = '''
def cell(W0, W, x, h):
    """One time step: word vectors `x [batch, {units}]`, state `h [batch, {units}]` → the next state."""
    s0 = gated(jnp.concatenate([x, h], axis=-1) @ W0, {first}, h)
{nodes}
    return ({outputs}) / {count}


class Network(nn.Module):
    """The language model: word vectors, the cell over time, a decoder that is the table of word vectors."""

    @nn.compact
    def __call__(self, tokens, hidden):
        """Word numbers `[time, batch]`, state → logits of the next words `[time, batch, {words}]`, state."""
        table = self.param("embedding_table", nn.initializers.uniform(0.1), ({words}, {units}))
        W0 = self.param("W0", nn.initializers.uniform(0.04), ({twice}, {twice}))
        W = self.param("W", nn.initializers.uniform(0.04), ({behind}, {units}, {twice}))
        bias = self.param("bias", nn.initializers.zeros, ({words},))
        states = []
        for x in table[tokens]:
            hidden = cell(W0, W, x, hidden)
            states.append(hidden)
        return jnp.stack(states) @ table.T + bias, hidden
'''
_HELPERS = '''
WORDS = {words}


def numbers(text):
    """The numbers `[time, 1]` of the words of a text."""
    return np.array([WORDS.index(word) for word in text.split()])[:, None]


def start(batch):
    """The state before the first word, `[batch, {units}]`."""
    return np.zeros((batch, {units}), "float32")
'''


def write_recurrent(model: TrainedLanguageModel, module: str, load: str) -> Written:
    """The parts of the file of a language model; `load` is the source of the function that reads the weights."""
    genotype, units, words = model.genotype, model.units, len(model.words)
    nodes = [
        f"    s{i} = gated(s{source} @ W[{i - 1}], {_FUNCTIONS[function]}, s{source})"
        for i, (function, source) in enumerate(genotype.recurrent, start=1)
    ]
    code = _NETWORK.format(
        first=_FUNCTIONS[genotype.first],
        nodes="\n".join(nodes),
        outputs=" + ".join(f"s{i}" for i in genotype.concat),
        count=len(genotype.concat),
        units=units,
        twice=2 * units,
        words=words,
        behind=len(nodes),
    )
    helpers = _HELPERS.format(words=_listed(model.words), units=units) + load
    title = f"A language model with a recurrent cell of {len(nodes) + 1} nodes, {units} units and {words} words."
    usage = _USAGE.format(module=module)
    return Written(title, genotype.to_text(), recurrent_layers, {}, code, usage, helpers)


def _listed(words: Sequence[str]) -> str:
    """A tuple of words as Python code, in lines of equal length."""
    text = ", ".join(map(repr, words)) + ","
    fill = {"initial_indent": "    ", "subsequent_indent": "    ", "break_on_hyphens": False, "break_long_words": False}
    return "(\n" + "\n".join(textwrap.wrap(text, 110, **fill)) + "\n)"
