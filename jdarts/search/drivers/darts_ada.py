"""DARTS-ADA (Zela et al., ICLR 2020): when the stop rule fires, go back and continue with stronger weight decay."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax

from jdarts.config import SearchConfig
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.search.search import Search
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import run_single_loop
from jdarts.search.state import SearchState


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search; when the stop rule fires, continue from the epoch that it returns, with the weight decay multiplied.

    The whole state of that epoch is restored, including its records. The last level runs to its end.
    """
    run, method, settings = run.split(), run.method, run.config.search
    decay, limit, factor = settings.weight_optimizer.weight_decay, method.options["limit"], method.options["multiply"]
    folders: list[Path] = []  # checkpoint folders of all levels so far, the newest first
    returned = level = 0
    while True:
        last = decay * factor > limit * (1 + 1e-9)
        stage = run.stage(
            f"level_{level}",
            config=replace(run.config, search=_with_decay(settings, decay)),
            method=replace(method, stop=None) if last else method,
        )
        outcome = run_single_loop(
            stage,
            title=f"level {level + 1}, weight decay {decay:g}",
            start=_rolled_back(folders, returned) if folders else None,
        )
        if outcome.stopped_at is None:
            return outcome.genotype, outcome.state
        folders, returned = [stage.folder.checkpoints_dir, *folders], outcome.stopped_at
        _copy_records(stage.folder, run.folder.subfolder(f"level_{level + 1}"), up_to=returned)
        level, decay = level + 1, decay * factor


def _with_decay(settings: SearchConfig, decay: float) -> SearchConfig:
    """The settings with another weight decay; they keep all checkpoints, since a rollback may need any of them."""
    optimizer = replace(settings.weight_optimizer, weight_decay=decay)
    return replace(settings, weight_optimizer=optimizer, keep_checkpoints=settings.epochs + 2)


def _copy_records(source: RunFolder, target: RunFolder, *, up_to: int) -> None:
    """Copy the records of the epochs that the next level does not repeat."""
    for name in ("metrics", "genotypes"):
        if not target.records(name):
            for record in source.records(name):
                if record["epoch"] <= up_to:
                    target.append(name, record)


def _rolled_back(folders: list[Path], epoch: int) -> Callable[[Search, SearchState], SearchState]:
    return lambda search, state: _checkpoint(list(folders), epoch, epoch * search.steps_per_epoch, state)


def _checkpoint(folders: list[Path], epoch: int, step: int, like: SearchState) -> SearchState:
    """The state after `step` steps, from the newest level that has it; a level does not save its own first state."""
    for folder in folders:
        with Checkpoints(folder, keep=10**6) as checkpoints:
            restored = checkpoints.restore_latest(jax.eval_shape(lambda: like), up_to=step)
        if restored is not None and restored.step == step:
            return restored.state
    raise UserError(
        f"{folders[0]} holds no checkpoint of epoch {epoch} to roll back to; set search.checkpoint_every to 1"
    )
