"""The environment of a run, for the record of the run: versions, devices, time."""

import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from jdarts import __version__

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


def describe() -> dict[str, Any]:
    """Versions, devices and time of day, ready for JSON; starts the accelerator if it is not started yet."""
    from jdarts import kernels

    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "jdarts": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
        **kernels.description(),
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "command": " ".join(sys.argv[:1] and [os.path.basename(sys.argv[0]), *sys.argv[1:]]),
    }


def differences(stored: Mapping[str, Any]) -> list[str]:
    """Differences from the environment `stored` that affect the bits of a result, e.g. `jax 0.10.2 (was 0.10.1)`."""
    now = describe()
    names = ("jdarts", *LIBRARIES, "python", "platform", "devices", "processor")
    return [f"{name} {now[name]} (was {stored[name]})" for name in names if stored.get(name, now[name]) != now[name]]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
