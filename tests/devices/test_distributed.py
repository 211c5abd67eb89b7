"""Joining processes: options, environment, and mistakes in one line."""

import os
import socket
import subprocess
import sys

import pytest

from jdarts.devices import processes
from jdarts.devices.processes import Processes, from_environment
from jdarts.errors import UserError

OPTIONS = {"coordinator": "10.0.0.2:1234", "num_processes": 4, "process_id": 3}
KUBERNETES = {"JAX_COORDINATOR_ADDRESS": "search-0.search:1234", "JAX_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "2"}


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ({}, {}, None),
        ({"coordinator": "auto"}, {}, Processes()),
        (OPTIONS, KUBERNETES, Processes("10.0.0.2:1234", 4, 3)),
        ({}, KUBERNETES, Processes("search-0.search:1234", 4, 2)),
        ({}, {**KUBERNETES, "JAX_PROCESS_ID": "1"}, Processes("search-0.search:1234", 4, 1)),
        ({}, {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "8"}, Processes()),
        ({}, {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({}, {"OMPI_COMM_WORLD_SIZE": "2"}, Processes()),
        ({}, {"TPU_WORKER_HOSTNAMES": "10.1.0.1,10.1.0.2"}, Processes()),
        ({}, {"TPU_WORKER_HOSTNAMES": "localhost"}, None),
    ],
)
def test_processes_are_found_in_options_and_environment(options, environment, expected):
    assert from_environment(**options, environment=environment) == expected


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"coordinator": "auto", "process_id": 1}, {}, "leave them out"),
        ({"coordinator": "h:1"}, {}, "--num-processes, --process-id missing"),
        ({**OPTIONS, "coordinator": "host"}, {}, "the coordinator is 'host'; give HOST:PORT"),
        ({**OPTIONS, "coordinator": "host:70000"}, {}, "HOST:PORT"),
        ({**OPTIONS, "process_id": 4}, {}, "process id is 4 of 4 processes"),
        ({}, {"JAX_COORDINATOR_ADDRESS": "h:1"}, "JAX_NUM_PROCESSES is not"),
        ({}, {"JAX_COORDINATOR_ADDRESS": "h:1", "JAX_NUM_PROCESSES": "2"}, "JAX_PROCESS_ID"),
        ({}, {**KUBERNETES, "JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES is 'two'"),
    ],
)
def test_incomplete_settings_are_one_line(options, environment, message):
    with pytest.raises(UserError) as caught:
        from_environment(**options, environment=environment)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_port_that_is_taken_is_one_line(tmp_path):
    (tmp_path / "tiny.py").write_text("from jdarts.config import Experiment\nconfig = Experiment(name='tiny')\n")
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "jdarts", "search", "tiny.py"]
        options = ["--coordinator", f"localhost:{port}", "--num-processes", "2", "--process-id", "0"]
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "JDARTS_NO_REEXEC": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert f"port {port} cannot be used" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_coordinator_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(processes, "JOIN_SECONDS", 0.1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UserError, match=f"at {address}: nothing has answered there for 0.1 s") as caught:
            processes.start(Processes(address, 2, 1))
    assert "\n" not in str(caught.value)


def test_an_error_of_a_lost_process_is_explained_in_one_line(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    lost = processes.explain(RuntimeError("UNKNOWN: Gloo AllGather failed:\n Connection closed by peer [10.0.0.1]:1"))
    assert str(lost).startswith("another of the 2 processes of this run has ended") and "--resume" in str(lost)
    assert "\n" not in str(lost)
    assert processes.explain(RuntimeError("RESOURCE_EXHAUSTED: out of memory")) is None
    assert processes.explain(ValueError("Gloo")) is None


def test_a_single_process_waits_for_nobody():
    assert processes.count() == 1 and processes.is_first()
    assert processes.first_does(lambda: 5) == 5
    assert processes.first_decides(lambda: None) is None
    assert processes.agree_to_stop(15) == 15
    assert processes.explain(RuntimeError("Gloo AllGather failed: Connection closed by peer")) is None
