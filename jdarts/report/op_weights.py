"""The op weights of a search over the epochs: heat maps of every edge, and the mean weight of each op."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.analysis import indicators
from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.networks.edges import EDGES_SUFFIX
from jdarts.report.charts import DASHES, Scales, Series, heat_map, line_chart, scale_bar, widened
from jdarts.report.collapse import unsearched
from jdarts.report.derived_cells import zero_one_loss
from jdarts.report.per_cell import cell_title, is_cell, weights_by_cell
from jdarts.report.records import RunRecord, SearchRecord
from jdarts.report.style import OPS
from jdarts.search.stored import known_method, known_space

CELL_NAMES = {
    "normal": "Normal cell",
    "reduce": "Reduction cell",
    "first": "First layers of each width",
    "inner": "Other layers",
}
_LEAST_SPAN = 0.01
"""The colours of heat maps span at least this much, so that equal op weights look equal."""


def op_weights(run: RunRecord, search: SearchRecord) -> str:
    """Heat maps and shares of the op weights of `search`; empty if no alphas were recorded."""
    records = list({r["epoch"]: r for r in search.genotypes if isinstance(r.get("alphas"), dict)}.values())
    if not records:
        return ""
    tables, edges, relax = _of_space(run.path, run.config)
    layers = _layers_of(run.path, run.config)
    epochs = [r["epoch"] for r in records]
    weights = [relax(r["alphas"]) for r in records]
    parts, charts = [], []
    without = unsearched(run)
    charts.append(
        weights_by_cell({name: np.asarray(p, np.float64) for name, p in weights[-1].items()}, tables, line_styles)
    )
    cells = sum(map(is_cell, records[0]["alphas"]))
    for cell in (name for name in records[0]["alphas"] if not name.endswith(EDGES_SUFFIX) and name != without):
        alone = is_cell(cell)
        one_input = bool(edges) and min(target for _, target in edges) == 1
        named = cell_title(cell, cells, one_input=one_input) if alone else CELL_NAMES.get(cell) or cell.capitalize()
        values = np.array([np.asarray(p[cell], np.float64) for p in weights])  # [epochs, edges, ops]
        table = tables.get(cell) or [[f"op {k}" for k in range(values.shape[2])]] * values.shape[1]
        span = widened(values, _LEAST_SPAN)
        rows = layers.get(cell, range(values.shape[1]))
        heats = [
            heat_map(_edge_name(rows[e], edges), table[e], epochs, values[:, e].T, span) for e in range(values.shape[1])
        ]
        scale = scale_bar(span, "op weight")
        shown = f'{scale}<div class="heats">{"".join(heats)}</div>'
        parts.append(f"<details><summary>{named}</summary>{shown}</details>" if alone else f"<h3>{named}</h3>{shown}")
        shares = [indicators.op_shares(p, table) for p in values]
        styles = line_styles(list(shares[0]))
        lines = [Series(op, epochs, [s[op] for s in shares], *styles[op]) for op in shares[0]]
        charts.append(line_chart(f"Mean weight of each op, {named.lower()}", lines, Scales("mean over edges")))
        edge = _most_moved(values)
        title = f"Op weights of the edge {_edge_name(rows[edge], edges)}, {named.lower()}"
        charts.append(_of_edge(title, epochs, values[:, edge], table[edge]))
        if not np.allclose(values.sum(axis=-1), 1, atol=1e-3):  # sigmoids
            losses = Series("−mean (σ − ½)²", epochs, [zero_one_loss(p) for p in values])
            charts.append(line_chart(f"Zero-one loss, {named.lower()}", [losses], Scales("loss")))
    title = "<h3>Mean op weights, and the edge that has moved most</h3>"
    return f'{"".join(parts)}{title}<div class="charts">{"".join(charts)}</div>'


def _most_moved(values: np.ndarray) -> int:
    """The edge whose op weights `[epochs, edges, ops]` have moved farthest from the first epoch to the last."""
    return int(np.argmax(np.abs(values[-1] - values[0]).max(axis=-1)))


def _of_edge(title: str, epochs: Sequence[int], values: np.ndarray, ops: Sequence[str]) -> str:
    """A line for the weight of each op of one edge, `values [epochs, ops]`: the edge that has moved most is shown."""
    styles = line_styles(ops)
    lines = [Series(op, epochs, values[:, k].tolist(), *styles[op]) for k, op in enumerate(ops)]
    return line_chart(title, lines, Scales("op weight", from_zero=True))


def line_styles(ops: Sequence[str]) -> dict[str, tuple[str, int]]:
    """`op -> (colour, dash)`: the colour of the op's family in drawings; no two ops have both in common.

    Ops of no family take turns with the colours of series that resemble no family's.
    """
    found: dict[str, tuple[str, int]] = {}
    others = itertools.cycle(("s3", "s5", "s7"))
    for op in ops:
        family = op.split("_")[0]
        colour = family if family in OPS else next(others)
        used = sum(other == colour for other, _ in found.values())
        found[op] = colour, used % len(DASHES)
    return found


def _of_space(
    folder: Path, config: Experiment
) -> tuple[dict[str, Any], Sequence[tuple[int, int]], Callable[[Any], Any]]:
    """Op tables, edges, and the method's own map from alphas to op weights.

    Uses softmax and numbers instead of names for a user's spaces and methods whose file has changed or is gone.
    """

    def softmax(alphas: Any) -> Any:
        return {name: indicators.softmax(a) for name, a in alphas.items()}

    try:
        space = known_space(folder, config)
    except UserError:
        return {}, (), softmax
    try:
        method = known_method(folder, config)
    except UserError:
        return dict(space.tables), space.edges, softmax
    if method.derive_weights is None:
        return dict(space.tables), space.edges, softmax

    def relax(alphas: Any) -> Any:
        arrays: dict[str, Any] = {n: np.asarray(a, np.float32) for n, a in alphas.items()}
        return method.deterministic_weights(space, arrays)

    return dict(space.tables), space.edges, relax


def _layers_of(folder: Path, config: Experiment) -> Mapping[str, Sequence[int]]:
    """The layers that the rows of each matrix belong to, in a chain of layers; empty for cells."""
    try:
        return getattr(known_space(folder, config), "layers_of", {})
    except UserError:
        return {}


def _edge_name(edge: int, edges: Sequence[tuple[int, int]]) -> str:
    """`source → target`; with two input nodes these are c(k−2) and c(k−1)."""
    if not edges:
        return f"edge {edge}"
    (source, target), inputs = edges[edge], min(target for _, target in edges)
    if inputs == 1:
        return f"{source} → {target}"
    start = f"c(k−{inputs - source})" if source < inputs else str(source - inputs)
    return f"{start} → {target - inputs}"
