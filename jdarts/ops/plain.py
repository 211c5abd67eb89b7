"""The candidate ops of a supernet as the papers define them, one edge after the other, in `jdarts.kernels.reference`.

An op stands on the T edges out of one node: `[N, H, W, C]` → `[T, N, H', W', C]`. Its parameters are stacked over the
edges, and `jax.vmap` applies what is defined for one edge to all. Batch norms inside cells have neither scale nor shift
(Liu et al. 2019, §3.1).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts.devices.replicas import WHOLE
from jdarts.kernels import reference
from jdarts.kernels.reference import pointwise, relu
from jdarts.ops.initializers import constant, uniform_fan_in

RUNNING_MOMENTUM = 0.1
"""Weight of a new batch in the running averages of batch norm (PyTorch's default)."""


class BatchNorm(nn.Module):
    """Batch norm of T edges: biased batch variance, eps 1e-5; running averages, the variance unbiased."""

    channels: int
    edges: int = 1
    affine: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Normalise `[T, N, H, W, C]`, in training by the batch of each edge, else by the running averages."""
        shape = (self.edges, self.channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        if train:
            outputs, means, variances = jax.vmap(lambda x: reference.standardise(x, 1e-5))(images)
            samples = math.prod(images.shape[1:4])
            self._move(mean, means)
            self._move(var, variances * samples / max(samples - 1, 1))
        else:
            outputs = (images - _by_edge(mean.value)) * lax.rsqrt(_by_edge(var.value) + 1e-5)
        if self.affine:
            scale, bias = self.param("scale", constant(1.0), shape), self.param("bias", constant(0.0), shape)
            outputs = outputs * _by_edge(scale) + _by_edge(bias)
        return outputs.astype(images.dtype)

    def _move(self, average: nn.Variable, new: jax.Array) -> None:
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            average.value = (1 - RUNNING_MOMENTUM) * average.value + RUNNING_MOMENTUM * lax.stop_gradient(new)


def _by_edge(values: jax.Array) -> jax.Array:
    """`[T, C]` → `[T, 1, 1, 1, C]`."""
    return values[:, None, None, None]


class SepConv(nn.Module):
    """(ReLU, depthwise, pointwise, batch norm) twice; the stride is in the first depthwise."""

    channels: int
    edges: int
    stride: int
    kernel: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        images = jnp.broadcast_to(x, (self.edges, *x.shape))
        for stage, stride in ((1, self.stride), (2, 1)):
            images = jax.vmap(partial(reference.separable, stride=stride))(images, *_separable_kernels(self, stage))
            images = BatchNorm(self.channels, self.edges, name=f"norm_{stage}")(images, train)
        return images


class DilConv(nn.Module):
    """ReLU, depthwise with dilation 2, pointwise, batch norm."""

    channels: int
    edges: int
    stride: int
    kernel: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        apply = partial(reference.separable, x, stride=self.stride, dilation=2)
        images = jax.vmap(apply)(*_separable_kernels(self, 1))
        return BatchNorm(self.channels, self.edges, name="norm_1")(images, train)


def _separable_kernels(op: SepConv | DilConv, stage: int):
    k, c = op.kernel, op.channels
    depth = op.param(f"depthwise_{stage}", uniform_fan_in(k * k), (op.edges, k, k, c))
    return depth, op.param(f"pointwise_{stage}", uniform_fan_in(c), (op.edges, c, c))


class FactorizedReduce(nn.Module):
    """Halve the image: ReLU, two 1 × 1 convolutions of stride 2 side by side, batch norm."""

    channels: int
    edges: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, ·]` with even H and W → `[T, N, H/2, W/2, channels]`."""
        inputs, shape = x.shape[-1], (self.edges, x.shape[-1], self.channels // 2)
        first, second = (self.param(f"conv_{i}", uniform_fan_in(inputs), shape) for i in (1, 2))
        images = jax.vmap(partial(reference.halve, relu(x)))(first, second)
        return BatchNorm(self.channels, self.edges, name="norm_1")(images, train)


class ReLUConvBN(nn.Module):
    """ReLU, 1 × 1 convolution, batch norm: `[N, H, W, ·]` → `[N, H, W, channels]`."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to one image."""
        kernel = self.param("conv_1", uniform_fan_in(x.shape[-1]), (1, x.shape[-1], self.channels))
        return BatchNorm(self.channels, name="norm_1")(pointwise(relu(x), kernel[0])[None], train)[0]


class SkipConnect(nn.Module):
    """The identity and, if wanted, a batch norm, the same on all edges; at stride 2 a `FactorizedReduce` an edge."""

    channels: int
    edges: int
    stride: int
    normalise: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        if self.stride == 1:
            y = BatchNorm(self.channels, name="norm_1")(x[None], train)[0] if self.normalise else x
            return jnp.broadcast_to(y, (self.edges, *x.shape))
        return FactorizedReduce(self.channels, self.edges, name="reduce")(x, train)


class Pool(nn.Module):
    """3 × 3 max or average pooling and, if wanted, a batch norm, the same on all edges."""

    channels: int
    edges: int
    stride: int
    kind: str
    normalise: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        pool = reference.max_pool if self.kind == "max" else reference.avg_pool
        y = pool(x, stride=self.stride)[None]
        if self.normalise:
            y = BatchNorm(self.channels, name="norm_1")(y, train)
        return jnp.broadcast_to(y, (self.edges, *y.shape[1:]))


class NorConv(nn.Module):
    """ReLU, k × k convolution with bias, batch norm by the batch at all times (NAS-Bench-201's `nor_conv`)."""

    channels: int
    edges: int
    kernel: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to the node's value."""
        del train
        k, c = self.kernel, self.channels
        kernels = self.param("kernel", uniform_fan_in(k * k * c), (self.edges, k, k, c, c))
        biases = self.param("bias", uniform_fan_in(k * k * c), (self.edges, c))
        convolve = partial(reference.convolution, relu(x), padding=k // 2)
        return jax.vmap(lambda kernel, bias: reference.standardise(convolve(kernel) + bias, 1e-5)[0])(kernels, biases)


class Noise(nn.Module):
    """Standard normal noise in the shape of the output (RobustDARTS S4), drawn for each image by its own key."""

    channels: int
    edges: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Independent of the values of `x`."""
        del train
        n, h, w, c = x.shape
        shape = (-(-h // self.stride), -(-w // self.stride), c * self.edges)
        keys = WHOLE.keys(self.make_rng("noise"), n)
        drawn = jax.vmap(lambda key: jax.random.normal(key, shape, x.dtype))(keys)
        return jnp.stack(jnp.split(drawn, self.edges, axis=-1))
