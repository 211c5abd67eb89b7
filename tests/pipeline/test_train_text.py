"""`jdarts train` on text: the task is that of data.source, and a genotype of the other task is refused."""

import dataclasses
import json
import math
import statistics
from pathlib import Path

import pytest
from support.followed import check_tables
from support.tiny_text import SPACE

from jdarts import cli, spaces
from jdarts.config import (
    DataConfig,
    Experiment,
    LanguageSearchConfig,
    LanguageTrainConfig,
    SearchConfig,
    SGDConfig,
    SpaceConfig,
    TrainConfig,
)
from jdarts.config.files import load_config, to_json
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.pipeline import run_experiment, run_train_only
from jdarts.pipeline.training import IMAGES, TEXT, training_task
from jdarts.report.write_report import write_report
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.train.tasks import TASKS

CELL = "Genotype(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))"


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A working directory with a tiny text in text/ and a configuration toy.json."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").mkdir()
    for name, lines in (("train", 24), ("valid", 4), ("test", 3)):
        (tmp_path / "text" / f"{name}.txt").write_text("a cat sat on a mat\n" * lines)
    config = Experiment(
        name="toy",
        data=DataConfig(source="text", path="text"),
        language_train=LanguageTrainConfig(epochs=2, units=4, batch_size=24, bptt=2, val_batch_size=2),
    )
    (tmp_path / "toy.json").write_text(to_json(config))
    return config


def test_the_command_trains_a_language_model(experiment, capsys):
    assert cli.main(["train", "toy.json", "--genotype", CELL, "--log", "csv"]) == 0
    shown = capsys.readouterr().out
    run = Path("runs/toy-train")
    result = json.loads((run / "result.json").read_text())
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert f"test perplexity {result['test_perplexity']:.2f}" in shown
    assert f"val perplexity {records[0]['val_perplexity']:.4g}" in shown and "rollbacks" not in shown
    check_tables(run, series=1)
    assert result["train_perplexities"] == [record["train_perplexity"] for record in records]
    assert result["val_perplexity"] == pytest.approx(min(math.exp(record["val_loss"]) for record in records))
    assert parse(result["genotype"]) == parse(CELL) and result["parameters"] == 6 * 4 + 6 + 8 * 4 * 4


@pytest.mark.parametrize(
    ("source", "genotype", "message"),
    [
        ("text", "DARTS_V2", "network of images, but data.source text is a text"),
        ("digits", CELL, "recurrent cell, but data.source digits has images"),
    ],
)
def test_a_genotype_of_the_other_task_is_refused_before_data_are_read(tmp_path, source, genotype, message):
    config = Experiment(data=DataConfig(source=source, path=str(tmp_path / "missing")))
    with pytest.raises(UserError, match=message) as caught:
        run_train_only(config, parse(genotype), tmp_path / "run", resume=False, reporter=SilentReporter())
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_the_source_decides_the_task():
    tasks = {
        name: training_task(Experiment(data=DataConfig(source=name)))
        for name in ("ptb", "wikitext2", "text", "digits", "folder", "tfds:mnist")
    }
    assert [tasks[name] for name in ("ptb", "wikitext2", "text")] == [TEXT] * 3
    for name in ("digits", "folder", "tfds:mnist"):
        assert dataclasses.replace(tasks[name], load=IMAGES.load) == IMAGES
        assert tasks[name].load == TASKS["classification"].load


@pytest.mark.parametrize(
    ("name", "units", "hidden", "decay"), [("ptb_rnn", 850, 0.25, 8e-7), ("wikitext2_rnn", 700, 0.15, 5e-7)]
)
def test_the_configurations_have_the_published_settings(name, units, hidden, decay):
    config = load_config(Path(__file__).parents[2] / "configs" / f"{name}.py")
    settings = config.language_train
    assert (settings.units, settings.dropout_hidden, settings.weight_decay) == (units, hidden, decay)
    assert (settings.batch_size, settings.bptt, settings.learning_rate, settings.gradient_clip) == (64, 35, 20, 0.25)
    assert (settings.dropout_embedding, settings.dropout_input, settings.dropout_x, settings.dropout_output) == (
        (0.1, 0.2, 0.75, 0.75)
    )
    assert (settings.activation, settings.slowness, settings.nonmono) == (0, 1e-3, 5)
    assert (settings.val_batch_size, settings.test_batch_size) == (10, 1)


def test_a_whole_experiment_compares_the_perplexities_of_found_and_random_cells(experiment, tmp_path, monkeypatch):
    monkeypatch.setitem(spaces.LANGUAGE, SPACE.name, SPACE)
    config = dataclasses.replace(
        experiment,
        space=SpaceConfig(name=SPACE.name),
        search=SearchConfig(
            epochs=1, batch_size=2, hypergradient="first_order", weight_optimizer=SGDConfig(momentum=0.0)
        ),
        train=TrainConfig(random_cells=2),
        language_search=LanguageSearchConfig(units=4, bptt=12),
        language_train=dataclasses.replace(experiment.language_train, epochs=1),
    )
    reporter = SilentReporter()
    run_experiment(config, (), tmp_path / "run", resume=False, reporter=reporter)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary) == {"found", "random", "random-2"}
    table = next(text for text in reporter.messages if "test perplexity" in text)
    for name, result in summary.items():
        assert f"{name} cell" in table and f"  {result['test_perplexity']:.2f}  " in table
    spread = statistics.stdev(summary[name]["test_perplexity"] for name in ("random", "random-2"))
    assert f" ± {spread:.2f}  " in table
    page = write_report([tmp_path / "run"]).read_text()
    assert f"<b>{summary['found']['test_perplexity']:.4g}</b><span>test perplexity, found cell</span>" in page
    assert "Perplexity of the supernet" in page and "Retraining of the random cell" in page
    record = RunFolder(tmp_path / "run" / "search").records("metrics")[-1]
    found = parse(summary["found"]["genotype"])
    assert isinstance(found, RecurrentGenotype)
    assert record["identities"] == sum(activation == "identity" for activation, _ in found.recurrent)
    assert f"<b>{record['identities']} of 2</b><span>identities, recommended cell</span>" in page
    assert "normal_skips" not in record and "skip_connections" not in record
    shown = page.partition("Configuration and environment")[0].replace("recurrent cells have no skip connections", "")
    assert "skip connections" not in shown.lower() and "normal cell" not in shown
