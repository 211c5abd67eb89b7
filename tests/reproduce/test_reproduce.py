"""Every reproduction at scale smoke, what a second call reuses, and refusals."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.real_data import REAL_DATA

from jdarts import cli, reproduce
from jdarts.config.files import load_config, with_values
from jdarts.errors import UserError
from jdarts.genotypes import RandomlyWired
from jdarts.methods import configured
from jdarts.networks.wired.size import count_wired
from jdarts.reproduce import Setting, darts_cifar10, imagenet, macro, ptb, random_wiring, robust_spaces
from jdarts.reproduce.nasbench201 import METHODS, config_of, scale_of
from jdarts.reproduce.published import TABLES as TABLES_PUBLISHED
from jdarts.reproduce.published import published
from jdarts.reproduce.single_darts import GRIDS

CONFIGS = Path(__file__).parents[2] / "configs"
NASBENCH201 = REAL_DATA / "nasbench201.csv.gz"
MACRO = REAL_DATA / "benchmarks" / "nas-bench-macro_cifar10.json"
TABLES = {"nasbench201": NASBENCH201, "single_darts": NASBENCH201, "macro": MACRO}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs a reproduction when it is first asked for: `name -> (folder, results.json)`."""
    done = {}

    def of(name: str) -> tuple[Path, dict]:
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            table = TABLES.get(name)
            given = str(table) if table is not None and table.exists() else ""
            reproduce.run(name, Setting("smoke", folder, table=given))
            done[name] = folder, json.loads((folder / "results.json").read_text())
        return done[name]

    return of


def times(folder: Path) -> dict[str, int]:
    """The time of the last change of every file of the runs."""
    runs = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    return {str(path): path.stat().st_mtime_ns for path in runs}


@pytest.mark.slow
def test_darts_cifar10(results):
    folder, found = results("darts_cifar10")
    assert set(found["progress"]) == {"0", "1"} and all(list(points) == ["2"] for points in found["progress"].values())
    assert found["finals"]["found"][0]["parameters"] > 0 and len(found["random"]) == 1
    text = (folder / "results.md").read_text()
    assert "2.76 ± 0.09" in text and "3.29 ± 0.15" in text and "device-hours" in text
    assert (folder / "search_progress.png").stat().st_size > 5000
    best = min(found["progress"].values(), key=lambda points: points["2"])["2"]
    trained = json.loads((folder / "final-found-0" / "result.json").read_text())["genotype"]
    brief = [
        path for path in folder.glob("brief-*") if json.loads((path / "result.json").read_text())["genotype"] == trained
    ]
    last = json.loads((brief[0] / "metrics.jsonl").read_text().splitlines()[-1])
    assert 100 * (1 - last["val_accuracy"]) == pytest.approx(best), "the best by validation is trained in full"


@pytest.mark.slow
def test_a_second_call_runs_nothing_again(results):
    folder, found = results("nasbench201")
    before = times(folder)
    given = str(NASBENCH201) if NASBENCH201.exists() else ""
    again = reproduce.run("nasbench201", Setting("smoke", folder, table=given))
    assert times(folder) == before and again.values["cells"] == found["cells"]
    with pytest.raises(UserError, match="holds 2 searches, 3 are asked for"):
        reproduce.run("nasbench201", Setting("smoke", folder, seeds=3, table=given))
    if given:
        with gzip.open(NASBENCH201, "rt") as file:
            accuracies = {row["arch"]: float(row["c10_test_200"]) for row in csv.DictReader(file)}
        mean = np.mean([accuracies[cell] for cell in found["cells"]["DARTS, first order"]])
        assert found["test"]["DARTS, first order"]["c10"] == pytest.approx(mean)


@pytest.mark.slow
def test_single_darts_by_both_optimisers(results):
    folder, _ = results("single_darts")
    configs = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/config.json")}
    kinds = {name: config["search"]["alpha_optimizer"]["kind"] for name, config in configs.items()}
    assert kinds["same-sigmoid-sgd-0.005"] == "sgd" and kinds["same-sigmoid-adam-0.005"] == "adam"
    alphas = [
        json.loads((folder / name / "search" / "seed-0" / "genotypes.jsonl").read_text().splitlines()[-1])["alphas"]
        for name in ("same-sigmoid-sgd-0.005", "same-sigmoid-adam-0.005")
    ]
    assert not np.allclose(alphas[0]["cell"], alphas[1]["cell"], atol=1e-4)


@pytest.mark.slow
def test_macro(results):
    folder, found = results("macro")
    scores = found["inherited"]["SPOS"][0]
    assert len(set(found["networks"])) == 6 and {len(values) for values in scores.values()} == {6}
    assert scores["recalibrated"] != scores["running averages"]
    records = [json.loads(line) for line in (folder / "inherited" / "spos-seed-0.jsonl").read_text().splitlines()]
    assert [record["accuracy"] for record in records] == [*scores["running averages"], *scores["recalibrated"]]
    if MACRO.exists():
        table = json.loads(MACRO.read_text())
        assert found["truth"] == [table[network]["mean_acc"] for network in found["networks"]]
        assert "Kendall" in (folder / "results.md").read_text() and (folder / "inherited.svg").exists()


@pytest.mark.slow
def test_ptb(results):
    folder, found = results("ptb")
    assert set(found["trained"]) == set(found["transferred"]) == {"DARTS, second order", "LSTM"}
    for part in ("trained", "transferred"):
        (cell,), (lstm,) = found[part]["DARTS, second order"], found[part]["LSTM"]
        assert cell["test_perplexity"] > 1 and lstm["test_perplexity"] > 1
        assert abs(lstm["parameters"] - cell["parameters"]) < 12 + 5 + 16 * lstm["units"], "no more than one unit away"
    assert found["trained"] != found["transferred"], "another text"
    text = (folder / "results.md").read_text()
    assert "55.7" in text and "57.6" not in text, "no row of an order that did not run"


def test_the_small_config_of_ptb_is_the_protocol_of_the_reproduction():
    config, sizes = load_config(CONFIGS / "ptb_rnn_small.py"), ptb.scale_of("cpu", "")
    assert sizes.training == replace(config, name=sizes.training.name)
    assert sizes.search == replace(sizes.training, data=replace(config.data, limit=150_000))


@pytest.mark.slow
def test_imagenet(results):
    folder, found = results("imagenet")
    assert 0 <= found["trained"]["sigmoid_star"][0]["test_accuracy"] <= 1
    text = (folder / "results.md").read_text()
    assert "4.72 vs 4.7 " in text and "320.43 vs 320 " in text


@pytest.mark.slow
def test_random_wiring(results):
    folder, found = results("random_wiring")
    assert {op: list(rows) for op, rows in found["accuracy"].items()} == {
        "separable": ["BA(1)", "WS(4,0.75)"],
        "avg_pool": ["BA(1)", "WS(4,0.75)"],
    }
    told = json.loads((folder / "separable-ws-4-0.75-seed-0" / "result.json").read_text())
    assert found["accuracy"]["separable"]["WS(4,0.75)"] == [100 * told["test_accuracy"]]
    lost = json.loads((folder / "damage.json").read_text())
    assert set(lost) == {"whole", "node", "edge"} and all(
        (folder / f"{n}.png").exists() for n in ("damage", "generators")
    )


@pytest.mark.slow
def test_robust_spaces(results):
    folder, found = results("robust_spaces")
    (error,), (skips,) = found["errors"]["DARTS-"]["S2"], found["skips"]["DARTS-"]["S2"]
    told = json.loads((folder / "darts_minus-s2-train-0" / "result.json").read_text())
    assert error == 100 * (1 - told["test_accuracy"])
    normal = told["genotype"].partition("normal_concat")[0]
    assert skips == normal.count("skip_connect") and normal.count("'") == 16, "eight edges"
    assert "2.63?" in (folder / "results.md").read_text()


@pytest.mark.parametrize("row", robust_spaces.METHODS)
def test_methods_in_the_robust_spaces_are_valid(row):
    """At full scale with the published settings; networks of 16 channels in S2 and S4 (recalled)."""
    base = robust_spaces.scale_of("full", "images").base
    channels = {}
    for space in robust_spaces.SPACES:
        config = robust_spaces.config_of(base, "full", row, space)
        configured(config.search)
        channels[space] = config.train.channels
        assert (config.search.epochs, config.space.channels) == (50, 16)
    assert channels == {"S1": 36, "S2": 16, "S3": 36, "S4": 16}
    small = robust_spaces.scale_of("cpu", "images")
    if row in small.methods:
        config = robust_spaces.config_of(small.base, "cpu", row, "S1")
        assert (configured(config.search).alpha_start or 0) < config.search.epochs
    assert row in {published_row.method for published_row in published("robust_cifar10").rows}


@pytest.mark.parametrize("name", TABLES_PUBLISHED)
def test_every_published_table_is_shown_by_a_reproduction(name):
    assert any(published(name) in each.tables for each in map(reproduce.get, reproduce.names()))


def test_correlations_of_operations():
    results = {"a": {"x": [1.0, 3.0], "y": [4.0], "z": [6.0]}, "b": {"x": [10.0], "y": [13.0], "z": [11.0]}}
    expected = np.corrcoef([2, 4, 6], [10, 13, 11])[0, 1]
    assert random_wiring.pearson(results) == {("a", "b"): pytest.approx(expected)}


@pytest.mark.parametrize("operation", ["conv", "max_pool"])
def test_widths_of_operations_have_equal_cost(operation):
    width = random_wiring.channels_of(operation, 32, 78)
    wired = RandomlyWired(operation=operation)
    ours, wanted = count_wired(wired, channels=width).macs, count_wired(RandomlyWired(), channels=78).macs
    assert abs(ours / wanted - 1) < 0.06 and width % 2 == 0


@pytest.mark.parametrize("row", METHODS)
@pytest.mark.parametrize("scale", ["cpu", "full"])
def test_searches_of_larger_scales_are_valid(row, scale):
    config = config_of(scale_of(scale, "images").base, scale, row)
    assert config.data.path == "images" and config.search.method == METHODS[row][0]


@pytest.mark.parametrize("scale", ["cpu", "full"])
def test_configurations_of_larger_scales_are_valid(scale):
    """Every configuration checks itself when it is made; the settings of methods are built."""
    for module in (darts_cifar10, imagenet, macro, ptb, random_wiring):
        assert module.scale_of(scale, "path") is not None
    sizes = macro.scale_of(scale, "path")
    for changes in sizes.changes.values():
        configured(with_values(sizes.base, changes).search)
    for rows in GRIDS.values():
        for case in rows.values():
            configured(case.config(scale_of(scale, "images").base, scale).search)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "unknown reproduction 'nothing'"),
        (["macro", "--scale", "tiny"], "unknown scale 'tiny'"),
        (["macro"], "needs --data; or use --scale smoke"),
        (["ptb", "--scale", "smoke", "--table", "x"], "does not read --table; leave it out"),
        (["macro", "--scale", "smoke", "--transfer", "x"], "does not read --transfer; leave it out"),
        (["ptb", "--data", ".", "--transfer", "absent"], "--transfer absent does not exist"),
        (["nasbench201", "--scale", "smoke", "--table", "absent.csv"], "--table absent.csv does not exist"),
        (["--scale", "smoke"], "--scale needs an experiment"),
    ],
)
def test_mistakes_are_told_before_anything_runs(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_list_and_the_published_numbers(capsys):
    assert cli.main(["reproduce"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in reproduce.names()) and "--data PATH --table PATH" in listed
    assert cli.main(["reproduce", "ptb", "--show"]) == 0
    assert "58.1" in capsys.readouterr().out
