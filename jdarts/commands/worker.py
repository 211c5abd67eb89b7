"""`jdarts worker RUN`: joins the search or the tuning of a run folder, from any host that sees the folder."""

import argparse
from collections.abc import Callable
from pathlib import Path

from jdarts.commands import process
from jdarts.commands.arguments import Arguments, Parser, positive
from jdarts.runs import interrupts

LONG_COMMANDS = ("worker",)


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    command = add("worker", _worker, "take trials of a run of jdarts search --strategy or jdarts tune")
    command.add_argument("run", metavar="RUN", help="its run folder")
    command.add_argument("--storage", metavar="URL", help="its storage, if the URL has a password, which is not stored")
    command.add_argument("--parent", type=positive, help=argparse.SUPPRESS)  # the process that started this worker


def _worker(arguments: Arguments) -> None:
    if arguments.parent is not None:
        from jdarts.commands.worker_processes import end_with

        end_with(arguments.parent)
    run_dir = Path(arguments.run)
    interrupts.explain_with(lambda: "the running trial is lost and will be retried")

    from jdarts.report.records import read_run  # refuses other folders
    from jdarts.runs.kinds import refuse_without_trials

    config = read_run(run_dir).config
    refuse_without_trials(run_dir)
    from jdarts.report.console import ConsoleReporter

    with ConsoleReporter() as reporter:
        process.enable_compilation_cache(reporter.warning)
        from jdarts.commands.trial_runs import task_of_run
        from jdarts.strategies.running import run_trials

        task = task_of_run(run_dir, config, arguments.storage)
        done = run_trials(task, None, reporter, f"jdarts worker {run_dir} takes more").done
        reporter.message(f"the search has {done} of {task.trials} trials")
