"""Tests for eight emulated devices and float64: they run in a separate process, started through tests/on_devices.py."""

import dataclasses
import os

import pytest

if os.environ.get("JDARTS_TEST_DEVICES") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def float64_searches(monkeypatch):
    """Programs build searches by `METHOD` whose state is float64."""
    from support.device_problems import METHOD, doubled

    from jdarts.search import make_search, program

    def double_search(config, space, data, **options):
        search = make_search(config, space, data, method=METHOD, **options)
        return dataclasses.replace(search, init=lambda key: doubled(search.init(key)))

    monkeypatch.setattr(program, "make_search", double_search)
