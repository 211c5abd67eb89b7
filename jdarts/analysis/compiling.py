"""Compilation of functions of a supernet for analyses, in pieces (`jdarts.staging`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import kernels, staging
from jdarts.devices.memory import available, does_not_fit

# Size of the process's heap per byte alive at once. In the alpha-Hessian of S0 (8 cells, batch 64, one direction at a
# time) 4.29 GB were alive and the process took 6.96 GB, because arrays of many sizes leave gaps.
HEAP = 1.45


def compile_pieces(function: Callable) -> Callable:
    """`function`, compiled by `jdarts.staging` at its first call with arguments of some shapes.

    That call raises `DoesNotFit`, a `UserError`, if the program needs more memory than is available. On a CPU the need
    is `HEAP` times the bytes alive at once.
    """
    programs: dict[Any, staging.Program] = {}

    def call(*args):
        leaves, structure = jax.tree.flatten(args)
        signature = structure, tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        if signature not in programs:
            program = staging.compile(function, *args, shared=True)
            _check_memory(int(program.peak_bytes * (HEAP if kernels.on_cpu() else 1)))
            programs[signature] = program
        return programs[signature](*args)

    return call


def _check_memory(needed: int) -> None:
    free = available()
    if free is not None and needed > free.bytes:
        advice = "take fewer images at once (--batch-size), or fewer directions (--chunk)"
        raise does_not_fit("this analysis", needed, free, advice)
