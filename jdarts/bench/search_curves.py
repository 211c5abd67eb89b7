"""The figure of a comparison of strategies: the best score so far against the number of evaluations."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from jdarts.analysis.figures import COLOURS, figure
from jdarts.errors import UserError

_STYLES = ("-", "--", "-.", ":")
_BARS = 6  # of one line


def search_curves_figure(
    curves: Mapping[str, np.ndarray], *, score: str = "best accuracy so far, %", best: float | None = None
) -> Figure:
    """The mean over runs, a line for each strategy, with bars of one standard deviation at some evaluations.

    Args:
      curves: `[runs, evaluations]` by strategy, as in `jdarts.bench.table_searches.Searches.best_so_far`.
      score: the label of the axis.
      best: the best possible score, drawn as a line.

    Raises `UserError` if there is no curve, or one of another shape.
    """
    if not curves or any(np.ndim(values) != 2 or not np.size(values) for values in curves.values()):
        shapes = {name: np.shape(values) for name, values in curves.items()}
        raise UserError(f"the curves have the shapes {shapes}; give arrays [runs, evaluations] by strategy")
    fig, (axis,) = figure(1, width=7.2, height=5.0)
    for number, (name, values) in enumerate(curves.items()):
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        every = max(1, values.shape[1] // _BARS)
        shown = (every - 1 - number * every // (2 * len(curves)), every)  # beside each other
        axis.errorbar(
            np.arange(1, values.shape[1] + 1),
            mean,
            yerr=deviation,
            errorevery=(max(0, shown[0]), shown[1]),
            fmt=_STYLES[number % len(_STYLES)],
            color=COLOURS[number % len(COLOURS)],
            lw=2,
            elinewidth=1,
            capsize=3,
            label=f"{name} ({len(values)} runs)",
        )
    if best is not None:
        axis.axhline(best, color="#5b6675", lw=1)
        axis.annotate("best of the table", (0.01, best), xycoords=("axes fraction", "data"), va="bottom", fontsize=10)
    ends = [values.mean(axis=0) for values in curves.values()]
    late = [values[min(9, len(values) - 1) :] for values in ends]  # the first evaluations would fill the axis
    low, high = min(map(np.min, late)), max(max(map(np.max, late)), best or -np.inf)
    margin = 0.12 * (high - low) or 1.0
    axis.set(xlabel="evaluations", ylabel=score, ylim=(low - 4 * margin, high + margin))
    fig.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=11)
    return fig
