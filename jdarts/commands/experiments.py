"""The commands that search and train: `jdarts run`, `search`, `train`, and `plan`, which only estimates."""

import contextlib
import sys
from collections.abc import Callable
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
    from_zero,
    load_experiment,
    load_genotype,
    positive,
)
from jdarts.devices import processes
from jdarts.errors import CannotWrite, UserError
from jdarts.runs import interrupts
from jdarts.runs.kinds import Kind

RUN_COMMANDS = ("run", "search", "train")
METHOD_HELP = (
    "search with this method and its published settings (jdarts methods NAME shows them); values that CONFIG or an "
    "option sets are kept; --search.method NAME sets the method alone"
)
FROM_HELP = (
    "start from the trained network of another run (short for --train.start), also on other data: the head is new if "
    "classes or task differ"
)
SPACE_NAME_HELP = "short for --space.name (see jdarts spaces)"
EPILOG = (
    "Every value of the configuration can be overridden: --search.epochs 3. "
    "`jdarts COMMAND CONFIG --help` lists all of them. "
    "Configuration files are Python code and are executed."
)


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the commands with `add(name, execute, help)`."""
    for name, execute, help in (
        ("run", _run, "search, derive, retrain and test: a whole experiment"),
        ("search", _search, "search for a cell only, by a gradient-based method or, with --strategy, by trials"),
        ("train", _train, "train the network of a genotype from scratch, or from another run"),
    ):
        command = add(name, execute, help, epilog=EPILOG)
        command.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
        command.add_argument("--resume", action="store_true", help="continue an interrupted run")
        command.add_argument(
            "--overwrite", action="store_true", help="start over; an earlier run in the folder is moved to NAME.old-1"
        )
        folder = "runs/NAME-train" if name == "train" else "runs/NAME"
        command.add_argument("--run-dir", metavar="FOLDER", help=f"folder of the results (default: {folder})")
        if name != "train":
            _add_many(command)
            command.add_argument("--method", metavar="NAME", help=METHOD_HELP)
        _add_processes(command)
        add_log_option(command)
        if name == "search":
            trials.add_options(command)
        command.add_argument("--space", metavar="S", help=SPACE_NAME_HELP)
        if name == "train":
            command.add_argument("--genotype", metavar="G", help=f"{GENOTYPE_HELP} (default: that of --from)")
            command.add_argument("--from", metavar="RUN", dest="start", help=FROM_HELP)

    plan = add("plan", _plan, "estimate time and memory of a search on many devices", epilog=EPILOG)
    plan.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    plan.add_argument("--method", metavar="NAME", help=METHOD_HELP)
    plan.add_argument("--space", metavar="S", help=SPACE_NAME_HELP)
    plan.add_argument("--devices", metavar="N", type=positive, required=True, help="number of devices")
    plan.add_argument("--kind", metavar="KIND", required=True, help="tpu-v4, tpu-v5e, tpu-v5p, tpu-v6e, a100 or h100")


def _add_many(command: Parser) -> None:
    """Options for several searches in one program."""
    command.add_argument("--seeds", metavar="N|LIST", help="search with N seeds (5) or these (0,3,7) in one program")
    command.add_argument(
        "--sweep",
        metavar="NAME=VALUES",
        action="append",
        default=[],
        help="search with each value: weight_optimizer.learning_rate=0.01,0.025; repeat it for a grid",
    )


def _add_processes(command: Parser) -> None:
    """Options for several processes."""
    command.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of the first of several processes, or auto"
    )
    command.add_argument("--num-processes", metavar="N", type=positive, help="number of processes")
    command.add_argument("--process-id", metavar="I", type=from_zero, help="the number of this process, from 0")


def _run(arguments: Arguments) -> None:
    _execute(arguments, "run_experiment")


def _search(arguments: Arguments) -> None:
    if trials.is_asked(arguments):
        trials.search(arguments)
        return
    _execute(arguments, "run_search_only")


def _train(arguments: Arguments) -> None:
    if arguments.start is not None:
        arguments.overrides = [*arguments.overrides, f"--train.start={arguments.start}"]
    config, _ = load_experiment(arguments.config, arguments.overrides)
    given = arguments.genotype or config.train.start
    if not given:
        raise UserError("give a genotype (--genotype G) or a run to start from (--from RUN)")
    genotype = load_genotype(given, config.space.name if config.space.name.endswith(".py") else None)
    _execute(arguments, "run_train_only", genotype, suffix="-train")


def _execute(arguments: Arguments, function: str, *inputs: Any, suffix: str = "") -> None:
    from jdarts.runs import opening

    check_log_packages(arguments.log)
    config, note = load_experiment(arguments.config, arguments.overrides, method=getattr(arguments, "method", None))
    from jdarts.data.text import is_text

    if is_text(config.data.source):
        process.prefer_newer_loops()
    if function != "run_train_only":
        inputs = (*inputs, _members(arguments, config))
    processes.start(
        processes.from_environment(
            coordinator=arguments.coordinator,
            num_processes=arguments.num_processes,
            process_id=arguments.process_id,
        )
    )
    interrupts.renew()  # JAX's coordination service installs its own handler of SIGTERM
    run_dir = Path(arguments.run_dir) if arguments.run_dir else Path("runs") / f"{config.name}{suffix}"
    start = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    opening.check(run_dir, config, **start, kind=Kind.TRAINING if function == "run_train_only" else Kind.SEARCH)
    interrupts.explain_with(lambda: opening.advice(run_dir))

    from jdarts.loggers.reporting import logged
    from jdarts.report.console import ConsoleReporter
    from jdarts.runs.reporter import SilentReporter

    shown = ConsoleReporter() if processes.is_first() else contextlib.nullcontext(SilentReporter())
    kinds = arguments.log if processes.is_first() else ()
    with shown as console, logged(console, run_dir, kinds) as reporter:
        process.enable_compilation_cache(reporter.warning)
        if note:
            reporter.message(note)
        import jdarts.pipeline

        try:
            getattr(jdarts.pipeline, function)(config, *inputs, run_dir, **start, reporter=reporter)
        except CannotWrite as error:
            raise opening.with_advice(error, run_dir) from error


def _plan(arguments: Arguments) -> None:
    process.prefer_plain_loops()
    process.leave_out_source_lines()
    config, note = load_experiment(arguments.config, arguments.overrides, method=arguments.method)
    if note:
        print(note, file=sys.stderr)
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    process.enable_compilation_cache(lambda text: print(f"warning: {text}", file=sys.stderr))
    import jdarts.pipeline

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    print(jdarts.pipeline.plan_search(config, devices=arguments.devices, kind=arguments.kind, tell=tell))


def _members(arguments: Arguments, config: Any) -> tuple:
    """The searches of --seeds and --sweep; without these options nothing slow is imported."""
    if arguments.seeds is None and not arguments.sweep:
        return ()
    from jdarts.search.members import members_of

    return members_of(config, arguments.seeds, arguments.sweep)
