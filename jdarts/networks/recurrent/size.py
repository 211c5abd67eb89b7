"""Parameters and multiply–accumulates of recurrent language models, read off their program for one token."""

from typing import Any

import jax
import jax.numpy as jnp

from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.recurrent.language_model import LanguageModel
from jdarts.ops.initializers import abstract_network
from jdarts.ops.network_size import multiply_adds

_CELL = ("W0", "W")


def count_language_model(model: LanguageModel, *op_weights: Any) -> Count:
    """The parameters of `model` and its MACs for one token, by embedding, cell and decoder.

    A tied decoder has the parameters of the embedding, which count once; looking up a word costs no MACs. A supernet
    takes its op weights, arrays or their shapes.
    """
    tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    hidden = jax.ShapeDtypeStruct((1, model.units), jnp.result_type(float))
    variables, _ = abstract_network(model, tokens, hidden, *op_weights, False)
    sizes = {name: leaf.size for name, leaf in variables["params"].items()}
    program = jax.make_jaxpr(lambda v, t, h, *p: model.apply(v, t, h, *p, False))(
        variables, tokens, hidden, *op_weights
    )
    decoder = model.units * model.vocabulary
    cell = sum(sizes[name] for name in _CELL)
    return Count(
        (
            ModuleCount("embedding", sizes["embedding_table"], 0),
            ModuleCount("cell", cell, multiply_adds(program.jaxpr) - decoder),
            ModuleCount("decoder", sum(sizes.values()) - sizes["embedding_table"] - cell, decoder),
        )
    )
