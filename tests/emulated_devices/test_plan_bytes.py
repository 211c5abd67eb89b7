"""The plan's all-reduces against those in the step that XLA compiled for 2 and 8 devices."""

import math
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec
from support.device_problems import CONFIG, TINY, config_with

from jdarts import kernels
from jdarts.config import DevicesConfig
from jdarts.data import load
from jdarts.devices.placement import compile_step, place
from jdarts.errors import UserError
from jdarts.search import make_search
from jdarts.search.collectives import Collectives, all_reduces
from jdarts.search.plan import DEVICE_KINDS, estimate, largest_useful, measure, plan

CONFIGURATION = config_with(hypergradient="first_order")
DATA = load(CONFIG.data).for_search(CONFIG.data)
BYTES = {"f64": 8, "f32": 4, "s32": 4, "u32": 4, "pred": 1}


@pytest.fixture(scope="module")
def cost():
    return measure(CONFIGURATION, TINY, DATA, data_axis=8)


def in_text(hlo: str) -> Collectives:
    """The all-reduces in the text of a compiled program; the order of its lines is one in which it can run."""
    count, total, chains = 0, 0, {}
    for line in hlo.splitlines():
        value = re.match(r"\s*(?:ROOT )?%?([\w.-]+) = ", line)
        if value is None:
            continue
        match = re.search(r"= (.*?) all-reduce\(", line)
        before = max((chains.get(name, 0) for name in re.findall(r"%([\w.-]+)", line[value.end() :])), default=0)
        chains[value[1]] = before + (match is not None)
        if match is not None:
            shapes = re.findall(r"(\w+)\[([\d,]*)\]", match[1])
            count += len(shapes)
            total += sum(BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n) for dtype, shape in shapes)
    return Collectives(count, total, max(chains.values(), default=0))


@pytest.mark.parametrize("devices", [2, 8])
def test_all_reduces_are_those_of_the_compiled_step(cost, devices):
    placement = place(DevicesConfig(data=devices), batch_size=CONFIGURATION.search.batch_size)
    search = make_search(CONFIGURATION, TINY, DATA, axis_name=placement.axis_name)
    step = compile_step(lambda state, arrays, values: search.step(state, arrays), placement, calls=1)
    with kernels.for_accelerators():
        lowered = step.lower(jax.eval_shape(search.init, jax.random.key(0)), search.arrays, {})
    found = in_text(lowered.compile({"xla_disable_hlo_passes": "cpu-all-reduce-combiner"}).as_text())
    assert found.bytes == cost.collectives.bytes
    assert abs(found.count - cost.collectives.count) <= 2, "XLA may merge a few equal ones differently"
    assert abs(found.chain - cost.collectives.chain) <= 2


def traced(function):
    mesh = jax.make_mesh((2,), ("data",), (AxisType.Auto,))
    mapped = jax.shard_map(function, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec())
    return all_reduces(jax.make_jaxpr(mapped)(jnp.ones((4, 3), jnp.float32)))


def total(x):
    return jax.lax.psum(x, "data")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: total(x) + total(x), Collectives(1, 24, 1)),  # equal ones are merged
        (lambda x: total(x) + total(2 * x), Collectives(2, 48, 1)),
        (lambda x: total(jnp.sin(total(x)) * x), Collectives(2, 48, 2)),
        (lambda x: (total(jnp.sin(x)), total(x))[1], Collectives(1, 24, 1)),  # unused ones are removed
        (lambda x: jax.jit(total)(x) + jax.jit(lambda y: total(y))(x), Collectives(1, 24, 1)),
        (lambda x: jax.lax.scan(lambda c, _: (total(c * x), None), total(x), length=5)[0], Collectives(6, 144, 6)),
        (lambda x: total({"a": x, "b": x.sum()})["b"], Collectives(1, 4, 1)),
    ],
)
def test_all_reduces_of_small_programs(function, expected):
    assert traced(function) == expected


def test_bytes_are_those_of_gradients_and_statistics(cost):
    """Counted by hand: in first order the gradient of all weights once, of the op weights once, and for each batch
    norm two means forward and two backward in both steps; the rest are four scalars and the new running averages."""
    search = make_search(CONFIGURATION, TINY, DATA)
    state = jax.eval_shape(search.init, jax.random.key(0))
    weights, means = state.weights.size, state.batch_stats.size // 2
    least = 4 * (weights + 2 * means)
    most = 4 * (2 * weights + 2 * 5 * 2 * means + 4 * 14 * 2 * 2 + 64) * 2
    assert least < cost.collectives.bytes < most


def test_more_devices_take_less_compute_and_a_larger_share_of_communication(cost):
    kind = DEVICE_KINDS["tpu-v5e"]
    few = estimate(cost, kind, 2)
    many = estimate(cost, kind, 256)
    assert 0 < few.share < many.share < 1
    assert estimate(cost, kind, 1).communication == 0
    # a network this small never gains from two devices, so the plan says one
    assert largest_useful(cost, kind, data=8, batch_size=16) in (1, 2, 4, 8, 16)


def test_a_plan_is_text_and_refuses_what_cannot_be():
    text = plan(CONFIGURATION, TINY, DATA, devices=8, kind="h100")
    assert "2 of 16 images per device" in text and "largest useful data axis" in text
    with pytest.raises(UserError, match="unknown kind of device 'tpu-v5'"):
        plan(CONFIGURATION, TINY, DATA, devices=8, kind="tpu-v5")
    with pytest.raises(UserError, match="batch_size is 16, which 256 data replicas cannot share"):
        plan(CONFIGURATION, TINY, DATA, devices=256, kind="tpu-v5e")
