"""A cell of a NASNet-type network."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.devices.replicas import Share
from jdarts.genotypes.blocks import BlockCell
from jdarts.kernels.reference import relu
from jdarts.networks.edges import drop_path as drop_samples
from jdarts.networks.nasnet.layers import ConvNorm, FactorizedReduction, NormSettings
from jdarts.networks.nasnet.ops import BlockOp


class NasnetCell(nn.Module):
    """Blocks of two ops each, added; the output concatenates the nodes in `cell.concat`.

    Node 1 is ReLU, 1 × 1 convolution, batch norm of the current input. Node 0 is the previous input: halved if its size
    differs (ReLU, factorised reduction), else projected like node 1 if its width differs, else unchanged. Ops that read
    node 0 or 1 have the stride. A node of another size or width than the last block passes a factorised reduction or a
    1 × 1 convolution with batch norm before the concatenation.
    """

    cell: BlockCell
    channels: int
    stride: int
    norm: NormSettings
    bottleneck: bool = False
    """The dense convolutions are bottlenecks (`BlockOp`)."""

    @nn.compact
    def __call__(
        self, current: jax.Array, previous: jax.Array | None, train: bool, drop_path: jax.Array | float | None = None
    ) -> jax.Array:
        """`current`, `previous [N, H, W, ·]` → `[N, H', W', len(concat)·channels]`; with `drop_path` None no drop.

        Drop-path acts on the output of every op but `skip_connect`.
        """
        nodes = [
            self._previous(current, previous, train),
            ConvNorm(self.channels, self.norm, name="preprocess_1")(current, train),
        ]
        for target, edges in enumerate(self.cell.nodes, start=2):
            outputs = []
            for side, (op, source) in zip(("left", "right"), edges, strict=True):
                stride = self.stride if source < 2 else 1
                name = f"node_{target}_{side}_{op}"
                y = BlockOp(op, self.channels, stride, self.norm, self.bottleneck, name=name)(nodes[source], train)
                if drop_path is not None and op != "skip_connect":
                    y = drop_samples(self.make_rng("drop_path"), y, drop_path, Share(self.norm.axis_name))
                outputs.append(y)
            nodes.append(outputs[0] + outputs[1])
        return jnp.concatenate([self._output(i, nodes[i], nodes[-1], train) for i in self.cell.concat], axis=-1)

    def _previous(self, current: jax.Array, previous: jax.Array | None, train: bool) -> jax.Array:
        if previous is None:
            return current
        if previous.shape[1:3] != current.shape[1:3]:
            return FactorizedReduction(self.channels, self.norm, name="preprocess_0")(relu(previous), train)
        if previous.shape[-1] != self.channels:
            return ConvNorm(self.channels, self.norm, name="preprocess_0")(previous, train)
        return previous

    def _output(self, node: int, x: jax.Array, last: jax.Array, train: bool) -> jax.Array:
        name = f"output_{node}"
        if x.shape[1:3] != last.shape[1:3]:
            return FactorizedReduction(self.channels, self.norm, name=name)(x, train)
        if x.shape[-1] != last.shape[-1]:
            return ConvNorm(self.channels, self.norm, activated=False, name=name)(x, train)
        return x
