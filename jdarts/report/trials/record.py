"""The records of a run by trials. Reading tolerates runs that are unfinished, interrupted or damaged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from jdarts.config import Experiment, as_dict
from jdarts.errors import UserError
from jdarts.estimation import Criterion, criterion, measure_of
from jdarts.report.records import flat, read_json, read_run
from jdarts.runs.folder import RunFolder
from jdarts.runs.kinds import PLAN, TUNING, Kind, kind_of
from jdarts.strategies.plan import JOURNAL
from jdarts.strategies.progress import RECORDS, record_of
from jdarts.strategies.storage import is_url

COMPLETE, PRUNED, FAIL = "complete", "pruned", "fail"
DONE = (COMPLETE, PRUNED)
"""The states of trials that count, as in `jdarts.strategies.study.DONE`."""


@dataclass(frozen=True)
class TrialRun:
    """A run folder of `jdarts search --strategy` or `jdarts tune` as read.

    Attributes:
      plan: `strategy.json` or `tune.json`.
      trials: the records of all finished trials (`jdarts.strategies.progress.record_of`), in the order of their ends.
      running: the number of trials that have started and not ended; 0 where only `trials.jsonl` can be read.
      environment: `environment.json`.
      problems: one line for each file that could not be read.
      notes: other facts about the reading.
    """

    path: Path
    config: Experiment
    plan: Mapping[str, Any]
    trials: list[dict[str, Any]]
    running: int = 0
    environment: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def tunes(self) -> bool:
        """True for a run of `jdarts tune`."""
        return "vary" in self.plan

    @property
    def strategy(self) -> str:
        """The name of the strategy, or of the sampler of `jdarts tune`."""
        return str(self.plan.get("sampler" if self.tunes else "strategy", "unknown"))

    @property
    def estimator(self) -> str:
        """The name of the estimator; of `jdarts tune` what a trial runs."""
        if not self.tunes:
            return str(self.plan.get("estimator", "unknown"))
        return "training of one genotype" if self.plan.get("genotype") else "search"

    @property
    def total(self) -> int:
        """The number of evaluated trials that the run is to have."""
        total = self.plan.get("trials")
        return total if isinstance(total, int) else 0

    @property
    def objectives(self) -> tuple[Criterion, ...]:
        """The objectives, with their directions."""
        if self.tunes:
            return (measure_of(self.config),)
        return tuple(criterion(str(name)) for name in self.plan.get("objectives", ("accuracy",)))

    @cached_property
    def evaluated(self) -> list[dict[str, Any]]:
        """The trials that count, pruned ones included."""
        return [trial for trial in self.trials if trial["state"] in DONE]

    @cached_property
    def complete(self) -> list[dict[str, Any]]:
        """The trials with a finite value of each objective."""
        return [trial for trial in self.trials if trial["state"] == COMPLETE and self.values(trial) is not None]

    def values(self, trial: Mapping[str, Any]) -> tuple[float, ...] | None:
        """The values of the objectives of a trial; None if one is missing or not finite."""
        found = tuple(trial["objectives"].get(objective.name) for objective in self.objectives)
        finite = all(isinstance(value, int | float) and math.isfinite(value) for value in found)
        return tuple(map(float, found)) if finite else None

    def point(self, trial: Mapping[str, Any]) -> tuple[float, ...]:
        """The values of the objectives of a trial of `complete`."""
        found = self.values(trial)
        assert found is not None
        return found

    def count(self, state: str) -> int:
        """The number of trials in a state."""
        return sum(trial["state"] == state for trial in self.trials)

    @property
    def finished(self) -> bool:
        """True if the run has all its trials."""
        return len(self.evaluated) >= self.total

    @property
    def options(self) -> dict[str, Any]:
        """The plan and the configuration as a flat dict with dotted names."""
        return {**{f"plan.{name}": value for name, value in self.plan.items()}, **flat(as_dict(self.config))}


def is_trial_run(path: str | Path) -> bool:
    """True for the folder of a run by trials."""
    return kind_of(Path(path)) in (Kind.TRIALS, Kind.TUNING)


def read_trial_run(path: str | Path) -> TrialRun:
    """Read the run folder at `path`.

    The trials come from the journal. If it is missing or damaged, or if the storage is a database, they are those that
    the search has recorded in `trials.jsonl`. Raises `UserError` as `read_run` does, and for an unreadable plan.
    """
    run, folder = read_run(path), Path(path)
    problems: list[str] = []
    file = folder / (PLAN if (folder / PLAN).is_file() else TUNING)
    plan = read_json(file, problems)
    if not plan:
        reason = problems[0] if problems else f"{file} holds no plan"
        raise UserError(f"{reason}; start the search again")
    found = TrialRun(run.path, run.config, plan, [], environment=run.environment)
    problems = [problem for problem in run.problems if "genotype.txt" not in problem]  # of any kind of architecture
    trials, running, notes = _from_storage(found)
    if trials is None:
        try:
            trials = RunFolder(folder).records(RECORDS)
        except (UserError, OSError) as error:
            problems.append(str(error))
            trials = []
    kept = {trial["number"]: trial for trial in trials if _is_record(trial)}
    ordered = sorted(kept.values(), key=lambda trial: (trial.get("finished") or 0.0, trial["number"]))
    return TrialRun(run.path, run.config, plan, ordered, running, run.environment, problems, notes)


def _from_storage(run: TrialRun) -> tuple[list[dict[str, Any]] | None, int, list[str]]:
    """`(records, running, notes)` of the journal; no records if it cannot be read."""
    storage = run.plan.get("storage") or run.path / JOURNAL
    recorded = "the trials are those that the search has recorded in trials.jsonl"
    if is_url(storage):
        return None, 0, [f"The storage is the database {storage}, which a report does not open; {recorded}."]
    if not Path(storage).is_file():
        return None, 0, [f"The journal {storage} does not exist; {recorded}."]
    name = f"{run.config.name}-tune" if run.tunes else run.config.name
    try:
        journal = JournalStorage(JournalFileBackend(str(storage)))
        trials = journal.get_all_trials(journal.get_study_id_from_name(name), deepcopy=False)
    except KeyError:
        return None, 0, [f"The journal {storage} has no study {name}; {recorded}."]
    except (OSError, ValueError, AssertionError) as error:
        return None, 0, [f"The journal {storage} cannot be read ({str(error).splitlines()[0]}); {recorded}."]
    records = [record_of(trial, run.objectives) for trial in trials if trial.state.is_finished()]
    return records, sum(trial.state == TrialState.RUNNING for trial in trials), []


def _is_record(trial: Mapping[str, Any]) -> bool:
    fields = {"number": int, "state": str, "objectives": dict, "score": dict, "params": dict}
    return all(isinstance(trial.get(name), kind) for name, kind in fields.items())
