"""How analyses compile functions of a supernet: in pieces on the CPU, whole elsewhere (`jdarts.staging`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import staging
from jdarts.memory import available, does_not_fit


def compile_pieces(function: Callable) -> Callable:
    """`function`, compiled by `jdarts.staging` at its first call with arguments of some shapes.

    That call raises `UserError` if the program needs more memory than there is.
    """
    programs: dict[Any, staging.Program] = {}

    def call(*args):
        leaves, structure = jax.tree.flatten(args)
        signature = structure, tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        if signature not in programs:
            program = staging.compile(function, *args)
            _check_memory(program.peak_bytes)
            programs[signature] = program
        return programs[signature](*args)

    return call


def _check_memory(needed: int) -> None:
    free = available()
    if free is not None and needed > free.bytes:
        advice = "take fewer images at once (--batch-size), or fewer directions (--chunk)"
        raise does_not_fit("this analysis", needed, free, advice)
