import pytest

from jdarts.runs import environment


@pytest.fixture(scope="module")
def now():
    return environment.describe()


def test_the_same_environment_has_no_differences(now):
    assert environment.differences(now) == []
    assert environment.differences({**now, "started": "earlier", "command": "other", "system": "other"}) == []
    assert environment.differences({}) == [], "a record of an older version may lack entries"


@pytest.mark.parametrize("name", ["jdarts", "jax", "jaxlib", "flax", "optax", "numpy", "python", "platform", "devices"])
def test_every_other_version_or_device_is_named_with_both_values(now, name):
    assert environment.differences({**now, name: "0.0.1"}) == [f"{name} {now[name]} (was 0.0.1)"]
