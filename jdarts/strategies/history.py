"""The evaluated architectures of a study, from which a strategy derives whatever it knows."""

import bisect
import math
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from jdarts.spaces.decisions import Choices
from jdarts.strategies.parameters import Parameters

State = TypeVar("State")
NextState = Callable[[State, list["Evaluation"]], State]


class Evaluation(NamedTuple):
    """One evaluated architecture; a larger score is better, whatever the direction of the study."""

    number: int
    choices: Choices
    score: float


class History:
    """Evaluations in the order in which they were completed.

    Attributes:
      evaluations: those that succeeded, with a finite score.
      running: the choices of unfinished trials.
      revision: grows when an evaluation is inserted before others, as when the clocks of two hosts differ; whatever was
        derived from the evaluations has then to be derived again.
    """

    def __init__(self):
        self.evaluations: list[Evaluation] = []
        self.running: list[Choices] = []
        self.revision = 0

    def append(self, evaluation: Evaluation) -> None:
        """Add the newest evaluation."""
        self.evaluations.append(evaluation)


class StudyHistory(History):
    """The history of an Optuna study.

    `update` reads only what is new. Optuna itself lists all trials at each call, without copying their contents.
    """

    def __init__(self, study: Study, parameters: Parameters):
        super().__init__()
        self._storage, self._study_id = study._storage, study._study_id
        self._sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
        self._parameters = parameters
        self._keys: list[tuple[float, int]] = []
        self._first_open = 0  # every trial before this place in the list is finished and read
        self._read: set[int] = set()  # the numbers of other trials that are read

    def belongs_to(self, study: Study) -> bool:
        """True for the study that this is the history of."""
        return study._storage is self._storage and study._study_id == self._study_id

    def update(self) -> None:
        """Read the trials that have changed since the last call."""
        # Not study.get_trials(): a pruner such as Hyperband hides trials from it.
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        self.running = []
        first_open = len(trials)
        for place in range(self._first_open, len(trials)):
            trial = trials[place]
            if trial.number in self._read:
                continue
            if trial.state.is_finished():
                self._insert(trial)
                self._read.add(trial.number)
                continue
            first_open = min(first_open, place)
            choices = self._parameters.choices(trial.params)
            if choices is not None:
                self.running.append(choices)
        self._first_open = first_open
        self._read = {number for number in self._read if number >= first_open}

    def _insert(self, trial: FrozenTrial) -> None:
        choices = self._parameters.choices(trial.params)
        if trial.state != TrialState.COMPLETE or choices is None or not math.isfinite(trial.values[0]):
            return
        ended = trial.datetime_complete
        key = (0.0 if ended is None else ended.timestamp(), trial.number)
        place = bisect.bisect(self._keys, key)
        self.revision += place < len(self._keys)
        self._keys.insert(place, key)
        self.evaluations.insert(place, Evaluation(trial.number, choices, self._sign * trial.values[0]))


class Derived(Generic[State]):
    """A state that is derived from the evaluations of a history, one after another, and kept between calls.

    It can be derived again at any time: another object, in another process, arrives at the same state.
    """

    def __init__(
        self, initial: Callable[[], State], advance: Callable[[State, list[Evaluation]], State], batch: int = 1
    ):
        self._initial, self._advance, self._batch = initial, advance, batch
        self._of: tuple[History | None, int] = (None, -1)
        self._state, self._used = None, 0

    def __call__(self, history: History) -> State:
        """The state after all whole batches of evaluations."""
        if self._of != (history, history.revision):
            self._of, self._state, self._used = (history, history.revision), self._initial(), 0
        state: State = self._state  # type: ignore[assignment]
        while self._used + self._batch <= len(history.evaluations):
            state = self._advance(state, history.evaluations[self._used : self._used + self._batch])
            self._used += self._batch
        self._state = state
        return state
