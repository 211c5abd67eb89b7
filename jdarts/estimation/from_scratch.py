"""Estimates from training: the network of a genotype, from scratch, at full cost or at lower fidelities."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.data.text import TextData, is_text
from jdarts.errors import Diverged, UserError, unknown
from jdarts.estimation.children import Child, ChildTask, Fidelity
from jdarts.estimation.estimator import Budget, Criterion, Report, Score, criterion
from jdarts.estimation.image_children import IMAGE_CHILDREN, ImageChildren
from jdarts.estimation.text_children import TEXT_CHILDREN

_KEPT = 4  # compiled trainings


def children_of(source: str) -> ChildTask:
    """The task of `data.source`."""
    return TEXT_CHILDREN if is_text(source) else IMAGE_CHILDREN


def measure_of(config: Experiment) -> Criterion:
    """The validation result by which trained networks are compared: the accuracy of images, the perplexity of text."""
    return criterion(children_of(config.data.source).measure)


class FromScratch:
    """Trains the network of a genotype and validates it; the test data are never read.

    Images: the settings are those of `config.train`. The images are those of a search: the first `data.train_fraction`
    of the training images train the network, the last `data.val_fraction` (or the validation split of the source) score
    it. The score has `accuracy` in percent, after the last epoch. A budget may have the names of
    `jdarts.estimation.FIDELITIES`.

    Text: the settings are those of `config.language_train`. The score has `perplexity`, the lowest one of the
    validation text after an epoch, as in the result of `jdarts train`. A budget may have the names of
    `jdarts.estimation.TEXT_FIDELITIES`.

    Besides, a score has `parameters`, `macs` (of text, for one word) and `seconds`, those from the end of the first
    step, which compiles, to the end of the training. Its cost is in seconds, too, and contains the compilation. All
    children start from `config.seed`.

    Children of one genotype and budget share one compiled step within a process; in `jdarts tune` they also share it if
    they differ in real numbers or in the seed. Across processes, they share JAX's persistent compilation cache. Another
    genotype is another program. A step whose genotype is an argument starts the
    second child at once, but it was slower on a CPU: 2.2 times with branches taken in Python, over 4 times with
    `lax.switch` inside the program (NAS-Bench-201, 8 channels, batch 32).

    `child` builds the training of a genotype at a fidelity; None compiles it here.

    Raises `UserError` if no images are held out.
    """

    def __init__(
        self,
        config: Experiment,
        data: Dataset | TextData,
        child: Callable[[Any, Fidelity], Child] | None = None,
    ):
        self.task: ChildTask = TEXT_CHILDREN if isinstance(data, TextData) else IMAGE_CHILDREN
        self.task.check_validation(config)
        self._child = child or (lambda genotype, at: self.task.children(genotype, at)(at.config))
        self._config, self._data = config, data
        self._children: OrderedDict[Any, Child] = OrderedDict()
        self._fidelities: dict[tuple, Fidelity] = {}

    @classmethod
    def of(cls, config: Experiment) -> "FromScratch":
        """The estimator that trains on the data that `config.data` names; reads them."""
        return cls(config, children_of(config.data.source).load(config.data))

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the values of a score."""
        return (self.task.measure, "parameters", "macs", "seconds")

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The score after the last epoch; raises `UserError` for an architecture without network, and `Diverged`."""
        return self.reporting(architecture, budget, None)

    def reporting(self, architecture: Any, budget: Budget, report: Report | None) -> Score:
        """The same; `report` receives the number of finished epochs and the score so far, before the last epoch."""
        started = time.monotonic()
        fidelity = self.at(budget)
        self.task.check(architecture, fidelity)
        child = self._compiled(architecture, fidelity)
        sizes = self.task.sizes(architecture, fidelity)
        state = child.init(jax.random.key(fidelity.config.seed))
        metrics, first = {}, 0.0

        def score() -> Score:
            measured = child.measured(state)
            now = time.monotonic()
            return Score({self.task.measure: measured, **sizes, "seconds": now - first}, now - started)

        for epoch in range(1, child.epochs + 1):
            for _ in range(child.steps_per_epoch):
                state, metrics = child.step(state)
                if not first:
                    jax.block_until_ready(state)
                    first = time.monotonic()
            if not bool(metrics["finite"]):
                raise Diverged(f"{architecture.to_text()} diverged in epoch {epoch}: the loss is not finite")
            state = child.end_epoch(state)
            if report is not None and epoch < child.epochs:
                report(epoch, score())
        final = score()
        if not math.isfinite(final[self.task.measure]):
            raise Diverged(f"{architecture.to_text()} has no finite {self.task.measure} after any epoch")
        return final

    def check(self, architecture: Any, budget: Budget) -> None:
        """Raise `UserError` unless this architecture can be trained at this budget; nothing is compiled."""
        self.task.check(architecture, self.at(budget))

    def costs(self, architecture: Any, budget: Budget) -> Mapping[str, float]:
        """The parameters and multiply–accumulates of an architecture."""
        return self.task.sizes(architecture, self.at(budget))

    def network_sizes(self, budget: Budget) -> dict[str, Any]:
        """The sizes of the networks, as `jdarts.latency.measure_network` takes them; raises `UserError` on text."""
        if not isinstance(self.task, ImageChildren):
            raise UserError("only networks of images have a latency here; leave out the latency")
        return self.task.network_sizes(self.at(budget))

    def at(self, budget: Budget) -> Fidelity:
        """The configuration and the data at a budget; raises `UserError` for a wrong name or value."""
        key = tuple(sorted(budget.items()))
        if key not in self._fidelities:
            for name in budget:
                if name not in self.task.fidelities:
                    raise unknown("budget", name, self.task.fidelities)
            self._fidelities[key] = self.task.apply(self._config, self._data, budget)
        return self._fidelities[key]

    def _compiled(self, genotype: Any, fidelity: Fidelity) -> Child:
        key = (genotype, id(fidelity))
        if key not in self._children:
            self._children[key] = self._child(genotype, fidelity)
            if len(self._children) > _KEPT:
                self._children.popitem(last=False)
        self._children.move_to_end(key)
        return self._children[key]
