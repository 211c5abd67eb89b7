"""Preparation of the process before it computes: XLA's flags, a compilation cache, and memory in huge pages."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jdarts.runs import interrupts

_EXTRA_OPTIONS = "--xla_backend_extra_options="
_PLAIN_LOOPS = f"{_EXTRA_OPTIONS}xla_cpu_disable_new_fusion_emitters"


def prefer_plain_loops() -> None:
    """Make XLA use its older generator of loops for CPUs, unless XLA_FLAGS already has options of that kind.

    The second-order step of S0 (8 cells, batch 16, two cores, jaxlib 0.10.2) then compiles in 50 and 55 instead of 75
    and 66 s, and takes 6 % longer (6.80 against 6.43 s, the sum of the fastest call of each piece). In a search of
    hours the newer generator saves time: keep it by setting XLA_FLAGS to any option of that kind, for example to
    `--xla_backend_extra_options=xla_cpu_newer_loops`, which XLA does not know and ignores. XLA reads the choice only
    from the environment.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _EXTRA_OPTIONS not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_PLAIN_LOOPS}".strip()


def prefer_newer_loops() -> None:
    """Undo `prefer_plain_loops` for recurrent cells, before the first computation.

    Their programs are small: those of the published search (batch 64, two cores) take as long to compile, and a step
    takes 2.5 instead of 2.9 s in first order, 6.7 instead of 7.5 s in second order.
    """
    os.environ["XLA_FLAGS"] = " ".join(each for each in os.environ.get("XLA_FLAGS", "").split() if each != _PLAIN_LOOPS)


def leave_out_source_lines() -> None:
    """Make JAX leave Python's source lines out of its programs for XLA, unless JAX_TRACEBACK_IN_LOCATIONS_LIMIT is set.

    Only profiles of XLA's programs show them, and collecting them takes a tenth of the lowering of a search step.
    """
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")


def enable_compilation_cache(warn: Callable[[str], None]) -> None:
    """Let XLA keep its compiled programs, so that the next run of the same network starts in seconds.

    The folder is $JDARTS_CACHE (empty: no cache) or ~/.cache/jdarts/xla. It must belong to the user and be closed to
    others, because whoever writes to it can run code in this process.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    place = os.environ.get("JDARTS_CACHE", str(Path.home() / ".cache" / "jdarts" / "xla"))
    if not place:
        return
    try:
        folder = Path(place).expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise PermissionError(f"{folder} can be written by others")
    except (OSError, RuntimeError) as error:
        warn(f"compiling without a cache: {error}; set JDARTS_CACHE to a folder that belongs to you")
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@contextmanager
def without_compilation_cache() -> Iterator[None]:
    """Compile every program in this context, and use the caches again afterwards."""
    import jax

    enabled = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)


def reexecute_with_huge_pages() -> None:
    """Restart this process once, with glibc asking for huge pages.

    XLA on the CPU allocates and frees its temporary buffers in every step; with pages of 4 KiB the page faults cost
    more than the arithmetic. glibc (2.35 or newer) asks for huge pages if GLIBC_TUNABLES says so, which it reads only
    when a process starts. Does nothing on other systems, if the user has set GLIBC_TUNABLES, or if JDARTS_NO_REEXEC is
    set. Only the `jdarts` command and `python -m jdarts` call this, never `main(argv)`.
    """
    program = Path(sys.argv[0])
    is_command = program.name == "jdarts" or (program.name == "__main__.py" and program.parent.name == "jdarts")
    if not is_command or sys.platform != "linux" or not sys.executable:
        return
    if "GLIBC_TUNABLES" in os.environ or "JDARTS_NO_REEXEC" in os.environ:
        return
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        if name != "glibc" or tuple(map(int, version.split("."))) < (2, 35):
            return
        added = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "JDARTS_NO_REEXEC": "1"}
        if interrupts.before_exec():
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added})
    except (OSError, ValueError):  # another libc, or no permission: slower, but the same results
        interrupts.end_on_signals()
