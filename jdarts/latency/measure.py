"""Latencies, measured on the device at hand.

A program runs in evaluation mode with random weights, first for warm-up, then `runs` times; the median counts. On an
accelerator a block takes less time than the call of its program. There a loop inside the program applies it many times,
each application to an input that depends on the output before it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts import kernels
from jdarts.errors import UserError
from jdarts.genotypes.mobile import MOBILE_FAMILIES
from jdarts.latency.blocks import Block, keys_of
from jdarts.latency.table import LatencyTable
from jdarts.networks.mobile.blocks import MobileBlock
from jdarts.networks.mobile.layers import MobileClassifier
from jdarts.spaces.decisions import DecisionSpace

RUNS = 20
_WARM_UP = 3
_SHORTEST = 0.002  # seconds; shorter programs are timed several at a time
_LOOP = 50  # applications within one program on accelerators

Apply = Callable[[Any, jax.Array], jax.Array]


@dataclass(frozen=True)
class Measuring:
    """Conditions of a measurement.

    Attributes:
      batch: images of one call.
      runs: of every program, of which the median counts.
      dtype: of weights and images, `float32` or `bfloat16`.

    Raises `UserError` for less than one image or run.
    """

    batch: int = 1
    runs: int = RUNS
    dtype: str = "float32"

    def __post_init__(self):
        for name in ("batch", "runs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; use a number of at least 1")
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"dtype is {self.dtype!r}; use float32 or bfloat16")

    def of_module(self, module: Any, shape: tuple[int, ...], *arguments: Any, call: bool = True) -> float:
        """Milliseconds of `module(x, *arguments)` for a batch of inputs of `shape` `(height, width, channels)`.

        Without `call`, the time of calling a program with these arguments is not included, at least 0.
        """
        x = jax.random.normal(jax.random.key(0), (self.batch, *shape), self.dtype)
        variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, *arguments), x)
        variables = jax.tree.map(partial(_small, dtype=self.dtype), variables)

        def apply(variables: Any, x: jax.Array) -> jax.Array:
            rngs = {"noise": jax.random.key(0)}  # for the op `noise`, which is random in evaluation, too
            outputs = module.apply(variables, x, *arguments, rngs=rngs)
            return outputs[0] if isinstance(outputs, tuple) else outputs

        seconds = self.seconds(apply, variables, x)
        return 1000 * (seconds if call else max(seconds - self.seconds(_nothing, variables, x), 0.0))

    def seconds(self, apply: Apply, variables: Any, x: jax.Array) -> float:
        """The median of the seconds that `apply(variables, x)` takes."""
        looped = kernels.machine().loops == "compiled"
        program = jax.jit(partial(repeated, apply, _LOOP) if looped else apply, keep_unused=True)
        started = time.perf_counter()
        for _ in range(_WARM_UP + 1):  # the first call compiles
            started = time.perf_counter()
            jax.block_until_ready(program(variables, x))
        calls = max(1, round(_SHORTEST / max(time.perf_counter() - started, 1e-6)))
        found = []
        for _ in range(self.runs):
            started = time.perf_counter()
            for _ in range(calls):
                program(variables, x).block_until_ready()
            found.append((time.perf_counter() - started) / calls)
        return float(np.median(found)) / (_LOOP if looped else 1)


ALONE = Measuring()
"""One image a call, in float32."""


def repeated(apply: Apply, times: int, variables: Any, x: jax.Array) -> jax.Array:
    """The sum of `times` outputs of `apply`, each of an input that depends on the output before it."""

    def once(_: jax.Array, carried: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, total = carried
        output = jnp.sum(apply(variables, x).astype(jnp.float32))
        return x.at[(0,) * x.ndim].set((output * 1e-6).astype(x.dtype)), total + output

    return lax.fori_loop(0, times, once, (x, jnp.zeros((), jnp.float32)))[1]


def measure_block(block: Block, measuring: Measuring = ALONE) -> float:
    """Milliseconds of a block of a mobile network, without the call of its program: a network has one call for all."""
    family = MOBILE_FAMILIES[block.family]
    if block.layer is None:
        module: Any = MobileClassifier(block.classes, family.bias, 0.0)
    else:
        module = MobileBlock(block.layer, family, block.skips)
    return measuring.of_module(module, (block.height, block.width, block.inputs), False, call=False)


def measure_space(
    space: DecisionSpace,
    measuring: Measuring = ALONE,
    *,
    classes: int = 1000,
    image_size: int | tuple[int, int] = 224,
    on_block: Callable[[int, int, str, float], None] = lambda done, total, key, milliseconds: None,
) -> LatencyTable:
    """The table of all blocks of a space. `on_block` receives the number of measured blocks, of all, key and result.

    Raises `UserError` for a space whose decisions are not the blocks of successive layers.
    """
    blocks, found = keys_of(space, classes=classes, image_size=image_size), {}
    for done, (key, block) in enumerate(blocks.items(), start=1):
        found[key] = measure_block(block, measuring)
        on_block(done, len(blocks), key, found[key])
    return LatencyTable(found)


def _nothing(variables: Any, x: jax.Array) -> jax.Array:
    """A program that takes only the time of its call."""
    return x[:1, :1, :1, :1]


def _small(shape: jax.ShapeDtypeStruct, dtype: str) -> jax.Array:
    """Positive values near 0.1: no overflow, and no denormal numbers, which CPUs multiply slowly."""
    key = jax.random.key(shape.size)
    return jax.random.uniform(key, shape.shape, dtype, 0.05, 0.15)
