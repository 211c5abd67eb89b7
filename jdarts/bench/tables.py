"""Benchmark results as aligned text for people and as JSON for programs (`as_json`)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jdarts.bench.accuracy import Precisions
from jdarts.bench.ceilings import Ceilings
from jdarts.bench.gradients import GradientCost
from jdarts.bench.reading import ReadingCost
from jdarts.bench.seeds import APART, SeedsCost
from jdarts.bench.steps import StepReport
from jdarts.bench.timing import Spread
from jdarts.bench.waiting import Waiting
from jdarts.devices.memory import format_bytes
from jdarts.search.estimate import format_seconds

STEP_NOTES = (
    "step: median (quartiles) of rounds in which all steps run in turn. × weight: from the ratios within each round. "
    "images/s, words/s: those of the training split.",
    "arrays: state and data set. temporary: the most memory that XLA allocates beyond them. process: growth of this "
    "process in the first step. device: the most memory in use on the accelerator.",
    "FLOP/s and bytes/s: XLA's count for the program, divided by the median; in brackets the share of the ceiling. Not "
    "of text, where XLA counts the body of the loop over time once.",
)

NOISE_NOTES = (
    "float64, float32: ‖finite difference − exact‖ / ‖exact‖ of the hypergradient. of the term: the float64 error as a "
    "multiple of the second-order term; at 1 that term is lost.",
    "order: power of ε with which the float64 error grows from the row above. +2: the loss is smooth between the two "
    "points. -1: the error is rounding. Other values: kinks of ReLU or max pooling lie between the points.",
)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells as text: the first column is left-aligned, the others are right-aligned.

    The first row is the head. A column that is empty below its head is left out.
    """
    kept = [c for c in range(len(rows[0])) if c == 0 or any(row[c] for row in rows[1:])]
    widths = {c: max(len(row[c]) for row in rows) for c in kept}
    lines = ["  ".join(row[c].ljust(widths[c]) if c == 0 else row[c].rjust(widths[c]) for c in kept) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def ceilings_line(ceilings: Ceilings) -> str:
    """The measured peak rates in one line."""
    products = ", ".join(f"{_rate(rate, 'FLOP/s')} ({dtype})" for dtype, rate in ceilings.flops_per_second.items())
    return f"ceilings: matrix product {products}; copy {_rate(ceilings.bytes_per_second, 'B/s')}"


def steps_table(
    reports: Mapping[str, StepReport],
    descriptions: Mapping[str, str],
    ceilings: Ceilings,
    ratios: Mapping[str, Spread],
) -> str:
    """One row for each step; `ratios` are those to the weight step (an entry may be missing)."""
    unit = next((r.unit for r in reports.values()), "images")
    head = [
        "",
        "trace",
        "compile",
        "first",
        "step",
        "× weight",
        f"{unit}/s",
        "arrays",
        "temporary",
        "process",
        "device",
    ]
    rows = [[*head, "FLOP/s", "bytes/s"]]
    for name, r in reports.items():
        rows.append(
            [
                descriptions[name],
                format_seconds(r.trace_seconds),
                format_seconds(r.compile_seconds),
                format_seconds(r.first_seconds),
                seconds_cell(r.seconds),
                ratio_cell(ratios[name]) if name in ratios else "",
                f"{r.images_per_second:,.3g}" if r.images_per_second < 1000 else f"{r.images_per_second:,.0f}",
                format_bytes(r.argument_bytes),
                format_bytes(r.temporary_bytes),
                "" if r.resident_bytes is None else format_bytes(r.resident_bytes),
                "" if r.device_peak_bytes is None else format_bytes(r.device_peak_bytes),
                _share(r.flops_per_second, ceilings.fastest),
                _share(r.bytes_per_second, ceilings.bytes_per_second),
            ]
        )
    return align(rows)


def against_table(
    this: Mapping[str, StepReport],
    other: Mapping[str, StepReport],
    descriptions: Mapping[str, str],
    ratios: Mapping[str, Spread],
    names: tuple[str, str],
) -> str:
    """Two configurations next to each other, and the second as a multiple of the first."""
    unit = next((r.unit for r in this.values()), "images")
    rows = [["", names[0], names[1], "time ratio", f"{unit}/s ratio", "temporary ratio", "compile ratio"]]
    for name, ratio in ratios.items():
        a, b = this[name], other[name]
        rows.append(
            [
                descriptions[name],
                seconds_cell(a.seconds),
                seconds_cell(b.seconds),
                ratio_cell(ratio),
                f"{b.images / a.images / ratio.median:.2f}",
                f"{b.temporary_bytes / max(a.temporary_bytes, 1):.2f}",
                f"{b.compile_seconds / max(a.compile_seconds, 1e-9):.2f}",
            ]
        )
    return align(rows)


def waiting_lines(waiting: Waiting) -> str:
    """The use of time in the search loop."""
    return (
        f"search loop, {waiting.steps} steps: {waiting.fraction:.2%} of an epoch of {waiting.steps_per_epoch:,} steps "
        f"outside the compiled step ({format_seconds(waiting.between_seconds)} between steps of "
        f"{format_seconds(waiting.step_seconds)}, {format_seconds(waiting.epoch_end_seconds)} at the end of an epoch)"
    )


def gradients_table(costs: Mapping[str, GradientCost]) -> str:
    """One row for each estimator."""
    rows = [["alpha gradient", "compile", "seconds", "× weight step", "temporary", "× weight gradient", "process"]]
    for cost in costs.values():
        rows.append(
            [
                cost.description,
                format_seconds(cost.trace_seconds + cost.compile_seconds),
                seconds_cell(cost.seconds),
                ratio_cell(cost.steps),
                format_bytes(cost.temporary_bytes),
                "" if cost.memory_ratio is None else f"{cost.memory_ratio:.2f}",
                "" if cost.resident_bytes is None else format_bytes(cost.resident_bytes),
            ]
        )
    return align(rows)


def precisions_table(found: Precisions) -> str:
    """One row for each ε: errors of the finite difference as fractions of the hypergradient, in float64 and float32."""
    rows = [["ε", "float64", "order", "of the term", "float32", "noise redrawn"]]
    double, single = found.double.differences["same"], found.single.differences["same"]
    redrawn = found.single.differences.get("legacy", (None,) * len(single))
    for row in zip(found.double.epsilons, double, found.orders, single, redrawn, strict=True):
        epsilon, in_double, order, in_single, with_redrawn = row
        rows.append(
            [
                f"{epsilon:.0e}",
                f"{in_double.relative_error:.1e}",
                "" if order is None else f"{order:+.1f}",
                f"{in_double.term_error:.1e}",
                f"{in_single.relative_error:.1e}",
                "" if with_redrawn is None else f"{with_redrawn.relative_error:.1e}",
            ]
        )
    return align(rows)


def seeds_table(costs: Mapping[str, SeedsCost]) -> str:
    """One row for each program."""
    rows = [["", "compile", "first", "step of all", "a search", "images/s", "× apart", "states", "temporary"]]
    for name, c in costs.items():
        label = "one separately" if name == APART else f"{c.searches} in one program"
        rows.append(
            [
                label,
                format_seconds(c.trace_seconds + c.compile_seconds),
                format_seconds(c.first_seconds),
                seconds_cell(c.seconds),
                format_seconds(c.seconds.median / c.searches),
                f"{c.images_per_second:,.3g}" if c.images_per_second < 1000 else f"{c.images_per_second:,.0f}",
                ratio_cell(c.gain),
                format_bytes(c.state_bytes),
                format_bytes(c.temporary_bytes),
            ]
        )
    return align(rows)


def apart_lines(costs: Mapping[str, SeedsCost]) -> str:
    """The cost of searches in one program and of the same searches run separately: a line for each number of them."""
    apart, lines = costs[APART], []
    compile_apart = apart.trace_seconds + apart.compile_seconds
    for name, c in costs.items():
        if name != APART:
            lines.append(
                f"{c.searches} searches in one program: {format_seconds(c.trace_seconds + c.compile_seconds)} to "
                f"compile, {format_seconds(c.seconds.median)} per step of all; apart: {format_seconds(compile_apart)} "
                f"(with a filled cache after the first) to {format_seconds(c.searches * compile_apart)} to compile, "
                f"{format_seconds(c.searches * apart.seconds.median)} per step of all"
            )
    return "\n".join(lines)


def reading_lines(cost: ReadingCost) -> str:
    """The text of `jdarts bench input`."""
    lines = [
        f"reading: {_digits(cost.decode_rate.median)} images/s ({_digits(cost.decode_rate.low)}–"
        f"{_digits(cost.decode_rate.high)}) decoded in this process, {cost.threads} threads",
        f"a step needs {cost.images:,} images: {format_seconds(cost.reading_seconds)} of reading",
    ]
    share, waiting = cost.share_of_step, cost.waiting_share
    if share is not None and waiting is not None and cost.step_seconds is not None and cost.fed_seconds is not None:
        verdict = (
            "more than a step takes: add processes or processors, or use smaller images"
            if share > 1
            else "it can be done while the previous step is computed"
        )
        lines += [
            f"step: {seconds_cell(cost.step_seconds)} on images that are already loaded",
            f"reading is {share:.0%} of a step: {verdict}",
            f"steps with reading: {format_seconds(cost.fed_seconds)} each, {waiting:.1%} spent waiting for images",
        ]
    return "\n".join(lines)


def seconds_cell(spread: Spread) -> str:
    """Median with quartiles, all in the unit of the median."""
    factor, unit = (1, "s") if spread.median >= 0.1 else (1e3, "ms")
    median, low, high = (_digits(factor * x) for x in (spread.median, spread.low, spread.high))
    return f"{median} {unit} ({low}–{high})"


def ratio_cell(spread: Spread) -> str:
    """Median with quartiles of a ratio."""
    return f"{_digits(spread.median)} ({_digits(spread.low)}–{_digits(spread.high)})"


def as_json(value: Any) -> Any:
    """Dataclasses (with their properties), mappings and sequences as JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        derived = [name for name, kind in vars(type(value)).items() if isinstance(kind, property)]
        return as_json({**fields, **{name: getattr(value, name) for name in derived}})
    if isinstance(value, Mapping):
        return {str(name): as_json(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    return value


def _digits(x: float) -> str:
    """Three significant digits without an exponent."""
    if x >= 100:
        return f"{x:.0f}"
    return f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def _share(rate: float | None, ceiling: float) -> str:
    """A rate with its share of the ceiling; empty if it is not known."""
    return "" if rate is None else f"{_rate(rate)} ({rate / ceiling:.0%})"


def _rate(rate: float, unit: str = "") -> str:
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if rate >= size:
            return f"{rate / size:.3g} {prefix}{unit}"
    return f"{rate:.3g} {unit}".rstrip()
