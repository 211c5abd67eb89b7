"""`jdarts worker RUN`: joins the search by trials of a run folder, from any host that sees the folder."""

from collections.abc import Callable
from pathlib import Path

from jdarts.commands import process
from jdarts.commands.arguments import Arguments, Parser
from jdarts.errors import UserError
from jdarts.runs import interrupts

LONG_COMMANDS = ("worker",)


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    command = add("worker", _worker, "take trials of a search that jdarts search --strategy has started")
    command.add_argument("run", metavar="RUN", help="its run folder")
    command.add_argument("--storage", metavar="URL", help="its storage, if the URL has a password, which is not stored")


def _worker(arguments: Arguments) -> None:
    run_dir = Path(arguments.run)
    interrupts.explain_with(lambda: "the running trial is lost and will be retried")

    from jdarts.report.records import read_run  # refuses other folders

    config = read_run(run_dir).config
    from jdarts.report.console import ConsoleReporter

    with ConsoleReporter() as reporter:
        process.enable_compilation_cache(reporter.warning)
        from dataclasses import replace

        from jdarts import __version__
        from jdarts.strategies.plan import JOURNAL, open_planned, prepare, read_plan, task_of
        from jdarts.strategies.running import run_trials

        plan, version = read_plan(run_dir)
        if version != __version__:
            raise UserError(f"{run_dir} is a run of jdarts {version}, this worker is {__version__}; use one version")
        if arguments.storage is not None:
            plan = replace(plan, storage=arguments.storage)
        elif "://…@" in plan.storage:
            raise UserError(f"the storage of {run_dir} is {plan.storage}; give its URL with --storage")
        parts = prepare(config, plan)
        study = open_planned(parts, run_dir / JOURNAL, worker=True)
        done = run_trials(task_of(parts, study), None, reporter, f"jdarts worker {run_dir} takes more").done
        reporter.message(f"the search has {done} of {plan.trials} trials")
