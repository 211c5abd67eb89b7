"""The facts about machines that other modules read instead of asking for the backend."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp

from jdarts import kernels
from jdarts.analysis.alpha_hessian import directions_at_once
from jdarts.networks.fast import pieces

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


def traces_of(function, *args) -> list[str]:
    """The trace for this machine, for accelerators, and for this machine again."""
    texts = [str(jax.make_jaxpr(function)(*args))]
    with kernels.for_accelerators():
        texts.append(str(jax.make_jaxpr(function)(*args)))
    return [*texts, str(jax.make_jaxpr(function)(*args))]


def test_a_jitted_function_is_traced_again_for_accelerators():
    here, there, again = traces_of(jax.jit(kernels.cut), jnp.ones(3))
    assert "optimization_barrier" in here and "optimization_barrier" not in there and again == here


def test_a_mixed_edge_that_was_marked_once_follows_the_platform():
    options = pieces.Options(channels=2, stride=1, axis_name=None, train=True, update=False)
    edge = pieces.mixed_edge(("sep_conv_3x3",), options)
    here, there, again = traces_of(edge, jnp.ones((2, 4, 4, 2)), {}, jnp.ones(1), jnp.ones(44), None)
    for name in ("jdarts_depthwise", "jdarts_normed_sum"):
        assert name in here and name not in there
    assert again == here
