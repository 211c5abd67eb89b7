"""The seeds of a run: numbers of the last epoch, their mean and spread, and the cost of the searches."""

import math
from html import escape

from jdarts.report.records import RunRecord, SearchRecord
from jdarts.report.words import duration, mean_std, percent, plain, table

_COLUMNS = {  # name in the records: heading, True for a share
    "val_accuracy": ("validation accuracy", True),
    "val_loss": ("validation loss", False),
    "normal_skips": ("skips, normal cell", False),
    "relative_entropy": ("entropy / ln(ops)", False),
    "dominant_eigenvalue": ("λ max", False),
}
_TEST = "test_accuracy"


def seeds_table(runs: list[RunRecord]) -> str:
    """Numbers of every seed after its last epoch, and mean ± standard deviation over seeds with equal settings.

    Searches that diverged do not count in the means.
    """
    searches = [(run, search) for run in runs for search in run.searches if search.epochs]
    if not searches:
        return ""
    shown = {name: c for name, c in _COLUMNS.items() if any(s.last(name) is not None for _, s in searches)}
    if any(_value(run, search, _TEST) is not None for run, search in searches):
        shown[_TEST] = ("test accuracy, found cell", True)
    rows, groups = [], {}
    for run, search in searches:
        values = {name: _value(run, search, name) for name in shown}
        numbers = [percent(v) if shown[name][1] else plain(v) for name, v in values.items()]
        label = f"{search.label} (diverged)" if search.diverged else search.label
        rows.append(_row(f'<td class="n">{escape(label)}</td><td class="n">{search.epochs}</td>', numbers))
        groups.setdefault(search.values, []).append({} if search.diverged else values)
    repeated = {swept: group for swept, group in groups.items() if len(group) > 1}
    for swept, group in repeated.items():
        numbers = [_mean([values.get(name) for values in group], is_share) for name, (_, is_share) in shown.items()]
        label = escape(f"mean ± std, {swept}{', ' if swept else ''}n = {len(group)}")
        rows.append(_row(f'<th colspan="2">{label}</th>', numbers))
    note = "One seed shows no spread: search with several before you trust a difference."
    head = "".join(f'<th class="n">{escape(label)}</th>' for label, _ in shown.values())
    shown_table = table(rows, f'<tr><th class="n">seed</th><th class="n">epochs</th>{head}</tr>')
    return shown_table + ("" if repeated else f'<p class="soft">{note}</p>')


def _row(head: str, numbers: list[str]) -> str:
    cells = "".join(f'<td class="n">{escape(number)}</td>' for number in numbers)
    return f"<tr>{head}{cells}</tr>"


def _value(run: RunRecord, search: SearchRecord, name: str) -> float | None:
    if name != _TEST:
        return search.last(name)
    found = run.summary.get("found")
    return found.get(name) if isinstance(found, dict) and len(run.searches) == 1 else None


def _mean(values: list[float | None], is_share: bool) -> str:
    """The mean of the seeds that have a number, and their count if it is not all of them."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    fewer = f" (n = {len(numbers)})" if 0 < len(numbers) < len(values) else ""
    return mean_std(numbers, is_share) + fewer


def costs(run: RunRecord) -> dict[str, str]:
    """Computing times of the parts of a run, as text."""
    found = {}
    if run.together:
        found["search, all seeds in one program"] = duration(
            sum(SearchRecord(0, run.together, []).series("seconds")[1])
        )
    for search in run.searches:
        label = f"search, seed {search.label}" if len(run.searches) > 1 else "search"
        if not run.together:
            found[label] = duration(sum(search.series("seconds")[1]))
        if (spent := sum(search.series("alpha_hessian_seconds")[1])) > 0:
            found[f"{label}, alpha-Hessians only"] = duration(spent)
    if (cpu := run.spent("cpu_seconds")) is not None:
        found["search, CPU time"] = duration(cpu)
    for name, records in run.trainings.items():
        found[f"retraining, {name} cell"] = duration(sum(SearchRecord(0, records, []).series("seconds")[1]))
    return found


def cost(run: RunRecord) -> float:
    """Seconds of all recorded epochs, retraining included."""
    trainings = [SearchRecord(0, records, []) for records in run.trainings.values()]
    return (run.spent("seconds") or 0.0) + sum(sum(part.series("seconds")[1]) for part in trainings)
