"""Batch norm of states `[batch, units]` in search cells, as a function that carries its running averages.

A time step applies it several times, and each application moves the averages; `lax.scan` carries them from one step to
the next.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.ops.plain import RUNNING_MOMENTUM


class Moments(NamedTuple):
    """Running mean and variance, `[units]` each."""

    mean: jax.Array
    var: jax.Array


class NormConstants(NamedTuple):
    """Constants of a batch norm: `eps`, momentum of the running averages, unbiased running variance."""

    eps: float
    momentum: float
    unbiased: bool


PYTORCH = NormConstants(1e-5, RUNNING_MOMENTUM, True)
"""PyTorch's defaults, which DARTS has."""
ENAS = NormConstants(1.0, 1e-3, False)
"""The constants of the ENAS release (ptb_ops.py)."""


def batch_norm(
    x: jax.Array, moments: Moments, constants: NormConstants, *, train: bool, axis_name: str | None = None
) -> tuple[jax.Array, Moments]:
    """`x [batch, units]` normalised, and the running averages behind it.

    In training by the statistics of the batch, with `axis_name` of the global one; the running averages have no
    derivative. Otherwise by the running averages, which do not move.
    """
    if not train:
        return (x - moments.mean) * lax.rsqrt(moments.var + constants.eps), moments
    over_replicas = (lambda value: value) if axis_name is None else (lambda value: lax.pmean(value, axis_name))
    samples = x.shape[0] * (1 if axis_name is None else lax.axis_size(axis_name))
    mean = over_replicas(x.mean(0))
    var = over_replicas(jnp.square(x - mean).mean(0))
    now = Moments(mean, var * (samples / max(samples - 1, 1)) if constants.unbiased else var)
    m = constants.momentum
    moved = jax.tree.map(lambda old, new: (1 - m) * old + m * lax.stop_gradient(new), moments, now)
    return (x - mean) * lax.rsqrt(var + constants.eps), moved
