"""The results of `jdarts bench bilevel` as text and as a figure."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jdarts.analysis.figures import COLOURS, figure
from jdarts.bench.bilevel import TOLERANCES, Convergence, ProblemResult
from jdarts.bench.tables import align
from jdarts.errors import UserError
from jdarts.search.estimate import format_seconds

SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""The outer iterations that a table of errors shows, and the last."""

BILEVEL_NOTES = (
    "outer: iterations on the alphas from which on the error stays below the tolerance; -: never. inner: steps on the "
    "weights until then.",
    "passes: evaluations of the training loss with a gradient or a product, for the hypergradients until then "
    "(counted in one call at the end of the run); the inner steps are not among them. seconds: until then, with the "
    "inner steps, without compilation.",
    "Nyström: x = v/δ outside the chosen columns, so it fails where H has not a low rank, as with a penalty on every "
    "weight.",
    "error: (h(α) - h*) / (h(α_0) - h*) with the exact value function h(α) = L_val(w*(α), α) and its optimum h*.",
)


def problem_text(result: ProblemResult) -> str:
    """Both tables of a problem: the cost of each tolerance, and the errors along the runs."""
    lines = [f"{result.description}: h from {result.start:.4g} to {result.optimum:.4g}", "", costs_table(result), ""]
    return "\n".join([*lines, errors_table(result)])


def costs_table(result: ProblemResult) -> str:
    """One row for each estimator: outer and inner iterations, passes and seconds to each tolerance."""
    names = ("outer", "inner", "passes", "seconds")
    head = [f"{name} to {tolerance:.0%}" for tolerance in TOLERANCES for name in names]
    rows = [["", "passes a call", *head]]
    for run in result.runs.values():
        cells = [cell for tolerance in TOLERANCES for cell in _cost(run, run.outer[tolerance])]
        rows.append([run.description, str(run.train_passes), *cells])
    return align(rows)


def errors_table(result: ProblemResult) -> str:
    """One row for each estimator, one column for each of some numbers of outer iterations."""
    last = max(len(run.errors) for run in result.runs.values()) - 1
    shown = [*(i for i in SHOWN if i < last), last]
    rows = [["error after", *map(str, shown)]]
    rows += [[run.description, *(_number(run.errors[i]) for i in shown)] for run in result.runs.values()]
    return align(rows)


def save_figure(results: Mapping[str, ProblemResult], path: Path) -> None:
    """Errors against outer iterations, one axis for each problem, as a PNG or by the ending of the file."""
    fig, axes = figure(len(results), width=4.6, height=4.2, squeeze=False)
    for axis, (name, result) in zip(axes, results.items(), strict=True):
        for i, run in enumerate(result.runs.values()):
            errors = [error if error is not None and error > 0 else np.nan for error in run.errors]
            style = ("-", "--", ":")[i // len(COLOURS)]
            axis.plot(errors, style, color=COLOURS[i % len(COLOURS)], lw=1.6, label=run.description)
        axis.set(yscale="log", title=name, xlabel="outer iterations", ylim=(1e-5, 3))
    axes[0].set_ylabel("error of the outer value")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=10, frameon=False)
    try:
        fig.savefig(path, dpi=160)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write --output {str(path)!r}: {error}") from None


def _cost(run: Convergence, outer: int | None) -> list[str]:
    if outer is None:
        return ["-"] * 4
    return [str(outer), str(outer * run.inner), str(outer * run.train_passes), format_seconds(outer * run.seconds)]


def _number(error: float | None) -> str:
    return f"{error:.1e}" if error is not None else "diverged"
