"""Every method keeps the contract of search methods (the tests themselves are in tests/emulated_devices)."""

import pytest
from support.on_devices import run_on_devices


@pytest.mark.slow
@pytest.mark.parametrize("part", ["0/4", "1/4", "2/4", "3/4"])
def test_contract_on_eight_devices(part):
    run_on_devices("test_methods_contract.py", part=part)
