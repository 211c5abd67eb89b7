"""The HTML report: well-formed, self-contained, complete, and open about missing or damaged data."""

import base64
import io
import itertools
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.image import imread
from support.report_runs import with_seeds, write_run
from support.trial_runs import search_run, tuning_run

from jdarts import cli, spaces
from jdarts.errors import UserError
from jdarts.report import write_report as writing
from jdarts.report.charts import Scales, Series, heat_map, line_chart, scale_bar, widened
from jdarts.report.curves import curves
from jdarts.report.op_weights import line_styles
from jdarts.report.recommendation import recommend
from jdarts.report.records import genotype_changes, read_run
from jdarts.report.run_sections import changes
from jdarts.report.seeds import cost, seeds_table
from jdarts.report.style import COLOURS
from jdarts.report.words import duration, mean_std
from jdarts.report.write_report import table, watch, write_report
from jdarts.runs.folder import RunFolder

cividis = colormaps["cividis"]


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
    return text, ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # the XML parser rejects any mistake


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
        "Largest eigenvalue",
        "Eigenvalues of the 224 × 224",
        "Time of an epoch",
        "Retraining of the found cell",
    ):
        assert any(c.startswith(wanted) for c in captions), wanted
    assert sum(c.get("class") == "small" for c in tree.iter("figure")) == 28, "a heat map an edge"
    without_namespaces = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|<script|@import|url\(|<iframe", without_namespaces)
    assert all(
        image.get("src", "").startswith("data:image/png;base64,") and image.get("alt") for image in tree.iter("img")
    )
    assert all(chart.get("aria-label") for chart in tree.iter("svg") if chart.get("role") == "img")
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", text)) - {"width"} <= set(COLOURS), "every colour is defined"
    assert len(text) < 1e6
    assert {link.get("href") for link in tree.iter("link")} == {"data:,"}
    assert "refresh" not in text
    assert "1 × &lt;test&gt; &amp; device" in text, "what comes from files is escaped"
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert anchor in ids


def test_the_recommendation_avoids_a_collapsed_end(runs):
    healthy = recommend(read_run(runs["healthy"]))
    assert healthy.epoch == 12
    run = read_run(runs["collapsing"])
    chosen = recommend(run)
    assert chosen.epoch < 30 and "before the collapse" in chosen.reasons[0]
    text = write_report([runs["collapsing"]]).read_text()
    assert "Warning of epoch" in text and "the search is collapsing" in text
    last = genotype_changes(run.searches[0])[-1][2]
    assert last.to_text() != chosen.genotype.to_text()


def test_a_normal_cell_that_was_not_searched_appears_nowhere(tmp_path):
    """Both of two cells are reduction cells, so a collapse of the normal cell would be noise of its alphas."""
    run = write_run(tmp_path / "short", cells=2, epochs=30, drift=0.06)
    other = write_run(tmp_path / "other", cells=2, seed=1)
    for paths in ([run], [run, other]):
        text, tree = parsed(write_report(paths, tmp_path / "page.html"))
        assert "Normal cell" not in " ".join(headings(tree))
        legend = "more than 50% of the normal cell's edges"  # of the column `collapsed`, in comparisons
        told = "normal cell is left out", "no normal cell is searched"
        assert text.replace("&#x27;", "'").replace(legend, "").count("normal cell") == len(told) * len(paths)
        assert "Its normal cell is left out" in text and "space.cells is 2" in text
        assert "normal=" not in text and "normal 0:" not in text and "reduce=" in text and "reduction cell" in text
    assert " of 8 " not in table([run])


def test_several_runs_are_compared_and_seeds_averaged(runs):
    text, tree = parsed(write_report([runs["healthy"], runs["collapsing"], runs["again"]]))
    found = headings(tree)
    assert (
        "Comparison" in found
        and "Results" in found
        and "Different settings" in found
        and "Same settings, several seeds" in found
    )
    assert "mean ± std, n = 2" in text and "healthy (mean ± std of 2)" in text
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) and {"run-0", "run-1", "run-2"} <= set(ids)
    rows = [["".join(c.itertext()) for c in r] for r in tree.iter("tr")]
    assert ["search.hypergradient", "null", '"first_order"', "null"] in rows


def test_one_seed_has_no_spread(runs):
    for name in ("healthy", "small"):
        text = write_report([runs[name]]).read_text()
        assert "mean ± std" not in text and "One seed shows no spread" in text
    run = read_run(runs["seeds"])
    run.searches[1].metrics[-1]["val_loss"] = float("nan")
    spread = statistics.stdev([run.searches[k].last("val_loss") for k in (0, 2)])
    assert f"± {spread:.2g} (n = 2)" in seeds_table([run]), "a seed without a number is not counted"


def test_seeds_of_one_run(runs):
    run = read_run(runs["seeds"])
    assert [s.seed for s in run.searches] == [0, 1, 2]
    text, _ = parsed(write_report([runs["seeds"]]))
    assert "mean ± std, n = 3" in text and "has the highest validation accuracy of 3 seeds" in text
    assert cost(run) == 8 * 3.0 and "24.0 s" in text, "the seeds ran together"
    best = max(run.searches, key=lambda s: s.last("val_accuracy"))
    assert recommend(run).search is best


def test_members_of_a_sweep(tmp_path):
    """Means are only over seeds of one setting, and leave out diverged searches."""
    path = with_seeds(tmp_path / "sweep", [1, 2])
    for seed in (1, 2):
        for rate in ("0.01", "0.1"):
            shutil.copytree(path / f"search/seed-{seed}", path / f"search/seed-{seed},learning_rate-{rate}")
        shutil.rmtree(path / f"search/seed-{seed}")
    diverged = RunFolder(path / "search/seed-2,learning_rate-0.1")
    diverged.write_text("metrics.jsonl", json.dumps({"epoch": 1, "train_loss": None, "val_accuracy": 0.1}) + "\n")
    run = read_run(path)
    assert [s.label for s in run.searches] == [f"{k}, learning_rate-{r}" for r in ("0.01", "0.1") for k in (1, 2)]
    assert [s.diverged for s in run.searches] == [False, False, False, True]
    text, tree = parsed(write_report([path]))
    assert "Diverged, seed 2, learning_rate-0.1:" in text
    rows = [["".join(c.itertext()) for c in r] for r in tree.iter("tr")]
    means = {row[0]: row[1] for row in rows if row[0].startswith("mean")}
    first, second, alone = (100 * run.searches[k].last("val_accuracy") for k in (0, 1, 2))
    assert means == {
        "mean ± std, learning_rate-0.01, n = 2": f"{(first + second) / 2:.2f} ± {abs(first - second) / 2**0.5:.2f} %",
        "mean ± std, learning_rate-0.1, n = 2": f"{alone:.2f} % (n = 1)",
    }


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
    assert text.count("Not readable:") == 2 and "metrics.jsonl:2" in text


def test_watching_renews_until_the_run_is_finished(tmp_path, monkeypatch):
    path = write_run(tmp_path / "run", epochs=2, planned=3, summary=False)
    sleeps, seen = [], []

    def sleep(seconds):
        sleeps.append(seconds)
        seen.append((path / "report.html").stat().st_mtime_ns)
        if len(sleeps) == 2:
            assert "2 of 3" in (path / "report.html").read_text()
            record = RunFolder(path / "search").records("metrics")[-1]
            RunFolder(path / "search").append("metrics", {**record, "epoch": 3, "step": 30})

    monkeypatch.setattr(writing.time, "sleep", sleep)
    told = []
    target = watch([path], tell=told.append)
    assert sleeps == [writing.REFRESH] * 2 and seen[0] == seen[1], "nothing new, nothing written"
    text, _ = parsed(target)
    assert "3 of 3" in text and "refresh" not in text and "Ctrl-C" in told[0]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    """As a device does: `jdarts report RUN -o /dev/null` must not put a file in the place of /dev/null."""
    write_run(tmp_path / "run")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.read_text)
        writing.write_report([tmp_path / "run"], pipe)
        assert reading.result(timeout=60).lower().startswith("<!doctype html>")
    assert pipe.is_fifo() and sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "run"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: shutil.rmtree(p), "does not exist"),
        (lambda p: (shutil.rmtree(p), p.write_text("x")), "is a file"),
        (lambda p: (p / "config.json").unlink(), "is not a run folder"),
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
    assert "eigenvalue" not in "".join(tree.itertext()), "what was not measured is left out"


def test_changes_name_the_edges():
    from jdarts.genotypes import parse

    before = parse("DARTS_V2")
    after = parse(
        before.to_text().replace(
            "('skip_connect', 0), ('dil_conv_3x3', 2)", "('skip_connect', 0), ('sep_conv_5x5', 2)", 1
        )
    )
    assert changes(before, after) == "normal 3: − dil_conv_3x3(2) + sep_conv_5x5(2)"


def drawn(series, scales, **options):
    return ElementTree.fromstring(line_chart("t", series, scales, **options))


def ticks(figure):
    """Labels of the ticks of the y axis, from the bottom up, and their distances from the left edge."""
    texts = [t for t in figure.find("svg[@class='chart']").iter("text") if "end" in t.get("style", "")]
    texts.sort(key=lambda t: -float(t.get("y", "")))
    return [t.text for t in texts]


def test_charts_place_points_where_the_numbers_are():
    figure = drawn([Series("a", [1, 3], [0.0, 2.0])], Scales("y", from_zero=True))
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in figure.iter("circle")]
    assert len(dots) == 2 and dots[0][0] < dots[1][0] and dots[0][1] > dots[1][1], "y grows upwards"
    assert [c.find("title").text for c in figure.iter("circle")] == ["a, epoch 1: 0", "a, epoch 3: 2"]
    chart = figure.find("svg[@class='chart']")
    assert chart.get("aria-label") == "t (y) by epoch: a, 0 in epoch 1, 2 in 3"
    assert {"epoch", "y"} <= {text.text for text in chart.iter("text")}
    assert line_chart("t", [Series("a", [], [])], Scales("y")) == ""
    assert line_chart("t", [Series("a", [1], [float("nan")])], Scales("y")) == ""


@pytest.mark.parametrize(
    "values", [[0.125] * 9, [0.125 + 1e-9 * k for k in range(9)], [0.0] * 9, [-3e-4] * 9, [0, 1e-7], [1e9, 3e12], [5.0]]
)
@pytest.mark.parametrize("scales", [Scales("y"), Scales("y", percent=True), Scales("y", from_zero=True)])
def test_ticks_differ_even_on_flat_lines(values, scales):
    found = ticks(drawn([Series("a", list(range(1, len(values) + 1)), values)], scales))
    assert len(found) >= 2 and len(set(found)) == len(found)


def test_whole_numbers_and_a_single_epoch():
    figure = drawn([Series("skips", [1], [1])], Scales("edges", whole=True, from_zero=True))
    assert [float(tick) for tick in ticks(figure)] == [0, 1]
    middle = [t.text for t in figure.find("svg[@class='chart']").iter("text") if "middle" in t.get("style", "")]
    assert sorted(middle) == ["1", "edges", "epoch"]


def test_every_line_has_a_legend():
    lines = [Series(f"line <{k}>", [1, 2], [k, k + 1], f"s{k}", k % 4) for k in range(5)]
    figure = drawn(lines, Scales("y"), marks=[(2, "too many skips")])
    assert ["".join(item.itertext()) for item in figure.iter("li")] == [*(s.name for s in lines), "warning"]
    styles = [(line.get("style"), line.get("stroke-dasharray")) for line in figure.iter("line")]
    assert len(set(styles)) == 6
    shown = ElementTree.tostring(figure, encoding="unicode")
    assert all(shown.count(f"var(--s{k})") >= 3 for k in range(5)), "swatch, line and markers have one colour"
    assert "<title>too many skips</title>" in shown


def test_heat_maps_name_every_op_in_full():
    ops = ["none", "skip_connect", "a_pointwise_op_of_my_own"]
    values = np.array([[0.2, 0.1], [0.1, 0.6], [0.7, 0.3]])
    figure = ElementTree.fromstring(heat_map("edge", ops, [1, 2], values, (0.0, 1.0)))
    assert [span.text for span in figure.iter("span")] == [*ops, "epoch", "1", "2"]
    images = [image.get("src").partition(",")[2] for image in figure.iter("img")]
    first, second = (imread(io.BytesIO(base64.b64decode(image))) for image in images[:2])
    assert first.shape == (1, 2, 4)
    assert np.allclose(first[0], cividis([0.2, 0.1]), atol=1 / 255) and np.allclose(
        second[0], cividis([0.1, 0.6]), atol=1 / 255
    )


def test_equal_op_weights_have_a_scale():
    low, high = widened(np.full((4, 3), 0.125), 0.01)
    assert (low, high) == (pytest.approx(0.12), pytest.approx(0.13))
    shown = [s.text for s in ElementTree.fromstring(scale_bar((low, high), "op weight")).iter("span")]
    assert shown == ["0.120", "0.130", "op weight"]
    assert widened(np.array([0.0, 0.4]), 0.01) == (0.0, 0.4)


def test_ops_of_one_cell_differ_in_colour_or_dash():
    own = [f"own_{k}" for k in range(9)]
    for ops in (list(spaces.get("darts_cnn").tables["normal"][0]), own, ["conv_a", "conv_b", *own, "sep_conv_3x3"]):
        styles = line_styles(ops)
        assert len(set(styles.values())) == len(ops)


@pytest.mark.parametrize("name", spaces.names())
def test_ops_of_one_edge_with_the_same_dash_differ_visibly_in_colour(name):
    """At least 35 of 441 apart in RGB, on light and on dark screens."""
    for row in {row for rows in spaces.get(name).tables.values() for row in rows}:
        styles = line_styles(row)
        for a, b in itertools.combinations(row, 2):
            if styles[a][1] == styles[b][1]:
                for one, other in zip(COLOURS[styles[a][0]], COLOURS[styles[b][0]], strict=True):
                    red, green, blue = (int(one[i : i + 2], 16) - int(other[i : i + 2], 16) for i in (1, 3, 5))
                    assert math.hypot(red, green, blue) >= 35, (a, b)


def test_times_tell_the_hessian_apart(runs):
    run = read_run(runs["healthy"])
    figure = curves(run, run.searches[0])
    figure = next(f for f in ElementTree.fromstring(figure) if f.find("figcaption").text == "Time of an epoch")
    told = [c.find("title").text for c in figure.iter("circle")]
    seconds = run.searches[0].series("seconds")[1][1]
    assert f"search and validation, epoch 2: {seconds - 4:.4g}" in told
    assert "alpha-Hessian; the first includes its compilation, epoch 2: 4" in told


def test_words():
    assert [duration(s) for s in (4.24, 185, 1506, 3720)] == ["4.2 s", "3 min 05 s", "25 min", "1 h 02 min"]
    assert (
        mean_std([0.5, 0.7], True) == "60.00 ± 14.14 %" and mean_std([], True) == "–" and mean_std([2.0], False) == "2"
    )


PROBE = """
const wide = document.documentElement.clientWidth, found = [];
const name = e => e.tagName + "." + e.getAttribute("class") + ": " + e.textContent.trim().slice(0, 40);
for (const e of document.body.querySelectorAll("*")) {
  const box = e.getBoundingClientRect(), scroll = e.closest(".scroll");
  if (!box.width || !box.height || ["TITLE", "title"].includes(e.tagName)) continue;
  if ((!scroll || scroll === e) && (box.right > wide + 0.5 || box.left < -0.5)) found.push("outside " + name(e));
  const block = e instanceof HTMLElement && getComputedStyle(e).display !== "inline";
  if (!scroll && block && e.scrollWidth > e.clientWidth + 1) found.push("overflows " + name(e));
  if (e.tagName === "text") {
    const page = e.ownerSVGElement.getBoundingClientRect();
    const sides = [page.left - box.left, box.right - page.right, page.top - box.top, box.bottom - page.bottom];
    if (Math.max(...sides) > 1) found.push("clipped " + name(e));
    const scale = page.width / e.ownerSVGElement.viewBox.baseVal.width;
    if (scale * parseFloat(getComputedStyle(e).fontSize) < 9) found.push("tiny " + name(e));
  }
}
parent.postMessage({wide, dark: matchMedia("(prefers-color-scheme: dark)").matches, found}, "*");
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's package chromium is not installed")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (420, True)])
def test_chromium_renders_it_without_complaints_overflow_or_clipped_text(runs, tmp_path, width, dark):
    """The page is shown in a frame, because a window of Chromium has at least 500 pixels."""
    pareto, _ = search_run(tmp_path / "pareto", "nsga2", 30, objectives=("accuracy", "parameters"))
    learning, _ = search_run(tmp_path / "learning", "reinforce", 12, hidden=None)
    tuned, _ = tuning_run(tmp_path / "tuned")
    report = write_report([runs["healthy"], runs["collapsing"], pareto, learning, tuned], tmp_path / "r.html")
    probe = tmp_path / "probe.html"
    probe.write_text(report.read_text().replace("</body>", f"<script>{PROBE}</script></body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<script>addEventListener('message', e => "
        "document.title = encodeURIComponent(JSON.stringify(e.data)));</script>"
        f'<iframe src="{probe.as_uri()}" style="border: 0; width: {width}px; height: 900px"></iframe>'
    )
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [
        "--hide-scrollbars",
        f"--window-size={width + 100},1000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=300, check=False
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    seen = json.loads(unquote(re.search(r"<title>(.+?)</title>", done.stdout)[1]))
    assert (seen["wide"], seen["dark"]) == (width, dark)
    assert seen["found"] == []
