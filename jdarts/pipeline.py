"""The whole way: search → derive → retrain → test, beside a random cell with the same budget."""

from dataclasses import asdict
from pathlib import Path

from jdarts import spaces
from jdarts.config import Experiment
from jdarts.data import Dataset, load, steps_per_epoch
from jdarts.genotype import Genotype
from jdarts.report.cell_drawing import draw, draw_terminal
from jdarts.report.console import Reporter
from jdarts.run_folder import RunFolder
from jdarts.search import run_search
from jdarts.spaces import Space, check_derived
from jdarts.train import TrainResult, run_training


def run_experiment(config: Experiment, run_dir: Path, *, resume: bool, reporter: Reporter) -> None:
    """Search, retrain the found cell and a random cell with the same budget, test each once, and sum up."""
    space, data = _checked(config)
    random_genotype = space.random_genotype(config.seed)
    for genotype in (random_genotype, space.random_genotype(config.seed + 1)):
        _check_training(config, genotype, data)
    run = _open(run_dir, config, resume)
    found = _search(config, space, data, run, resume=resume, reporter=reporter)
    results: dict[str, tuple[Genotype, TrainResult]] = {}
    for name, genotype in (("found", found), ("random", random_genotype)):
        folder = run.subfolder(f"train-{name}")
        result = run_training(
            config, genotype, data, folder, resume=resume, reporter=reporter, title=f"train {name} cell"
        )
        results[name] = (genotype, result)
    summary = {name: {"genotype": g.to_text(), **asdict(r)} for name, (g, r) in results.items()}
    run.write_json("summary.json", summary)
    _show_genotype(found, reporter)
    rows = [f"{'':12}  test accuracy  parameters        MACs"]
    for name, (_, r) in results.items():
        rows.append(f"{name + ' cell':12}  {r.test_accuracy:12.2%}  {r.parameters:>10,}  {r.macs:>10,}")
    reporter.message("\n".join(rows))
    reporter.message(f"run folder: {run.path}")


def run_search_only(config: Experiment, run_dir: Path, *, resume: bool, reporter: Reporter) -> None:
    """Search and show the genotype."""
    space, data = _checked(config)
    run = _open(run_dir, config, resume)
    _show_genotype(_search(config, space, data, run, resume=resume, reporter=reporter), reporter)
    reporter.message(f"run folder: {run.path}")


def run_train_only(config: Experiment, genotype: Genotype, run_dir: Path, *, resume: bool, reporter: Reporter) -> None:
    """Train one genotype from scratch and test it once."""
    data = load(config.data)
    _check_training(config, genotype, data)
    run = _open(run_dir, config, resume)
    result = run_training(config, genotype, data, run, resume=resume, reporter=reporter)
    _show_genotype(genotype, reporter)
    reporter.message(
        f"test accuracy {result.test_accuracy:.2%} (evaluated once, after the last epoch), "
        f"{result.parameters:,} parameters, {result.macs:,} MACs\nrun folder: {run.path}"
    )


def _checked(config: Experiment) -> tuple[Space, Dataset]:
    """The space and the data, after every check that needs no compilation."""
    space = spaces.get(config.space.name)
    data = load(config.data)
    split = data.for_search(config.data)
    for images in (split.train, split.val):
        steps_per_epoch(len(images), config.search.batch_size)
    space.check_image(*data.train.images.shape[1:3], cells=config.space.cells)
    return space, data


def _check_training(config: Experiment, genotype: Genotype, data: Dataset) -> None:
    steps_per_epoch(len(data.for_training(config.train.val_fraction).train), config.train.batch_size)
    check_derived(
        genotype,
        channels=config.train.channels,
        cells=config.train.cells,
        image_size=data.train.images.shape[1:3],
        auxiliary=config.train.auxiliary_weight > 0,
    )


def _open(run_dir: Path, config: Experiment, resume: bool) -> RunFolder:
    return RunFolder.open(run_dir, config) if resume else RunFolder.create(run_dir, config)


def _search(config, space, data, run: RunFolder, *, resume: bool, reporter: Reporter) -> Genotype:
    genotype, _ = run_search(config, space, data, run.subfolder("search"), resume=resume, reporter=reporter)
    run.write_text("genotype.txt", genotype.to_text() + "\n")
    draw(genotype, run.path / "cells.svg", title=config.name)
    return genotype


def _show_genotype(genotype: Genotype, reporter: Reporter) -> None:
    reporter.message(genotype.to_text())
    reporter.message(draw_terminal(genotype))
