"""Charts of derived cells: each number against an independent count, and their place in the report."""

import numpy as np
import pytest
from support.report_runs import write_run

from jdarts import spaces
from jdarts.analysis import indicators
from jdarts.genotypes import parse
from jdarts.report.derived_cells import (
    curvature_and_accuracy,
    derived_cells,
    ops_over_seeds,
    skips_and_accuracy,
    zero_one_loss,
)
from jdarts.report.outcomes import LOOKED_UP
from jdarts.report.records import SearchRecord, read_run
from jdarts.report.run_sections import run_sections

SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|none~2|"
CONVS = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def looked_up(**metrics) -> SearchRecord:
    """Two epochs on NAS-Bench-201."""
    records = [{"epoch": e, **{name: values[e - 1] for name, values in metrics.items()}} for e in (1, 2)]
    genotypes = [{"epoch": e, "genotype": text} for e, text in ((1, CONVS), (2, SKIPS))]
    return SearchRecord(0, records, genotypes)


def test_curvature_beside_the_accuracy_of_the_same_epoch():
    page = curvature_and_accuracy(looked_up(**{"dominant_eigenvalue": (0.25, 0.75), LOOKED_UP: (0.9, 0.543)}))
    assert "epoch 1: λ max 0.25, accuracy 90.00%" in page and "epoch 2: λ max 0.75, accuracy 54.30%" in page
    assert curvature_and_accuracy(looked_up(dominant_eigenvalue=(0.25, 0.75))) == ""


def test_skips_beside_the_accuracy():
    page = skips_and_accuracy(looked_up(**{LOOKED_UP: (0.9, 0.543)}), [])
    assert "90.00 % in epoch 1, 54.30 % in 2" in page
    assert "16.67 % in epoch 1, 83.33 % in 2" in page, "1 of 6 edges, then 5 of 6"
    assert skips_and_accuracy(looked_up(dominant_eigenvalue=(0.25, 0.75)), []) == ""


def test_depth_of_the_derived_cells():
    genotype = parse("DARTS_V2").to_text()
    search = SearchRecord(0, [{"epoch": 1}], [{"epoch": 1, "genotype": genotype}])
    page = derived_cells(search, [], "")[0]
    assert "normal cell, 2 in epoch 1" in page and "reduction cell, 2 in epoch 1" in page
    assert "normal cell" not in derived_cells(search, [], "normal")[0]
    chain = "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 2), ('skip_connect', 0), "
    chain += (
        "('skip_connect', 3), ('skip_connect', 0), ('skip_connect', 4), ('skip_connect', 0)], normal_concat=[2, 3, "
    )
    chain += f"4, 5], {genotype[genotype.index('reduce=') :]}"
    page = derived_cells(SearchRecord(0, [{"epoch": 1}], [{"epoch": 1, "genotype": chain}]), [], "")[0]
    assert "normal cell, 4 in epoch 1" in page, "every node reads the one before it"


@pytest.mark.parametrize(("weights", "loss"), [([0.5, 0.5], 0.0), ([0.0, 1.0], -0.25), ([0.25, 0.5, 1.0], -0.3125 / 3)])
def test_zero_one_loss(weights, loss):
    assert zero_one_loss(np.array(weights)) == pytest.approx(loss)


def test_ops_over_seeds(tmp_path):
    runs = [read_run(write_run(tmp_path / f"seed-{seed}", seed=seed)) for seed in range(3)]
    table = ops_over_seeds(runs)
    counted = [indicators.op_counts(run.searches[0].result)["normal"] for run in runs]
    op = max(counted[0], key=lambda name: counted[0][name])
    total = sum(counts.get(op, 0) for counts in counted)
    row = table.partition("<td>normal cell</td>" + f"<td>{op}</td>")[2].partition("</tr>")[0]
    assert row.endswith(f"<td class='n'>{total}</td>") and ops_over_seeds(runs[:1]) == ""


def test_the_report_shows_them(tmp_path):
    fair = read_run(write_run(tmp_path / "fair", space="darts_cnn_7", method="fair_darts", drift=0.05))
    page = run_sections(fair)
    for title in ("Depth of the derived cells", "Op weights of the edge ", "Zero-one loss, normal cell"):
        assert title in page
    plain = run_sections(read_run(write_run(tmp_path / "plain")))
    assert "Zero-one loss" not in plain, "op weights of a softmax"


def test_the_edge_that_moves_most_is_shown(tmp_path):
    run = read_run(write_run(tmp_path / "run", epochs=3))
    first, last = (run.searches[0].genotypes[i]["alphas"]["normal"] for i in (0, -1))
    moved = np.abs(indicators.softmax(last) - indicators.softmax(first)).max(axis=1)
    source, target = spaces.darts_cnn.edges[int(moved.argmax())]
    name = f"{f'c(k−{2 - source})' if source < 2 else source - 2} → {target - 2}"
    assert f"Op weights of the edge {name}, normal cell" in run_sections(run)
