"""The candidate ops of the DARTS spaces as Flax modules. See `jdarts.ops` for the letters and shapes."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.devices.replicas import Share
from jdarts.kernels import relu
from jdarts.ops.initializers import uniform_fan_in
from jdarts.ops.layers import BatchNorm, FactorizedReduce, Op


class SepConv(Op):
    """(ReLU, depthwise, pointwise, batch norm) twice; the stride is in the first depthwise."""

    kernel: int = 3

    @property
    def padding(self) -> int:
        """Half of the kernel's reach."""
        return (self.kernel - 1) // 2

    def setup(self):
        """Parameters and batch norms."""
        self.depthwise_1, self.pointwise_1 = _separable_kernels(self, self.kernel, 1)
        self.norm_1 = self.norm()
        self.depthwise_2, self.pointwise_2 = _separable_kernels(self, self.kernel, 2)
        self.norm_2 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """One behind each pointwise convolution."""
        return [self.norm_1, self.norm_2]

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """A depthwise and a pointwise convolution."""
        if stage == 0:
            return _first_separable(self, x, self.depthwise_1, self.pointwise_1)
        outputs, t = [], 0
        for chunk in x:
            n = chunk.shape[-1] // self.channels
            kernel_pair = self.depthwise_2[t : t + n], self.pointwise_2[t : t + n]
            outputs.append(kernels.separable(chunk, *kernel_pair, impl=self.impl))
            t += n
        return outputs


class DilConv(Op):
    """ReLU, depthwise with dilation 2, pointwise, batch norm."""

    kernel: int = 3

    @property
    def padding(self) -> int:
        """Half of the kernel's reach."""
        return self.kernel - 1

    def setup(self):
        """Parameters and batch norms."""
        self.depthwise_1, self.pointwise_1 = _separable_kernels(self, self.kernel, 1)
        self.norm_1 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """The one at the end."""
        return [self.norm_1]

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """The two convolutions."""
        del stage
        return _first_separable(self, x, self.depthwise_1, self.pointwise_1, dilation=2)

    def in_phases(self, x: jax.Array) -> list[jax.Array] | None:
        """The two convolutions, not put together again."""
        if not kernels.takes_phases(x, self.stride, 2, self.impl):
            return None
        return _first_separable(self, kernels.to_phases(x), self.depthwise_1, self.pointwise_1)


def _separable_kernels(op: Op, k: int, stage: int):
    c = op.channels
    depthwise = op.param(f"depthwise_{stage}", uniform_fan_in(k * k), (op.edges, k, k, c))
    pointwise = op.param(f"pointwise_{stage}", uniform_fan_in(c), (op.edges, c, c))
    return depthwise, pointwise


def _first_separable(op: Op, x, depthwise, pointwise, dilation: int = 1) -> list[jax.Array]:
    r = x if op.activated else kernels.cut(relu(x))
    spans = op.spans_for(x)
    pairs = [(depthwise[first:last], pointwise[first:last]) for first, last in spans]
    form = {"stride": op.stride, "dilation": dilation, "impl": op.impl, "margin": op.margin}
    return [kernels.separable(r, *pair, **form) for pair in pairs]


class SkipConnect(Op):
    """Identity at stride 1; one `FactorizedReduce` an edge at stride 2."""

    def setup(self):
        """Parameters and batch norms."""
        if self.stride > 1:
            fields = self.affine, self.axis_name, self.activated, self.impl
            self.reduce = FactorizedReduce(self.channels, self.channels, self.edges, *fields)

    def norms(self) -> list[BatchNorm]:
        """The norm of the reduction."""
        return [self.reduce.norm_1] if self.stride > 1 else []

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """One chunk: the convolutions of the reduction, at stride 1 the input, the same for all edges."""
        del stage
        return self.reduce.before_norm(x) if self.stride > 1 else [x]


class Pool(Op):
    """3 × 3 max or average pooling. In a supernet a batch norm follows; the result is the same on all T edges."""

    kind: Literal["max", "avg"] = "max"
    normalise: bool = False

    def setup(self):
        """Parameters and batch norms."""
        if self.normalise:
            self.norm_1 = self.norm(edges=1)

    def norms(self) -> list[BatchNorm]:
        """The one behind the pool in a supernet."""
        return [self.norm_1] if self.normalise else []

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """One chunk `[N, H', W', C]` for all edges."""
        del stage
        pool = kernels.max_pool if self.kind == "max" else kernels.avg_pool
        return [pool(x, stride=self.stride, impl=self.impl)]


class Noise(Op):
    """Standard normal noise of the (strided) input's shape, ignoring the input (space S4). Needs the rng `noise`."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """`[N, H, W, C]` → one chunk of fresh noise `[N, H', W', T·C]`."""
        del train
        n, h, w, c = x.shape
        shape = (-(-h // self.stride), -(-w // self.stride), c * self.edges)
        share = Share(None if self.is_initializing() else self.axis_name)
        keys = share.keys(self.make_rng("noise"), n)  # an image's noise is that of its row in the global batch
        return [jax.vmap(lambda key: jax.random.normal(key, shape, x.dtype))(keys)]


class Zero(Op):
    """The op `none`: zeros of the (strided) input's shape."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """`[N, H, W, C]` → one chunk of zeros for all edges."""
        del train
        return [jnp.zeros_like(x[:, :: self.stride, :: self.stride])]


class Conv7x1(Op):
    """ReLU, 1 × 7 convolution, 7 × 1 convolution, batch norm (`conv_7x1_1x7`, derived networks only)."""

    def setup(self):
        """Parameters and batch norms."""
        c = self.channels
        self.conv_1x7 = self.param("conv_1x7", uniform_fan_in(7 * c), (1, 7, c, c))
        self.conv_7x1 = self.param("conv_7x1", uniform_fan_in(7 * c), (7, 1, c, c))
        self.norm_1 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """The one at the end."""
        return [self.norm_1]

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """The two convolutions."""
        del stage
        y = kernels.convolution(relu(x), self.conv_1x7, stride=(1, self.stride), padding=(0, 3))
        return [kernels.convolution(y, self.conv_7x1, stride=(self.stride, 1), padding=(3, 0))]
