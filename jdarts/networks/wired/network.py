"""The network of a random wiring (Xie et al. 2019, arXiv:1904.01569, §3.2 and table 1).

A node adds up its inputs, each times the sigmoid of a weight that is learned (a node with one input has none), and
applies its operation: ReLU, transformation, batch norm. A node without a source reads the input of the stage, with
stride 2. The output of a stage is the mean of the nodes that no other node reads.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.genotypes.random_graphs import Wiring
from jdarts.genotypes.random_wiring import RandomlyWired, sinks
from jdarts.networks.derived import StemName
from jdarts.networks.image_sizes import image_sides
from jdarts.networks.nasnet.layers import NormSettings, normalise
from jdarts.networks.plain import Classifier
from jdarts.networks.recomputing import recomputed
from jdarts.ops.initializers import constant, uniform_fan_out

HEAD = 1280
"""Channels of the 1 × 1 convolution behind the last stage."""
_NORM = (1e-5, 0.1)

Kept = Mapping[str, Any]
"""Factors of a stage: `edges [E]`, in the order of targets and sources, and `nodes [N]`; 0 removes one."""


class RandomlyWiredNetwork(nn.Module):
    """Convolutions, random stages, 1 × 1 convolution to 1,280 channels, global average pooling, a linear classifier.

    Attributes:
      wiring: graphs, operation and regime.
      channels: C. Small regime: stages of C, 2C, 4C channels behind convolutions of C/2 and C; regular regime: stages
        of C, 2C, 4C, 8C behind one of C/2.
      classes: outputs of the classifier.
      stem: with `imagenet` the convolutions have stride 2, with `cifar` stride 1.
      axis_name: mesh axis over which the batch is split.
      remat: compute a stage's activations again when its gradient is, instead of keeping them.
    """

    wiring: RandomlyWired
    channels: int
    classes: int
    stem: StemName = "cifar"
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        train: bool,
        drop_path: jax.Array | float | None = None,
        kept: Sequence[Kept] | None = None,
    ) -> tuple[jax.Array, None]:
        """`images [N, H, W, C]` → logits `[N, classes]` and None.

        `drop_path` has no effect. `kept` has the factors of every stage, for the removal of nodes and edges.
        """
        del drop_path
        image_sides(images)
        norm, stride = NormSettings(*_NORM, self.axis_name), 2 if self.stem == "imagenet" else 1
        x = WiredConvolution(self.channels // 2, norm, 3, stride, activated=False, name="conv1")(images, train)
        small = self.wiring.regime == "small"
        if small:
            x = WiredConvolution(self.channels, norm, 3, stride, name="conv2")(x, train)
        make_stage = recomputed(WiredStage, self, train_argument=2)
        for i, graph in enumerate(self.wiring.stages):
            stage = make_stage(graph, self.channels * 2**i, self.wiring.operation, norm, name=f"stage_{i}")
            x = stage(x, train, None if kept is None else kept[i])
        x = WiredConvolution(HEAD, norm, 1, name="head")(x, train)
        return Classifier(self.classes, name="classifier")(x), None


class WiredStage(nn.Module):
    """A random stage, which halves the image."""

    graph: Wiring
    channels: int
    operation: str
    norm: NormSettings

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, kept: Kept | None = None) -> jax.Array:
        """`x [N, H, W, ·]` → `[N, ⌈H/2⌉, ⌈W/2⌉, channels]`."""
        outputs, edge = [], 0
        nodes = jnp.ones(len(self.graph)) if kept is None else kept["nodes"]
        for i, sources in enumerate(self.graph):
            value, stride = x, 2
            if sources:
                factors = jnp.ones(len(sources)) if kept is None else kept["edges"][edge : edge + len(sources)]
                factors, stride = factors * nodes[jnp.array(sources)], 1
                if len(sources) > 1:
                    factors = factors * nn.sigmoid(self.param(f"weights_{i}", constant(0.0), (len(sources),)))
                value = _summed([factors[k].astype(x.dtype) * outputs[source] for k, source in enumerate(sources)])
                edge += len(sources)
            node = WiredNode(self.channels, self.operation, self.norm, stride, name=f"node_{i}")
            outputs.append(node(value, train))
        ends = sinks(self.graph)
        total = _summed([nodes[i].astype(x.dtype) * outputs[i] for i in ends])
        return total / jnp.maximum(_summed([nodes[i] for i in ends]), 1).astype(x.dtype)


def _summed(arrays: Sequence[jax.Array]) -> jax.Array:
    """The sum of arrays of one shape."""
    return functools.reduce(jnp.add, arrays)


class WiredNode(nn.Module):
    """ReLU, the operation, batch norm."""

    channels: int
    operation: str
    norm: NormSettings
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`x [N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, channels]`."""
        inputs, width = x.shape[-1], self.channels
        if self.operation == "conv":
            kernel = self.param("kernel", uniform_fan_out(9 * width), (3, 3, inputs, width))
            y = kernels.convolution(kernels.relu(x), kernel, stride=self.stride, padding=1)
            return normalise(self.norm, width)(y, train)
        point = self.param("pointwise", uniform_fan_out(width), (inputs, width))
        x = kernels.relu(x)
        if self.operation == "separable":
            depth = self.param("depthwise", uniform_fan_out(9), (3, 3, inputs))
            y = kernels.depthwise(x, depth, stride=self.stride)
        else:
            y = (kernels.max_pool if self.operation == "max_pool" else kernels.avg_pool)(x, stride=self.stride)
        y = kernels.pointwise(y, point[None])
        return normalise(self.norm, width)(y, train)


class WiredConvolution(nn.Module):
    """Convolution and batch norm; `activated` puts a ReLU in front."""

    channels: int
    norm: NormSettings
    kernel: int
    stride: int = 1
    activated: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`x [N, H, W, ·]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, channels]`."""
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", uniform_fan_out(self.kernel**2 * self.channels), shape)
        x = kernels.relu(x) if self.activated else x.astype(kernel.dtype)
        y = kernels.convolution(x, kernel, stride=self.stride, padding=self.kernel // 2)
        return normalise(self.norm, self.channels)(y, train)
