"""Runs the trials of a study until it has enough or a signal arrives, and tells the progress."""

from collections.abc import Sequence
from typing import NamedTuple

from optuna.study import Study

from jdarts.errors import Interrupted
from jdarts.estimation import Criterion
from jdarts.runs.folder import RunFolder
from jdarts.runs.interrupts import StopSignal
from jdarts.runs.reporter import Reporter
from jdarts.strategies.progress import Progress
from jdarts.strategies.study import RunTrial, optimize


class Task(NamedTuple):
    """A study to continue: the function that runs a trial, the objectives, and the number of evaluated trials."""

    study: Study
    evaluate: RunTrial
    objectives: Sequence[Criterion]
    trials: int


def run_trials(task: Task, run: RunFolder | None, reporter: Reporter, hint: str) -> Progress:
    """Run trials until the study has enough.

    Args:
      task: the study.
      run: receives a record for every finished trial of any worker; None for a worker, which writes none.
      reporter: receives a line of progress at most once a second.
      hint: the end of the message about a signal.

    Raises `Interrupted` after SIGINT or SIGTERM, when the running trial has ended.
    """
    progress = Progress(task.study, task.objectives, task.trials, reporter, run)
    with StopSignal("the running trial") as stop:

        def after(study: Study) -> None:
            progress.update()
            if stop.received is not None:
                study.stop()

        try:
            optimize(task.study, task.evaluate, task.trials, after)
        finally:
            progress.update(last=True)
        if stop.received is not None and progress.done < task.trials:
            raise Interrupted(stop.received, f"{progress.done} of {task.trials} trials are kept; {hint}")
    return progress
