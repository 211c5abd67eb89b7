"""Tests for eight emulated devices and float64: they run in a separate process, started through tests/on_devices.py."""

import os

if os.environ.get("JDARTS_TEST_DEVICES") is None:
    collect_ignore_glob = ["test_*.py"]
