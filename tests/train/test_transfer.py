"""A trained network as the start of another training: new heads, frozen parts, the best epoch, resumption."""

import json
import shutil

import numpy as np
import pytest
from support.digit_tables import write_table
from support.interrupted import stopped_after

import jdarts
from jdarts.cli import main
from jdarts.errors import UserError
from jdarts.train.best import is_best
from jdarts.train.transfer import transferred

CONFIG = """from jdarts.config import *
config = Experiment(
    data=DataConfig(source="digits", limit=256, crop_padding=1, flip=False),
    train=TrainConfig(batch_size=16, epochs=3, auxiliary_weight=0.0, cutout=0, drop_path=0.0, val_fraction=0.25),
)
"""
MOBILE = "fairnas: conv_k3_c4 mb_k3_e2_c6_s2 mb_k3_e2_c6"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a configuration, tables, and the training `first` of a classifier of digits."""
    place = tmp_path_factory.mktemp("transfer")
    (place / "config.py").write_text(CONFIG)
    for task in ("regression", "segmentation"):
        write_table(place / task, task)
    assert main(["train", str(place / "config.py"), "--genotype", MOBILE, "--run-dir", str(place / "first")]) == 0
    return place


def arrays(folder) -> dict[str, np.ndarray]:
    with np.load(folder / "weights.npz") as stored:
        return {name: stored[name] for name in stored.files}


def train(place, name, *options) -> int:
    command = ["train", str(place / "config.py"), "--run-dir", str(place / name), *options]
    return main([*command, "--train.optimizer.learning_rate", "0.05"])


def test_a_frozen_body_stays_equal_bit_for_bit_and_the_new_head_learns(place, capsys):
    table = ["--data.source", "table", "--data.path", str(place / "regression"), "--data.limit", "64"]
    task = ["--train.task", "regression", "--train.val_fraction", "0"]
    more = ["--train.frozen", "body", "--train.epochs", "6"]
    assert train(place, "frozen", *table, *task, "--from", str(place / "first"), *more) == 0
    out = capsys.readouterr().out
    assert "new head: classification of 10" in out and "classifier is new" in out
    before, after = arrays(place / "first"), arrays(place / "frozen")
    body = [name for name in before if "classifier" not in name]
    assert len(body) > 20 and any("batch_stats" in name for name in body)
    for name in body:
        np.testing.assert_array_equal(before[name], after[name])
    assert after["params/classifier/kernel"].shape == (6, 2)
    losses = [json.loads(line)["train_loss"] for line in (place / "frozen" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


def test_the_head_stays_where_task_and_classes_are_the_same(place, capsys):
    assert train(place, "same", "--from", str(place / "first"), "--train.frozen", "statistics,layer_0") == 0
    assert "head" not in capsys.readouterr().out
    before, after = arrays(place / "first"), arrays(place / "same")
    for name in before:
        still = "batch_stats" in name or "/layer_0/" in name
        assert np.array_equal(before[name], after[name]) == still, name
    first = json.loads((place / "first" / "metrics.jsonl").read_text().splitlines()[0])
    second = json.loads((place / "same" / "metrics.jsonl").read_text().splitlines()[0])
    assert second["train_loss"] < first["train_loss"], "it begins where the other run ended"


def test_a_classifier_becomes_the_backbone_of_a_segmentation(place, capsys):
    table = ["--data.source", "table", "--data.path", str(place / "segmentation"), "--data.limit", "64"]
    options = ["--train.task", "segmentation", "--from", str(place / "first"), "--train.frozen", "body"]
    assert train(place, "masks", *table, *options) == 0
    assert "decoder" in capsys.readouterr().out
    before, after = arrays(place / "first"), arrays(place / "masks")
    for name in before:
        if "classifier" not in name:
            collection, _, rest = name.partition("/")
            np.testing.assert_array_equal(before[name], after[f"{collection}/backbone/{rest}"])


def test_the_best_epoch_is_kept_and_can_be_used(place, tmp_path, capsys):
    records = [json.loads(line) for line in (place / "first" / "metrics.jsonl").read_text().splitlines()]
    scores = [record["val_accuracy"] for record in records]
    network = jdarts.load(place / "first", best=True)
    data = jdarts.load_data(jdarts.load_config(place / "config.py").data).for_training(0.25)
    assert data.val is not None
    found = network.probabilities(data.val.images).argmax(-1)
    assert np.mean(found == data.val.labels) == pytest.approx(max(scores))
    np.savez(tmp_path / "images.npz", images=data.val.images[:2])
    for option in ([str(place / "first"), "--best"], [str(place / "first" / "best")]):
        assert main(["predict", *option, str(tmp_path / "images.npz")]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        assert [line.split(",")[1] for line in lines] == [network.classes[i] for i in found[:2]]
    shutil.copytree(place / "first", tmp_path / "last", ignore=shutil.ignore_patterns("best"))
    assert main(["predict", str(tmp_path / "last"), "--best", str(tmp_path / "images.npz")]) == 2
    assert "has no best epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "earlier", "falls", "best"),
    [
        (0.5, [], False, True),
        (0.5, [0.5], False, False),
        (0.6, [0.5, None], False, True),
        (0.4, [0.5, 0.6], True, True),
        (float("nan"), [], False, False),
    ],
)
def test_ties_and_gaps(value, earlier, falls, best):
    assert is_best(value, earlier, falls=falls) is best


def test_an_interrupted_transfer_resumes_bit_for_bit_without_the_other_run(place, monkeypatch, capsys):
    """The interrupt comes in the second epoch; the folder of the first run is gone when the training goes on."""
    shutil.copytree(place / "first", place / "copy")
    shared = ["--from", str(place / "copy"), "--train.frozen", "layer_0", "--seed", "3"]
    shared += ["--train.checkpoint_every_steps", "5"]
    assert train(place, "whole", *shared) == 0
    with stopped_after(17, monkeypatch):
        assert train(place, "broken", *shared) == 143
    assert not (place / "broken" / "result.json").exists()
    shutil.rmtree(place / "copy")
    assert train(place, "broken", *shared, "--genotype", MOBILE, "--resume") == 0
    for folder in ("", "best"):
        one, other = arrays(place / "whole" / folder), arrays(place / "broken" / folder)
        assert all(np.array_equal(one[name], other[name]) for name in one) and one.keys() == other.keys()
    keep = ("train_loss", "val_accuracy", "val_loss")
    both = [
        [{k: json.loads(line)[k] for k in keep} for line in (place / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "broken")
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give a genotype (--genotype G) or a run"),
        (["--from", "none"], "none"),
        (["--from", "FIRST", "--train.frozen", "layer_9"], "choose from: body, statistics, classifier, layer_0"),
        (["--from", "FIRST", "--train.frozen", "body,classifier"], "leaves nothing to train"),
        (["--from", "FIRST", "--train.width_multiplier", "2"], "use --train.width_multiplier 1.0"),
    ],
)
def test_mistakes_of_a_transfer(place, options, message, capsys):
    given = [str(place / "first") if option == "FIRST" else option for option in options]
    assert train(place, "none", *given) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error


def test_every_mismatch_is_one_line():
    new = {
        "stem": {"conv": np.zeros((3, 2), np.float32)},
        "cell_0": {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)},
    }
    stored = {"params/stem/conv": np.ones((1, 2)), "params/cell_0/a": np.ones(2), "params/cell_9/a": np.ones(2)}
    lines: list[str] = []
    weights, _ = transferred(new, {}, stored, new=(), tell=lines.append)
    assert (
        weights["cell_0"]["a"].sum() == 2 and weights["cell_0"]["b"].sum() == 0 and weights["stem"]["conv"].sum() == 0
    )
    assert len(lines) == 3
    assert "stem: params/stem/conv has shape [1, 2] there and [3, 2] here" in lines[0]
    assert "cell_0: the other network has no params/cell_0/b" in lines[1] and "cell_9" in lines[2]
    with pytest.raises(UserError, match="no array of the other network fits"):
        transferred(new, {}, {"params/stem/conv": np.ones((1, 2))}, new=(), tell=lines.append)
