"""Several processes as one run: joining, writing by the first process, and stopping together.

Every process runs the same command. `start` joins them before anything touches a device; the first process writes
text files and talks to the terminal, all of them save checkpoints. Nothing here does anything in a run of one process.
"""

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from jdarts.errors import Interrupted, PeerLost, UserError

T = TypeVar("T")

HEARTBEAT_SECONDS = 50
"""Silence after which JAX counts a process as lost; $JDARTS_HEARTBEAT_SECONDS overrides it."""
JOIN_SECONDS = 300
_MESSAGE_BYTES = 2048


@dataclass(frozen=True)
class Processes:
    """Addresses of the other processes; JAX finds the fields that are None (TPU pods, Slurm, …)."""

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def from_environment(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Processes | None:
    """The processes of this run, from options and environment; None for a run of one process.

    Options come first: `--coordinator HOST:PORT --num-processes N --process-id I`, or `--coordinator auto` where JAX
    can ask the machine (Cloud TPU VMs: nothing in their environment tells a pod from a single one). Then
    JAX_COORDINATOR_ADDRESS with JAX_NUM_PROCESSES and JAX_PROCESS_ID, as Kubernetes jobs set them
    (JOB_COMPLETION_INDEX serves as the id). Then Slurm with more than one task, Open MPI with more than one rank, and
    TPU pods under Kubernetes, whose layout JAX itself reads.

    Raises `UserError` for an incomplete or impossible set.
    """
    env = os.environ if environment is None else environment
    if coordinator == "auto":
        if num_processes is not None or process_id is not None:
            raise UserError("--coordinator auto finds the number and the ids of the processes itself; leave them out")
        return Processes()
    given = {"coordinator": coordinator, "num-processes": num_processes, "process-id": process_id}
    if any(value is not None for value in given.values()):
        missing = [f"--{name}" for name, value in given.items() if value is None]
        if missing:
            raise UserError(f"{', '.join(missing)} missing; several processes need all of --{', --'.join(given)}")
        return _checked(Processes(coordinator, num_processes, process_id))
    if "JAX_COORDINATOR_ADDRESS" in env:
        count, index = env.get("JAX_NUM_PROCESSES"), env.get("JAX_PROCESS_ID", env.get("JOB_COMPLETION_INDEX"))
        if count is None or index is None:
            name = "JAX_NUM_PROCESSES" if count is None else "JAX_PROCESS_ID (or JOB_COMPLETION_INDEX)"
            raise UserError(f"JAX_COORDINATOR_ADDRESS is set, but {name} is not; set it for every process")
        numbers = {"JAX_NUM_PROCESSES": count, "JAX_PROCESS_ID": index}
        for name, text in numbers.items():
            if not text.isdecimal():
                raise UserError(f"{name} is {text!r}; it must be a whole number")
        return _checked(Processes(env["JAX_COORDINATOR_ADDRESS"], int(count), int(index)))
    slurm = "SLURM_JOB_ID" in env and "SLURM_PROCID" in env and int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    mpi = int(env.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
    pod = len([host for host in env.get("TPU_WORKER_HOSTNAMES", "").split(",") if host]) > 1
    return Processes() if slurm or mpi or pod else None


def _checked(processes: Processes) -> Processes:
    address, count, index = processes.coordinator or "", processes.num_processes or 0, processes.process_id
    if not re.fullmatch(r"[^:\s]+:\d+", address) or not 0 < int(address.rpartition(":")[2]) < 65536:
        raise UserError(f"the coordinator is {address!r}; give HOST:PORT of the first process, e.g. 10.0.0.2:1234")
    if count < 1:
        raise UserError(f"the number of processes is {count}; use at least 1")
    if index is None or not 0 <= index < count:
        raise UserError(f"the process id is {index} of {count} processes; ids run from 0 to {count - 1}")
    return processes


def start(processes: Processes | None) -> None:
    """Join the other processes; must come before anything uses a device.

    From then on the loss of another process ends this one within a minute, with a nonzero status: 1 and the line of
    `explain` where the runtime raises an error, otherwise JAX's own report and usually SIGABRT, because its client
    aborts the process when the first process closes the connection or when heartbeats stop.

    Raises `UserError` if the coordinator's port is taken, or if nothing answers there for `JOIN_SECONDS`. If processes
    are missing although the first one answers, JAX aborts after that time.
    """
    if processes is None or processes.num_processes == 1:
        return
    if processes.coordinator is not None:
        _check_coordinator(processes.coordinator, first=processes.process_id == 0)
    import jax

    try:
        jax.distributed.initialize(
            processes.coordinator,
            num_processes=processes.num_processes,
            process_id=processes.process_id,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=int(os.environ.get("JDARTS_HEARTBEAT_SECONDS", HEARTBEAT_SECONDS)),
        )
    except (RuntimeError, ValueError) as error:  # XLA's errors are RuntimeErrors
        raise _cannot_join(processes.coordinator, _first_line(error)) from None


def _check_coordinator(address: str, *, first: bool) -> None:
    """Raise `UserError` for mistakes at which JAX would abort, and keep its connection off HTTP proxies."""
    host, _, port = address.rpartition(":")
    if any("_proxy" in name.lower() for name in os.environ):
        os.environ.setdefault("no_grpc_proxy", host)  # gRPC reads only the lower-case name
    if first:
        _check_port_is_free(address)
        return
    error = _wait_for_answer((host, int(port)), JOIN_SECONDS)
    if error is not None:
        raise _cannot_join(address, f"nothing has answered there for {JOIN_SECONDS} s ({error})")


def _wait_for_answer(address: tuple[str, int], seconds: float) -> OSError | None:
    """Wait until `address` accepts connections; returns the last error if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            return None
        except OSError as error:
            if time.monotonic() > end:
                return error
        time.sleep(0.2)


def _cannot_join(coordinator: str | None, reason: str) -> UserError:
    where = f" at {coordinator}" if coordinator else ""
    return UserError(
        f"cannot join the other processes{where}: {reason}; start all of them with the same coordinator and number of "
        "processes"
    )


def _gone(reason: str) -> str:
    return (
        f"another of the {count()} processes of this run has ended or does not answer ({reason}); checkpoints saved so "
        "far are kept: start all processes again with --resume"
    )


def _check_port_is_free(address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(port)))
        except OSError as error:
            raise UserError(
                f"the coordinator's port {port} cannot be used on this machine ({error.strerror}); "
                "end the run that holds it, or give another --coordinator HOST:PORT"
            ) from None


def count() -> int:
    """Number of processes of this run; 1 unless `start` has joined others."""
    jax = sys.modules.get("jax")
    return jax.process_count() if jax is not None and jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """True in the process that writes files and talks to the terminal."""
    return count() == 1 or sys.modules["jax"].process_index() == 0


def first_does(action: Callable[[], T]) -> T | None:
    """Run `action` in the first process while the others wait; there it returns None.

    A `UserError` of the action is raised in every process, so that none waits forever.
    """
    if count() == 1:
        return action()
    import numpy as np
    from jax.experimental import multihost_utils

    result, text = None, b""
    if is_first():
        try:
            result = action()
        except UserError as error:
            text = str(error).encode()[:_MESSAGE_BYTES]
    padded = np.frombuffer(text.ljust(_MESSAGE_BYTES, b"\0"), np.uint8)
    told = bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))).rstrip(b"\0")
    if told:
        raise UserError(told.decode(errors="replace"))
    return result


def first_decides(number: Callable[[], int | None]) -> int | None:
    """In every process, the number (0 or more) or None that the first process finds."""
    if count() == 1:
        return number()
    import numpy as np
    from jax.experimental import multihost_utils

    found = number() if is_first() else None
    told = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if found is None else found)))
    return None if told < 0 else told


def agree_to_stop(received: int | None) -> int | None:
    """The signal that any of the processes has received: the same answer in all, which wait for each other."""
    if count() == 1:
        return received
    import numpy as np
    from jax.experimental import multihost_utils

    signals = np.asarray(multihost_utils.process_allgather(np.int32(received or 0)))
    return int(signals.max()) or None


def explain(error: BaseException) -> PeerLost | None:
    """The `PeerLost` behind an error of the runtime if another process of this run has gone; None for other errors."""
    if count() == 1 or isinstance(error, (UserError, Interrupted, KeyboardInterrupt, SystemExit)):
        return None
    text = " ".join(str(error).split())
    signs = (
        "Gloo",
        "Connection reset",
        "Connection closed",
        "heartbeat",
        "UNAVAILABLE",
        "coordination",
        "peer",
        "NCCL",
    )
    if not isinstance(error, RuntimeError) or not any(sign.lower() in text.lower() for sign in signs):
        return None
    return PeerLost(_gone(f"{text[:120]}…"))


def leave(status: int) -> Any:
    """End this process at once, without JAX's shutdown barrier, which would wait for a process that is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text[:160]}…" if len(text) > 160 else text
