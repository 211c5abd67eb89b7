"""The facts about machines that other modules read instead of asking for the backend."""

import dataclasses
from types import SimpleNamespace

import jax

from jdarts import kernels
from jdarts.analysis.alpha_hessian import directions_at_once

GPU = kernels.machine(SimpleNamespace(platform="gpu"))


def test_the_device_decides_and_by_default_the_backend():
    cpu = kernels.machine()
    assert kernels.machine(jax.devices()[0]) == cpu
    assert kernels.machine(SimpleNamespace(platform="tpu")) == GPU
    names = {field.name for field in dataclasses.fields(kernels.Machine)}
    assert {name for name in names if getattr(cpu, name) != getattr(GPU, name)} == names, "no field is superfluous"


def test_the_description_names_the_devices():
    assert kernels.description() == {"platform": "cpu", "devices": f"{jax.device_count()} × cpu"}


def test_the_directions_of_a_hessian_follow_the_machine(monkeypatch):
    images = {"images": jax.ShapeDtypeStruct((64, 32, 32, 3), "float32")}
    assert directions_at_once(images) == 1
    monkeypatch.setattr(kernels, "machine", lambda: GPU)
    assert directions_at_once(images) == 8
