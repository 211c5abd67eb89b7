"""One time step of a recurrent cell (Liu et al. 2019, §2.1 and code; Pham et al. 2018, §2.1).

Node 0 reads the input x and the hidden state h, every other node earlier nodes:

    [c₀, h₀] = [x, h] W₀        s₀ = h + σ(c₀) · (tanh(h₀) − h)
    [c, h]   = s_j W_i          s_i = s_j + σ(c) · (f(h) − s_j)

The output, the next hidden state, is the mean of some nodes.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from jdarts.genotypes.recurrent import ACTIVATIONS, RecurrentGenotype
from jdarts.kernels import product
from jdarts.networks.recurrent.masks import CellMasks

FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


def gated(products: jax.Array, activation: str, s: jax.Array) -> jax.Array:
    """`s + σ(c) · (f(h) − s)` of `products = [c, h]`, `[…, 2 · units]`, and `s […, units]`."""
    c, h = jnp.split(products, 2, axis=-1)
    return s + jax.nn.sigmoid(c) * (FUNCTIONS[activation](h) - s)


def node_0(W0: jax.Array, x: jax.Array, h: jax.Array, masks: CellMasks, activation: str = "tanh") -> jax.Array:
    """Node 0, `[batch, units]`, of the input `x [batch, embedding]` and the hidden state `h [batch, units]`."""
    return gated(jnp.concatenate([x * masks.x, h * masks.hidden], axis=-1) @ W0, activation, h)


def derived_step(
    genotype: RecurrentGenotype, W0: jax.Array, W: jax.Array, x: jax.Array, h: jax.Array, masks: CellMasks
) -> jax.Array:
    """The next hidden state `[batch, units]` of a derived cell.

    Args:
      genotype: its nodes.
      W0: `[embedding + units, 2 · units]`.
      W: `[nodes, units, 2 · units]`.
      x: input, `[batch, embedding]`.
      h: hidden state, `[batch, units]`.
      masks: of the sequence.
    """
    s = [node_0(W0, x, h, masks, genotype.first)]
    for W_i, (activation, j) in zip(W, genotype.recurrent, strict=True):
        s.append(gated(s[j] * masks.hidden @ W_i, activation, s[j]))
    return mean([s[i] for i in genotype.concat])


def mixed_node(p: jax.Array, W_i: jax.Array, s: Sequence[jax.Array], masks: CellMasks) -> jax.Array:
    """`Σ_j Σ_k p_jk (s_j + c_j · (f_k(h_j) − s_j))` over the earlier nodes j and all activations k but none.

    `p [j, 5]` has a row for each earlier node; the weight of none adds nothing. With P_j = Σ_k p_jk the sum is
    `Σ_j (P_j s_j + c_j · (Σ_k p_jk f_k(h_j) − P_j s_j))`, which has one gate for all activations.
    """
    states = jnp.stack(s)
    return _mixed(p, states, product(states * masks.hidden, W_i))


@partial(jax.checkpoint, prevent_cse=False)
def _mixed(p: jax.Array, states: jax.Array, products: jax.Array) -> jax.Array:
    """The sum of `mixed_node`; gradients compute the activations again, which is faster than to store and load them."""
    c, h = jnp.split(products, 2, axis=-1)
    used = p[:, 1:, None, None]
    mixed = sum(used[:, k] * FUNCTIONS[activation](h) for k, activation in enumerate(ACTIVATIONS))
    kept = used.sum(1) * states
    return (kept + jax.nn.sigmoid(c) * (mixed - kept)).sum(0)


def mean(states: Sequence[jax.Array]) -> jax.Array:
    """The mean of the nodes of the output."""
    return sum(states[1:], states[0]) / len(states)
