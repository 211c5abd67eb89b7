"""The only place that asks which backend computes, and the execution form that follows from it."""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import jax

Impl = Literal["auto", "conv", "shift", "dense"]

_planned: ContextVar[bool] = ContextVar("planned", default=False)


def backend() -> str:
    """The name of the default backend: cpu, gpu or tpu."""
    return jax.default_backend()


def on_cpu(device: Any = None) -> bool:
    """True if `device`, by default the backend, is a CPU."""
    return (backend() if device is None else device.platform) == "cpu"


def on_accelerator() -> bool:
    """True if the backend is not the CPU, or a program for an accelerator is traced."""
    return _planned.get() or not on_cpu()


@contextmanager
def for_accelerators():
    """Trace the forms that accelerators run, on whatever backend, to read what they would cost (`jdarts plan`)."""
    token = _planned.set(True)
    try:
        yield
    finally:
        _planned.reset(token)


def resolve(impl: Impl) -> str:
    """The execution form behind `impl` on the default backend."""
    if impl == "auto":
        return "dense" if on_accelerator() else "shift"
    if impl not in ("conv", "shift", "dense"):
        raise ValueError(f"impl is {impl!r}; use 'auto', 'conv', 'shift' or 'dense'")
    return impl
