"""The runs of `jdarts search --strategy` and `jdarts tune`: folder, study, results."""

from dataclasses import replace
from pathlib import Path

from optuna.study import Study

from jdarts import __version__
from jdarts.analysis.monitor import monitor_hooks
from jdarts.commands.worker_processes import WorkerProcesses
from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.estimation import FromScratch, measure_of
from jdarts.genotypes import parse_architecture
from jdarts.methods import configured
from jdarts.networks.of_genotype import TrainedOnImages
from jdarts.pipeline import open_resident_search, open_run, place_search, show_genotype
from jdarts.report.cell_drawing import draw_svg
from jdarts.runs.folder import RunFolder
from jdarts.runs.kinds import PLAN, TUNING, Kind
from jdarts.runs.reporter import Reporter
from jdarts.search import SearchRun
from jdarts.search.members import Member
from jdarts.strategies import choices_of
from jdarts.strategies.plan import JOURNAL, TrialPlan, check_same, open_planned, prepare, read_plan, task_of
from jdarts.strategies.progress import Progress
from jdarts.strategies.running import Helpers, Task, run_trials
from jdarts.strategies.study import text_of
from jdarts.strategies.tuned_trials import TunedSearches, TunedTrainings, tuned, tuned_together
from jdarts.strategies.tuning import TuningPlan, open_tuning, read_tuning, varied_of


def run_strategy_search(
    config: Experiment,
    plan: TrialPlan,
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
    workers: int = 1,
) -> None:
    """Search by trials, as `plan` says, and show the best architecture."""
    parts = prepare(config, plan)
    if resume:
        check_same(run_dir, read_plan(run_dir)[0].as_json(), plan.as_json())
    study = open_planned(parts, run_dir / JOURNAL, resume=resume) if plan.storage else None
    start = {"resume": resume, "overwrite": overwrite, "kind": Kind.TRIALS}
    with open_run(run_dir, config, None, **start, reporter=reporter) as run:
        run.write_json(PLAN, plan.as_json())
        study = study or open_planned(parts, run.path / JOURNAL, resume=resume)
        helpers = WorkerProcesses(run, workers - 1, plan.storage, reporter)
        progress = _run_all(task_of(parts, study), run, reporter, helpers)
        if progress.best:
            best = parts.space.decode(choices_of(parts.space, progress.best[0]))
            run.write_text("genotype.txt", f"{text_of(best)}\n")
            if isinstance(best, TrainedOnImages):
                run.write_text("cells.svg", draw_svg(best, config.name))
                show_genotype(best, reporter)
            else:
                reporter.message(text_of(best))
        reporter.message(f"run folder: {run.path}")


def run_tuning(
    config: Experiment,
    plan: TuningPlan,
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
    workers: int = 1,
) -> None:
    """Tune the search, or the training of a genotype, and show the best values."""
    if plan.genotype:
        FromScratch.of(config).check(parse_architecture(plan.genotype), {})
    else:
        open_resident_search(config)
        if plan.together > 1:
            place_search(config, [Member(config.seed)] * plan.together)
    if resume:
        check_same(run_dir, read_tuning(run_dir)[0].as_json(), plan.as_json())
    study = open_tuning(config, plan, run_dir / JOURNAL, resume=resume) if plan.storage else None
    start = {"resume": resume, "overwrite": overwrite, "kind": Kind.TUNING}
    with open_run(run_dir, config, None, **start, reporter=reporter) as run:
        run.write_json(TUNING, plan.as_json())
        study = study or open_tuning(config, plan, run.path / JOURNAL, resume=resume)
        task = _tuning_task(config, plan, study, run)
        helpers = WorkerProcesses(run, workers - 1, plan.storage, reporter)
        progress = _run_all(task, run, reporter, helpers)
        if progress.best:
            values = progress.best[0].params.items()
            reporter.message(f"best: {' '.join(f'--{name} {value}' for name, value in values)}")
        reporter.message(f"run folder: {run.path}")


def task_of_run(run_dir: Path, config: Experiment, storage: str | None) -> Task:
    """The trials that the run in a folder lacks, for a worker; raises `UserError`.

    Args:
      run_dir, config: the folder and its configuration.
      storage: the storage with its password, if the run has one; None is the one that the folder names.
    """
    tuning = (run_dir / TUNING).is_file()
    plan, version = read_tuning(run_dir) if tuning else read_plan(run_dir)
    if version != __version__:
        raise UserError(f"{run_dir} is a run of jdarts {version}, this worker is {__version__}; use one version")
    if storage is not None:
        plan = replace(plan, storage=storage)
    elif "://…@" in plan.storage:
        raise UserError(f"the storage of {run_dir} is {plan.storage}; give its URL with --storage")
    if isinstance(plan, TuningPlan):
        study = open_tuning(config, plan, run_dir / JOURNAL, worker=True)
        return _tuning_task(config, plan, study, RunFolder(run_dir))
    parts = prepare(config, plan)
    return task_of(parts, open_planned(parts, run_dir / JOURNAL, worker=True))


def _run_all(task: Task, run: RunFolder, reporter: Reporter, helpers: Helpers) -> Progress:
    hint = f"give the same command with --resume to go on in {run.path}"
    progress = run_trials(task, run, reporter, hint, helpers)
    run.write_json("summary.json", progress.summary())
    if progress.done and not progress.best:
        raise UserError(
            f"none of the {progress.done} trials in {run.path} has a result"
            + (f"; the reason of the last one: {progress.reason}" if progress.reason else "")
        )
    return progress


def _tuning_task(config: Experiment, plan: TuningPlan, study: Study, run: RunFolder) -> Task:
    varied = varied_of(plan.vary, config)
    tried = (
        TunedTrainings(parse_architecture(plan.genotype), config, varied, plan.together)
        if plan.genotype
        else TunedSearches(_tuned_search, run, config, varied, plan.together)
    )
    evaluate = (
        tuned(config, varied, tried.measure)
        if plan.together == 1
        else tuned_together(config, varied, tried.measure_together, plan.together, plan.trials)
    )
    return Task(study, evaluate, (measure_of(config),), plan.trials)


def _tuned_search(config: Experiment, folder: RunFolder) -> SearchRun:
    space, data = open_resident_search(config)
    return SearchRun(config, space, data, folder, configured(config.search), hooks=monitor_hooks)
