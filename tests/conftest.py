"""Shared by all tests: where the optional real data lies, and a session-wide compilation cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JDARTS_NO_REEXEC", "1")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets beside the checkout; skips where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return REAL_DATA


@pytest.fixture(scope="session")
def cifar10_folder(real_data: Path, tmp_path_factory) -> Path:
    """The official binary version of the real CIFAR-10."""
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(real_data / "cifar10_unpack.py"), str(folder)], check=True)
    return folder
