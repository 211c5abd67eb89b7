"""Workers of `jdarts search` and `jdarts tune`: they share the trials, stop together, and may be killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.trial_processes import (
    CONFIG,
    EVOLUTION,
    ROOT,
    children,
    in_state,
    open_journal,
    retries,
    start,
    wait_until,
    write_table,
)

JOURNAL = Path("runs/toy/journal.log")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(CONFIG)


def freeze_in_a_trial(pid, study):
    """Stop one of two processes inside a trial, which it returns.

    The other process must go on: then the stopped one does not hold the lock of the journal, and its trial is the one
    that still runs when the other process has begun several.
    """

    def frozen():
        time.sleep(1)  # it goes on
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)
        begun = len(study.get_trials(deepcopy=False))
        for _ in range(50):
            time.sleep(0.01)
            later = len(study.get_trials(deepcopy=False)) - begun
            stuck = [trial for trial in in_state(study, "RUNNING") if trial.number < begun]
            if later > 3 and stuck:
                return stuck[0]
        os.kill(pid, signal.SIGCONT)
        return None

    return wait_until(frozen)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the children of a process are read from /proc")
def test_a_killed_worker_an_interrupted_search_and_an_exact_number_of_trials():
    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", write_table("table.csv")]
    main = start(*search, "--workers", "2", "--trials", "100000")
    wait_until(JOURNAL.exists)
    (worker,) = wait_until(lambda: children(main))
    study = open_journal()
    lost = freeze_in_a_trial(worker, study)
    finished = in_state(study, "COMPLETE")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: in_state(study, "FAIL"))
    (retried,) = wait_until(lambda: [t for t in in_state(study, "COMPLETE") if t.number > lost.number and retries(t)])
    assert retries(retried) == lost.number and retried.params.items() >= lost.params.items()

    main.send_signal(signal.SIGINT)
    out, err = main.communicate(timeout=60)
    assert main.returncode == 130 and "finishing the running trials" in err and "stopped by SIGINT" in err, err
    assert "worker 1 ended with signal 9; see runs/toy/worker-1.log" in out + err
    assert [trial.number for trial in in_state(study, "FAIL")] == [lost.number] and not in_state(study, "RUNNING")
    assert {trial.number for trial in finished} <= {trial.number for trial in in_state(study, "COMPLETE")}

    total = len(in_state(study, "COMPLETE")) + 60
    main = start(*search, "--workers", "2", "--trials", str(total), "--resume")
    _, err = main.communicate(timeout=120)
    assert main.returncode == 0 and len(in_state(study, "COMPLETE")) == total, err
    assert not in_state(study, "RUNNING") and not in_state(study, "WAITING")


def test_a_worker_ends_when_its_search_has_been_killed():
    child = "import os, sys, time; from jdarts.commands.worker_processes import end_with; end_with(int(sys.argv[1])); "
    child += "print(os.getpid(), flush=True); time.sleep(60)"
    parent = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    environment = {**os.environ, "PYTHONPATH": ROOT}
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None and int(process.stdout.readline()) > 0
    process.kill()
    _, err = process.communicate(timeout=10)  # both have closed the pipe
    assert b"the search that started this worker has ended" in err


@pytest.mark.slow
def test_a_stopped_search_finishes_its_running_training():
    main = start("search", "toy.py", "--strategy", "random", "--trials", "6", "--train.epochs", "150")
    wait_until(JOURNAL.exists)
    time.sleep(1)
    study = open_journal()
    wait_until(lambda: in_state(study, "COMPLETE") and in_state(study, "RUNNING"))
    main.send_signal(signal.SIGTERM)
    _, err = main.communicate(timeout=120)
    assert main.returncode == 143, err
    assert "finishing the running trial" in err and "--resume to go on in runs/toy" in err
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}, "the running trial was finished"
