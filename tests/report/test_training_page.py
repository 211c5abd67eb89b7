"""The page of a training, and trainings beside searches."""

import json
from html.parser import HTMLParser

import pytest
from support.report_runs import write_run

from jdarts.cli import main
from jdarts.config import Experiment, TrainConfig
from jdarts.genotypes import parse
from jdarts.report.page import read
from jdarts.report.training import TrainingRun
from jdarts.report.write_report import table, write_report
from jdarts.runs.folder import RunFolder

GENOTYPE = parse("DARTS_V2").to_text()


def training(path, *, epochs: int = 3, done: bool = True, text: bool = False) -> None:
    run = RunFolder.create(path, Experiment(train=TrainConfig(epochs=4)))
    for epoch in range(1, epochs + 1):
        kind = "perplexity" if text else "accuracy"
        record = {"step": 5 * epoch, "epoch": epoch, f"train_{kind}": 0.1 * epoch, "loss": 2.0 / epoch, "seconds": 90.0}
        run.append("metrics", record)
    if done:
        score = {"test_perplexity": 61.5} if text else {"test_accuracy": 0.8125, "test_top5_accuracy": None}
        run.write_json("result.json", {"genotype": GENOTYPE, **score, "parameters": 1234567, "macs": 7654321})


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_the_page_has_score_curves_drawing_and_cost(tmp_path):
    training(tmp_path / "run")
    page = Page(write_report([tmp_path / "run"]).read_text())
    assert {"81.25 %", "1,234,567", "7,654,321", "3 of 4", "Training report", "4 min 30 s"} <= set(page.texts)
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"curves", "network", "configuration"} <= ids
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links and all(link.removeprefix("#") in ids for link in links)
    shown = " ".join(page.texts)
    assert "sep_conv_3x3" in shown and "train.epochs" in shown
    assert sum(tag == "svg" for tag, _ in page.tags) >= 3, "loss, time, and the cells"


def test_a_training_that_is_not_finished_and_a_language_model(tmp_path):
    training(tmp_path / "open", epochs=1, done=False)
    training(tmp_path / "text", text=True)
    assert "tested once, after the last epoch" in write_report([tmp_path / "open"]).read_text()
    texts = Page(write_report([tmp_path / "text"]).read_text()).texts
    assert "61.5" in texts and "test perplexity" in texts and "Perplexity" in texts
    run = read(tmp_path / "open")
    assert isinstance(run, TrainingRun) and not run.finished


def test_trainings_are_compared_with_each_other_and_stand_beside_searches(tmp_path, capsys):
    training(tmp_path / "a")
    training(tmp_path / "b", done=False)
    write_run(tmp_path / "search")
    folders = [tmp_path / name for name in ("a", "search", "b")]
    text = table(folders)
    assert "| a | 81.25 % (test accuracy) | 1,234,567 | 7,654,321 |" in text and "| b | not finished | – | – |" in text
    page = write_report(folders, tmp_path / "all.html").read_text()
    assert '<a href="#run-0">a</a>' in page and '<a href="#run-2">b</a>' in page and 'id="r1-alphas"' in page
    assert main(["report", str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")


@pytest.mark.parametrize("content", ["", "{", json.dumps({"genotype": "nonsense", "parameters": 1, "macs": 1})])
def test_damaged_results_do_not_end_the_report(content, tmp_path):
    training(tmp_path / "run", done=False)
    (tmp_path / "run/result.json").write_text(content)
    assert "Curves" in write_report([tmp_path / "run"]).read_text()
