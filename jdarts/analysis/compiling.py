"""How analyses compile functions of a supernet: in pieces on the CPU, whole elsewhere (`jdarts.staging`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import staging


def compile_pieces(function: Callable) -> Callable:
    """`function`, compiled by `jdarts.staging` at its first call with arguments of some shapes."""
    programs: dict[Any, staging.Program] = {}

    def call(*args):
        leaves, structure = jax.tree.flatten(args)
        signature = structure, tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        if signature not in programs:
            programs[signature] = staging.compile(function, *args)
        return programs[signature](*args)

    return call
