"""Test scores of trained networks against their latency on this device."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from jdarts.errors import UserError
from jdarts.latency import ALONE, Measuring
from jdarts.train.tasks import TASKS
from jdarts.train.trained import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class MeasuredTraining:
    """A trained network.

    Attributes:
      name: of its run folder, without `-train`.
      genotype: its architecture as text; networks of several widths share it.
      metric: the name of its test score, such as `accuracy`.
      score: on the test images, from the training's `result.json`.
      milliseconds: of one call, in evaluation mode.
    """

    name: str
    genotype: str
    metric: str
    score: float
    milliseconds: float


def measure_trainings(
    runs: Sequence[str | Path],
    measuring: Measuring = ALONE,
    *,
    on_network: Callable[[MeasuredTraining], None] = lambda measured: None,
) -> list[MeasuredTraining]:
    """Measure the networks of the run folders `runs` of `jdarts train`, for images of the size of their training.

    Raises `UserError` for a folder without a finished training, and for trainings with different test scores.
    """
    networks = [load(run) for run in runs]
    scores = [_score(Path(run), TASKS[network.task].score) for run, network in zip(runs, networks, strict=True)]
    metrics = sorted({metric for metric, _ in scores})
    if len(metrics) > 1:
        raise UserError(f"the trainings have different test scores ({', '.join(metrics)}); compare those of one task")
    found = []
    for run, network, (metric, score) in zip(runs, networks, scores, strict=True):
        milliseconds = measuring.of_module(network.module, network.image_shape, False)
        name = Path(run).name.removesuffix("-train")
        found.append(MeasuredTraining(name, network.genotype.to_text(), metric, score, milliseconds))
        on_network(found[-1])
    return found


def _score(run: Path, metric: str) -> tuple[str, float]:
    """The name and the value of the test score of a training."""
    file = run / "result.json"
    try:
        return metric, float(json.loads(file.read_text())[f"test_{metric}"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{file} has no test score; finish the training (--resume)") from None


def trade_off_figure(measured: Sequence[MeasuredTraining]) -> "Figure":
    """Score over latency: a line for each architecture, through its widths; a point for each training."""
    from jdarts.analysis.figures import COLOURS, figure

    fig, (axis,) = figure(1, width=6.4, height=4.6)
    by_genotype = groupby(sorted(measured, key=lambda each: each.genotype), key=lambda each: each.genotype)
    for i, (_, group) in enumerate(by_genotype):
        points = sorted(group, key=lambda each: each.milliseconds)
        x, y = [each.milliseconds for each in points], [each.score for each in points]
        axis.plot(x, y, "os^Dv"[i % 5] + "-", color=COLOURS[i % len(COLOURS)], ms=6, lw=1.2)
        for each in points:
            axis.annotate(each.name, (each.milliseconds, each.score), (5, 4), textcoords="offset points", fontsize=9)
    axis.set(xlabel="latency on this device (ms)", ylabel=f"test {measured[0].metric.replace('_', ' ')}")
    axis.margins(0.12)
    return fig
