"""Batch norm of parallel edges, in the form that searches and derived networks run."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels
from jdarts.ops.initializers import constant
from jdarts.ops.plain import RUNNING_MOMENTUM


class BatchNorm(nn.Module):
    """Batch normalisation of T stacked edges with PyTorch semantics.

    Normalises by the biased batch variance (eps 1e-5), keeps the running variance unbiased, running momentum 0.1.
    With `axis_name` the statistics are those of the global batch. Running averages move only when the caller makes
    the collection `batch_stats` mutable.
    """

    channels: int
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    eps: float = 1e-5
    momentum: float = RUNNING_MOMENTUM

    def setup(self):
        """Running averages, and scale and shift."""
        shape = (self.edges, self.channels)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape)
        if self.affine:
            self.scale = self.param("scale", constant(1.0), shape)
            self.bias = self.param("bias", constant(0.0), shape)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalise `[N, H, W, T·C]`, in training by the batch, else by the running averages."""
        if self.is_initializing():  # only the parameters are wanted
            return x
        pixels = x.shape[0] * x.shape[1] * x.shape[2]
        if train and self.affine:
            scale, bias = self.scale.reshape(-1), self.bias.reshape(-1)
            y, mean, var = kernels.normalise(x, scale, bias, self.eps, self.axis_name)
            self.record(mean, var, pixels)
            return y
        if train:
            y, mean, var = kernels.standardise(x, self.eps, self.axis_name)
            self.record(mean, var, pixels)
            return y.astype(x.dtype)
        y = (x - self.mean.value.reshape(-1)) * lax.rsqrt(self.var.value.reshape(-1) + self.eps)
        y = y.astype(x.dtype)
        return y * self.scale.reshape(-1) + self.bias.reshape(-1) if self.affine else y

    def record(self, mean: jax.Array, var: jax.Array, samples: int) -> None:
        """Move the running averages to the moments `[T·C]` of a batch of so many pixels, if they may move.

        They have no derivative: a network in training does not read them.
        """
        if not self.is_mutable_collection("batch_stats"):
            return
        mean, var = lax.stop_gradient(mean), lax.stop_gradient(var)
        if self.axis_name is not None:
            samples = samples * lax.axis_size(self.axis_name)
        for variable, new in ((self.mean, mean), (self.var, var * (samples / max(samples - 1, 1)))):
            variable.value = (1 - self.momentum) * variable.value + self.momentum * new.reshape(variable.value.shape)
