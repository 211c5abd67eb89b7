"""Searches on eight emulated devices equal those on one (the tests themselves are in tests/emulated_devices)."""

import pytest
from support.on_devices import run_on_devices


@pytest.mark.slow
@pytest.mark.parametrize("file", ["test_equality.py", "test_methods_on_devices.py"])
def test_eight_devices_equal_one(file):
    run_on_devices(file)
