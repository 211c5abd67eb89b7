"""Progress of a study: a record for every finished trial, the best so far, the rate of all workers, the time left."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from jdarts.estimation import Criterion
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.strategies.places import DONE

RECORDS = "trials"
"""The name of the records in a run folder."""
EVERY = 1.0
"""Seconds between two readings of the study."""


class Progress:
    """Follows the trials of a study, those of other workers included.

    Attributes:
      best: the completed trials that no other one dominates, oldest first; of trials with equal values only the first.
        With one objective it is the first trial with the best value.
      counts: the number of finished trials by state.
      reason: of the newest trial that ended without a result and says why.
    """

    def __init__(
        self, study: Study, objectives: Sequence[Criterion], total: int, reporter: Reporter, run: RunFolder | None
    ):
        self._study, self._objectives, self._total, self._reporter = study, objectives, total, reporter
        self._run = run
        self._recorded = {record.get("number") for record in run.records(RECORDS)} if run is not None else set()
        self._seen: set[int] = set()
        self._first_open = 0
        self.best: list[FrozenTrial] = []
        self.counts = dict.fromkeys(TrialState, 0)
        self.reason = ""
        self._read()
        self._started, self._before = time.monotonic(), self.done
        self._told = self._started

    @property
    def done(self) -> int:
        """The number of evaluated trials."""
        return sum(self.counts[state] for state in DONE)

    def update(self, *, last: bool = False) -> None:
        """Record new trials and tell the progress, if the last time is a while ago or this is the last call."""
        if not last and time.monotonic() - self._told < EVERY:
            return
        self._told = time.monotonic()
        newest = self._read()
        if newest is not None:
            self._reporter.message(self._line(newest))

    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: numbers of trials by state, and the records of the best ones."""
        counts = {state.name.lower(): count for state, count in self.counts.items() if state.is_finished()}
        return {"trials": counts, "best": [record_of(trial, self._objectives) for trial in self.best]}

    def _read(self) -> FrozenTrial | None:
        """Read the trials that have finished since the last call; returns the last one."""
        # As in `StudyHistory`: all trials, without copies and without a pruner's filter.
        trials = self._study._storage.get_all_trials(self._study._study_id, deepcopy=False)
        newest, first_open = None, len(trials)
        for trial in trials[self._first_open :]:
            if not trial.state.is_finished():
                first_open = min(first_open, trial.number)
            elif trial.number not in self._seen:
                self._seen.add(trial.number)
                self._add(trial)
                newest = trial if trial.state in DONE else newest
        self._first_open = first_open
        return newest

    def _add(self, trial: FrozenTrial) -> None:
        self.counts[trial.state] += 1
        self.reason = trial.user_attrs.get("reason", self.reason)
        if self._run is not None and trial.number not in self._recorded:
            self._run.append(RECORDS, record_of(trial, self._objectives))
        if trial.state == TrialState.COMPLETE and not any(self._no_worse(other, trial) for other in self.best):
            self.best = [other for other in self.best if not self._no_worse(trial, other)] + [trial]

    def _no_worse(self, one: FrozenTrial, other: FrozenTrial) -> bool:
        pairs = zip(self._objectives, one.values, other.values, strict=True)
        return all(a >= b if objective.maximize else a <= b for objective, a, b in pairs)

    def _line(self, trial: FrozenTrial) -> str:
        words = [f"trial {self.done} of {self._total}: {self._values(trial)}"]
        if self.best and len(self._objectives) == 1:
            words.append(f"best {self._values(self.best[0])} (trial {self.best[0].number})")
        elif self.best:
            words.append(f"best {self._extremes()}, Pareto front {len(self.best)}")
        count, seconds = self.done - self._before, time.monotonic() - self._started
        if count and seconds > 0:
            left = timedelta(seconds=round(max(self._total - self.done, 0) * seconds / count))
            words.append(f"{3600 * count / seconds:,.0f} trials/h, {left} left")
        return ", ".join(words)

    def _extremes(self) -> str:
        """The best value of each objective; the trials with these values differ in general."""
        columns = zip(*(trial.values for trial in self.best), strict=True)
        return ", ".join(
            f"{objective.name} {max(values) if objective.maximize else min(values):.6g}"
            for objective, values in zip(self._objectives, columns, strict=True)
        )

    def _values(self, trial: FrozenTrial) -> str:
        if trial.state != TrialState.COMPLETE:
            reason = trial.user_attrs.get("reason")
            return f"{trial.state.name.lower()}: {reason}" if reason else trial.state.name.lower()
        pairs = zip(self._objectives, trial.values, strict=True)
        return ", ".join(f"{objective.name} {value:.6g}" for objective, value in pairs)


def record_of(trial: FrozenTrial, objectives: Sequence[Criterion]) -> dict[str, Any]:
    """A line of `trials.jsonl`: objectives, score, parameters, intermediate values and times of a finished trial.

    `started` and `finished` are seconds since 1970, `seconds` is the time between them.
    """
    names = [objective.name for objective in objectives]
    ended = trial.duration
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "objectives": dict(zip(names, trial.values or (), strict=False)),
        **{"score": {}, "cost": None, "architecture": None},
        **_score(trial),
        "params": trial.params,
        "intermediate": {str(step): value for step, value in trial.intermediate_values.items()},
        "seconds": None if ended is None else ended.total_seconds(),
        "started": _timestamp(trial.datetime_start),
        "finished": _timestamp(trial.datetime_complete),
        **({"reason": trial.user_attrs["reason"]} if "reason" in trial.user_attrs else {}),
    }


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _score(trial: FrozenTrial) -> dict[str, Any]:
    score = dict(trial.user_attrs.get("score", {}))
    return {"score": score.pop("values"), **score} if score else {}
