"""Memory: bytes available on the host and on devices, and bytes used by a computation."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import kernels
from jdarts.errors import DoesNotFit

T = TypeVar("T")

_UNLIMITED = 2**60  # cgroups of the first version write a number near 2^63 for "no limit"


@dataclass(frozen=True)
class Available:
    """Bytes that are still available, and the memory that they belong to."""

    bytes: int
    where: str


def available() -> Available | None:
    """Bytes that the default device can still allocate; None if the platform keeps no statistics.

    Accelerators report their own memory. On the CPU it is the memory that the operating system can provide without
    swapping, within the limit of the control group (the memory limit of a container).
    """
    device = jax.local_devices()[0]
    if kernels.machine(device).memory == "host":
        free = host_available()
        return None if free is None else Available(free, "of this machine's memory")
    statistics = device.memory_stats() or {}
    if "bytes_limit" not in statistics:
        return None
    free = statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return Available(free, f"of the memory of {device.device_kind}")


def does_not_fit(what: str, needed: int, free: Available, advice: str) -> DoesNotFit:
    """The error for `what`, which needs more memory than is available."""
    return DoesNotFit(
        f"{what} needs {format_bytes(needed)} of memory, but {format_bytes(free.bytes)} {free.where} are available; "
        f"{advice}"
    )


def host_available(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process can still allocate on the host; None if the system does not report them."""
    bounds = [_meminfo(proc / "meminfo"), *_group_bounds(proc / "self" / "cgroup", cgroup)]
    known = [bound for bound in bounds if bound is not None]
    return max(0, min(known)) if known else None


def _meminfo(path: Path) -> int | None:
    for line in _lines(path):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    if path == Path("/proc/meminfo") and "SC_PHYS_PAGES" in os.sysconf_names:  # without Linux: all memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _group_bounds(membership: Path, root: Path) -> Iterator[int | None]:
    """Bytes left in the limit of each control group that contains this process."""
    for line in _lines(membership):
        _, controllers, inside = line.split(":", 2)
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = base / inside.lstrip("/")
        while folder.is_relative_to(base):
            yield _group_bound(folder, *names)
            if folder == base:
                break
            folder = folder.parent


def _group_bound(folder: Path, limit_file: str, usage_file: str, reclaimable: str) -> int | None:
    limit, usage = (next(iter(_lines(folder / name)), "") for name in (limit_file, usage_file))
    if not (limit.isdigit() and usage.isdigit()) or int(limit) >= _UNLIMITED:
        return None
    cached = [line.split()[1] for line in _lines(folder / "memory.stat") if line.split()[:1] == [reclaimable]]
    return int(limit) - int(usage) + sum(map(int, cached))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays and `jax.ShapeDtypeStruct`s in a pytree; PRNG keys count with their integer words."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        total += int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
    return total


def reset_peak() -> bool:
    """Reset the peak of this process's resident memory; False if the system does not support it (only Linux does)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def host_growth(run: Callable[[], T]) -> tuple[T, int | None]:
    """The result of `run`, and the largest growth of this process during it.

    The growth is None if arrays are in the memory of the device, or if the system does not measure it.
    """
    measured = kernels.machine().memory == "host" and reset_peak()
    before = process_resident() or 0
    result = run()
    peak = process_peak() if measured else None
    return result, None if peak is None else max(0, peak - before)


def process_peak() -> int | None:
    """The largest resident memory of this process since `reset_peak`, in bytes."""
    return _status("VmHWM")


def process_resident() -> int | None:
    """The resident memory of this process now, in bytes."""
    return _status("VmRSS")


def _status(field: str) -> int | None:
    for line in _lines(Path("/proc/self/status")):
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    return None


def device_peak() -> int | None:
    """Peak of the bytes in use on the default device, by its own count; None if it keeps no count (the CPU)."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def peak() -> int | None:
    """The peak in bytes of the default device, or of this process where arrays are in the memory of the host."""
    return process_peak() if kernels.machine().memory == "host" else device_peak()


def format_bytes(count: float) -> str:
    """`count` bytes with about three digits: 512 B, 3.2 MB, 14.1 GB (decimal)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}" if abs(count) < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count:.0f} B"
