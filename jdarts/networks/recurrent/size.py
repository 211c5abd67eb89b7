"""Parameters and multiply–accumulates of recurrent language models, read off their program for one token."""

from typing import Any

import jax
import jax.numpy as jnp

from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.recurrent.language_model import LanguageModel
from jdarts.ops.initializers import abstract_network
from jdarts.ops.network_size import multiply_adds

_DECODER = ("decoder", "bias")


def count_language_model(model: LanguageModel, *op_weights: Any) -> Count:
    """The parameters of `model` and its MACs for one token, by embedding, cell and decoder.

    A tied decoder has the parameters of the embedding, which count once; looking up a word costs no MACs. Whatever
    belongs neither to the embedding nor to the decoder is the cell, batch norms of a supernet included. A supernet
    takes its op weights, arrays or their shapes.
    """
    tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    hidden = jax.eval_shape(lambda: model.initial_hidden(1))
    variables, _ = abstract_network(model, tokens, hidden, *op_weights, False)
    sizes = {name: leaf.size for name, leaf in variables["params"].items()}
    program, outputs = jax.make_jaxpr(lambda v, t, h, *p: model.apply(v, t, h, *p, False), return_shape=True)(
        variables, tokens, hidden, *op_weights
    )
    decoding = jax.make_jaxpr(lambda v, raw: model.apply(v, raw, False, method="decode"))(variables, outputs.raw)
    macs = multiply_adds(decoding.jaxpr)
    decoder = sum(sizes.get(name, 0) for name in _DECODER)
    return Count(
        (
            ModuleCount("embedding", sizes["embedding_table"], 0),
            ModuleCount(
                "cell", sum(sizes.values()) - sizes["embedding_table"] - decoder, multiply_adds(program.jaxpr) - macs
            ),
            ModuleCount("decoder", decoder, macs),
        )
    )
