"""Run a file of tests/emulated_devices with eight emulated CPU devices and float64, in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "emulated_devices"


def run_on_devices(file: str, devices: int = 8, part: str = "0/1") -> None:
    """Raise with the report of pytest unless every test of the file passes; `part` i/n: every n-th."""
    environment = {
        **os.environ,
        "JDARTS_TEST_DEVICES": str(devices),
        "JDARTS_TEST_PART": part,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", str(FOLDER / file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout and "skipped" not in done.stdout, done.stdout
