"""The parameters of a run of `jdarts tune`: the accuracy against each of them, and their importance."""

import warnings
from html import escape

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning

from jdarts.errors import UserError
from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.trials.record import TrialRun
from jdarts.report.words import precise, table
from jdarts.strategies.study import quiet
from jdarts.strategies.tuning import Varied, varied_of

FEWEST = 10
"""Complete trials below which importance is not shown."""


def tuned_parameters(run: TrialRun) -> str:
    """A chart for each parameter, and a table of importance; empty for other runs."""
    if not run.tunes or not run.complete:
        return ""
    try:
        fields = varied_of(run.plan["vary"], run.config)
    except (UserError, KeyError) as error:
        return f"Not available: {error}"
    charts = "".join(_marginal(run, varied) for varied in fields)
    return f'<div class="charts">{charts}</div>{_importance_table(run, fields)}'


def importance(run: TrialRun, fields: tuple[Varied, ...]) -> dict[str, float]:
    """The share of each parameter in reaching the best tenth of the trials (PED-ANOVA, Watanabe et al. 2023).

    Empty if there are fewer than `FEWEST` trials, a single parameter, or so many equal values that there is no best
    tenth.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # imports scikit-learn: seconds

    values = [run.point(trial) for trial in run.complete]
    sign = -1 if run.objectives[0].maximize else 1
    losses = sorted(sign * value for value, *_ in values)
    if len(values) < FEWEST or len(fields) < 2 or losses[len(losses) // 10] == losses[-1]:
        return {}
    distributions = {varied.name: varied.distribution for varied in fields}
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(direction="maximize" if run.objectives[0].maximize else "minimize")
        for trial, (value, *_) in zip(run.complete, values, strict=True):
            study.add_trial(optuna.create_trial(params=trial["params"], distributions=distributions, value=value))
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def _marginal(run: TrialRun, varied: Varied) -> str:
    """The first objective against one parameter, the best trial marked."""
    objective, d = run.objectives[0], varied.distribution
    names = tuple(map(str, d.choices)) if isinstance(d, CategoricalDistribution) else ()
    points = []
    for trial in run.complete:
        value, score = trial["params"].get(varied.name), run.point(trial)[0]
        if value is not None and (not names or str(value) in names):
            points.append((names.index(str(value)) if names else float(value), score, trial["number"]))
    if not points:
        return ""
    best = (max if objective.maximize else min)(points, key=lambda point: point[1])
    short = varied.name.rpartition(".")[2]

    def series(name: str, chosen: list[tuple[float, float, int]], colour: str) -> Series:
        texts = [
            f"trial {n}: {names[int(x)] if names else precise(x)}, {objective.name} {precise(y)}" for x, y, n in chosen
        ]
        x, y = [point[0] for point in chosen], [point[1] for point in chosen]
        return Series(name, x, y, colour, kind="points", titles=texts)

    logarithmic = isinstance(d, FloatDistribution) and d.log
    scales = Scales(
        objective.name, short, x_logarithmic=logarithmic, x_whole=isinstance(d, IntDistribution), x_names=names
    )
    return line_chart(varied.name, [series("trials", points, "s0"), series("best", [best], "s1")], scales)


def _importance_table(run: TrialRun, fields: tuple[Varied, ...]) -> str:
    found = importance(run, fields)
    if not found:
        return ""
    rows = [f"<tr><td>{escape(name)}</td><td class='n'>{100 * share:.0f} %</td></tr>" for name, share in found.items()]
    note = (
        "PED-ANOVA (Watanabe et al. 2023): how much the values in the best tenth of the trials differ from those of "
        "all trials, as shares. With few trials it is a rough guide."
    )
    head = "<tr><th>parameter</th><th class='n'>importance</th></tr>"
    return f'<h3>Importance</h3>{table(rows, head)}<p class="soft">{note}</p>'
