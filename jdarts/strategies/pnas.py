"""Progressive neural architecture search (Liu et al. 2018, arXiv:1712.00559, algorithm 1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from jdarts.errors import UserError, unknown
from jdarts.spaces.decisions import Choices, DecisionSpace, uniform
from jdarts.spaces.growth import choices_of_rows, growth_of
from jdarts.strategies.history import Derived, Evaluation, History
from jdarts.strategies.predictor import Fitted, Predictor, Vocabulary, fit, predict
from jdarts.strategies.strategy import Strategy, at_least

SETTINGS = tuple(name for name in Predictor.__dataclass_fields__ if name != "kind")
"""The names of the settings of the predictor, besides its kind."""
_WIDEST = 10_000
_ATTEMPTS = 100


class Evaluated:
    """The evaluations of a study by round, and all evaluated architectures by canonical choices."""

    def __init__(self):
        self.rounds: dict[int, list[Evaluation]] = {}
        self.known: set[Choices] = set()

    def before(self, number: int) -> list[Evaluation]:
        """The evaluations of all rounds before one, by their number."""
        return sorted(e for earlier in range(number) for e in self.rounds.get(earlier, ()))

    def counts(self, number: int) -> tuple[int, ...]:
        """The number of evaluations of each round before one."""
        return tuple(len(self.rounds.get(earlier, ())) for earlier in range(number))


class PNAS(Strategy):
    """All smallest architectures first; then, stage by stage, the extensions that a predictor ranks first.

    In space `pnas_progressive` a stage is a block: all 136 cells of one block, then the 256 best of the 40,800
    extensions by a second one, and so on; 1,160 evaluations in all. Round r is a fixed range of trial numbers. Before
    it the predictor is fitted to all evaluations of earlier rounds, and every architecture of the round before is
    extended. Later trials go on with the last stage, in rounds of `keep`.

    A space without smaller architectures grows decision by decision: later decisions have the option of a base, and the
    `keep` best architectures so far are extended. That is meaningful where the base is a smaller network, as in
    NAS-Bench-Macro. In NAS-Bench-201 give `base=1`, a cell of skip connections; without it, all cells of the
    first rounds have no path to the output.

    DIFF: the mean absolute error is that of scores which are mapped from their range to 0…1, so that any objective can
    be predicted. Cells that differ only by the order of their blocks are different architectures, as in the paper's
    counts.

    Args:
      space, seed: see `Strategy`.
      keep: K, the architectures that are evaluated in each round after the first.
      predictor: "mlp" or "lstm".
      base: an architecture, or the option of all its decisions; see above.
      settings: those of `jdarts.strategies.predictor.Predictor`, by name.

    Raises `UserError` for a space with more than 10,000 smallest architectures.
    """

    def __init__(
        self,
        space: DecisionSpace | Mapping[str, BaseDistribution],
        *,
        seed: int = 0,
        keep: int = 256,
        predictor: str = "mlp",
        base: int | Sequence[int] | None = None,
        **settings: Any,
    ):
        super().__init__(space, seed=seed)
        for name in settings:
            if name not in SETTINGS:
                raise unknown("option of PNAS", name, SETTINGS)
        self.keep = at_least("keep", keep, 1)
        self.predictor = Predictor(predictor, **settings)
        self.growth = growth_of(self.space, base)
        self.vocabulary = Vocabulary(self.space.decisions, self.growth)
        widest = len(self.growth.stages[0].options)
        if widest > _WIDEST:
            raise UserError(
                f"space {self.space.name} has {widest} smallest architectures; pnas evaluates at most {_WIDEST}"
            )
        first = [choices for choices in choices_of_rows(self.growth.first()) if self.space.is_valid(choices)]
        order = np.random.default_rng(seed).permutation(len(first))
        self.smallest: list[Choices] = [first[i] for i in order]
        self.sizes = self._sizes()
        self._progress = Derived[Evaluated](Evaluated, self._advance)
        self._of: Evaluated | None = None
        self._fits: dict[int, tuple[tuple[int, ...], Fitted]] = {}
        self._ranked: tuple[int, tuple[int, ...], list[Choices]] | None = None

    def propose(self, history: History, number: int) -> Choices:
        """The candidate of this number in its round."""
        round_number, place = self.place(number)
        if round_number == 0:
            return self.smallest[place]
        progress = self._progress(history)
        ranking = self.ranking(progress, round_number)
        running = {self._canonical(choices) for choices in history.running}
        size = self.size(round_number)
        for choices in ranking[place : place + 1] + ranking[size:]:
            canonical = self._canonical(choices)
            if canonical not in progress.known and canonical not in running:
                return choices
        return self._random(progress, running, number)

    def place(self, number: int) -> tuple[int, int]:
        """The round of a trial, from 0, and its place in it."""
        for round_number, size in enumerate(self.sizes):
            if number < size:
                return round_number, number
            number -= size
        return len(self.sizes) + number // self.keep, number % self.keep

    def size(self, round_number: int) -> int:
        """The number of trials of a round."""
        return self.sizes[round_number] if round_number < len(self.sizes) else self.keep

    def candidates(self, progress: Evaluated, round_number: int) -> np.ndarray:
        """The extensions among which a round chooses, `[candidates, decisions]`."""
        level = min(round_number + 1, len(self.growth.stages))
        evaluations = progress.before(round_number)
        if not evaluations:
            return np.zeros((0, len(self.space.decisions)), int)
        choices = np.array([evaluation.choices for evaluation in evaluations])
        reached = self.growth.levels(choices)
        if self.growth.counter is not None:
            return self.growth.extended(choices[reached == level - 1], level)
        scores = np.array([evaluation.score for evaluation in evaluations])
        smaller = np.flatnonzero(reached < level)
        best = smaller[np.argsort(-scores[smaller], kind="stable")[: self.keep]]
        rows = choices_of_rows(self.growth.extended(choices[best], level))
        different = {self._canonical(row): row for row in rows if self.space.is_valid(row)}
        return np.array(list(different.values()), int).reshape(-1, len(self.space.decisions))

    def ranking(self, progress: Evaluated, round_number: int) -> list[Choices]:
        """The candidates of a round that no earlier round has evaluated, best prediction first, and some to spare."""
        counts = progress.counts(round_number)
        if self._of is not progress:
            self._of, self._fits, self._ranked = progress, {}, None
        if self._ranked is None or self._ranked[:2] != (round_number, counts):
            candidates, found = self.candidates(progress, round_number), []
            if len(candidates):
                fitted = self.fitted(progress, round_number)
                scores = predict(self.predictor, self.vocabulary, fitted, candidates)
                earlier = {self._canonical(e.choices) for e in progress.before(round_number)}
                wanted = 2 * self.size(round_number)
                for row in candidates[np.argsort(-scores, kind="stable")]:
                    (choices,) = choices_of_rows([row])
                    if self._canonical(choices) not in earlier:
                        found.append(choices)
                    if len(found) == wanted:
                        break
            self._ranked = (round_number, counts, found)
        return self._ranked[2]

    def fitted(self, progress: Evaluated, round_number: int) -> Fitted:
        """The predictor before a round, fitted round by round."""
        if self._of is not progress:
            self._of, self._fits, self._ranked = progress, {}, None
        before = None
        for number in range(1, round_number + 1):
            counts = progress.counts(number)
            if number not in self._fits or self._fits[number][0] != counts:
                examples = progress.before(number)
                if not examples:
                    continue
                choices, scores = np.array([e.choices for e in examples]), np.array([e.score for e in examples])
                seed = int(np.random.default_rng((self.seed, number)).integers(2**31))
                found = fit(self.predictor, self.vocabulary, choices, scores, seed=seed, before=before)
                self._fits[number] = (counts, found)
            before = self._fits[number][1]
        if before is None:
            raise UserError("no architecture was evaluated; the predictor has no example")
        return before

    def _sizes(self) -> list[int]:
        sizes = [len(self.smallest)]
        for stage in self.growth.stages[1:]:
            parents = sizes[-1] if self.growth.counter is not None else min(self.keep, sum(sizes))
            sizes.append(min(self.keep, parents * len(stage.options)))
        return sizes

    def _random(self, progress: Evaluated, running: set[Choices], number: int) -> Choices:
        """A random architecture, if possible a new one, where the candidates of a round are used up."""
        rng = self.rng(number)
        choices = uniform(self.space, rng)
        for _ in range(_ATTEMPTS):
            canonical = self._canonical(choices)
            if canonical not in progress.known and canonical not in running:
                break
            choices = uniform(self.space, rng)
        return choices

    def _canonical(self, choices: Choices) -> Choices:
        return self.space.encode(self.space.decode(choices))

    def _advance(self, progress: Evaluated, evaluations: list[Evaluation]) -> Evaluated:
        for evaluation in evaluations:
            canonical = self._canonical(evaluation.choices)
            progress.known.add(canonical)
            if self.growth.counter is not None:
                evaluation = evaluation._replace(choices=canonical)
            progress.rounds.setdefault(self.place(evaluation.number)[0], []).append(evaluation)
        return progress
