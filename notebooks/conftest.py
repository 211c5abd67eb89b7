"""Notebooks run as their readers run them: compiled with LLVM's optimisations, which most tests do without."""

import os

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    before = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = before.replace("--xla_backend_optimization_level=0", "")
    try:
        return (yield)
    finally:
        os.environ["XLA_FLAGS"] = before
