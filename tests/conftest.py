"""Fixtures of all tests: the folder of optional real data, and a session-wide compilation cache."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.real_data import REAL_DATA

from jdarts.commands.process import leave_out_source_lines, prefer_plain_loops

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JDARTS_NO_REEXEC", "1")
if "--xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    # LLVM's optimisations take half of a compilation, and most programs here run for milliseconds.
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0"]).strip()
if "codegen_split_count" not in os.environ["XLA_FLAGS"]:
    # A worker keeps one core busy: code generation in one thread takes a tenth less CPU time than split over threads.
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
if "JDARTS_TEST_DEVICES" in os.environ and "device_count" not in os.environ["XLA_FLAGS"]:  # tests/emulated_devices
    os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={os.environ['JDARTS_TEST_DEVICES']}"
    os.environ["JAX_ENABLE_X64"] = "1"
prefer_plain_loops()
leave_out_source_lines()
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # before the workers start, who share it
    _cache = tempfile.TemporaryDirectory(prefix="jdarts_tests_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
gc.set_threshold(200_000, 50, 100)  # a trace makes millions of objects that stay

LONGEST_FIRST = (
    "test_fast_forms.py",
    "test_processes.py",
    "test_methods_contract.py",
    "test_equality.py",
    "test_drivers.py",
    "collapse.ipynb",
    "exact_hessian.ipynb",
    "test_search_accelerator.py",
    "test_interop_real.py",
    "test_resume.py",
)


def pytest_collection_modifyitems(items):
    """Order of files for the workers: the longest first, so that no single worker runs long at the end."""
    items.sort(key=lambda item: LONGEST_FIRST.index(item.path.name) if item.path.name in LONGEST_FIRST else 99)


@pytest.fixture(autouse=True)
def registries():
    """Forget what a test has registered: the workers run the tests in any order."""
    from jdarts import spaces  # after the environment is set
    from jdarts.config import own_estimators
    from jdarts.methods.registry import _METHODS
    from jdarts.ops import user_ops

    known = (_METHODS, spaces._SPACES, spaces._FILES, own_estimators.OWN, user_ops._KNOWN)
    before = [dict(registry) for registry in known]
    yield
    for registry, entries in zip(known, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture
def x64():
    """Float64 for comparisons with oracles."""
    import jax  # after the environment is set

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets next to the checkout; skips if there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return REAL_DATA


@pytest.fixture(scope="session")
def cifar10_folder(real_data: Path, tmp_path_factory) -> Path:
    """The official binary version of the real CIFAR-10."""
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(real_data / "cifar10_unpack.py"), str(folder)], check=True)
    return folder
