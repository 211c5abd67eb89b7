"""A trial whose process has ended on this host is tried again at once; another one is waited for, and that is told."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import optuna
import pytest

from jdarts import spaces
from jdarts.estimation import Score
from jdarts.strategies import by_name, open_study
from jdarts.strategies import storage as storages
from jdarts.strategies import study as studies
from jdarts.strategies.owners import _of, owner_of, this_process
from jdarts.strategies.parameters import Parameters
from jdarts.strategies.study import evaluation, optimize

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are seen in /proc")
SPACE = spaces.nasbench_macro


@pytest.fixture
def process():
    """A process that ends only when it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_has_ended_when_it_is_killed_and_its_number_is_not_it(process):
    owner = _of.__wrapped__(process.pid)
    assert owner_of(list(owner)) == owner and str(owner) == f"process {process.pid} on {owner.host}"
    assert not owner.ended and not this_process().ended and this_process().pid == os.getpid()
    assert owner._replace(started=owner.started - 1).ended, "an earlier process of that number"
    process.kill()
    until = time.monotonic() + 30
    while not owner.ended and time.monotonic() < until:  # nobody has asked for its status: it is a zombie
        time.sleep(0.01)
    assert owner.ended and Path(f"/proc/{process.pid}").exists()
    process.wait()
    assert owner.ended
    for elsewhere in ({"host": "elsewhere"}, {"system": "another boot"}, {"system": ""}):
        assert not owner._replace(**elsewhere).ended, "nothing is known"
    for damaged in (None, 12.5, [], ["host", "pid", "", 1], [1, 2, 3, 4], list(owner)[:3]):
        assert owner_of(damaged) is None


@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_the_trial_of_a_killed_process_is_tried_again_at_once(kind, tmp_path, monkeypatch, process):
    """The silence of two minutes is not waited for; while the process runs, the worker waits and says for what."""
    path = f"sqlite:///{tmp_path}/db" if kind == "sqlite" else tmp_path / "journal"
    study, told = open_study(SPACE, by_name("random", SPACE), storage=path), []
    with warnings.catch_warnings(action="ignore"), monkeypatch.context() as patch:
        lost = study.ask(Parameters(SPACE).distributions)
        patch.setattr(storages, "this_process", lambda: _of.__wrapped__(process.pid))
        study._storage.record_heartbeat(lost._trial_id)
    monkeypatch.setattr(studies, "_WAIT", 0.01)

    def tell(text):
        told.append(text)
        assert optuna.trial.TrialState.FAIL not in [trial.state for trial in study.trials]
        process.kill()

    began = time.monotonic()
    evaluate = evaluation(SPACE, lambda network, budget: Score({"accuracy": 1.0}), [studies.ACCURACY], {})
    optimize(open_study(SPACE, by_name("random", SPACE), storage=path), evaluate, 1, tell=tell)
    assert time.monotonic() - began < storages.SILENCE / 2
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[1].params == lost.params
    (line,) = told
    assert line.startswith(f"waiting for trial 0 of process {process.pid} on ") and "for 120 s counts as lost" in line
