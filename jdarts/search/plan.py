"""The estimated cost of a search on many devices, without these devices.

The step is traced twice in the forms that accelerators run, with the images that one device would get. The trace over
the data axis gives the all-reduces (`jdarts.search.collectives`); their bytes do not depend on the number of devices.
The trace for one device is compiled on this machine, mixed edge by mixed edge. XLA's analyses of these programs give
arithmetic, memory traffic and memory. The times come from a roofline and the usual all-reduce model, with the vendors'
peak figures. They are an estimate for planning, not a measurement: compilers for accelerators fuse across edges.

XLA counts the body of a loop once. The arithmetic of a step on text is therefore that of the matrix products of its
trace. The step is compiled a second time, with two time steps in the body of its loops: the difference is the traffic
of a time step. The latencies of time steps, which run one after the other, are not in the estimate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jdarts import kernels, staging
from jdarts.config import DevicesConfig, Experiment
from jdarts.data import SearchData
from jdarts.data.text import TextData
from jdarts.devices.memory import tree_bytes
from jdarts.devices.placement import Placement, over_mesh, place
from jdarts.errors import UserError, unknown
from jdarts.networks.recurrent.language_model import time_unrolled
from jdarts.ops.network_size import multiply_adds
from jdarts.search.collectives import Collectives, all_reduces
from jdarts.search.images import IMAGE_TASK
from jdarts.search.language import LANGUAGE_TASK
from jdarts.search.search import Search, make_search
from jdarts.staging.trace import pruned

PlannedData = SearchData | TextData


@dataclass(frozen=True)
class DeviceKind:
    """Peak figures of one device, from its vendor.

    Attributes:
      flops, flops32: operations per second with 16-bit and with 32-bit inputs.
      bandwidth: bytes per second to and from the device's memory.
      memory: bytes of the device's memory.
      link: bytes per second that a device sends to its neighbours in an all-reduce, in one direction.
      hop: seconds from one device to the next.
      group: number of devices joined by `link`.
      far: bytes per second between groups.
    """

    flops: float
    flops32: float
    bandwidth: float
    memory: float
    link: float
    hop: float = 1e-6
    group: int = 1 << 20
    far: float = math.inf


DEVICE_KINDS = {
    "tpu-v4": DeviceKind(275e12, 137e12, 1.2e12, 32e9, 135e9),
    "tpu-v5e": DeviceKind(197e12, 98e12, 0.82e12, 16e9, 90e9),
    "tpu-v5p": DeviceKind(459e12, 229e12, 2.77e12, 95e9, 270e9),
    "tpu-v6e": DeviceKind(918e12, 459e12, 1.64e12, 32e9, 200e9),
    "a100": DeviceKind(312e12, 156e12, 2.0e12, 80e9, 300e9, 3e-6, 8, 25e9),
    "h100": DeviceKind(989e12, 494e12, 3.35e12, 80e9, 450e9, 3e-6, 8, 50e9),
}

_EFFICIENCY = 0.4  # largest share of a peak that small convolutions reach


def _quiet(text: str) -> None:
    del text


@dataclass(frozen=True)
class Cost:
    """One device's share of a step, by XLA's analyses.

    Attributes:
      images: images (of text columns) per device and batch.
      flops: floating-point operations, of text those of matrix products.
      traffic: bytes read and written.
      memory: bytes of arguments, results and temporaries.
      collectives: the all-reduces.
    """

    images: int
    flops: float
    traffic: float
    memory: float
    collectives: Collectives


@dataclass(frozen=True)
class Estimate:
    """Seconds of computation and of communication in a step on `data` replicas."""

    data: int
    compute: float
    communication: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.communication

    @property
    def share(self) -> float:
        """Communication as a share of the step."""
        return self.communication / self.step


def step_collectives(config: Experiment, space: Any, data: PlannedData, placement: Placement) -> Collectives:
    """The all-reduces of a step on the data axis of `placement`, whose batch is `config.search.batch_size`."""
    search = make_search(config, space, data, axis_name=placement.axis_name)
    step = over_mesh(lambda state, arrays, values: search.step(state, arrays), placement)
    state = jax.eval_shape(search.init, jax.random.key(0))
    with kernels.for_accelerators(), staging.no_garbage():
        return all_reduces(jax.make_jaxpr(step)(state, _shapes(search), {}))


def _shapes(search: Search) -> Any:
    """The data of a search as shapes; images are not put on a device."""
    data, arrays = search.data, {}
    if isinstance(data, TextData):
        return jax.eval_shape(lambda: search.task.arrays(search.config, data))
    for name, split in (("train", data.train), ("val", data.val)):
        arrays[f"{name}_images"] = jax.ShapeDtypeStruct(split.images.shape, np.uint8)
        arrays[f"{name}_labels"] = jax.ShapeDtypeStruct(split.labels.shape, np.int32)
    return arrays


def measure(
    config: Experiment, space: Any, data: PlannedData, *, data_axis: int, tell: Callable[[str], None] = _quiet
) -> Cost:
    """Trace and compile the step with the images of one of `data_axis` replicas, and read its cost.

    `tell` receives a line when each of the slow parts begins. Raises `UserError` if the batch cannot be divided, or if
    this machine has fewer than two devices.
    """
    batch, parts = config.search.batch_size, config.search.microbatches
    if batch % (data_axis * parts):
        raise UserError(
            f"search.batch_size is {batch}, which {data_axis} data replicas"
            f"{f' and {parts} microbatches' if parts > 1 else ''} cannot share equally; "
            f"use a multiple of {data_axis * parts}, or another --devices"
        )
    if len(jax.devices()) < 2:
        raise UserError("a plan needs two (emulated) devices: XLA_FLAGS=--xla_force_host_platform_device_count=2")
    from jdarts.config.swept import unchecked

    images = batch // data_axis
    tell("tracing the step over the data axis, for its all-reduces …")
    pair = unchecked(config, search=unchecked(config.search, batch_size=2 * images))
    placement = place(DevicesConfig(backend="shard_map", data=2), batch_size=2 * images, microbatches=parts)
    collectives = step_collectives(pair, space, data, placement)
    tell("tracing and compiling the step of one device, for arithmetic and memory …")
    search = make_search(unchecked(config, search=unchecked(config.search, batch_size=images)), space, data)
    inputs = jax.eval_shape(search.init, jax.random.key(0)), _shapes(search)
    program = _compiled(search, inputs, tell)
    held = tree_bytes(inputs) + program.peak_bytes
    flops, traffic = program.flops, program.bytes_accessed
    if isinstance(data, TextData):
        steps = config.language_search.bptt
        tell("compiling it with two time steps in the body of its loops, for the traffic of one …")
        with time_unrolled(2):
            longer = _compiled(search, inputs, tell)
        more = 1 + steps % 2  # an odd number of steps leaves one behind the loop
        traffic += (steps - 1) * (longer.bytes_accessed - traffic) / more
        flops = 2.0 * multiply_adds(pruned(jax.make_jaxpr(search.step)(*inputs)).jaxpr)
    return Cost(images, flops, traffic, float(held), collectives)


def _compiled(search: Search, inputs: tuple[Any, Any], tell: Callable[[str], None]) -> staging.Program:
    with kernels.for_accelerators():
        program = staging.compile(lambda state, arrays: search.step(state, arrays), *inputs, only_read=True)
    tell(f"traced in {program.trace_seconds:.0f} s, compiled in {program.compile_seconds:.0f} s")
    return program


def estimate(cost: Cost, kind: DeviceKind, data: int, *, bfloat16: bool = False) -> Estimate:
    """The time of a step on `data` replicas; `cost` is the cost of one device's share of the batch.

    The time of the computation is the larger of the times of arithmetic and memory traffic at a fixed share of the
    peaks, in proportion to the images per device. An all-reduce of n bytes over R devices sends 2n(R − 1)/R bytes
    through a device's link, in 2·2(√R − 1) hops on a torus and 2·log₂R hops in a tree of groups. Independent
    all-reduces share hops.
    """
    peak = kind.flops if bfloat16 else kind.flops32
    compute = max(cost.flops / peak, cost.traffic / kind.bandwidth) / _EFFICIENCY
    if data == 1:
        return Estimate(data, compute, 0.0)
    link = kind.link if data <= kind.group else min(kind.link, kind.far)
    hops = 4 * (math.sqrt(data) - 1) if kind.far == math.inf else 2 * math.log2(data)
    sent = 2 * cost.collectives.bytes * (data - 1) / data
    return Estimate(data, compute, sent / link + cost.collectives.chain * max(hops, 2) * kind.hop)


def largest_useful(cost: Cost, kind: DeviceKind, *, data: int, batch_size: int, bfloat16: bool = False) -> int:
    """The most replicas (a power of two) with which communication takes at most half of a step.

    `cost` is the cost with `data` replicas.
    """
    useful, replicas = 1, 2
    while replicas <= batch_size and batch_size % replicas == 0:
        factor = data / replicas
        share = Cost(batch_size // replicas, cost.flops * factor, cost.traffic * factor, cost.memory, cost.collectives)
        if estimate(share, kind, replicas, bfloat16=bfloat16).share <= 0.5:
            useful = replicas
        replicas *= 2
    return useful


def plan(
    config: Experiment,
    space: Any,
    data: PlannedData,
    *,
    devices: int,
    kind: str,
    tell: Callable[[str], None] = _quiet,
) -> str:
    """The plan as readable text. `tell` receives lines of progress."""
    if kind not in DEVICE_KINDS:
        raise unknown("kind of device", kind, DEVICE_KINDS)
    if devices < 1 or devices % config.devices.seed:
        raise UserError(f"--devices is {devices}; use a multiple of devices.seed ({config.devices.seed})")
    figures, replicas = DEVICE_KINDS[kind], devices // config.devices.seed
    cost = measure(config, space, data, data_axis=replicas, tell=tell)
    bfloat16 = config.search.activations == "bfloat16"
    guess = estimate(cost, figures, replicas, bfloat16=bfloat16)
    useful = largest_useful(cost, figures, data=replicas, batch_size=config.search.batch_size, bfloat16=bfloat16)
    text = isinstance(data, TextData)
    task = LANGUAGE_TASK if text else IMAGE_TASK
    steps = task.steps_per_epoch(config, data)  # pyright: ignore[reportArgumentType]
    whole = guess.step * steps * config.search.epochs
    fits = "fits" if cost.memory < 0.9 * figures.memory else "DOES NOT FIT"
    return "\n".join(
        [
            f"{devices} × {kind}, seed {config.devices.seed} × data {replicas}: "
            f"{cost.images} of {config.search.batch_size} {'columns' if text else 'images'} per device and batch",
            f"  compiled here, one device: {cost.flops / 1e9:.2f} GFLOP, {cost.traffic / 1e9:.2f} GB of memory "
            f"traffic per step, {cost.memory / 1e9:.2f} GB held ({fits} in {figures.memory / 1e9:.0f} GB)",
            f"  all-reduces: {cost.collectives.count} per step, {cost.collectives.chain} of them in sequence; "
            f"{cost.collectives.bytes / 1e6:.2f} MB per device",
            f"  estimated step: {1e3 * guess.step:.2f} ms ({guess.share:.0%} communication); "
            f"{config.search.epochs} epochs of {steps} steps: {whole / 3600:.2f} h",
            f"  largest useful data axis: {useful} (communication at most half of a step)",
            "  times are estimates from vendors' peak figures; bytes are those of the compiled program",
        ]
        + ["  the time steps of a window run one after the other, whose latencies are not in the estimate"] * text
    )
