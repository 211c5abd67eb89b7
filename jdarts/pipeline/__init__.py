"""The whole experiment: search → derive → retrain → test, compared with a random cell of the same budget."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from jdarts import spaces
from jdarts.analysis.monitor import monitor_hooks
from jdarts.benchmarks import load_table
from jdarts.config import Experiment, own_estimators, user_files
from jdarts.data import Dataset, SearchData, from_arrays, load
from jdarts.data.streaming import StreamedData, open_streams
from jdarts.data.text import PUBLISHED, TextData, is_text, load_text, random_text
from jdarts.devices import processes
from jdarts.devices.memory import available
from jdarts.devices.placement import Placement, place
from jdarts.errors import UserError
from jdarts.genotypes import Architecture, Genotype
from jdarts.methods import configured, registry
from jdarts.methods.registry import with_known_method
from jdarts.ops import user_ops
from jdarts.pipeline.training import comparison, training_task
from jdarts.report.cell_drawing import Drawable, draw_svg, draw_terminal
from jdarts.runs import environment
from jdarts.runs.folder import RunFolder
from jdarts.runs.kinds import Kind
from jdarts.runs.opening import CLASSES, hold
from jdarts.runs.reporter import Reporter
from jdarts.search import SearchRun, run_search
from jdarts.search.conventions import hypergradient_of
from jdarts.search.estimate import check_weights
from jdarts.search.found import Found, genotype_file, summary, untrained
from jdarts.search.images import IMAGE_TASK
from jdarts.search.language import LANGUAGE_TASK
from jdarts.search.members import Member
from jdarts.search.population import check_members, own_loop, run_population
from jdarts.search.run import check_driver
from jdarts.search.separate import run_separately
from jdarts.spaces import ImageSpace, Space
from jdarts.spaces.nasbench_macro import NASBenchMacroSpace
from jdarts.train.tasks import require_classification
from jdarts.train.trained import load as load_trained

WITHOUT_ALPHAS = {"enas", "random_search"}
"""The drivers of methods that search spaces without a relaxation, too."""


def run_experiment(
    config: Experiment,
    members: Sequence[Member],
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
) -> None:
    """Search, retrain the found cell and a random cell with the same budget, test each once, and summarise.

    With `members`, all searches run as one program and every found cell is retrained.
    """
    task = training_task(config)
    space, data = _opener(config.data.source)(config)
    trained_on = task.load(config.data) if isinstance(data, StreamedData) else data
    check_members(config.search, members)
    placement = place_search(config, members)
    random_cells = _random_cells(space, config)
    for genotype in (*random_cells.values(), space.random_genotype(config.seed + len(random_cells))):
        task.check(config, genotype, trained_on)
    noise = untrained(config, space.tables)
    if noise and config.train.cells >= 3:
        raise UserError(f"{noise}, or train.cells of 1 or 2, which retrains reduction cells only")
    with open_run(run_dir, config, data, resume=resume, overwrite=overwrite, reporter=reporter) as run:
        method, folder = configured(config.search), run.subfolder("search")
        asked = SearchRun(config, space, data, folder, method, resume, reporter, monitor_hooks)
        if members:
            searched = _search_many(asked, members, placement)
            cells = {found.member.name: found.genotype for found in searched if found.genotype is not None}
            seeds = {found.member.name: found.member.seed for found in searched}
        else:
            cells = {"found": _search(asked, placement, run)}
            seeds = {}
        results: dict[str, tuple[Genotype, Any]] = {}
        for name, genotype in {**cells, **random_cells}.items():
            folder = run.subfolder(f"train-{name}")
            result = task.train(
                replace(config, seed=seeds.get(name, config.seed)),
                genotype,
                trained_on,
                folder,
                resume=resume,
                reporter=reporter,
                title=f"train {name} cell",
            )
            results[name] = (genotype, result)
        summary = {name: {"genotype": g.to_text(), **asdict(r)} for name, (g, r) in results.items()}
        for name in cells if noise else ():
            summary[name]["untrained"] = noise
        run.write_json("summary.json", summary)
        for genotype in cells.values():
            show_genotype(genotype, reporter, noise)
        trained = {name: result for name, (_, result) in results.items()}
        reporter.message(comparison(task, trained, {"found": list(cells), "random": list(random_cells)}))
        reporter.message(f"run folder: {run.path}")


def _random_cells(space: Space, config: Experiment) -> dict[str, Genotype]:
    """`random`, `random-2`, …: the random cells that are trained besides the found one."""
    names = ["random", *(f"random-{i}" for i in range(2, config.train.random_cells + 1))]
    return {name: space.random_genotype(config.seed + i) for i, name in enumerate(names)}


def run_search_only(
    config: Experiment,
    members: Sequence[Member],
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
) -> None:
    """Search and show the genotype, or those of all `members`."""
    space, data = _opener(config.data.source)(config)
    check_members(config.search, members)
    placement = place_search(config, members)
    with open_run(run_dir, config, data, resume=resume, overwrite=overwrite, reporter=reporter) as run:
        method, folder = configured(config.search), run.subfolder("search")
        asked = SearchRun(config, space, data, folder, method, resume, reporter, monitor_hooks)
        if members:
            _search_many(asked, members, placement)
        else:
            genotype = _search(asked, placement, run)
            show_genotype(genotype, reporter, untrained(config, space.tables))
        reporter.message(f"run folder: {run.path}")


def run_train_only(
    config: Experiment,
    genotype: Architecture,
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
) -> None:
    """Train one genotype or mobile network, from scratch or from `train.start`, and test it once."""
    task = training_task(config)
    task.accept(genotype, config.data.source)
    data = task.load(config.data)
    task.check(config, genotype, data)
    if config.train.start and not resume:
        load_trained(config.train.start)  # mistakes show before the folder is made
    start = {"resume": resume, "overwrite": overwrite, "kind": Kind.TRAINING}
    with open_run(run_dir, config, data, **start, reporter=reporter) as run:
        result = task.train(config, genotype, data, run, resume=resume, reporter=reporter)
        show_genotype(genotype, reporter)
        reporter.message(f"{task.describe(result)}\nrun folder: {run.path}")


def prepare_search(config: Experiment) -> tuple[ImageSpace, Dataset]:
    """The space and the data of a search, after every check that needs no compilation."""
    with_known_method(config)
    space = spaces.configured(config.space)
    data = load(config.data)
    _check_search(config, space, data.for_search(config.data))
    return space, data


def open_stream_search(config: Experiment) -> tuple[ImageSpace, StreamedData]:
    """The space and the streamed data of a search, after the same checks."""
    with_known_method(config)
    space, data = spaces.configured(config.space), open_streams(config.data)
    _check_search(config, space, data)
    return space, data


def open_text_search(config: Experiment) -> tuple[Any, TextData]:
    """The space and the text of a search, after the same checks."""
    with_known_method(config)
    return check_text_search(config, load_text(config.data))


def check_text_search(config: Experiment, data: TextData) -> tuple[Any, TextData]:
    """The space of a search on a text, and the text, after the checks of `open_text_search`."""
    with_known_method(config)
    if config.space.name not in spaces.LANGUAGE:
        raise UserError(
            f"data.source {config.data.source} is a text, but space.name is {config.space.name}; choose from: "
            f"{', '.join(spaces.LANGUAGE)}"
        )
    if not config.space.shared:
        raise UserError("space.shared is false, but a recurrent network has one cell; leave it out")
    space = spaces.LANGUAGE[config.space.name]
    LANGUAGE_TASK.check(config, space, configured(config.search), data)
    _check_benchmark(config, space)
    LANGUAGE_TASK.steps_per_epoch(config, data)
    return space, data


def open_resident_search(config: Experiment) -> tuple[Any, Any]:
    """The space and the data of a search, images in memory or text, after every check that needs no compilation."""
    return _opener(config.data.source, streamed=False)(config)


def _opener(source: str, *, streamed: bool = True) -> Callable[[Experiment], tuple[Any, Any]]:
    """The function that opens the space and the data of a search on `source`; images only as a stream if `streamed`."""
    if streamed and source.startswith("stream:"):
        return open_stream_search
    return open_text_search if is_text(source) else prepare_search


def _check_search(config: Experiment, space: ImageSpace, split: SearchData | StreamedData) -> None:
    require_classification(config)
    method = configured(config.search)
    if not space.alpha_shapes and method.driver not in WITHOUT_ALPHAS:
        raise UserError(
            f"space {space.name} has no alphas, which method {method.name} needs; use --method enas, or a strategy "
            "(--strategy)"
        )
    IMAGE_TASK.steps_per_epoch(config, split)
    space.check_image(*split.image_shape[:2], cells=config.space.cells)
    IMAGE_TASK.check(config, space, method, split)
    check_driver(method, streamed=isinstance(split, StreamedData))
    method.edge.check(config.space.channels)
    actual = {"channels": config.space.channels, "cells": config.space.cells, "size": split.image_shape[0]}
    actual["classes"] = split.num_classes
    for name, value in method.options.get("sizes", {}).items():
        if value != actual[name]:
            raise UserError(
                f"{name} of method {method.name} is {value}, but the search has {actual[name]}; add "
                f"{name}={actual[name]} to search.method_options"
            )
    if method.cutout_probability is not None and config.data.search_cutout == 0:
        raise UserError(f"{method.name} applies cutout while searching; set data.search_cutout, e.g. 16")
    if (method.alpha_start or 0) >= config.search.epochs:
        raise UserError(
            f"search.epochs is {config.search.epochs}, but {method.name} begins to move the alphas after "
            f"{method.alpha_start} epochs; search longer, or shorten that time (jdarts methods NAME lists the options)"
        )
    check_weights(config, space, split.image_shape[0], available())
    _check_benchmark(config, space)


def _check_benchmark(config: Experiment, space: Any) -> None:
    """Raise `UserError` if the benchmark's table cannot be read or is one of another space."""
    if not config.search.benchmark_table:
        return
    table = load_table(config.search.benchmark_table)
    kinds = {"nasbench201": spaces.NASBench201Space, "nasbench_macro": NASBenchMacroSpace}
    if not isinstance(space, kinds[table.space]):
        own = "" if config.space.shared else ", with space.shared false"
        raise UserError(
            f"search.benchmark_table {config.search.benchmark_table} is for the space {table.space}; space.name is "
            f"{space.name!r}{own}"
        )


@contextlib.contextmanager
def open_run(
    run_dir: Path,
    config: Experiment,
    data: Dataset | StreamedData | TextData | None,
    *,
    resume: bool,
    overwrite: bool,
    reporter: Reporter,
    kind: Kind = Kind.SEARCH,
) -> Iterator[RunFolder]:
    """The run folder, locked until the end of the `with` block."""
    with hold(run_dir, config, resume=resume, overwrite=overwrite, kind=kind, tell=reporter.message) as run:
        if resume:
            _warn_of_another_environment(run, reporter)
        elif processes.is_first():
            run.write_json("environment.json", environment.describe())
            if data is not None and data.class_names:
                run.write_json(CLASSES, data.class_names)
            _keep_user_files(run, config)
        yield run


def defining_files(config: Experiment) -> dict[str, str]:
    """The files of the methods, the hypergradient (if it is the user's) and the space, keyed by what they define."""
    methods = [part.strip() for part in config.search.method.split("+")]
    files = {f"method {method!r}": user_files.source_file(registry.get(method)) for method in methods}
    own = hypergradient_of(config.search, configured(config.search))
    if own in own_estimators.OWN:
        files[f"hypergradient {own!r}"] = user_files.source_file(own_estimators.OWN[own])
    if config.space.name not in (*spaces.DECISIONS_ONLY, *spaces.LANGUAGE):
        files[f"space {config.space.name!r}"] = spaces.source_file(config.space.name)
    return files


def _keep_user_files(run: RunFolder, config: Experiment) -> None:
    """Copy the user's files among those that define the search into the run folder."""
    sources = user_files.keep(run.path, defining_files(config))
    if sources is not None:
        run.write_json(user_files.RECORD, sources)
    if config.space.name.endswith(".py"):  # so that the genotypes can be read without that file
        run.write_json("own_ops.json", {"names": user_ops.names()})


def _warn_of_another_environment(run: RunFolder, reporter: Reporter) -> None:
    try:
        stored = json.loads((run.path / "environment.json").read_text())
    except (OSError, ValueError):
        return
    differences = environment.differences(stored) if isinstance(stored, dict) else []
    if differences:
        reporter.warning(
            f"{run.path} is resumed under {', '.join(differences)}; its result may differ in the last bits from that "
            "of an uninterrupted run"
        )


def plan_search(config: Experiment, *, devices: int, kind: str, tell: Callable[[str], None] = print) -> str:
    """The estimated cost of the search on `devices` devices of a kind, as text.

    CIFAR, Penn Treebank and WikiText-2 need no files for that.

    `tell` receives lines of progress.
    """
    from jdarts.search.plan import plan

    if is_text(config.data.source):
        published = config.data.source in PUBLISHED and not config.data.path
        space, text = check_text_search(
            config, random_text(config.data.source) if published else load_text(config.data)
        )
        if not space.alpha_shapes:
            raise UserError(f"space {space.name} has no alphas, so that there is no search step to plan; use darts_rnn")
        return plan(config, space, text, devices=devices, kind=kind, tell=tell)
    with_known_method(config)
    space = spaces.configured(config.space)
    known = {"cifar10": 10, "cifar100": 100}
    if config.data.source in known and not config.data.path:
        classes, ones = known[config.data.source], (1.0, 1.0, 1.0)
        pair = np.broadcast_to(np.uint8(0), (50_000, 32, 32, 3)), np.arange(50_000) % classes
        data = from_arrays(config.data.source, pair, pair, num_classes=classes, mean=ones, std=ones)
    else:
        data = load(config.data)
    split = data.for_search(config.data)
    space.check_image(*split.train.images.shape[1:3], cells=config.space.cells)
    return plan(config, space, split, devices=devices, kind=kind, tell=tell)


def place_search(config: Experiment, members: Sequence[Member]) -> Placement:
    """The placement of the search, after `UserError`s about devices, batches and the method."""
    placement = place(
        config.devices,
        batch_size=config.search.batch_size,
        microbatches=config.search.microbatches,
        members=len(members),
    )
    if not members:
        check_driver(configured(config.search), streamed=False, placement=placement)
    return placement


def _search_many(run: SearchRun, members: Sequence[Member], placement: Placement) -> list[Found]:
    reporter = run.reporter
    searched = (run_separately if own_loop(run.method) else run_population)(run, members, placement)
    noise = untrained(run.config, run.space.tables)
    for found in searched:
        text = found.genotype.to_text(without="normal" if noise else "") if found.genotype else "diverged"
        reporter.message(f"{found.member.name}: {text}")
    if noise:
        reporter.warning(noise)
    mean = summary(searched)
    for name in mean:
        if name.endswith("_accuracy"):
            spread = mean[f"{name}_std"]
            reporter.message(f"{name} {mean[name]:.2%} ± {spread:.2%} ({len(searched)} searches)")
    return searched


def _search(run: SearchRun, placement: Placement, results: RunFolder) -> Genotype:
    genotype, _ = run_search(run, placement)
    results.write_text("genotype.txt", genotype_file(run.config, genotype))
    without = "normal" if untrained(run.config, run.space.tables) else ""
    results.write_text("cells.svg", draw_svg(genotype, run.config.name, without=without))
    return genotype


def show_genotype(genotype: Drawable, reporter: Reporter, noise: str = "") -> None:
    """Show a genotype; a non-empty `noise` says why its normal cell was not searched, and that cell is left out."""
    without = "normal" if noise else ""
    reporter.message(genotype.to_text(without=without) if isinstance(genotype, Genotype) else genotype.to_text())
    if noise:
        reporter.warning(f"{noise}. The normal cell is left out, since it is noise from the initialisation")
    reporter.message(draw_terminal(genotype, without=without))
