"""Charts of the cells that a search derives: depth, curvature and accuracy, skip weights, zero-one loss, op counts."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from jdarts.analysis import indicators
from jdarts.genotypes import parse_result
from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.outcomes import LOOKED_UP
from jdarts.report.records import RunRecord, SearchRecord
from jdarts.report.words import mean_std, table

CELLS = {"normal": "normal cell", "reduce": "reduction cell"}
ACCURACY = "accuracy of the derived cell, looked up"


def derived_cells(search: SearchRecord, marks: Sequence[tuple[int, str]], without: str) -> list[str]:
    """The charts of one search; those without records are empty. `without` is a cell that was not searched."""
    return [
        _depths(search, marks, without),
        curvature_and_accuracy(search),
        skips_and_accuracy(search, marks),
    ]


def _depths(search: SearchRecord, marks: Sequence[tuple[int, str]], without: str) -> str:
    """The longest path through the derived cells (Shu et al. 2020, arXiv:1909.09569, relate it to fast convergence)."""
    lines = []
    for i, (name, label) in enumerate(CELLS.items()):
        found = {}
        for record in search.genotypes:
            genotype = parse_result(record["genotype"])
            if name != without and name in genotype.cells:
                found[record["epoch"]] = indicators.depth(genotype, name)
        lines.append(Series(label, list(found), list(found.values()), f"s{i}", i))
    return line_chart("Depth of the derived cells", lines, Scales("edges of the longest path", whole=True), marks=marks)


def curvature_and_accuracy(search: SearchRecord) -> str:
    """λ max against the accuracy of the same epoch's genotype (DARTS-, arXiv:2009.01027): a point for each epoch."""
    largest = dict(zip(*search.series("dominant_eigenvalue"), strict=True))
    accuracy = dict(zip(*search.series(LOOKED_UP), strict=True))
    epochs = [epoch for epoch in largest if epoch in accuracy]
    titles = [f"epoch {e}: λ max {largest[e]:.3g}, accuracy {accuracy[e]:.2%}" for e in epochs]
    x, y = [largest[e] for e in epochs], [accuracy[e] for e in epochs]
    points = Series("an epoch", x, y, kind="points", titles=titles)
    scales = Scales(ACCURACY, x="λ max of ∂²L/∂α²", percent=True, x_whole=False)
    return line_chart("Curvature and accuracy of the same epoch", [points], scales)


def skips_and_accuracy(search: SearchRecord, marks: Sequence[tuple[int, str]]) -> str:
    """The share of skip connections and the accuracy of the derived cell (DARTS+, arXiv:1909.06035, figure 1)."""
    epochs, accuracy = search.series(LOOKED_UP)
    if not epochs:
        return ""
    shares = {}
    for record in search.genotypes:
        counted = indicators.op_counts(parse_result(record["genotype"])).get("normal", {})
        if total := sum(counted.values()):
            shares[record["epoch"]] = counted.get("skip_connect", 0) / total
    lines = [
        Series(ACCURACY, epochs, accuracy),
        Series("skips among the edges of the derived cell", list(shares), list(shares.values()), "s1", 1),
    ]
    return line_chart("Skip connections and accuracy", lines, Scales("share", percent=True), marks=marks)


def zero_one_loss(weights: np.ndarray) -> float:
    """FairDARTS' zero-one loss −mean((σ − 1/2)²) of op weights: −1/4 where all are decided (arXiv:1911.12126)."""
    return -float(np.mean((np.asarray(weights) - 0.5) ** 2))


def ops_over_seeds(runs: Sequence[RunRecord]) -> str:
    """The number of each op in the results of several searches, mean over seeds; empty for a single search."""
    results = [found for run in runs for search in run.searches if (found := search.result) is not None]
    if len(results) < 2:
        return ""
    counts = [indicators.op_counts(result) for result in results]
    rows = []
    for name in dict.fromkeys(cell for counted in counts for cell in counted):
        total: Counter[str] = Counter()
        for counted in counts:
            total.update(counted.get(name, {}))
        for op, _ in total.most_common():
            numbers = [float(counted.get(name, {}).get(op, 0)) for counted in counts]
            cells = f"<td class='n'>{mean_std(numbers, False)}</td><td class='n'>{total[op]}</td>"
            rows.append(f"<tr><td>{CELLS.get(name, name)}</td><td>{op}</td>{cells}</tr>")
    head = f"<tr><th>cell</th><th>op</th><th class='n'>mean ± std of {len(results)}</th><th class='n'>in all</th></tr>"
    return table(rows, head)
