"""Outcomes of runs: the table of `jdarts report --text`, against numbers calculated by hand."""

import json
import statistics
from pathlib import Path

import pytest

from jdarts import cli
from jdarts.config import Experiment, SearchConfig, SpaceConfig
from jdarts.report.collapse import summary
from jdarts.report.comparison import comparison
from jdarts.report.outcomes import outcome
from jdarts.report.records import Spent, read_run
from jdarts.report.write_report import write_report
from jdarts.runs.folder import RunFolder

SKIP, CONV = "skip_connect", "nor_conv_3x3"
SKIPS_AFTER = {0: [1, 4, 3, 4, 6], 1: [0, 0, 4, 4, 2], 2: [6, 6, 6, 6, 6]}  # per seed, after each epoch
ACCURACY = {count: 94.0 - count**2 for count in range(7)}


def arch(skips: int) -> str:
    a, b, c, d, e, f = [SKIP] * skips + [CONV] * (6 - skips)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "table.csv"
    lines = [f"{arch(count)},{accuracy}" for count, accuracy in ACCURACY.items()]
    path.write_text("\n".join(["arch,c10_test_200", *lines]))
    return path


def population(path: Path, table: Path | str, method="darts") -> Path:
    """A run of three seeds, written as a search writes it."""
    settings = SearchConfig(epochs=5, method=method, benchmark_table=str(table))
    run = RunFolder.create(path, Experiment(space=SpaceConfig(name="nasbench201", cells=1), search=settings))
    search = run.subfolder("search")
    used = {"devices": 2, "images": 1000, "peak_memory": 3_000_000_000}
    for epoch in range(1, 6):
        search.append("metrics", {"step": epoch, "epoch": epoch, "seconds": 60.0, "cpu_seconds": 90.5} | used)
    for seed, counts in SKIPS_AFTER.items():
        folder = search.subfolder(f"seed-{seed}")
        for epoch, count in enumerate(counts, start=1):
            folder.append("metrics", {"step": epoch, "epoch": epoch, "benchmark_c10_accuracy": ACCURACY[count] / 100})
            record = {"step": epoch, "epoch": epoch, "genotype": arch(count), "alphas": {"cell": [[0.0] * 5] * 6}}
            folder.append("genotypes", record)
        folder.write_text("genotype.txt", arch(counts[-1]) + "\n")
    return path


def test_accuracy_regret_skips_collapse_and_cost(tmp_path, table):
    found = outcome(read_run(population(tmp_path / "three", table)))
    assert found.accuracies == pytest.approx([0.58, 0.90, 0.58]) and found.regrets == pytest.approx([36, 4, 36])
    assert (found.skips, found.edges, found.searches) == ([6, 2, 6], 6, 3)
    assert [v.since for v in found.verdicts] == [4, None, 1], (
        "mostly skips from the fourth epoch on, not at the end, from the first on"
    )
    assert found.skip_curve == pytest.approx([7 / 3, 10 / 3, 13 / 3, 14 / 3, 14 / 3])
    assert found.seconds == 300.0
    assert found.cost == Spent(device_seconds=600.0, cpu_seconds=452.5, peak_memory=3e9, images=5000.0)
    assert summary(found.verdicts) == "2 of 3, from epochs 1, 4"


def test_networks_of_nas_bench_macro_are_looked_up(tmp_path):
    codes = {"22212220": 93.5, "00000000": 45.5, "11111221": 90.5}
    entries = {c: {"test_acc": [a] * 3, "mean_acc": a, "std": 0.0, "params": 1, "flops": 1} for c, a in codes.items()}
    (tmp_path / "macro.json").write_text(json.dumps(entries))
    settings = SearchConfig(epochs=1, benchmark_table=str(tmp_path / "macro.json"))
    run = RunFolder.create(tmp_path / "run", Experiment(space=SpaceConfig(name="nasbench_macro"), search=settings))
    for seed, code in enumerate(("00000000", "11111221")):
        folder = run.subfolder("search").subfolder(f"seed-{seed}")
        folder.append("metrics", {"step": 1, "epoch": 1})
        folder.append("genotypes", {"step": 1, "epoch": 1, "genotype": code, "alphas": {}})
        folder.write_text("genotype.txt", code + "\n")
    found = outcome(read_run(tmp_path / "run"))
    assert found.accuracies == pytest.approx([0.455, 0.905]) and found.regrets == pytest.approx([48.0, 3.0])


def test_a_method_that_compares_candidates_is_judged_by_its_result(tmp_path, table):
    """Alphas that never move mean nothing: the report shows neither a curve nor a collapse."""
    run = population(tmp_path / "rsps", table, method="rsps")
    (run / "search" / "seed-2" / "genotype.txt").write_text(arch(1) + "\n")
    found = outcome(read_run(run))
    assert found.accuracies == pytest.approx([0.58, 0.90, 0.93]) and found.skips == [6, 2, 1]
    assert found.skip_curve == [] and found.verdicts == []
    for seed in (0, 1, 2):
        (run / "search" / f"seed-{seed}" / "genotype.txt").unlink()
    assert outcome(read_run(run)).accuracies == [], "an unfinished search: the genotype of its alphas is not a result"


def test_swept_values_are_not_averaged(tmp_path, table, capsys):
    """One row and one line of the charts for each value; the mean is over the seeds that have it."""
    run = population(tmp_path / "swept", table)
    names = {0: "seed-0,alpha-1.0", 1: "seed-0,alpha-2.0", 2: "seed-1,alpha-2.0"}
    for seed, name in names.items():
        (run / "search" / f"seed-{seed}").rename(run / "search" / name)
    assert cli.main(["report", "--text", str(run)]) == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    spread = statistics.stdev([90, 58])
    assert [(row[0], row[2], row[3]) for row in rows[2:4]] == [
        ("swept, alpha-1.0", "1", "58.00 %"),
        ("swept, alpha-2.0", "2", f"74.00 ± {spread:.2f} %"),
    ]
    other = population(tmp_path / "other", table)
    records = [read_run(run), read_run(other)]
    page = comparison(records, ["swept", "other"], {record.path: f"run-{i}" for i, record in enumerate(records)})
    links = '<a href="#run-0">swept, alpha-2.0</a>', '<a href="#run-1">other</a>'
    for cell in (*links, "swept, alpha-2.0 (mean ± std of 2)"):
        assert cell in page
    assert "Different settings" not in page and "of 6)" not in page


def test_without_the_table_the_records_speak(tmp_path, table):
    run = population(tmp_path / "moved", table)
    table.unlink()
    found = outcome(read_run(run))
    assert found.accuracies == pytest.approx([0.58, 0.90, 0.58]) and found.regrets == []


def test_the_table_in_the_terminal_and_on_the_page(tmp_path, table, capsys):
    runs = [population(tmp_path / name, table, method) for name, method in (("first", "darts"), ("other", "rsps"))]
    assert cli.main(["report", "--text", *map(str, runs)]) == 0
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in lines}) == 1 and [row[0] for row in rows if row[0]][::2] == ["run", "first"]
    spread = statistics.stdev([58, 90, 58])
    assert rows[2][3] == f"{statistics.mean([58, 90, 58]):.2f} ± {spread:.2f} %"
    assert rows[2][5:8] == ["4.667 ± 2.3 of 6", "2 of 3, from epochs 1, 4", "5 min 00 s"]
    assert rows[2][8:] == ["7 min 32 s", "0.167", "3 GB", "5,000"]
    assert rows[3][6] == "–"
    assert "first: 2.3 3.3 4.3 4.7 4.7" in text and "other: " not in text

    page = write_report(runs).read_text()
    page = page.replace("\u00a0", " ")
    assert "Results, mean ± std over seeds" in page and rows[2][3] in page
    assert "first (mean ± std of 3)" in page and "other (mean" not in page, "no curve of alphas that never move"
    assert page.count("5 min 00 s") >= 2, "the time of seeds in one program is shown"

    assert cli.main(["report", "--text", str(runs[0]), "--watch"]) == 2
    assert capsys.readouterr().err.startswith("jdarts: error: --text prints a table")
