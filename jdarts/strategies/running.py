"""Runs the trials of a study until it has enough or a signal arrives, and tells the progress."""

from collections.abc import Sequence
from typing import NamedTuple

from optuna.exceptions import StorageInternalError
from optuna.study import Study

from jdarts.errors import CannotWrite, Interrupted
from jdarts.estimation import Criterion
from jdarts.runs.folder import RunFolder
from jdarts.runs.interrupts import StopSignal
from jdarts.runs.reporter import Reporter
from jdarts.strategies.progress import Progress
from jdarts.strategies.storage import reason_of
from jdarts.strategies.study import RunTrial, optimize


class Helpers:
    """Other processes that take trials of a study, started by this one; here there are none."""

    count = 0

    def stop(self) -> None:
        """Make them stop after their running trials."""

    def check(self) -> None:
        """Tell of those that have failed."""

    def join(self) -> None:
        """Stop them, and wait until they have ended."""


class Task(NamedTuple):
    """A study to continue: the function that runs a trial, the objectives, and the number of evaluated trials."""

    study: Study
    evaluate: RunTrial
    objectives: Sequence[Criterion]
    trials: int


def run_trials(
    task: Task, run: RunFolder | None, reporter: Reporter, hint: str, helpers: Helpers | None = None
) -> Progress:
    """Run trials until the study has enough.

    Args:
      task: the study.
      run: receives a record for every finished trial of any worker; None for a worker, which writes none.
      reporter: receives a line of progress at most once a second.
      hint: the end of the message about a signal.
      helpers: other processes that take trials of the study; they stop with this one.

    Raises `Interrupted` after SIGINT or SIGTERM, when the running trials have ended.
    """
    progress = Progress(task.study, task.objectives, task.trials, reporter, run)
    helpers = helpers or Helpers()
    with StopSignal("the running trials" if helpers.count else "the running trial", helpers.stop) as stop:

        def after(study: Study) -> None:
            progress.update()
            helpers.check()

        try:
            stopped = lambda: stop.received is not None  # noqa: E731
            optimize(task.study, task.evaluate, task.trials, after, stopped=stopped, tell=reporter.message)
        except Exception as error:
            failure = _failure_of_storage(error)
            if failure is None:
                raise
            raise CannotWrite(f"the storage of the trials fails: {reason_of(failure)}") from error
        finally:
            helpers.join()
        progress.update(last=True)
        if stop.received is not None and progress.done < task.trials:
            raise Interrupted(stop.received, f"{progress.done} of {task.trials} trials are kept; {hint}")
    return progress


def _failure_of_storage(error: BaseException | None) -> StorageInternalError | None:
    """The failure behind an exception: while Optuna handles one of a database, it raises others of its own."""
    while error is not None and not isinstance(error, StorageInternalError):
        error = error.__cause__ or error.__context__
    return error
