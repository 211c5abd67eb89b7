"""The runs of `jdarts search --strategy` and `jdarts tune`: folder, study, results."""

from pathlib import Path

from jdarts.analysis.monitor import monitor_hooks
from jdarts.config import Experiment
from jdarts.data import load
from jdarts.estimation import ACCURACY, FromScratch
from jdarts.genotypes import Genotype
from jdarts.methods import configured
from jdarts.pipeline import open_run, prepare_search, show_genotype
from jdarts.report.cell_drawing import draw_svg
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.search import SearchRun
from jdarts.strategies import choices_of
from jdarts.strategies.plan import JOURNAL, PLAN, TrialPlan, check_same, open_planned, prepare, read_plan, task_of
from jdarts.strategies.running import Task, run_trials
from jdarts.strategies.study import text_of
from jdarts.strategies.tuned_trials import measure_search, measure_training, tuned
from jdarts.strategies.tuning import TUNING, TuningPlan, open_tuning, read_tuning, varied_of


def run_strategy_search(
    config: Experiment,
    plan: TrialPlan,
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
) -> None:
    """Search by trials, as `plan` says, and show the best architecture."""
    parts = prepare(config, plan)
    if resume:
        check_same(run_dir, read_plan(run_dir)[0].as_json(), plan.as_json())
    study = open_planned(parts, run_dir / JOURNAL, resume=resume) if plan.storage else None
    with open_run(run_dir, config, None, resume=resume, overwrite=overwrite, reporter=reporter) as run:
        run.write_json(PLAN, plan.as_json())
        study = study or open_planned(parts, run.path / JOURNAL, resume=resume)
        task = task_of(parts, study)
        progress = run_trials(task, run, reporter, f"give the same command with --resume to go on in {run.path}")
        run.write_json("summary.json", progress.summary())
        if progress.best:
            best = parts.space.decode(choices_of(parts.space, progress.best[0]))
            run.write_text("genotype.txt", f"{text_of(best)}\n")
            if isinstance(best, Genotype):
                run.write_text("cells.svg", draw_svg(best, config.name))
                show_genotype(best, reporter)
            else:
                reporter.message(text_of(best))
        reporter.message(f"run folder: {run.path}")


def run_tuning(
    config: Experiment,
    plan: TuningPlan,
    genotype: Genotype | None,
    run_dir: Path,
    *,
    resume: bool,
    overwrite: bool = False,
    reporter: Reporter,
) -> None:
    """Tune the search, or the training of a genotype, and show the best values."""
    if genotype is None:
        prepare_search(config)
    else:
        FromScratch(config, load(config.data)).at({}).check(genotype)
    if resume:
        check_same(run_dir, read_tuning(run_dir), plan.as_json())
    study = open_tuning(config, plan, run_dir / JOURNAL, resume=resume) if plan.storage else None
    with open_run(run_dir, config, None, resume=resume, overwrite=overwrite, reporter=reporter) as run:
        run.write_json(TUNING, plan.as_json())
        study = study or open_tuning(config, plan, run.path / JOURNAL, resume=resume)
        measure = measure_search(_tuned_search, run) if genotype is None else measure_training(genotype)
        task = Task(study, tuned(config, varied_of(plan.vary, config), measure), (ACCURACY,), plan.trials)
        progress = run_trials(task, run, reporter, f"give the same command with --resume to go on in {run.path}")
        run.write_json("summary.json", progress.summary())
        if progress.best:
            values = progress.best[0].params.items()
            reporter.message(f"best: {' '.join(f'--{name} {value}' for name, value in values)}")
        reporter.message(f"run folder: {run.path}")


def _tuned_search(config: Experiment, folder: RunFolder) -> SearchRun:
    space, data = prepare_search(config)
    return SearchRun(config, space, data, folder, configured(config.search), hooks=monitor_hooks)
