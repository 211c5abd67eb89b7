"""Measured peak rates of the device: one large matrix product and one large copy.

Programs do not reach the figures of data sheets, and a shared machine is slower still. The rates of a step are
therefore compared with rates that this device reached in the same minute.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jdarts import kernels
from jdarts.bench.timing import seconds_of


@dataclass(frozen=True)
class Ceilings:
    """The best of several repetitions.

    Attributes:
      flops_per_second: of a square matrix product, by the dtype of the matrices (float32 in the device's default
        precision, which is TF32 on NVIDIA's tensor cores).
      bytes_per_second: read and written by a copy.
    """

    flops_per_second: dict[str, float]
    bytes_per_second: float

    @property
    def fastest(self) -> float:
        """The highest rate of arithmetic, over dtypes."""
        return max(self.flops_per_second.values())


def measure_ceilings(
    *, size: int | None = None, copy_bytes: int | None = None, repetitions: int = 5, dtypes: tuple[str, ...] = ()
) -> Ceilings:
    """Measure both rates on the default device; this takes about two seconds on two CPU cores.

    Args:
      size: rows of the square matrices; by default so many that only arithmetic takes time.
      copy_bytes: bytes of the copied array; by default more than all caches hold.
      dtypes: of the matrices; by default float32, and on accelerators also bfloat16.
    """
    machine = kernels.machine()
    size = size or machine.busy_rows
    dtypes = dtypes or machine.fast_dtypes
    rates = {}
    for dtype in dtypes:
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        product = jax.jit(jnp.dot).lower(a, a).compile()
        rates[dtype] = 2 * size**3 / _best(lambda f=product, a=a: f(a, a), repetitions)
    count = (copy_bytes or machine.busy_bytes) // 4
    x = jnp.zeros((count,), jnp.float32)
    copy = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    held = [x]

    def once():  # in place: a new result each time would measure page faults of the host's allocator
        held[0] = copy(held[0])
        return held[0]

    return Ceilings(rates, 2 * 4 * count / _best(once, repetitions))


def _best(run, repetitions: int) -> float:
    run()
    return min(seconds_of(run) for _ in range(repetitions))
