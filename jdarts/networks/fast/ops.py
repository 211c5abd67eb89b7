"""The candidate ops in the form that searches and derived networks run: all edges of a node side by side.

An op stands on the T edges out of one node: `[N, H, W, C]` → `[N, H', W', T·C]`, edge-major, or `[N, H', W', C]` where
the output is the same on all edges. Parameters are those of `jdarts.ops.plain`, stacked over the edges. A derived
network uses T = 1.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts import kernels
from jdarts.devices.replicas import Share
from jdarts.errors import unknown
from jdarts.kernels import relu
from jdarts.networks.fast.layers import FactorizedReduce
from jdarts.ops import user_ops
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.candidates import CANDIDATES
from jdarts.ops.initializers import uniform_fan_in
from jdarts.ops.user_module import Own


def candidate(op: str, /, *, search: bool, **fields) -> nn.Module:
    """The module of a candidate op by its DARTS name; `search` adds the batch norm behind pools.

    `fields` are channels, stride, edges, affine, axis_name, and the Flax `name` or `parent`.
    """
    match op:
        case "none":
            return Zero(**fields)
        case "noise":
            return Noise(**fields)
        case "skip_connect" | "skip_norm":
            return SkipConnect(normalise=op == "skip_norm", **fields)
        case "max_pool_3x3" | "avg_pool_3x3":
            return Pool(kind="max" if op.startswith("max") else "avg", normalise=search, **fields)
        case "sep_conv_3x3" | "sep_conv_5x5" | "sep_conv_7x7":
            return SepConv(kernel=int(op[-1]), **fields)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return DilConv(kernel=int(op[-1]), **fields)
        case "conv_7x1_1x7":
            return Conv7x1(**fields)
    if user_ops.is_own(op):
        return OwnSideBySide(own=user_ops.get(op), search=search, **fields)
    raise unknown("op", op, CANDIDATES)


class EdgesOp(nn.Module):
    """The fields of an op on T edges."""

    channels: int
    stride: int = 1
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None


class NormedOp(EdgesOp):
    """An op whose maps end in batch norms, in parts that fast forms compute together with those of other ops.

    It is `before_norm(0, x)`, norm, and with a second norm ReLU, `before_norm(1, ·)`, norm. Without norms it is
    `before_norm(0, x)` alone.
    """

    activated: bool = False
    """The input has passed its ReLU already."""
    margin: int = 0
    """For the convolutions of the input, see `jdarts.kernels.depthwise`."""

    @property
    def padding(self) -> int:
        """Pixels of padding on each side that a depthwise convolution of the input needs, 0 if there is none."""
        return 0

    def norm(self, edges: int | None = None) -> BatchNorm:
        """A batch norm over this op's edges."""
        return BatchNorm(self.channels, edges or self.edges, self.affine, self.axis_name)

    def norms(self) -> list[BatchNorm]:
        """The batch norms, in order."""
        raise NotImplementedError

    def before_norm(self, stage: int, x: jax.Array) -> jax.Array:
        """The input of the batch norm of that stage."""
        raise NotImplementedError

    def in_phases(self, x: jax.Array) -> jax.Array | None:
        """`before_norm(0, x)` in the order of `kernels.to_phases`, if that is how it is computed."""
        del x

    def before_last_norm(self, x: jax.Array, train: bool) -> jax.Array | None:
        """The input of the last batch norm; None for an op that does not end in one."""
        norms = self.norms()
        if not norms:
            return None
        y = self.before_norm(0, x)
        for stage, norm in enumerate(norms[:-1], 1):
            # the cut is for the way back: the norm reads the convolution's gradient several times
            y = self.before_norm(stage, relu(kernels.cut(norm(y, train))))
        return y

    def record_last(self, mean: jax.Array, var: jax.Array, samples: int) -> None:
        """`BatchNorm.record` of the last batch norm."""
        self.norms()[-1].record(mean, var, samples)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        y = self.before_last_norm(x, train)
        return self.before_norm(0, x) if y is None else self.norms()[-1](y, train)


class SepConv(NormedOp):
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

    def before_norm(self, stage: int, x: jax.Array) -> jax.Array:
        """A depthwise and a pointwise convolution."""
        if stage == 0:
            return _first_separable(self, x, self.depthwise_1, self.pointwise_1)
        return kernels.separable(x, self.depthwise_2, self.pointwise_2)


class DilConv(NormedOp):
    """ReLU, depthwise with dilation 2, pointwise, batch norm."""

    kernel: int = 3

    @property
    def padding(self) -> int:
        """Half of the kernel's reach."""
        return self.kernel - 1

    def setup(self):
        """Parameters and batch norm."""
        self.depthwise_1, self.pointwise_1 = _separable_kernels(self, self.kernel, 1)
        self.norm_1 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """The one at the end."""
        return [self.norm_1]

    def before_norm(self, stage: int, x: jax.Array) -> jax.Array:
        """The two convolutions."""
        del stage
        return _first_separable(self, x, self.depthwise_1, self.pointwise_1, dilation=2)

    def in_phases(self, x: jax.Array) -> jax.Array | None:
        """The two convolutions, not put together again."""
        if not kernels.takes_phases(x, self.stride, 2):
            return None
        return _first_separable(self, kernels.to_phases(x), self.depthwise_1, self.pointwise_1)


def _separable_kernels(op: NormedOp, k: int, stage: int):
    c = op.channels
    depthwise = op.param(f"depthwise_{stage}", uniform_fan_in(k * k), (op.edges, k, k, c))
    pointwise = op.param(f"pointwise_{stage}", uniform_fan_in(c), (op.edges, c, c))
    return depthwise, pointwise


def _first_separable(op: NormedOp, x, depthwise, pointwise, dilation: int = 1) -> jax.Array:
    r = x if op.activated else kernels.cut(relu(x))
    return kernels.separable(r, depthwise, pointwise, stride=op.stride, dilation=dilation, margin=op.margin)


class SkipConnect(NormedOp):
    """Identity at stride 1, with `normalise` and a batch norm; one `FactorizedReduce` an edge at stride 2."""

    normalise: bool = False

    def setup(self):
        """Parameters and batch norm of the reduction, or the batch norm of the identity."""
        if self.stride > 1:
            fields = self.affine, self.axis_name, self.activated
            self.reduce = FactorizedReduce(self.channels, self.channels, self.edges, *fields)
        elif self.normalise:
            self.norm_1 = self.norm(edges=1)

    def norms(self) -> list[BatchNorm]:
        """The norm of the reduction, or of the identity if it has one."""
        if self.stride > 1:
            return [self.reduce.norm_1]
        return [self.norm_1] if self.normalise else []

    def before_norm(self, stage: int, x: jax.Array) -> jax.Array:
        """The convolutions of the reduction; at stride 1 the input, the same for all edges."""
        del stage
        return self.reduce.before_norm(x) if self.stride > 1 else x


class Pool(NormedOp):
    """3 × 3 max or average pooling. In a supernet a batch norm follows; the result is the same on all edges."""

    kind: Literal["max", "avg"] = "max"
    normalise: bool = False

    def setup(self):
        """The batch norm."""
        if self.normalise:
            self.norm_1 = self.norm(edges=1)

    def norms(self) -> list[BatchNorm]:
        """The one behind the pool in a supernet."""
        return [self.norm_1] if self.normalise else []

    def before_norm(self, stage: int, x: jax.Array) -> jax.Array:
        """`[N, H', W', C]` for all edges."""
        del stage
        return (kernels.max_pool if self.kind == "max" else kernels.avg_pool)(x, stride=self.stride)


class Conv7x1(NormedOp):
    """ReLU, 1 × 7 convolution, 7 × 1 convolution, batch norm (`conv_7x1_1x7`, derived networks only)."""

    def setup(self):
        """Parameters and batch norm."""
        c = self.channels
        self.conv_1x7 = self.param("conv_1x7", uniform_fan_in(7 * c), (1, 7, c, c))
        self.conv_7x1 = self.param("conv_7x1", uniform_fan_in(7 * c), (7, 1, c, c))
        self.norm_1 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """The one at the end."""
        return [self.norm_1]

    def before_norm(self, stage: int, x: jax.Array) -> jax.Array:
        """The two convolutions."""
        del stage
        y = kernels.convolution(relu(x), self.conv_1x7, stride=(1, self.stride), padding=(0, 3))
        return kernels.convolution(y, self.conv_7x1, stride=(self.stride, 1), padding=(3, 0))


class Noise(EdgesOp):
    """Standard normal noise of the (strided) input's shape, ignoring the input (space S4). Needs the rng `noise`."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, C]` → fresh noise `[N, H', W', T·C]`."""
        del train
        n, h, w, c = x.shape
        shape = (-(-h // self.stride), -(-w // self.stride), c * self.edges)
        share = Share(None if self.is_initializing() else self.axis_name)
        keys = share.keys(self.make_rng("noise"), n)  # an image's noise is that of its row in the global batch
        return jax.vmap(lambda key: jax.random.normal(key, shape, x.dtype))(keys)


class Zero(EdgesOp):
    """The op `none`: zeros of the (strided) input's shape."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, C]` → `[N, H', W', C]` for all edges."""
        del train
        return jnp.zeros_like(x[:, :: self.stride, :: self.stride])


class OwnSideBySide(Own):
    """A user's own op (`jdarts.ops.user_module`), its outputs side by side."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        return jnp.concatenate(self.outputs(x, train), axis=-1)
