"""Estimates with the weights of a trained supernet, its batch norms recalibrated for every architecture.

The supernet runs with one-hot op weights, which select the path of the architecture. Its running averages are those of
a mixture of paths, so the statistics of the selected path on a few training batches replace them (Guo et al., Single
Path One-Shot, ECCV 2020, §3.3).
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import staging
from jdarts.config import Experiment
from jdarts.data import SearchData
from jdarts.data.augment import normalize
from jdarts.data.dataset import Images
from jdarts.data.text import TextData
from jdarts.errors import UserError, unknown
from jdarts.estimation.estimator import Budget, Score
from jdarts.estimation.text_inheritance import InheritedText
from jdarts.genotypes import Genotype, excerpt
from jdarts.genotypes.macro import mobile_of
from jdarts.networks.of_genotype import count_network
from jdarts.search.images import ImageObjective
from jdarts.search.search import Search
from jdarts.search.state import SearchState
from jdarts.search.stored import StoredSearch

RECALIBRATION = 8
INHERITED_BUDGET = {
    "recalibration": f"training batches for the statistics of batch norm (default {RECALIBRATION}); 0 keeps the "
    "running averages of the search",
    "images": "validation images, in whole batches; all by default",
}
"""The names of a budget of `Inherited`."""

_SAME = (("space", "name"), ("space", "cells"), ("space", "channels"), ("data", "source"), ("data", "val_fraction"))
_SAME_TEXT = (("data", "source"), ("space", "name"))
"""Fields on which a supernet and the configuration of a search by trials must agree, for images and for text."""


class Inherited:
    """Scores the architectures of a space with the shared weights of one trained supernet of it.

    The supernet may be of any `Space` (S0 to S4, NAS-Bench-201, those of a user). Its validation images give the score,
    in whole batches of `search.batch_size`, in file order and without augmentation. The weights have not seen them; the
    alphas of a bilevel search have. The training images of the recalibration are drawn once, without augmentation. The
    batch norms inside the cells of the supernet of NAS-Bench-201 have no running averages: they use the batch. Factors
    of edges (PC-DARTS) stay as they were trained.

    A score has `accuracy` in percent, `parameters` and `macs` of the derived network at the size of `config.train`, and
    `seconds`, the time of the evaluation. Its cost contains the compilation, too. The architecture is an input of the
    compiled functions, so that only the first one compiles.

    Args:
      config: its sections `search` and `train`; those of `search` must be the settings of the trained search.
      search: the pure functions of the search.
      state: the weights, running averages and alphas.
      seed: of the training batches.

    Raises `UserError` if no validation images are held out.
    """

    values = ("accuracy", "parameters", "macs", "seconds")
    """The names of the values of a score."""

    def __init__(self, config: Experiment, search: Search, state: SearchState, *, seed: int = 0):
        data, objective = search.data, search.objective
        if not isinstance(objective, ImageObjective) or not isinstance(data, SearchData):
            raise UserError(
                f"the supernet of {search.space.name} does not classify images in memory; use another estimator"
            )
        if data.single:
            raise UserError(
                "the supernet was trained with data.val_fraction 0, which leaves no images to compare architectures "
                "on; train one with e.g. 0.5"
            )
        self._config, self._search, self._state, self._data, self._seed = config, search, state, data, seed
        self._objective = objective
        self._base = search.method.deterministic_weights(search.space, state.alphas)
        self._programs: dict[Any, staging.Program] = {}

    def __call__(self, architecture: Any, budget: Budget) -> Score:
        """The score of a genotype, or of its choices; raises `UserError` for one of another space."""
        return self._scores([architecture], budget, None)[0]

    def many(self, architectures: Sequence[Any], budget: Budget, *, at_once: int = 8) -> list[Score]:
        """The same scores, with `at_once` architectures vmapped; they share the `seconds` of their evaluation."""
        if at_once < 1:
            raise UserError(f"at_once is {at_once}; evaluate at least 1 architecture at once")
        parts = [architectures[first : first + at_once] for first in range(0, len(architectures), at_once)]
        return [score for part in parts for score in self._scores(part, budget, at_once)]

    def check(self, architecture: Any, budget: Budget) -> None:
        """Raise `UserError` unless this architecture can be scored at this budget; nothing is compiled."""
        self._genotype(architecture)
        self._amounts(budget)

    def op_weights(self, architecture: Any) -> dict[str, jax.Array]:
        """The op weights of the path of an architecture."""
        return {**self._base, **self._search.space.one_hot(self._genotype(architecture))}

    def statistics(self, architecture: Any, batches: int) -> jax.Array:
        """The statistics of batch norm at `recalibration=batches`, as one vector (`Search.variables` names them)."""
        return self._statistics(self.op_weights(architecture), batches, None)

    def _scores(self, architectures: Sequence[Any], budget: Budget, at_once: int | None) -> list[Score]:
        """The scores of at most `at_once` architectures in one vmapped program; None is one, without `vmap`."""
        started = time.monotonic()
        genotypes = [self._genotype(architecture) for architecture in architectures]
        recalibration, images = self._amounts(budget)
        p = self._stacked([self.op_weights(genotype) for genotype in genotypes], at_once)
        programs = [self._program(kind, p, at_once) for kind in (("moments", "share") if recalibration else ("share",))]
        compiled = time.monotonic()
        statistics = self._statistics(p, recalibration, at_once)
        val, size = self._data.val, self._batch_size(self._data.val)
        rows = [slice(first, first + size) for first in range(0, images, size)]
        shares = [programs[-1](p, statistics, val.images[r], val.labels[r], self._state) for r in rows]
        accuracies = np.atleast_1d(np.mean([np.asarray(share, np.float64) for share in shares], axis=0))
        now, count = time.monotonic(), len(genotypes)
        return [
            Score(
                {
                    "accuracy": 100 * float(accuracy),
                    **self.costs(genotype, budget),
                    "seconds": (now - compiled) / count,
                },
                (now - started) / count,
            )
            for genotype, accuracy in zip(genotypes, accuracies, strict=False)
        ]

    @staticmethod
    def _stacked(p: list[Any], at_once: int | None) -> Any:
        if at_once is None:
            return p[0]
        return jax.tree.map(lambda *arrays: jnp.stack(arrays), *p, *[p[-1]] * (at_once - len(p)))

    def _statistics(self, p: Any, batches: int, at_once: int | None) -> jax.Array:
        """The running averages of the search for 0 batches, otherwise means over training batches."""
        running = self._state.batch_stats
        if batches == 0:
            return running if at_once is None else jnp.broadcast_to(running, (at_once, *running.shape))
        program, train = self._program("moments", p, at_once), self._data.train
        size = self.batch_size
        rows = np.random.default_rng(self._seed).permutation(len(train))[: batches * size].reshape(batches, size)
        return jnp.mean(jnp.stack([program(p, train.images[np.sort(of)], self._state) for of in rows]), axis=0)

    def _program(self, kind: Literal["moments", "share"], p: Any, at_once: int | None) -> staging.Program:
        """The compiled `(op weights, images, state)`, or `(op weights, statistics, images, labels, state)`."""
        key = kind, at_once
        if key not in self._programs:
            images = self._data.train if kind == "moments" else self._data.val
            rows = slice(self._batch_size(images))
            if kind == "moments":
                function, axes, inputs = self._moments, (0, None, None), (p, images.images[rows])
            else:
                statistics = self._statistics_like(at_once)
                function, axes = self._share, (0, 0, None, None, None)
                inputs = (p, statistics, images.images[rows], images.labels[rows])
            mapped = function if at_once is None else jax.vmap(function, axes)
            self._programs[key] = staging.compile(mapped, *inputs, self._state)
        return self._programs[key]

    def _statistics_like(self, at_once: int | None) -> jax.ShapeDtypeStruct:
        running = self._state.batch_stats
        return jax.ShapeDtypeStruct((*(() if at_once is None else (at_once,)), *running.shape), running.dtype)

    def _moments(self, p: Any, images: Any, state: Any) -> jax.Array:
        normal = normalize(images, mean=self._data.mean, std=self._data.std)
        batch = {"images": normal, "batch_stats": state.batch_stats, "step": state.step}
        return self._objective.batch_statistics(state.weights, p, batch)

    def _share(self, p: Any, statistics: jax.Array, images: Any, labels: Any, state: Any) -> jax.Array:
        return self._search.score(state.replace(batch_stats=statistics), p, images, labels)

    def _genotype(self, architecture: Any) -> Genotype:
        space = self._search.space
        genotype = space.decode(architecture) if isinstance(architecture, tuple) else architecture
        if not isinstance(genotype, Genotype) and mobile_of(genotype) is None:
            raise UserError(f"{excerpt(str(genotype))} is no genotype of {space.name}, the space of the supernet")
        space.encode(genotype)
        return genotype

    def _amounts(self, budget: Budget) -> tuple[int, int]:
        """The number of batches for recalibration, and of validation images in whole batches."""
        for name in budget:
            if name not in INHERITED_BUDGET:
                raise unknown("budget", name, INHERITED_BUDGET)
        val = self._data.val
        most, size = self.training_batches, self._batch_size(val)
        batches = _whole("recalibration", budget.get("recalibration", min(RECALIBRATION, most)), (0, most))
        images = _whole("images", budget.get("images", len(val)), (size, len(val)))
        return batches, images // size * size

    @property
    def batch_size(self) -> int:
        """Training images in a batch for `recalibration`."""
        return self._batch_size(self._data.train)

    @property
    def training_batches(self) -> int:
        """Whole batches of training images: the most for `recalibration`."""
        return len(self._data.train) // self.batch_size

    def _batch_size(self, images: Images) -> int:
        return min(self._config.search.batch_size, len(images))

    def costs(self, architecture: Any, budget: Budget) -> dict[str, float]:
        """The parameters and multiply–accumulates of the derived network, at the size of `config.train`."""
        count = count_network(self._genotype(architecture), **self.network_sizes(budget))
        return {"parameters": count.parameters, "macs": count.macs}

    def network_sizes(self, budget: Budget) -> dict[str, Any]:
        """Channels, cells, classes, image size and width multiplier of the derived networks."""
        del budget
        shape, classes = self._data.image_shape, self._data.num_classes
        return {"classes": classes, "image_size": (shape[0], shape[1]), **self._config.train.network_sizes}


def inherited(run: str | Path, config: Experiment | None = None) -> Inherited | InheritedText:
    """The estimator with the weights in the run folder of a finished search, or of one of its searches (`--seeds`).

    estimator = inherited("runs/darts_cifar10")
    estimator(genotype, {"recalibration": 16})["accuracy"]
    inherited("runs/ptb_rnn")(cell, {})["perplexity"]

    Args:
      run: the folder that `jdarts search` or `jdarts run` wrote.
      config: the configuration of a search by trials. Its space, the size of its supernet and its images must be those
        of the run, or its text. Its section `train` (of text `language_train`) is the size for parameters and MACs.
        None is the configuration of the run.

    Raises `UserError` for a folder without a run or a checkpoint, for a search that is not finished, and for a
    configuration of another space, size or data.
    """
    stored = StoredSearch.at(run)
    if not stored.finished:
        raise UserError(
            f"the search in {stored.folder} is not finished; finish it with --resume before its weights are inherited"
        )
    if config is not None:
        _check_same(stored, config)
    settings = stored.config
    if config is not None:
        settings = replace(settings, train=config.train, language_train=config.language_train)
    if isinstance(stored.data, TextData):
        return InheritedText(settings, stored.search, stored.newest())
    return Inherited(settings, stored.search, stored.newest(), seed=stored.config.seed)


def _check_same(stored: StoredSearch, config: Experiment) -> None:
    for section, name in _SAME_TEXT if isinstance(stored.data, TextData) else _SAME:
        trained, asked = (getattr(getattr(each, section), name) for each in (stored.config, config))
        if trained != asked:
            raise UserError(
                f"the supernet in {stored.folder} has {section}.{name} {trained}, the configuration has {asked}; "
                f"give --{section}.{name} {trained}, or train another supernet"
            )


def _whole(name: str, value: float, between: tuple[int, int]) -> int:
    least, most = between
    if isinstance(value, bool) or value != int(value) or not least <= value <= most:
        raise UserError(f"budget {name} is {value:g}; use a whole number of {least} to {most}")
    return int(value)
