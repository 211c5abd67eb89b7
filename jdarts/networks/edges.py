"""Parts of a mixed edge that methods change: auxiliary skip, partial channels, drop-path, edge weights, sampled ops.

A supernet takes `EdgeSettings` (which change its weights, so they are static) and at every call `EdgeValues`, numbers
that may move from step to step: `auxiliary_skip` (its weight β), `skip_dropout` and `drop_path` (probabilities).
Besides the op weights of a cell type, `op_weights` may hold the entry `{cell type}_edges` of shape `[edges]`: the
output of each edge is multiplied by its number (the edge normalisation of PC-DARTS).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jdarts.devices.replicas import WHOLE, Share
from jdarts.errors import UserError
from jdarts.networks.wiring import OpWeights

EdgeValues = Mapping[str, jax.Array]
EDGES_SUFFIX = "_edges"


def weights_of_cell(op_weights: OpWeights, name: str, kind: str) -> tuple[Any, Any]:
    """`(op weights, factors of the edges or None)` of the cell `name`: its own, or those of all cells of its kind."""
    own = name if name in op_weights else kind
    return op_weights[own], op_weights.get(own + EDGES_SUFFIX)


@dataclass(frozen=True)
class EdgeSettings:
    """The static part of an edge.

    Attributes:
      auxiliary_skip: "identity" adds β · skip(x) to every mixed edge, outside of the relaxation (DARTS-); skip is the
        identity, at stride 2 a FactorizedReduce of its own. "conv1" has at stride 1 a 1 × 1 convolution that starts
        as the identity matrix.
      partial_channels: K; the first 1/K of the channels pass through the ops, the others by them (PC-DARTS). The
        auxiliary skip then stands beside the ops, on the same channels.
      sampled: run on every edge only the op with the largest weight (GDAS); the weights must be straight-through
        one-hot rows. In a chain of layers the running averages of the other blocks stay as they are; the backward pass
        keeps zeros in place of their activations, unless `search.remat` is set. Spaces whose edges share their ops'
        calls (S0 to S4) compute all ops and ignore it: the output is the same.
      gates: with `sampled`, an op whose weight is positive but not the largest computes its output for the gradient of
        its weight, without a gradient by its input and parameters (ProxylessNAS, Cai et al. 2019, §3.2). The value of
        the edge is the output of the op with the largest weight, whatever this weight is.
    """

    auxiliary_skip: Literal["none", "identity", "conv1"] = "none"
    partial_channels: int = 1
    sampled: bool = False
    gates: bool = False

    def __post_init__(self):
        if self.auxiliary_skip not in ("none", "identity", "conv1"):
            raise UserError(f"auxiliary_skip is {self.auxiliary_skip!r}; it must be 'none', 'identity' or 'conv1'")
        if self.partial_channels < 1:
            raise UserError(f"partial_channels is {self.partial_channels}; use 1 (all channels) or more")
        if self.gates and not self.sampled:
            raise UserError("gates are learned where only the sampled op runs; set sampled, too")

    def check(self, channels: int) -> None:
        """Raise `UserError` unless `channels` can be split into `partial_channels` equal parts."""
        if channels % self.partial_channels:  # in reduction cells, where parts must be even, there are twice as many
            raise UserError(
                f"{channels} channels cannot be split into {self.partial_channels} equal parts (partial channels of "
                f"PC-DARTS); use a multiple of {self.partial_channels} for space.channels"
            )


PLAIN = EdgeSettings()


def split_channels(x: jax.Array, parts: int) -> tuple[jax.Array, jax.Array]:
    """`x [N, H, W, C]` as its first C/parts channels and the others."""
    first = x.shape[-1] // parts
    return x[..., :first], x[..., first:]


def join_channels(mixed: jax.Array, bypass: jax.Array, parts: int, stride: int) -> jax.Array:
    """Put the channels of `split_channels` together again and shuffle them in `parts` groups (PC-DARTS).

    At stride 2 the bypass is a 2 × 2 maximum. Channel g · C/parts + i moves to place i · parts + g, so that the next
    edge's first channels come from all groups.
    """
    if stride == 2:
        n, h, w, c = bypass.shape
        bypass = bypass.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    x = jnp.concatenate([mixed, bypass], axis=-1)
    n, h, w, c = x.shape
    return x.reshape(n, h, w, parts, c // parts).swapaxes(3, 4).reshape(n, h, w, c)


def drop_path(key: jax.Array, y: jax.Array, rate: jax.Array | float, share: Share = WHOLE) -> jax.Array:
    """Zero whole samples of `y [N, H, W, C]` with probability `rate`, divide the others by `1 − rate`."""
    keep = _keep(rate, y)
    kept = jax.random.bernoulli(key, keep, (share.total(y.shape[0]), 1, 1, 1))
    return y * (share.of(kept) / keep).astype(y.dtype)


def dropout(key: jax.Array, y: jax.Array, rate: jax.Array | float, share: Share = WHOLE) -> jax.Array:
    """Zero single values of `y` with probability `rate`, divide the others by `1 − rate` (P-DARTS, on skips)."""
    keep = _keep(rate, y)
    kept = jax.vmap(lambda one: jax.random.bernoulli(one, keep, y.shape[1:]))(share.keys(key, y.shape[0]))
    return y * (kept / keep).astype(y.dtype)


def _keep(rate: jax.Array | float, y: jax.Array) -> jax.Array:
    """`1 − rate` with the 32 bits that drawing needs, also for 16-bit `y`: 16 bits would draw another probability."""
    return 1 - jnp.asarray(rate, jnp.promote_types(y.dtype, jnp.float32))
