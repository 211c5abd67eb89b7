"""The names of all strategies; gp is skipped where PyTorch is missing."""

import importlib.util
from collections.abc import Collection
from typing import Any

import pytest

from jdarts.strategies import names

WITHOUT_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="gp needs PyTorch")


def every_strategy(but: Collection[str] = ()) -> list[Any]:
    """All names without those in `but`, as cases of a test."""
    cases = sorted(set(names()) - set(but))
    return [pytest.param(name, marks=WITHOUT_TORCH) if name == "gp" else name for name in cases]
