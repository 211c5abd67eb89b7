"""The HTML report: well-formed, self-contained, complete, and honest about what is missing or damaged."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from report_runs import with_seeds, write_run

from jdarts import cli
from jdarts.errors import UserError
from jdarts.report import write_report as writing
from jdarts.report.charts import Series, heat_map, line_chart, quantile, thinned, ticks
from jdarts.report.recommendation import recommend
from jdarts.report.records import genotype_changes, read_run
from jdarts.report.run_sections import changes, cost
from jdarts.report.words import duration, mean_std
from jdarts.report.write_report import watch, write_report
from jdarts.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    return {
        "healthy": write_run(base / "healthy"),
        "collapsing": write_run(base / "collapsing", epochs=30, drift=0.06, hypergradient="first_order"),
        "again": write_run(base / "again", seed=1),
        "small": write_run(base / "small", space="robust_s2", hessian_every=0, summary=False),
        "seeds": with_seeds(base / "seeds", [0, 1, 2]),
    }


def parsed(path):
    text = path.read_text()
    assert text.startswith("<!DOCTYPE html>")
    return text, ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # XML's parser forgives nothing


def headings(tree):
    return ["".join(h.itertext()) for h in tree.iter() if h.tag in ("h2", "h3")]


def test_one_run_has_every_section_and_loads_nothing(runs):
    text, tree = parsed(write_report([runs["healthy"]]))
    found = headings(tree)
    for wanted in (
        "Recommended cells",
        "Curves",
        "Op weights over the epochs",
        "Genotype history",
        "Seeds",
        "Configuration and environment",
    ):
        assert wanted in found
    captions = ["".join(c.itertext()) for c in tree.iter("figcaption")]
    for wanted in (
        "Loss",
        "Accuracy",
        "Skip connections",
        "Dominant eigenvalue",
        "Eigenvalues by rank",
        "Retraining, found cell",
    ):
        assert any(c.startswith(wanted) for c in captions), wanted
    assert sum(c.get("class") == "small" for c in tree.iter("figure")) == 28, "a heat map an edge"
    without_namespaces = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|<script|@import|url\(|<img|<iframe", without_namespaces)
    assert {link.get("href") for link in tree.iter("link")} == {"data:,"}
    assert "refresh" not in text
    assert "1 × &lt;test&gt; &amp; device" in text, "what comes from files is escaped"
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert anchor in ids


def test_the_recommendation_avoids_a_collapsed_end(runs):
    healthy = recommend(read_run(runs["healthy"]))
    assert healthy.epoch == 12 and any("no sign of collapse" in reason for reason in healthy.reasons)
    run = read_run(runs["collapsing"])
    chosen = recommend(run)
    assert chosen.epoch < 30 and "a sign of collapse" in chosen.reasons[0]
    text = write_report([runs["collapsing"]]).read_text()
    assert "Epoch" in text and "the search is collapsing" in text
    last = genotype_changes(run.searches[0])[-1][2]
    assert last.to_text() != chosen.genotype.to_text()


def test_several_runs_are_compared_and_seeds_averaged(runs):
    text, tree = parsed(write_report([runs["healthy"], runs["collapsing"], runs["again"]]))
    found = headings(tree)
    assert "Comparison" in found and "Different settings" in found and "Same settings, several seeds" in found
    assert "mean ± std, n = 2" in text and "healthy (mean ± std of 2)" in text
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) and {"run-0", "run-1", "run-2"} <= set(ids)
    rows = [["".join(c.itertext()) for c in r] for r in tree.iter("tr")]
    assert ["search.hypergradient", "null", '"first_order"', "null"] in rows


def test_seeds_of_one_run(runs):
    run = read_run(runs["seeds"])
    assert [s.seed for s in run.searches] == [0, 1, 2]
    text, _ = parsed(write_report([runs["seeds"]]))
    assert "mean ± std, n = 3" in text and "has the highest validation accuracy of 3 seeds" in text
    assert cost(run) == 8 * 3.0 and "24.0 s" in text, "the seeds ran together"
    best = max(run.searches, key=lambda s: s.last("val_accuracy"))
    assert recommend(run).search is best


def test_members_of_a_sweep(tmp_path):
    path = with_seeds(tmp_path / "sweep", [0])
    for rate in ("0.01", "0.1"):
        shutil.copytree(path / "search/seed-0", path / f"search/seed-1,learning_rate-{rate}")
    shutil.rmtree(path / "search/seed-0")
    assert [s.label for s in read_run(path).searches] == ["1, learning_rate-0.01", "1, learning_rate-0.1"]
    assert "1, learning_rate-0.1" in write_report([path]).read_text()


def test_records_that_carry_a_seed(tmp_path):
    run = RunFolder(write_run(tmp_path / "run", epochs=0, planned=1, summary=False) / "search")
    for seed in (3, 5):
        run.append("metrics", {"step": 1, "epoch": 1, "seed": seed, "val_accuracy": 0.1 * seed})
    found = read_run(tmp_path / "run").searches
    assert [(s.seed, s.last("val_accuracy")) for s in found] == [(3, pytest.approx(0.3)), (5, 0.5)]


def test_unfinished_torn_and_empty_runs(tmp_path):
    path = write_run(tmp_path / "running", epochs=3, planned=10, summary=False)
    with open(path / "search/metrics.jsonl", "a") as file:
        file.write('{"step": 40, "epo')
    text, _ = parsed(write_report([path], refresh=5))
    assert "3 of 10" in text and 'http-equiv="refresh" content="5"' in text and "still running" in text
    empty = write_run(tmp_path / "empty", epochs=0, planned=5, summary=False)
    text, _ = parsed(write_report([empty]))
    assert "No epoch is finished yet" in text
    damaged = write_run(tmp_path / "damaged")
    (damaged / "search/metrics.jsonl").write_text('{"epoch": 1}\nnot json\n')
    (damaged / "summary.json").write_text("{")
    text, _ = parsed(write_report([damaged]))
    assert text.count("Not readable.") == 2 and "metrics.jsonl:2" in text


def test_watching_renews_until_the_run_is_finished(tmp_path, monkeypatch):
    path = write_run(tmp_path / "run", epochs=2, planned=3, summary=False)
    sleeps, seen = [], []

    def sleep(seconds):
        sleeps.append(seconds)
        seen.append("2 of 3" in (path / "report.html").read_text())
        record = RunFolder(path / "search").records("metrics")[-1]
        RunFolder(path / "search").append("metrics", {**record, "epoch": 3, "step": 30})

    monkeypatch.setattr(writing.time, "sleep", sleep)
    told = []
    target = watch([path], tell=told.append)
    assert sleeps == [writing.REFRESH] and seen == [True]
    text, _ = parsed(target)
    assert "3 of 3" in text and "refresh" not in text and "Ctrl-C" in told[0]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: shutil.rmtree(p), "does not exist"),
        (lambda p: (shutil.rmtree(p), p.write_text("x")), "is a file"),
        (lambda p: (p / "config.json").unlink(), "is no run folder"),
        (lambda p: (p / "config.json").write_text('{"name": "x'), "half written or damaged"),
        (lambda p: (p / "config.json").write_text('{"name": "x", "future": 1}'), "another version of jdarts"),
        (lambda p: (p / "config.json").write_bytes(b"\xff\xfe"), "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["report", "analyze"])
def test_bad_folders_are_told_in_one_line(tmp_path, capsys, break_it, message, command):
    path = write_run(tmp_path / "run", epochs=1, summary=False)
    break_it(path)
    assert cli.main([command, str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_bad_places(runs, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        write_report([runs["healthy"]], tmp_path)
    with pytest.raises(UserError, match="cannot write the report"):
        write_report([runs["healthy"]], tmp_path / "missing" / "report.html")


def test_the_command_writes_where_it_says(runs, tmp_path, capsys):
    assert cli.main(["report", str(runs["small"]), "-o", str(tmp_path / "r.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "r.html")
    _, tree = parsed(tmp_path / "r.html")
    assert "Dominant eigenvalue" not in "".join(tree.itertext()), "what was not measured is left out"


def test_changes_name_the_edges():
    from jdarts.genotype import parse

    before = parse("DARTS_V2")
    after = parse(
        before.to_text().replace(
            "('skip_connect', 0), ('dil_conv_3x3', 2)", "('skip_connect', 0), ('sep_conv_5x5', 2)", 1
        )
    )
    assert changes(before, after) == "normal 3: − dil_conv_3x3(2) + sep_conv_5x5(2)"


def test_charts_place_points_where_the_numbers_are():
    svg = line_chart("t", [Series("a", [1, 3], [0.0, 2.0])], from_zero=True)
    tree = ElementTree.fromstring(svg)
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in tree.iter("circle")]
    assert dots[0][0] < dots[1][0] and dots[0][1] > dots[1][1], "y grows upwards"
    assert line_chart("t", [Series("a", [], [])]) == ""
    assert ticks(0.0, 0.97, 5) == [0, 0.25, 0.5, 0.75, 1.0] and ticks(1, 50, 6, whole=True)[0] == 0
    assert [quantile(v, 0, 1) for v in (-1, 0, 0.55, 1, float("nan"))] == [0, 0, 5, 9, 0]
    assert thinned(3, 60) == [0, 1, 2] and len(thinned(500, 60)) == 60 and thinned(500, 60)[-1] == 499
    heat = ElementTree.fromstring(
        heat_map("edge", ["none", "skip_connect"], [1, 2], [[0, 0], [0.1, 1.0]], low=0, high=1)
    )
    assert [r.get("class") for r in heat.iter("rect")] == ["q0", "q1", "q9"], "equal neighbours are one rectangle"


def test_words():
    assert [duration(s) for s in (4.24, 185, 1506, 3720)] == ["4.2 s", "3 min 05 s", "25 min", "1 h 02 min"]
    assert (
        mean_std([0.5, 0.7], True) == "60.00 ± 14.14 %" and mean_std([], True) == "–" and mean_std([2.0], False) == "2"
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's package chromium is not installed")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (420, True)])
def test_chromium_renders_it_without_complaints_or_overflow(runs, tmp_path, width, dark):
    report = write_report([runs["healthy"], runs["collapsing"]], tmp_path / "r.html")
    probe = tmp_path / "probe.html"
    script = "<script>document.title = 'w' + document.documentElement.scrollWidth + '/' + innerWidth;</script></body>"
    probe.write_text(report.read_text().replace("</body>", script))
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--hide-scrollbars",
    ]
    command += [
        f"--window-size={max(width, 500)},900",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{probe}"], capture_output=True, text=True, timeout=300, check=False
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    wide, inner = map(int, re.search(r"<title>w(\d+)/(\d+)</title>", done.stdout).groups())
    assert wide <= inner, "nothing sticks out to the right"
