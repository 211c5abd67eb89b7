"""Parallel coordinates: a vertical axis for every decision of a run, a line for every trial."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.report.trials.record import TrialRun
from jdarts.report.words import precise
from jdarts.strategies.tuning import Varied, varied_of

BEST_SHARE = 0.1
"""The share of the trials that are highlighted."""
_MOST_OTHERS = 150
_TOP, _HEIGHT, _WIDTH = 16, 280, 1130
_LEAST_STEP = 28
"""The distance of two axes is at least this; the card scrolls where that makes a drawing wider than the page."""
_FONT, _CHARACTER = 11, 6.4
_MOST_TICKS, _MOST_CHARACTERS = 14, 18
_SPREAD = 0.32
"""The lines through an option fill this share of the distance to the next option on both sides."""


@dataclass(frozen=True)
class Axis:
    """An axis: the name, the height of a value from 0 to 1, labels with their heights, room of an option."""

    name: str
    heights: dict[Any, float] | Varied
    ticks: Sequence[tuple[float, str]]
    room: float = 0.0

    def height(self, value: Any) -> float | None:
        """The height of a value; None if it has none."""
        if isinstance(self.heights, Varied):
            return _continuous(self.heights, value)
        return self.heights.get(value)


def parallel_view(run: TrialRun) -> str:
    """The card with the drawing and a sentence that explains it; empty without complete trials."""
    ranked = ranked_trials(run)
    if not ranked:
        return ""
    try:
        axes = axes_of(run)
    except UserError as error:
        return f'<p class="soft">Not drawn: {escape(str(error))}</p>'
    best, others = highlighted(ranked)
    name = run.objectives[0].name
    sampled = f" Of the others {len(others)} are drawn." if len(others) + len(best) < len(ranked) else ""
    note = (
        f"A line is a trial. The best {len(best)} of {len(ranked)} by {name} are coloured, the best one is thick."
        f"{sampled} Lines through one option are spread by rank, the best on top."
    )
    return f'<p class="soft">{escape(note)}</p><div class="card scroll">{_svg(run, axes, best, others)}</div>'


def ranked_trials(run: TrialRun) -> list[dict[str, Any]]:
    """The complete trials, the best by the first objective first; equal ones in the order of their ends."""
    sign = -1 if run.objectives[0].maximize else 1
    return sorted(run.complete, key=lambda trial: sign * run.point(trial)[0])


def highlighted(ranked: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The best tenth of the trials, at least one, and at most `_MOST_OTHERS` of the rest, evenly by rank."""
    count = max(1, round(BEST_SHARE * len(ranked)))
    best, rest = ranked[:count], ranked[count:]
    if len(rest) > _MOST_OTHERS:
        rest = [rest[i] for i in np.linspace(0, len(rest) - 1, _MOST_OTHERS).round().astype(int)]
    return best, rest


def axes_of(run: TrialRun) -> list[Axis]:
    """The axes of the parameters; raises `UserError` if the space or a tuned field is unknown to this process."""
    if run.tunes:
        return [_tuned(varied) for varied in varied_of(run.plan["vary"], run.config)]
    decisions = spaces.get_decisions(run.config.space.name).decisions
    return [_options(d.name, range(d.options), d.labels) for d in decisions]


def _options(name: str, values: Sequence[Any], labels: Sequence[str]) -> Axis:
    n = len(values)
    heights = [(i + 0.5) / n for i in range(n)]
    every = -(-n // _MOST_TICKS)
    short = [label if len(label) <= _MOST_CHARACTERS else f"{label[: _MOST_CHARACTERS - 1]}…" for label in labels]
    return Axis(name, dict(zip(values, heights, strict=True)), list(zip(heights, short, strict=True))[::every], 1 / n)


def _tuned(varied: Varied) -> Axis:
    d = varied.distribution
    if isinstance(d, CategoricalDistribution):
        return _options(varied.name, d.choices, [str(choice) for choice in d.choices])
    assert isinstance(d, FloatDistribution | IntDistribution)
    return Axis(varied.name, varied, [(0.0, f"{d.low:g}"), (1.0, f"{d.high:g}")])


def _continuous(varied: Varied, value: Any) -> float | None:
    d = varied.distribution
    assert isinstance(d, FloatDistribution | IntDistribution)
    if not isinstance(value, int | float) or not d.low <= value <= d.high:
        return None
    low, high, at = (np.log([d.low, d.high, value]) if d.log else np.array([d.low, d.high, value])).tolist()
    return (at - low) / (high - low)


def _svg(run: TrialRun, axes: list[Axis], best: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    scores = [run.point(trial)[0] for trial in [*best, *others]]
    low, high = min(scores), max(scores)
    score = Axis(run.objectives[0].name, {}, [(0.0, precise(low)), (1.0, precise(high))])
    longest = max(len(label) for axis in axes for _, label in axis.ticks)
    width = max(_WIDTH, 140 + max(_LEAST_STEP, _CHARACTER * longest + 12) * len(axes))
    slanted = max(len(axis.name) for axis in axes) * _CHARACTER > 0.9 * width / (len(axes) + 1)
    name = _CHARACTER * len(axes[0].name) * (0.72 if slanted else 0.5)
    left = 30 + max(name, _CHARACTER * max(len(label) for _, label in axes[0].ticks) - 20)
    step = (width - left - 84) / len(axes)
    below = 26 + (0.72 * _CHARACTER * max(len(axis.name) for axis in [*axes, score]) if slanted else 0)
    lines = []
    order = [*others[::-1], *best[::-1]]  # the best ones last, above the others
    for place, trial in enumerate(order):
        value = run.point(trial)[0]
        shift = (2 * (place + 0.5) / len(order) - 1) * _SPREAD
        heights = [None if h is None else h + shift * axis.room for axis in axes for h in [_at(axis, trial)]]
        heights.append((value - low) / (high - low) if high > low else 0.5)
        points = [
            (left + i * step, _TOP + (1 - height) * _HEIGHT) for i, height in enumerate(heights) if height is not None
        ]
        lines.append(_line(points, _look(trial, best), f"trial {trial['number']}: {score.name} {precise(value)}"))
    shown = [_axis(axis, left + i * step, slanted, last=axis is score) for i, axis in enumerate([*axes, score])]
    described = escape(f"{len(order)} trials over {len(axes)} decisions", quote=True)
    least = "" if width == _WIDTH else f' style="min-width: {width:.0f}px"'
    return (
        f'<svg viewBox="0 0 {width:.0f} {_TOP + _HEIGHT + below:.0f}" role="img" class="parallel" '
        f'aria-label="{described}" font-size="{_FONT}"{least}>{"".join(lines)}{"".join(shown)}</svg>'
    )


def _at(axis: Axis, trial: dict[str, Any]) -> float | None:
    return axis.height(trial["params"].get(axis.name))


def _look(trial: dict[str, Any], best: list[dict[str, Any]]) -> str:
    if trial is best[0]:
        return "stroke: var(--s1); stroke-width: 3.2"
    if any(trial is other for other in best):
        return "stroke: var(--s0); stroke-width: 1.6; stroke-opacity: 0.85"
    return "stroke: var(--s6); stroke-width: 0.8; stroke-opacity: 0.35"


def _line(points: list[tuple[float, float]], look: str, title: str) -> str:
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path d="{path}" fill="none" style="{look}"><title>{escape(title)}</title></path>'


def _axis(axis: Axis, x: float, slanted: bool, *, last: bool) -> str:
    bottom = _TOP + _HEIGHT
    parts = [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" style="stroke: var(--soft)"/>']
    for height, text in axis.ticks:
        y = _TOP + (1 - height) * _HEIGHT + 4
        side = f'x="{x + 5:.1f}"' if last else f'x="{x - 4:.1f}" text-anchor="end"'
        parts.append(f'<text {side} y="{y:.1f}" class="tick">{escape(text)}</text>')
    turn = f' transform="rotate(-45 {x:.1f} {bottom + 14})" text-anchor="end"' if slanted else ' text-anchor="middle"'
    parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="axis"{turn}>{escape(axis.name)}</text>')
    return "".join(parts)
