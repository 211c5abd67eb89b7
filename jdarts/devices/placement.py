"""The placement of a step on devices, with three backends: plain jit, `shard_map` over a mesh, and `pmap`.

A step is written for one replica: `step(state, arrays, values) -> (state, metrics)`, with the axis name "data" for its
collectives (`jdarts.devices.replicas`). `Placement` contains the devices and the backend:

    jit         one device
    shard_map   `jax.jit(jax.shard_map(step))` over a mesh with the axes ("seed", "data"); the default for several
                devices and hosts. Types record which values vary over the mesh, so a step whose replicas would drift
                apart (for example by a per-replica key in the sampling of alphas) cannot be traced.
    pmap        `jax.pmap` with the same axis name; one process, one seed. Only `devices.check_replicas_every` checks
                that the replicas agree.

State and metrics are replicated over "data". With several members (seeds, hyper-parameters) every leaf of state and
metrics has a leading axis of members, split over "seed". On each device the members are vmapped. On a single CPU device
they by default run in turn through one compiled step: vmapped convolutions with one kernel per member are grouped
convolutions, which XLA:CPU runs many times slower than separate ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jdarts import kernels, staging
from jdarts.config import DevicesConfig
from jdarts.errors import ReplicasDiffer, UserError

DATA, SEED = "data", "seed"

StepFunction = Callable[[Any, Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Placement:
    """The devices and the backend of a search or a training; `place` makes one from a configuration.

    Attributes:
      backend: "jit", "shard_map" or "pmap".
      data: number of replicas that share each batch.
      seed: number of groups of devices that share the members.
      members: number of searches in one program; 0 for a single search, whose state has no leading axis of members.
      in_turn: True if the members take their steps one after the other instead of vmapped (one device only).
      devices: the seed·data devices in use, of all processes.
    """

    backend: Literal["jit", "shard_map", "pmap"]
    data: int
    seed: int
    members: int
    devices: tuple[Any, ...]
    in_turn: bool = False

    @property
    def axis_name(self) -> str | None:
        """The axis of the collectives in the step; None for one replica."""
        return DATA if self.backend != "jit" else None

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh ("seed", "data"), with Auto axes, since explicit axes refuse gathers by row numbers.

        For pmap the mesh has only the axis "data", like the results of pmap. With state on another mesh, the second
        step would be compiled again.
        """
        if self.backend == "pmap":
            return Mesh(np.array(self.devices), (DATA,), axis_types=(AxisType.Auto,))
        grid = np.array(self.devices).reshape(self.seed, self.data)
        return Mesh(grid, (SEED, DATA), axis_types=(AxisType.Auto, AxisType.Auto))

    @property
    def state_spec(self) -> PartitionSpec:
        """The layout of the state on the mesh, in the form that the results of the step have.

        An axis of one device is not named; otherwise the second step would be compiled again.
        """
        return PartitionSpec(SEED) if self.members and self.seed > 1 else PartitionSpec()

    def describe(self) -> str:
        """A description in one line."""
        kind = self.devices[0].device_kind
        how = "in turn" if self.in_turn else "in one program"
        members = f", {self.members} searches {how}" if self.members else ""
        return f"{len(self.devices)} × {kind} ({self.backend}: seed {self.seed} × data {self.data}){members}"


def place(
    config: DevicesConfig,
    *,
    batch_size: int,
    microbatches: int = 1,
    members: int = 0,
    section: str = "search",
    devices: Sequence[Any] | None = None,
) -> Placement:
    """The placement of `config` on `devices` (all devices of all processes).

    `section` is the part of the configuration that has the batch size, for messages. Raises `UserError` for more
    replicas than devices, and for a batch or a number of members that cannot be divided.
    """
    devices = jax.devices() if devices is None else devices
    processes = len({device.process_index for device in devices})
    backend, seed = config.backend, config.seed
    if backend == "pmap" and (seed > 1 or processes > 1):
        what = f"devices.seed {seed}" if seed > 1 else f"{processes} processes"
        raise UserError(f"devices.backend is 'pmap' with {what}; pmap is for one process and seed 1, use 'shard_map'")
    data = config.data or (1 if backend == "jit" else max(len(devices) // seed, 1))
    count = seed * data
    if count > len(devices):
        raise UserError(
            f"devices.seed {seed} × devices.data {data} are {count} replicas, but there are {len(devices)} devices; "
            "use fewer, or set devices.data to 0 to use all that remain"
        )
    if backend == "auto":
        backend = "jit" if count == 1 else "shard_map"
    if backend == "jit" and count > 1:
        raise UserError(
            f"devices.backend is 'jit', which runs on one device, with seed {seed} × data {data}; use 'shard_map'"
        )
    if processes > 1 and count != len(devices):
        raise UserError(
            f"devices.seed {seed} × devices.data {data} uses {count} of {len(devices)} devices; "
            f"with {processes} processes every device must take part"
        )
    if batch_size % (data * microbatches):
        parts = f" and {microbatches} microbatches" if microbatches > 1 else ""
        raise UserError(
            f"{section}.batch_size is {batch_size}, which {data} data replicas{parts} cannot share equally; "
            f"use a multiple of {data * microbatches}, or another devices.data"
        )
    if max(members, 1) % seed:
        raise UserError(
            f"devices.seed is {seed}, which cannot share {max(members, 1)} search(es) equally; "
            "use a number that divides the searches (--seeds × --sweep)"
        )
    if config.members == "in_turn" and backend != "jit":
        raise UserError(
            f"devices.members is 'in_turn' on {count} devices ({backend}); use 'vmap', or --devices.backend jit "
            "--devices.data 1"
        )
    sharing = kernels.machine(devices[0]).members if config.members == "auto" else config.members
    in_turn = backend == "jit" and sharing == "in_turn" and members > 0
    return Placement(backend, data, seed, members, tuple(devices[:count]), in_turn)


def connect_processes(placement: Placement) -> None:
    """Connect the devices of several processes for the collectives of the step; does nothing in one process.

    Otherwise the first collective of the CPU backend makes the connection and waits at most one minute for it, but a
    process without a compilation cache (only the first process writes one) can compile for minutes longer than others.
    """
    if len({device.process_index for device in placement.devices}) == 1:
        return
    one = PartitionSpec(DATA)
    total = jax.shard_map(lambda x: jax.lax.psum(x, DATA), mesh=placement.mesh, in_specs=one, out_specs=PartitionSpec())
    ones = _from_host(np.ones(placement.data, np.int32), NamedSharding(placement.mesh, one))
    jax.block_until_ready(jax.jit(total)(ones))


def compile_init(init: Callable[[Any, Any], Any], placement: Placement) -> Callable[[Any, Any], Any]:
    """`init(seed, values) -> state`, jitted, with its result laid out over the mesh.

    With members, both arguments have a leading axis. The state is created in its final layout: a later copy could share
    memory with its source, and donating one would invalidate the other.
    """
    mapped = jax.vmap(init) if placement.members else init
    if placement.backend == "jit":
        return jax.jit(mapped)
    return jax.jit(mapped, out_shardings=NamedSharding(placement.mesh, placement.state_spec))


def compile_step(
    step: StepFunction, placement: Placement, *, streamed: int = 0, check_types: bool = True, calls: int | None = None
) -> StepFunction:
    """`step(state, arrays, values) -> (state, metrics)` of one replica, jitted for the whole placement.

    Args:
      step: the step of one replica and one member.
      placement: if it has members, states, values and metrics have a leading axis.
      streamed: with 0, every replica sees all of `arrays` (the data set on the device). With P > 0, `arrays` is one
        global batch in P micro-batches, `[P, B/P, …]`; each replica sees its rows as `[B/R, …]`.
      check_types: `check_vma` of `shard_map`: refuse a step whose replicas could end with different states.
      calls: number of times that the step will run (see `staging.compile`).

    The compiled step donates the state.
    """
    if placement.in_turn:
        return _in_turn(_flatten_rows(step) if streamed else step, placement.members, calls)
    mapped = jax.vmap(step, in_axes=(0, None, 0)) if placement.members else step
    if streamed:
        mapped = _flatten_rows(mapped)
    if placement.backend == "jit":
        return _at_first_call(staging.compile_vmapped, mapped, calls)
    if placement.backend == "pmap":
        split = 1 if streamed else None
        program = jax.pmap(
            lambda state, arrays, values, _: mapped(state, arrays, values),
            axis_name=DATA,
            in_axes=(None, split, None, 0),
            out_axes=None,
            devices=placement.devices,
            donate_argnums=0,
        )
        replicas = np.arange(placement.data)  # pmap needs one mapped argument

        def run(state, arrays, values):
            if streamed:
                arrays = jax.tree.map(lambda x: x.reshape(x.shape[0], placement.data, -1, *x.shape[2:]), arrays)
            return program(state, arrays, values, replicas)

        return run
    options = staging.compiler_options(large=True, calls=calls)
    return jax.jit(over_mesh(mapped, placement, streamed, check_types), donate_argnums=0, compiler_options=options)


def compile_sums(function: Callable[[Any, Any], Any], placement: Placement) -> Callable[[Any, Any], Any]:
    """`function(state, rows) -> sums` of one replica, jitted for the whole placement.

    `rows` is a global batch of `gather_rows`, `[1, B, …]`; each replica sees its part as `[B/R, …]`. The function adds
    up over the replicas itself (`jdarts.devices.replicas.psum`). The state has no members.
    """
    flat = _flatten_rows(lambda state, rows, _: function(state, rows))
    options = staging.compiler_options(large=True)

    def sums(state, rows):
        return flat(state, rows, None)

    if placement.backend != "jit":
        spec = PartitionSpec(None, DATA)
        sums = jax.shard_map(sums, mesh=placement.mesh, in_specs=(PartitionSpec(), spec), out_specs=PartitionSpec())
    return jax.jit(sums, compiler_options=options)


def over_mesh(step: StepFunction, placement: Placement, streamed: int = 0, check_types: bool = True) -> StepFunction:
    """The `step` of one replica under `shard_map` over the placement's mesh, not jitted; see `compile_step`."""
    spec = placement.state_spec
    return jax.shard_map(
        step,
        mesh=placement.mesh,
        in_specs=(spec, PartitionSpec(None, DATA) if streamed else PartitionSpec(), spec),
        out_specs=(spec, spec),
        check_vma=check_types,
    )


def _in_turn(step: StepFunction, members: int, calls: int | None) -> StepFunction:
    """The `step` of one member, compiled once like the step of a single search, applied to all members in turn."""
    program = _at_first_call(staging.compile, step, calls)
    take = jax.jit(lambda tree, i: jax.tree.map(lambda leaf: leaf[i], tree))
    stack = jax.jit(lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))

    def run(states, arrays, values):
        results = []
        for i in range(members):
            state, value = take((states, values), i)
            results.append(program(state, arrays, value))
        return stack(results)

    return run


def _at_first_call(compile: Callable[..., staging.Program], step: StepFunction, calls: int | None) -> StepFunction:
    """`step`, compiled at its first call by `compile`, a function of `jdarts.staging`."""
    program: list[staging.Program] = []

    def run(*args):
        if not program:
            program.append(compile(step, *jax.eval_shape(lambda: args), donate_argnums=(0,), calls=calls))
        return program[0](*args)

    return run


def _flatten_rows(step: StepFunction) -> StepFunction:
    def flat(state, arrays, values):
        return step(state, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), arrays), values)

    return flat


def replicate(tree: Any, placement: Placement) -> Any:
    """The arrays of `tree`, equal in every process, on every device of the placement."""
    if placement.backend == "jit":
        return jax.device_put(tree, placement.devices[0])
    sharding = NamedSharding(placement.mesh, PartitionSpec())
    return jax.tree.map(lambda x: _from_host(np.asarray(x), sharding), tree)


def lay_out(state: Any, placement: Placement) -> Any:
    """A state that every process has made alone, in the layout of the step and in memory of its own.

    A step may donate it. For states whose `init` is not worth compiling (`compile_init`); they have no members.
    """
    if placement.backend == "jit":
        return jax.device_put(state, placement.devices[0], may_alias=False)
    sharding = NamedSharding(placement.mesh, placement.state_spec)

    def everywhere(leaf):
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(everywhere(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        local = sorted(sharding.addressable_devices, key=lambda device: device.id)
        copies = [jax.device_put(np.asarray(leaf), device, may_alias=False) for device in local]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, copies)

    return jax.tree.map(everywhere, state)


def split_members(tree: Any, placement: Placement) -> Any:
    """Host arrays in the layout of the state, with a leading axis of members if there are members."""
    if placement.backend == "jit":
        return jax.device_put(tree, placement.devices[0])
    sharding = NamedSharding(placement.mesh, placement.state_spec)
    return jax.tree.map(lambda x: _from_host(np.asarray(x), sharding), tree)


def _from_host(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def gather_rows(local: dict[str, np.ndarray], placement: Placement, *, batch_size: int, microbatches: int = 1) -> Any:
    """One global batch `[P, B/P, …]` from the rows that each process has loaded, `[P, B/P/processes, …]`.

    Raises `UserError` if the processes hold different numbers of rows.
    """
    processes = len({device.process_index for device in placement.devices})
    for name, rows in local.items():
        if rows.shape[:2] != (microbatches, batch_size // microbatches // processes):
            raise UserError(
                f"this process loaded {rows.shape[0]} × {rows.shape[1]} rows of {name}; a batch of {batch_size} in "
                f"{microbatches} part(s) over {processes} processes needs equal shares of "
                f"{microbatches} × {batch_size // microbatches // processes}"
            )
    if placement.backend in ("jit", "pmap"):
        return jax.tree.map(jax.numpy.asarray, local)
    sharding = NamedSharding(placement.mesh, PartitionSpec(None, DATA))
    return {
        name: jax.make_array_from_process_local_data(
            sharding, rows, (microbatches, batch_size // microbatches, *rows.shape[2:])
        )
        for name, rows in local.items()
    }


def check_replicas(state: Any) -> None:
    """Raise `ReplicasDiffer` unless all copies of each array, on all devices and processes, are equal bit for bit."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        copies: dict[str, tuple[Any, bytes]] = {}
        for shard in leaf.addressable_shards:
            content = np.asarray(shard.data).tobytes()
            first = copies.setdefault(str(shard.index), (shard.device, content))
            if first[1] != content:
                raise _differ(path, f"devices {first[0].id} and {shard.device.id}")
    if jax.process_count() > 1:
        _check_across_processes(state)


def _check_across_processes(state: Any) -> None:
    """Compare the checksums of the arrays that every process holds completely."""
    import zlib

    from jax.experimental import multihost_utils

    named = jax.tree_util.tree_flatten_with_path(state)[0]
    sums = np.zeros(len(named), np.uint32)
    for i, (_, leaf) in enumerate(named):
        if leaf.is_fully_replicated:
            bits = jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
            sums[i] = zlib.crc32(np.asarray(bits.addressable_shards[0].data).tobytes())
    everywhere = np.asarray(multihost_utils.process_allgather(sums))
    different = np.flatnonzero((everywhere != everywhere[0]).any(0))
    if different.size:
        process = int(np.flatnonzero(everywhere[:, different[0]] != everywhere[0, different[0]])[0])
        raise _differ(named[int(different[0])][0], f"processes 0 and {process}")


def _differ(path, who: str) -> ReplicasDiffer:
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    return ReplicasDiffer(
        f"{name} differs between {who}, which should hold the same values: a value that the step draws or computes "
        "per replica enters the state (fold the replica's number only into keys of augmentation and dropout)"
    )
