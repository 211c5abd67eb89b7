"""The places of the trials of a study, which gets an exact number of evaluated trials from any number of workers."""

from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
"""The states of trials that count."""


class Places:
    """The first `total` trials that have not failed have a place; the place of a failed trial goes to a later one.

    A running trial keeps its place until it fails or the storage finds that its worker is silent. Storages without
    heartbeats cannot find that, so that only finished trials have places there.
    """

    def __init__(self, study: Study, total: int):
        self._storage, self._study_id, self._total = study._storage, study._study_id, total
        self._running_count = is_heartbeat_enabled(self._storage)
        self._finished = 0  # every trial before this place in the list is finished
        self._done = 0  # those of them that count

    def full(self) -> bool:
        """True if the study has all its evaluated trials."""
        done, later = self._read()
        return done + sum(trial.state in DONE for trial in later) >= self._total

    def free(self, own: int = 0) -> bool:
        """True if a trial waits for a worker, or if the study needs a new one.

        `own` is the number of running trials of the caller.
        """
        kept, later = self._read()
        kept += 0 if self._running_count else own
        for trial in later:
            kept += self._keeps(trial)
            if trial.state == TrialState.WAITING and kept <= self._total:
                return True
        return kept < self._total

    def has(self, number: int) -> bool:
        """True if the trial of that number has a place."""
        if number < self._total:
            return True
        done, later = self._read()
        return done + sum(self._keeps(trial) for trial in later if trial.number < number) < self._total

    def _keeps(self, trial: FrozenTrial) -> bool:
        if trial.state == TrialState.RUNNING:
            return self._running_count
        return trial.state != TrialState.FAIL

    def _read(self) -> tuple[int, list[FrozenTrial]]:
        """The number of trials that count before the first unfinished one, and all trials from there on."""
        # Not study.get_trials(): a pruner such as Hyperband hides trials from it.
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        while self._finished < len(trials) and trials[self._finished].state.is_finished():
            self._done += trials[self._finished].state in DONE
            self._finished += 1
        return self._done, trials[self._finished :]
