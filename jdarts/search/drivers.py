"""Drivers above the step, for methods that one loop cannot hold; each reuses `run_plain`.

A driver is `(config, space, data, run, *, method, resume, reporter, watch) -> (genotype, last state or None)`.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from jdarts import train
from jdarts.benchmarks import load_table
from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.derivation import limit_skips
from jdarts.errors import UserError, unknown
from jdarts.genotypes import Genotype
from jdarts.methods import Method
from jdarts.methods.staged import fading
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.search.driver import run_plain
from jdarts.search.hooks import Watch
from jdarts.search.narrowing import narrowed
from jdarts.search.state import SearchState
from jdarts.search.step import Search
from jdarts.spaces.space import Space

Driver = Callable[..., tuple[Genotype, SearchState | None]]

# StacNAS: the representative of each group, and the group it opens into (three candidates each; the second skip is the
# published placeholder that keeps the widths equal, and stands for the same edge).
STACNAS_GROUPS = {
    "max_pool_3x3": ("avg_pool_3x3", "max_pool_3x3", "none"),
    "skip_connect": ("skip_connect", "skip_connect", "none"),
    "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5", "none"),
    "dil_conv_3x3": ("dil_conv_3x3", "dil_conv_5x5", "none"),
}


def by_name(name: str) -> Driver:
    """The driver that a method names."""
    if name not in DRIVERS:
        raise unknown("driver", name, DRIVERS)
    return DRIVERS[name]


def random_search(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    method: Method,
    resume: bool,
    reporter: Reporter,
    watch: Watch,
) -> tuple[Genotype, None]:
    """The best of `samples` random cells: by a table's 12-epoch validation accuracy, or each trained as `config.train`.

    Trained cells are compared on the validation images of `train.val_fraction`.
    """
    rng = np.random.default_rng(config.seed)
    candidates = [space.random_genotype(int(s)) for s in rng.integers(2**31, size=method.options["samples"])]
    if config.search.benchmark_table:
        table = load_table(config.search.benchmark_table)
        metric = "c10_valid_12"
        scores = [table.query(genotype)[metric] for genotype in candidates]
    else:
        if config.train.val_fraction <= 0:
            raise UserError("random_search compares cells on validation images; set train.val_fraction, e.g. 0.1")
        metric, scores = "val_accuracy", []
        for i, genotype in enumerate(candidates):
            folder = run.subfolder(f"sample_{i}")
            title = f"cell {i + 1} of {len(candidates)}"
            train.run_training(config, genotype, data, folder, resume=resume, reporter=reporter, title=title)
            scores.append(folder.records("metrics")[-1]["val_accuracy"])
    run.write_json(
        "samples.json", [{"genotype": g.to_text(), metric: s} for g, s in zip(candidates, scores, strict=True)]
    )
    return candidates[int(np.argmax(scores))], None


def p_darts(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    method: Method,
    resume: bool,
    reporter: Reporter,
    watch: Watch,
) -> tuple[Genotype, SearchState]:
    """Three fresh supernets, ever deeper, on the candidates that the one before left (P-DARTS)."""
    options, split = method.options, data.for_search(config.data)
    outcome = None
    for stage, (rate, cells) in enumerate(zip(options["skip_dropout"], options["cells"], strict=True)):
        values = {**method.edge_values, "skip_dropout": fading(rate, options["frozen"])}
        staged = dataclasses.replace(method, edge_values=values)
        outcome = run_plain(
            _with_cells(config, cells),
            space,
            split,
            run.subfolder(f"stage_{stage}"),
            staged,
            resume=resume,
            reporter=reporter,
            watch=watch,
            title=f"stage {stage + 1} of 3",
        )
        if stage < 2:
            count = len(next(iter(space.tables.values()))[0])
            kept = max(2, math.ceil(count * (5 / 8, 3 / 5)[stage]))
            space = narrowed(space, staged.deterministic_weights(space, outcome.state.alphas), kept)
    assert outcome is not None
    if options["skip_limit"] < 0 or "normal" not in space.tables:
        return outcome.genotype, outcome.state
    weights = method.deterministic_weights(space, outcome.state.alphas)
    return limit_skips(space, weights, options["skip_limit"]), outcome.state


def stac_nas(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    method: Method,
    resume: bool,
    reporter: Reporter,
    watch: Watch,
) -> tuple[Genotype, SearchState]:
    """One op of every group first, then the ops of the winning group (StacNAS)."""
    needed = {op for group in STACNAS_GROUPS.values() for op in group}
    if not all(needed <= set(ops) for table in space.tables.values() for ops in table):
        raise UserError(f"stac_nas needs the candidates {', '.join(sorted(needed))} on every edge; use darts_cnn")
    split = data.for_search(config.data)
    first = dataclasses.replace(
        cast(Any, space), **{c: ((*STACNAS_GROUPS, "none"),) * len(t) for c, t in space.tables.items()}
    )
    cells = method.options["cells"]
    shared = {"resume": resume, "reporter": reporter, "watch": watch}
    folder = run.subfolder("stage_0")
    outcome = run_plain(_with_cells(config, cells[0]), first, split, folder, method, title="stage 1 of 2", **shared)
    groups = list(STACNAS_GROUPS.values())
    winners = {
        c: tuple(groups[int(np.argmax(row[:-1]))] for row in np.asarray(outcome.state.alphas[c])) for c in first.tables
    }
    second = dataclasses.replace(cast(Any, space), **winners)
    folder = run.subfolder("stage_1")
    outcome = run_plain(_with_cells(config, cells[1]), second, split, folder, method, title="stage 2 of 2", **shared)
    return outcome.genotype, outcome.state


def rollback(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    method: Method,
    resume: bool,
    reporter: Reporter,
    watch: Watch,
) -> tuple[Genotype, SearchState]:
    """DARTS-ADA: when the stop rule fires, go on from the epoch it returns with stronger weight decay.

    The whole state of that epoch is restored, records included. The last level runs to its end.
    """
    split, settings = data.for_search(config.data), config.search
    decay, limit, factor = settings.weight_optimizer.weight_decay, method.options["limit"], method.options["multiply"]
    folders: list[Path] = []  # of the checkpoints of all levels so far, the newest first
    returned = 0
    level = 0
    while True:
        last = decay * factor > limit * (1 + 1e-9)
        folder = run.subfolder(f"level_{level}")
        optimizer = dataclasses.replace(settings.weight_optimizer, weight_decay=decay)
        now = dataclasses.replace(
            config,
            search=dataclasses.replace(settings, weight_optimizer=optimizer, keep_checkpoints=settings.epochs + 2),
        )
        start = _rolled_back(folders, returned) if folders else None

        outcome = run_plain(
            now,
            space,
            split,
            folder,
            dataclasses.replace(method, stop=None) if last else method,
            resume=resume,
            reporter=reporter,
            watch=watch,
            title=f"level {level + 1}, weight decay {decay:g}",
            start=start,
        )
        if outcome.stopped_at is None:
            return outcome.genotype, outcome.state
        folders, returned = [folder.checkpoints_dir, *folders], outcome.stopped_at
        following = run.subfolder(f"level_{level + 1}")
        for name in ("metrics", "genotypes"):
            if not following.records(name):
                for record in folder.records(name):
                    if record["epoch"] <= outcome.stopped_at:
                        following.append(name, record)
        level, decay = level + 1, decay * factor


def _rolled_back(folders: list[Path], epoch: int) -> Callable[[Search, SearchState], SearchState]:
    return lambda search, state: _checkpoint(list(folders), epoch, epoch * search.steps_per_epoch, state)


def _checkpoint(folders: list[Path], epoch: int, step: int, like: SearchState) -> SearchState:
    """The state after `step` steps: a level that began at that epoch has it from the level before."""
    for folder in folders:
        with Checkpoints(folder, keep=10**6) as checkpoints:
            restored = checkpoints.restore_latest(jax.eval_shape(lambda: like), up_to=step)
        if restored is not None and restored.step == step:
            return restored.state
    raise UserError(
        f"{folders[0]} holds no checkpoint of epoch {epoch} to roll back to; set search.checkpoint_every to 1"
    )


def _with_cells(config: Experiment, cells: int) -> Experiment:
    return dataclasses.replace(config, space=dataclasses.replace(config.space, cells=cells))


def perturbation(*args: Any, **kwargs: Any) -> tuple[Genotype, SearchState]:
    """DARTS-PT (`jdarts.search.perturbation`)."""
    from jdarts.search.perturbation import run_perturbation

    return run_perturbation(*args, **kwargs)


def strengths(*args: Any, **kwargs: Any) -> tuple[Genotype, None]:
    """R-DARTS (`jdarts.search.strengths`)."""
    from jdarts.search.strengths import run_strengths

    return run_strengths(*args, **kwargs)


def drnas(*args: Any, **kwargs: Any) -> tuple[Genotype, SearchState]:
    """DrNAS in two stages (`jdarts.search.widening`)."""
    from jdarts.search.widening import run_widening

    return run_widening(*args, **kwargs)


DRIVERS: dict[str, Driver] = {
    "drnas": drnas,
    "p_darts": p_darts,
    "perturbation": perturbation,
    "random_search": random_search,
    "rollback": rollback,
    "stac_nas": stac_nas,
    "strengths": strengths,
}
