"""`jdarts search --strategy`: a search by trials. Its options, and the plan that they make up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands import process
from jdarts.commands.arguments import Arguments, Parser, check_log_packages, positive
from jdarts.config.ranges import shown
from jdarts.errors import CannotWrite, UserError
from jdarts.runs import interrupts
from jdarts.runs.kinds import Kind

_OPTIONS = (
    "trials",
    "strategy_options",
    "estimator",
    "table",
    "supernet",
    "budget",
    "objectives",
    "pruner",
    "storage",
    "workers",
    "limit",
    "latency_table",
)
_OF_METHODS = ("method", "seeds", "sweep", "coordinator", "num_processes", "process_id")
STORAGE_HELP = (
    "a database, as postgresql://…, or a journal file, where the trials are kept and workers find them (default: "
    "journal.log in the run folder)"
)

OBJECTIVES_HELP = "accuracy (default; of text it is perplexity), parameters, macs, latency, seconds"
WORKERS_HELP = (
    "number of processes that evaluate trials (default: 1); the log of the second is worker-1.log in the run folder"
)


def add_options(command: Parser) -> None:
    """Add the options of a search by trials to `jdarts search`."""
    group = command.add_argument_group("search by trials", "every strategy works in every space with every estimator")
    group.add_argument("--strategy", metavar="NAME", help="random, regularized_evolution, … (a wrong name lists all)")
    group.add_argument("--trials", metavar="N", type=positive, help="number of evaluated architectures")
    group.add_argument("--strategy-options", metavar="LIST", help="options of the strategy: population=20,sample=5")
    group.add_argument(
        "--estimator", metavar="E", help="train (from scratch, as in the section train), table, or inherited"
    )
    group.add_argument("--table", metavar="FILE", help="the file of a benchmark (default: search.benchmark_table)")
    group.add_argument("--supernet", metavar="RUN", help="the finished search whose weights are inherited")
    group.add_argument(
        "--budget",
        metavar="LIST",
        help="lower fidelities of train: epochs=3,data=0.25,resolution=16,cells=5,channels=8,width=0.5 (of text: "
        "epochs, data, units); of inherited: recalibration=8 (training batches for batch norm, 0: none), images=1000 "
        "(of text: words)",
    )
    group.add_argument("--objectives", metavar="LIST", help=OBJECTIVES_HELP)
    group.add_argument(
        "--limit", metavar="LIST", help="largest costs of an architecture: macs=3e8,parameters=5e6,latency=80"
    )
    group.add_argument(
        "--latency-table",
        metavar="FILE",
        help="latencies of blocks, from jdarts latency (default: a latency is measured on this device, one image)",
    )
    group.add_argument("--pruner", metavar="NAME", help="none (default), median, successive_halving or hyperband")
    group.add_argument("--storage", metavar="URL", help=STORAGE_HELP)
    group.add_argument("--workers", metavar="W", type=positive, help=WORKERS_HELP)


def is_asked(arguments: Arguments) -> bool:
    """True if the search is one by trials; raises `UserError` for options of the other kind of search."""
    given = [name for name in (_OF_METHODS if arguments.strategy else _OPTIONS) if getattr(arguments, name)]
    if given:
        without = "with --method, not with --strategy" if arguments.strategy else "of --strategy; name one"
        raise UserError(f"--{given[0].replace('_', '-')} is an option {without}")
    return bool(arguments.strategy)


def search(arguments: Arguments) -> None:
    """Execute the search."""
    check_log_packages(arguments.log)
    if arguments.trials is None:
        raise UserError("a search by trials needs their number: --trials N")
    options = pairs("--strategy-options", arguments.strategy_options, value_of)
    budget = pairs("--budget", arguments.budget, _number)
    limits = pairs("--limit", arguments.limit, _number)

    from jdarts.config.files import load_config
    from jdarts.runs import opening

    config = load_config(arguments.config, arguments.overrides)
    run_dir = Path(arguments.run_dir) if arguments.run_dir else Path("runs") / config.name
    start = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    opening.check(run_dir, config, **start, kind=Kind.TRIALS)
    interrupts.explain_with(lambda: f"the finished trials are in {run_dir}; --resume continues")

    from jdarts.loggers.reporting import logged
    from jdarts.report.console import ConsoleReporter

    with ConsoleReporter() as console, logged(console, run_dir, arguments.log) as reporter:
        process.enable_compilation_cache(reporter.warning)
        from jdarts.commands.trial_runs import run_strategy_search
        from jdarts.estimation import measure_of
        from jdarts.strategies.plan import TrialPlan

        plan = TrialPlan(
            strategy=arguments.strategy,
            trials=arguments.trials,
            options=options,
            estimator=arguments.estimator or "train",
            table=arguments.table or "",
            supernet=arguments.supernet or "",
            objectives=tuple((arguments.objectives or measure_of(config).name).split(",")),
            budget=budget,
            pruner=arguments.pruner or "none",
            storage=arguments.storage or "",
            limits=limits,
            latency_table=arguments.latency_table or "",
        )
        try:
            run_strategy_search(config, plan, run_dir, **start, reporter=reporter, workers=arguments.workers or 1)
        except CannotWrite as error:
            raise opening.with_advice(error, run_dir) from error


def pairs(option: str, text: str | None, parse: Callable[[str], Any]) -> dict[str, Any]:
    """The values of `name=value,name=value`; raises `UserError` for another form and for a name given twice."""
    found: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UserError(f"{option} has {shown(part)}; write name=value,name=value")
        if name.strip() in found:
            raise UserError(f"{option} has {name.strip()} twice; give one value")
        try:
            found[name.strip()] = parse(value.strip())
        except ValueError:
            raise UserError(f"{option}: {name.strip()} is {shown(value)}, which is not a number") from None
    return found


def value_of(text: str) -> Any:
    """A whole number, another number, true, false or none, else the text itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) < 1e12:  # NaN, too
        raise ValueError
    return value
