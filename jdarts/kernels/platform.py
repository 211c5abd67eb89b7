"""The only place that asks which backend computes, the execution form that follows from it, and facts about machines.

Other modules do not ask for the backend. They read the number or the choice that they need from `machine()`.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import jax

Impl = Literal["auto", "conv", "shift", "dense"]

# A context of JAX is part of the key of JAX's caches: a jitted function is traced again for an accelerator.
_planned = jax.make_user_context(default_value=False)


@dataclass(frozen=True)
class Machine:
    """Sizes and ways of computing that suit a kind of device.

    Attributes:
      memory: the memory that holds arrays: that of the host, or of the device, which then reports its own use.
      heap_factor: memory taken from the system per byte of arrays that are alive at once.
      members: how several networks of one shape compute fastest: one after the other, or in one vmapped program.
      loops: the place of a loop around convolutions: in Python, or compiled into the program.
      steps_in_flight: steps that the host may be ahead of the device.
      cached_pixels: images × height × width of a call whose arrays stay in the cache; None if that does not matter.
      busy_rows: rows of a square matrix so large that its product takes only the time of its arithmetic.
      busy_bytes: bytes of an array that is larger than every cache.
      fast_dtypes: dtypes with arithmetic units of their own.
    """

    memory: Literal["host", "device"]
    heap_factor: float
    members: Literal["in_turn", "vmap"]
    loops: Literal["python", "compiled"]
    steps_in_flight: int
    cached_pixels: int | None
    busy_rows: int
    busy_bytes: int
    fast_dtypes: tuple[str, ...]


# heap_factor: in the alpha-Hessian of S0 (8 cells, batch 64, one direction at a time) 4.29 GB were alive and the
# process took 6.96 GB, because arrays of many sizes leave gaps. members: XLA:CPU runs grouped convolutions many times
# slower than separate ones. loops: XLA:CPU runs convolutions inside loops 30 times slower (jax#12868). cached_pixels:
# a mixed edge of S0 at batch 64 takes 33 ms per direction of a Hessian one at a time, 36 two at a time and 46 four.
_CPU = Machine(
    memory="host",
    heap_factor=1.45,
    members="in_turn",
    loops="python",
    steps_in_flight=1,
    cached_pixels=64 * 32 * 32,
    busy_rows=2048,
    busy_bytes=2**28,
    fast_dtypes=("float32",),
)
_ACCELERATOR = Machine(
    memory="device",
    heap_factor=1,
    members="vmap",
    loops="compiled",
    steps_in_flight=16,
    cached_pixels=None,
    busy_rows=8192,
    busy_bytes=2**30,
    fast_dtypes=("float32", "bfloat16"),
)


def machine(device: Any = None) -> Machine:
    """The facts about `device`, by default about the devices of the default backend."""
    return _CPU if on_cpu(device) else _ACCELERATOR


def description() -> dict[str, str]:
    """Name of the backend (cpu, gpu, tpu) as `platform`, number and kind of its devices as `devices`, for a record."""
    devices = jax.devices()
    return {"platform": jax.default_backend(), "devices": f"{len(devices)} × {devices[0].device_kind}"}


def on_cpu(device: Any = None) -> bool:
    """True if `device`, by default the backend, is a CPU."""
    return (jax.default_backend() if device is None else device.platform) == "cpu"


def on_accelerator() -> bool:
    """True if the backend is not the CPU, or a program for an accelerator is traced."""
    return _planned.value or not on_cpu()


@contextmanager
def for_accelerators():
    """Trace the forms that accelerators run, on whatever backend, to read what they would cost (`jdarts plan`)."""
    with _planned(True):
        yield


def resolve(impl: Impl) -> str:
    """The execution form behind `impl` on the default backend."""
    if impl == "auto":
        return "dense" if on_accelerator() else "shift"
    if impl not in ("conv", "shift", "dense"):
        raise ValueError(f"impl is {impl!r}; use 'auto', 'conv', 'shift' or 'dense'")
    return impl
