"""Tests on eight emulated CPU devices, in float64: `JDARTS_TEST_DEVICES=8 pytest tests/emulated_devices`."""

import dataclasses
import os

import pytest

if os.environ.get("JDARTS_TEST_DEVICES") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def float64_searches(monkeypatch):
    """Placed searches use `METHOD`, unless they have a method of their own, and a state in float64."""
    from support.device_problems import METHOD, doubled

    from jdarts.search import make_search, placed

    def double_search(config, space, data, *, method=None, **options):
        search = make_search(config, space, data, method=method or METHOD, **options)
        return dataclasses.replace(search, init=lambda key: doubled(search.init(key)))

    monkeypatch.setattr(placed, "make_search", double_search)
