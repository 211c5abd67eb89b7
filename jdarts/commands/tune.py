"""`jdarts tune CONFIG --vary …`: a search for hyper-parameters, with the studies of `jdarts search --strategy`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jdarts.commands import process, trials
from jdarts.commands.arguments import (
    CONFIG_HELP,
    GENOTYPE_HELP,
    Arguments,
    Parser,
    add_log_option,
    check_log_packages,
    load_experiment,
    load_genotype,
    positive,
)
from jdarts.commands.experiments import EPILOG
from jdarts.errors import CannotWrite, UserError
from jdarts.runs import interrupts
from jdarts.runs.kinds import Kind

LONG_COMMANDS = ("tune",)


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    command = add("tune", _tune, "search for hyper-parameters of a search or a training", epilog=EPILOG)
    command.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    command.add_argument(
        "--vary",
        metavar="NAME=VALUES",
        action="append",
        default=[],
        help="a field and its values: log:1e-4:1e-1 (real, log-uniform), lin:0:1, int:2:8 or a list 16,32; for a grid "
        "with the number of points, log:1e-4:1e-1:5; repeat it for several",
    )
    command.add_argument("--trials", metavar="N", type=positive, help="number of trials (grid: all points)")
    command.add_argument("--sampler", metavar="NAME", default="tpe", help="random, grid, tpe (default) or gp")
    command.add_argument("--pruner", metavar="NAME", default="none", help="none (default), median, hyperband, …")
    command.add_argument(
        "--genotype",
        metavar="G",
        help=f"tune the training of this genotype; without it, the search. {GENOTYPE_HELP}",
    )
    command.add_argument("--storage", metavar="URL", help=trials.STORAGE_HELP)
    command.add_argument("--workers", metavar="W", type=positive, default=1, help=trials.WORKERS_HELP)
    command.add_argument(
        "--together",
        metavar="K",
        type=positive,
        default=1,
        help="run K trials at the same time in one program, for accelerators; needs --pruner none",
    )
    command.add_argument("--resume", action="store_true", help="continue an interrupted run")
    command.add_argument("--overwrite", action="store_true", help="start over; the earlier folder is moved aside")
    command.add_argument("--run-dir", metavar="FOLDER", help="folder of the results (default: runs/NAME-tune)")
    add_log_option(command)


def _tune(arguments: Arguments) -> None:
    from jdarts.runs import opening

    check_log_packages(arguments.log)
    config, _ = load_experiment(arguments.config, arguments.overrides)
    run_dir = Path(arguments.run_dir) if arguments.run_dir else Path("runs") / f"{config.name}-tune"
    opening.check(run_dir, config, resume=arguments.resume, overwrite=arguments.overwrite, kind=Kind.TUNING)
    interrupts.explain_with(lambda: f"the finished trials are in {run_dir}; --resume continues")

    from jdarts.loggers.reporting import logged
    from jdarts.report.console import ConsoleReporter

    with ConsoleReporter() as console, logged(console, run_dir, arguments.log) as reporter:
        process.enable_compilation_cache(reporter.warning)
        try:
            _run(arguments, config, run_dir, reporter)
        except CannotWrite as error:
            raise opening.with_advice(error, run_dir) from error


def _run(arguments: Arguments, config: Any, run_dir: Path, reporter: Any) -> None:
    from jdarts.commands.trial_runs import run_tuning
    from jdarts.strategies.pruners import pruner_by_name
    from jdarts.strategies.tuning import TuningPlan, grid_size, sampler_of, varied_of

    varied = varied_of(arguments.vary, config)
    _refuse_without_effect([each.name for each in varied], config, training=arguments.genotype is not None)
    sampler_of(arguments.sampler, varied, config.seed)
    pruner_by_name(arguments.pruner)
    count = arguments.trials
    if arguments.sampler == "grid":
        count = min(count or sys.maxsize, grid_size(varied))
    elif count is None:
        raise UserError(f"sampler {arguments.sampler} needs the number of trials: --trials N")
    genotype = None if arguments.genotype is None else load_genotype(arguments.genotype, None)
    if arguments.together > 1:
        _check_together(arguments, config)
    plan = TuningPlan(
        vary=tuple(arguments.vary),
        trials=count,
        sampler=arguments.sampler,
        pruner=arguments.pruner,
        genotype="" if genotype is None else genotype.to_text(),
        storage=arguments.storage or "",
        together=arguments.together,
    )
    start = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    run_tuning(config, plan, run_dir, **start, reporter=reporter, workers=arguments.workers)


def _check_together(arguments: Arguments, config: Any) -> None:
    """Raise `UserError` for settings with which trials do not run at the same time."""
    from jdarts.methods import configured
    from jdarts.search.population import check_method

    if arguments.pruner != "none":
        raise UserError(
            f"--together {arguments.together} runs trials to their end at the same time, so that --pruner "
            f"{arguments.pruner} could stop none; leave one of them out"
        )
    if arguments.genotype is None:
        check_method(configured(config.search))


def _refuse_without_effect(names: Sequence[str], config: Any, *, training: bool) -> None:
    """Raise `UserError` for a field that no trial reads: of the search in a training, or the other way round."""
    from jdarts.data.text import is_text
    from jdarts.methods import configured

    read, other = ("language_train", "train") if is_text(config.data.source) else ("train", "language_train")
    unread = {"search", "space", other} if training else {"train", "language_train"}
    if not training and ("search.method" in names or configured(config.search).driver is not None):
        unread = {other}  # such methods may train cells
    for name in names:
        if name.partition(".")[0] in unread:
            way_out = f"vary fields of {read}" if training else "give the cell to train with --genotype"
            what = "training of a genotype" if training else f"search by {config.search.method}"
            raise UserError(f"--vary {name} has no effect on a {what}; {way_out}")
