"""Compilation of functions of a supernet for analyses, in pieces (`jdarts.staging`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import kernels, staging
from jdarts.devices.memory import available, does_not_fit


def compile_pieces(function: Callable) -> Callable:
    """`function`, compiled by `jdarts.staging` at its first call with arguments of some shapes.

    That call raises `DoesNotFit`, a `UserError`, if the program needs more memory than is available.
    """
    programs: dict[Any, staging.Program] = {}

    def call(*args):
        leaves, structure = jax.tree.flatten(args)
        signature = structure, tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        if signature not in programs:
            program = staging.compile(function, *args, shared=True)
            _check_memory(int(program.peak_bytes * kernels.machine().heap_factor))
            programs[signature] = program
        return programs[signature](*args)

    return call


def _check_memory(needed: int) -> None:
    free = available()
    if free is not None and needed > free.bytes:
        advice = "take fewer images at once (--batch-size), or fewer directions (--chunk)"
        raise does_not_fit("this analysis", needed, free, advice)
