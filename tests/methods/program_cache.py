"""A compilation cache for the tests of one module."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax


@contextmanager
def programs_kept_in(folder: Path, *, above_seconds: float) -> Iterator[None]:
    """Programs that took longer than `above_seconds` to compile are kept in `folder`; afterwards all is as before."""
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": above_seconds,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
