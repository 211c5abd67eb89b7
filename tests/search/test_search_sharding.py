"""Replicas, seeds in one program, checkpoints on other devices: tests/emulated_devices, on eight emulated devices."""

import pytest
from support.on_devices import run_on_devices


@pytest.mark.slow
@pytest.mark.parametrize("file", ["test_replicas.py", "test_population.py", "test_streamed.py", "test_plan_bytes.py"])
def test_on_eight_devices(file):
    run_on_devices(file)
