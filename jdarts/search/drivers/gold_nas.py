"""GOLD-NAS (Bi et al. 2020): one loop whose alphas are pruned after every epoch (`jdarts.methods.gold_nas`).

The weight λ of the regulariser and its step are a part of the state, so that an interrupted search goes on bit for bit.
`metrics.jsonl` has for every epoch λ, the ops pruned, the rounds without pruning, and parameters and multiply–
accumulates of the surviving network; `genotypes.jsonl` has this network. `front.json` lists the genotypes that stayed
the same for long enough, and the last one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jdarts import staging
from jdarts.genotypes import Genotype
from jdarts.methods.gold_nas import Pruning, alive, next_weight, pruned, weighted
from jdarts.methods.resources import op_costs
from jdarts.networks.counting import Count
from jdarts.networks.of_genotype import count_network
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Loop, run_loop
from jdarts.search.estimate import announce_pace, tell_memory
from jdarts.search.search import make_search
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import EpochRecords, StopRule, records
from jdarts.search.state import SearchState

FRONT = "front.json"


@struct.dataclass
class PruningState:
    """The state of a search by pruning.

    Attributes:
      search: weights, alphas, optimisers and key.
      weight, increment: λ and Δλ, float32 scalars.
      quiet: rounds since the last one that pruned an op, int32 scalar.
    """

    search: SearchState
    weight: jax.Array
    increment: jax.Array
    quiet: jax.Array

    @property
    def step(self) -> jax.Array:
        """Finished steps."""
        return self.search.step


@dataclass(frozen=True)
class Round:
    """The end of an epoch: the state behind the pruning, and what was pruned."""

    state: Any
    count: int
    share: float


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search until the ops are pruned far enough, or to the last epoch; the result is what survives."""
    run = run.split()
    pruner = Pruner.of(run)
    run.reporter.message("compiling the search step …")
    state = jax.jit(pruner.init)(jax.random.key(run.config.seed))
    step = _compiled(run, pruner, state)
    settings = run.config.search
    loop = Loop(
        "search",
        announce_pace(
            step,
            run.reporter.message,
            steps_per_epoch=pruner.records.search.steps_per_epoch,
            epochs=settings.epochs,
        ),
        run.loop_settings(pruner.records.search.steps_per_epoch),
        on_epoch_end=pruner.record,
        after_epoch=lambda state, record: pruner.round(state).state,
        stop_after=StopRule(run),
        suspects=(
            f"search.weight_optimizer.learning_rate {settings.weight_optimizer.learning_rate}, "
            f"search.alpha_optimizer.learning_rate {settings.alpha_optimizer.learning_rate}"
        ),
    )
    final: Any = run_loop(loop, state, run.folder, reporter=run.reporter, resume=run.resume)
    points = front(run.folder)
    run.folder.write_json(FRONT, points)
    for point in points:
        run.reporter.message(
            f"front: epoch {point['epoch']}, {point['parameters']:,} parameters, {point['macs']:,} MACs"
        )
    return run.method.genotype(run.space, final.search.alphas), final.search


def _compiled(run: SearchRun, pruner: "Pruner", state: Any) -> Callable[[Any], Any]:
    """The step on the images of the run, with a message about memory."""
    found = pruner.records.search
    calls = run.config.search.epochs * found.steps_per_epoch
    shapes = jax.eval_shape(lambda: state)
    step = staging.compile(pruner.step, shapes, found.arrays, donate_argnums=(0,), calls=calls)
    tell_memory(run.reporter, step, (shapes, found.arrays), run.config)
    return lambda before: step(before, found.arrays)


@dataclass(frozen=True)
class Pruner:
    """The functions of a search by pruning.

    Attributes:
      run: the search to run. records: its records of an epoch, without what is pruned.
      costs: multiply–accumulates of every op, `{cell: [edges, ops]}`.
    """

    run: SearchRun
    records: EpochRecords
    costs: dict[str, np.ndarray]

    @classmethod
    def of(cls, run: SearchRun) -> "Pruner":
        """The functions of a run."""
        found = make_search(run.config, run.space, run.search_data, method=run.method)
        sizes = {"channels": run.config.space.channels, "cells": run.config.space.cells}
        side = found.data.image_shape[0]
        return cls(run, EpochRecords.of(run, found), op_costs(run.space, "flops", **sizes, size=side))

    @property
    def settings(self) -> Pruning:
        """The options of the method."""
        return self.run.method.options["pruning"]

    def init(self, key: jax.Array) -> PruningState:
        """The state before the first step; λ is 0 in the first epoch."""
        zero, first = jnp.zeros(()), jnp.full((), self.settings.lambda0)
        return PruningState(self.records.search.init(key), zero, first, jnp.zeros((), jnp.int32))

    def step(self, state: Any, arrays: Any) -> tuple[PruningState, dict[str, jax.Array]]:
        """A step of the search with the λ of the state."""
        method = weighted(self.run.method, state.weight, self.costs)
        found = make_search(self.run.config, self.run.space, self.run.search_data, method=method)
        moved, metrics = found.step(state.search, arrays)
        return state.replace(search=moved), metrics

    def round(self, state: Any) -> Round:
        """Prune, and move λ by the number of ops pruned."""
        alphas, count = pruned(self.run.space, jax.device_get(state.search.alphas), self.settings)
        weight, increment = next_weight(float(state.weight), float(state.increment), count, self.settings)
        after = state.replace(
            search=state.search.replace(alphas={name: jnp.asarray(a) for name, a in alphas.items()}),
            weight=jnp.asarray(weight, state.weight.dtype),
            increment=jnp.asarray(increment, state.increment.dtype),
            quiet=jnp.asarray(0 if count else int(state.quiet) + 1, jnp.int32),
        )
        left = sum(float(np.sum(cost * alive(alphas[name]))) for name, cost in self.costs.items())
        whole = sum(float(cost.sum()) for cost in self.costs.values())
        return Round(after, count, left / whole if whole else 1.0)

    def record(self, state: Any, epoch: int) -> dict[str, Any]:
        """The record of an epoch: the network that survives its pruning, and the λ with which it was searched."""
        done = self.round(state)
        record = self.records(done.state.search, epoch)
        size = self.size(self.run.method.genotype(self.run.space, done.state.search.alphas))
        return record | {
            "resource_weight": float(state.weight),
            "pruned_ops": done.count,
            "quiet_rounds": int(done.state.quiet),
            "on_front": int(done.state.quiet) == self.settings.stable_rounds + 1,
            "ops_share": done.share,
            "parameters": size.parameters,
            "macs": size.macs,
        }

    def size(self, genotype: Genotype) -> Count:
        """Parameters and multiply–accumulates of a network with the channels and cells of the supernet."""
        space, data = self.run.config.space, self.records.search.data
        return count_network(
            genotype,
            channels=space.channels,
            cells=space.cells,
            classes=data.num_classes,
            image_size=data.image_shape[:2],
            stem=space.stem,
        )


def front(folder: RunFolder) -> list[dict[str, Any]]:
    """The genotypes of a search that stayed the same for long enough, and the last one, the largest first.

    Each has its epoch, parameters, multiply–accumulates, and the accuracies of the supernet in that epoch.
    """
    finished = records(folder)
    chosen = [record for i, record in enumerate(finished) if record["on_front"] or i == len(finished) - 1]
    kept = {record["genotype"]: record for record in reversed(chosen)}  # of equal genotypes the first epoch
    names = ("epoch", "genotype", "parameters", "macs", "train_accuracy", "val_accuracy")
    return [{name: record[name] for name in names if name in record} for record in reversed(kept.values())]
