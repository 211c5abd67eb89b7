"""Dropout and drop-path around the modules of any cell-based supernet, without changes to the supernet.

    with noisy(key, dropout=0.3):                  # or drop_path=0.2
        logits = network.apply(variables, op_weights, images, True, …)

The masks depend only on the key and the module's name, and are always drawn in float32. The same network in float64
therefore sees the same noise, as a comparison of precisions needs. Rates may be traced, so one compiled function serves
the network without noise (rate 0) and the noisy ones.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.networks.cells import SearchCell
from jdarts.networks.plain import Classifier

Rate = float | jax.Array


@contextmanager
def noisy(key: jax.Array, *, dropout: Rate = 0.0, drop_path: Rate = 0.0) -> Iterator[None]:
    """Add noise to all calls of supernets inside the `with`.

    Args:
      key: PRNG key of all masks.
      dropout: probability to drop each feature that the classifier sees; the kept ones are scaled up (Srivastava et
        al. 2014).
      drop_path: probability to drop each node of each cell's output for each image, that is the paths through that
        node to the next cells; the kept ones are scaled up (Larsson et al. 2017, local drop-path without a guard). The
        edges inside a cell, which may be compiled separately, are unchanged.
    """

    def interceptor(call, args, kwargs, context):
        module = context.module
        if context.method_name == "__call__" and isinstance(module, Classifier):
            x = args[0]
            mask = _mask(key, module.path, dropout, (x.shape[0], x.shape[-1]))
            return call(_dropped(x, mask[:, None, None, :]), *args[1:], **kwargs)
        result = call(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(module, SearchCell):
            nodes = len(module.intermediate)
            mask = _mask(key, module.path, drop_path, (result.shape[0], 1, 1, nodes))
            return _dropped(result, jnp.repeat(mask, result.shape[-1] // nodes, axis=-1))
        return result

    with nn.intercept_methods(interceptor):
        yield


def _dropped(x, mask):
    return x * mask.astype(x.dtype)


def _mask(key, path, rate, shape):
    """Zeros with probability `rate`, otherwise 1 / (1 − rate), in float32."""
    rate = jnp.asarray(rate, jnp.float32)
    place = zlib.crc32("/".join(path).encode()) & 0x7FFFFFFF
    kept = jax.random.uniform(jax.random.fold_in(key, place), shape, jnp.float32) >= rate
    return kept.astype(jnp.float32) / (1 - rate)
