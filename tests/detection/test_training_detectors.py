"""A detector trained by the command on drawn rectangles: transfer, frozen parts, records, predictions, metrics."""

import json
import shutil

import numpy as np
import pytest
from jax import export
from PIL import Image
from support.interrupted import stopped_after
from support.rectangles import write_rectangles

import jdarts
from jdarts.cli import main
from jdarts.detection.metrics import NAMES
from jdarts.errors import UserError
from jdarts.train.detector import Detector

pytest.importorskip("pycocotools", reason="needs the extra jdarts[detection]")
CONFIG = """from jdarts.config import *
config = Experiment(
    data=DataConfig(source="coco", image_size=64, crop_padding=0, flip=True, read_threads=2),
    train=TrainConfig(
        task="detection", batch_size=4, epochs=3, auxiliary_weight=0.0, cutout=0, drop_path=0.0, warmup_steps=1,
        schedule="steps", decay_epochs=(2,), decay_rate=0.1, pyramid_channels=16,
        optimizer=SGDConfig(learning_rate=0.02, learning_rate_min=0.0, gradient_clip=10.0),
    ),
)
"""
BACKBONE = "fairnas: conv_k3_c8_s2 mb_k3_c8_s2 mb_k3_c8_s2 mb_k3_c8_s2 mb_k3_c8_s2"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data, a trained classifier `first` and a detector `found` that starts from it."""
    place = tmp_path_factory.mktemp("detectors")
    (place / "config.py").write_text(CONFIG)
    write_rectangles(place / "data", train=8, val=2)
    command = ["train", str(place / "config.py"), "--run-dir"]
    plain = ["--data.source", "synthetic:32x32x3:2:32", "--train.task", "classification", "--data.image_size", "none"]
    plain += ["--train.pyramid_channels", "256"]
    assert (
        main(
            [
                *command,
                str(place / "first"),
                "--genotype",
                BACKBONE,
                *plain,
                "--train.epochs",
                "1",
                "--train.schedule",
                "cosine",
                "--train.decay_epochs",
                "",
            ]
        )
        == 0
    )
    data = ["--data.path", str(place / "data"), "--train.frozen", "layer_0,statistics"]
    assert main([*command, str(place / "found"), "--from", str(place / "first"), *data]) == 0
    return place


def arrays(folder):
    with np.load(folder / "weights.npz") as stored:
        return {name: stored[name] for name in stored.files}


def test_frozen_parts_are_equal_bit_for_bit_and_all_others_move(place):
    before, after = arrays(place / "first"), arrays(place / "found")
    for name in before:
        if "classifier" not in name:
            collection, _, rest = name.partition("/")
            same = np.array_equal(before[name], after[f"{collection}/backbone/{rest}"])
            assert same == ("batch_stats" in name or "/layer_0/" in name), name
    assert any(name.startswith("params/neck") for name in after)


def test_the_loss_falls_and_the_result_has_the_metrics(place):
    lines = [json.loads(line) for line in (place / "found" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"] and all(line["train_box_loss"] > 0 for line in lines)
    result = json.loads((place / "found" / "result.json").read_text())
    assert set(result) == {"genotype", "parameters", "macs", *(f"test_{name}" for name in NAMES)}
    count = sum(array.size for name, array in arrays(place / "found").items() if name.startswith("params"))
    assert result["parameters"] == count


def test_the_command_measures_as_the_training_does(place, tmp_path, capsys):
    output = tmp_path / "found.json"
    command = ["detect", "evaluate", str(place / "found"), "--data", str(place / "data"), "-o", str(output)]
    assert main(command) == 0
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines())
    result = json.loads((place / "found" / "result.json").read_text())
    for name in ("ap", "ap50", "ap75"):
        assert float(shown[name]) == pytest.approx(100 * result[f"test_{name}"], abs=0.01)
    assert {each["image_id"] for each in json.loads(output.read_text())} <= {10, 11}


def test_the_command_draws_the_objects_that_it_prints(place, tmp_path, capsys):
    image = place / "data" / "val" / "0.png"
    command = ["detect", "predict", str(place / "found"), str(image), "--least-score", "0", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    row = json.loads(capsys.readouterr().out)
    found = Detector(jdarts.load(place / "found")).detect(image)
    assert [each["class"] for each in row["objects"]] == [each.name for each in found]
    with Image.open(image) as plain, Image.open(tmp_path / "out" / "0.png") as drawn:
        assert drawn.size == plain.size == (64, 48)
        assert np.array_equal(np.asarray(plain), np.asarray(drawn)) == (not found)
    for each in found:
        left, top, right, bottom = each.box
        assert 0 <= left <= right <= 64 and 0 <= top <= bottom <= 48


def detector_from(place, start, name, *options) -> int:
    command = ["train", str(place / "config.py"), "--run-dir", str(place / name), "--from", str(place / start)]
    return main([*command, "--data.path", str(place / "data"), "--train.optimizer.learning_rate", "1e-9", *options])


def test_a_detector_goes_on_from_a_detector(place, tmp_path, capsys):
    """With other classes, only the layer that names them is new."""
    capsys.readouterr()
    assert detector_from(place, "found", "again", "--train.frozen", "statistics") == 0
    assert "not transferred" not in capsys.readouterr().out
    before, after = arrays(place / "found"), arrays(place / "again")
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-6, err_msg=name)
    other = write_rectangles(tmp_path / "other", train=8, val=2)
    for file in other.glob("*.json"):
        file.write_text(file.read_text().replace('"red"', '"rot"'))
    assert detector_from(place, "found", "other", "--data.path", str(other), "--train.frozen", "statistics") == 0
    out = capsys.readouterr().out
    assert "head/class_output is new" in out and out.count("not transferred") == 1
    for name, array in arrays(place / "other").items():
        if "class_output" in name:
            assert array.shape == before[name].shape and not np.array_equal(array, before[name])
        else:
            np.testing.assert_allclose(array, before[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_detector_becomes_a_classifier(place, capsys):
    plain = ["--data.source", "synthetic:32x32x3:2:32", "--train.task", "classification", "--data.image_size", "none"]
    plain += ["--data.path", "", "--train.schedule", "cosine", "--train.decay_epochs", "", "--train.frozen", "body"]
    plain += ["--train.pyramid_channels", "256"]
    assert detector_from(place, "found", "classifier", *plain) == 0
    before, after = arrays(place / "found"), arrays(place / "classifier")
    for name in after:
        if "classifier" not in name:
            collection, _, rest = name.partition("/")
            np.testing.assert_array_equal(after[name], before[f"{collection}/backbone/{rest}"])


def test_an_interrupted_detector_resumes_bit_for_bit(place, monkeypatch):
    """The interrupt comes in the second of three epochs."""
    shared = ["--train.checkpoint_every_steps", "1", "--train.optimizer.learning_rate", "0.02"]
    assert detector_from(place, "first", "whole", *shared) == 0
    with stopped_after(3, monkeypatch):
        assert detector_from(place, "first", "broken", *shared) == 143
    assert not (place / "broken" / "result.json").exists()
    assert detector_from(place, "first", "broken", *shared, "--resume") == 0
    one, other = arrays(place / "whole"), arrays(place / "broken")
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    results = [json.loads((place / run / "result.json").read_text()) for run in ("whole", "broken")]
    assert results[0] == results[1]


def test_an_exported_detector_finds_the_same_objects(place, tmp_path):
    """The biases of the classes are raised, so that scores pass the threshold."""
    shutil.copytree(place / "found", tmp_path / "run")
    weights = arrays(place / "found")
    weights["params/head/class_output/bias"] += 4
    np.savez(tmp_path / "run" / "weights.npz", **weights)
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "detector.bin")]) == 0
    program = export.deserialize(bytearray((tmp_path / "detector.bin").read_bytes()))
    detector = Detector(jdarts.load(tmp_path / "run"))
    with Image.open(place / "data" / "val" / "0.png") as image:
        canvas, scale = detector.fitting.placed(np.asarray(image.convert("RGB")))
    boxes, scores, classes = (np.asarray(rows) for rows in program.call(np.stack([canvas, canvas])))
    assert boxes.shape == (2, 100, 4) and np.array_equal(boxes[0], boxes[1])
    found = detector.detect(place / "data" / "val" / "0.png")
    assert len(found) == np.sum(classes[0] >= 0) > 0
    for each, box, score, number in zip(found, boxes[0] / scale, scores[0], classes[0], strict=False):
        assert (each.number, each.score) == (number, pytest.approx(score, abs=1e-5))
        np.testing.assert_allclose(np.minimum(box, (64, 48, 64, 48)), each.box, atol=1e-3)
    about = json.loads((tmp_path / "detector.bin.json").read_text())
    assert about["task"] == "detection" and about["settings"]["image_size"] == [64, 64]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "predict", "RUN"], "give image files"),
        (["detect", "predict", "RUN", "none.png"], "none.png does not exist"),
        (["detect", "evaluate", "RUN"], "--data DIR"),
        (["detect", "evaluate", "RUN", "a.png"], "IMAGE has no effect"),
        (["detect", "predict", "RUN", "a.png", "--split", "val"], "--split has no effect"),
        (["detect", "evaluate", "RUN", "--data", "DATA", "--split", "dev"], "0 files instances_dev"),
        (["detect", "evaluate", "FIRST", "--data", "DATA"], "is for classification, not detection"),
        (["predict", "RUN", "IMAGE"], "use jdarts detect predict"),
        (["train", "CONFIG", "--genotype", "DARTS_V2"], "use --train.stem imagenet"),
        (["train", "CONFIG", "--genotype", "DARTS_V2", "--train.mixup", "0.1"], "set it to 0 for detection"),
        (["train", "CONFIG", "--from", "RUN", "--train.pyramid_channels", "64"], "use --train.pyramid_channels 16"),
        (["train", "CONFIG", "--genotype", "DARTS_V2", "--train.task", "regression"], "has no effect on regression"),
    ],
)
def test_mistakes_are_one_line(place, arguments, message, capsys):
    words = {"RUN": "found", "DATA": "data", "FIRST": "first", "CONFIG": "config.py", "IMAGE": "data/val/0.png"}
    given = [str(place / words[word]) if word in words else word for word in arguments]
    if arguments[0] == "train":
        given += ["--data.path", str(place / "data"), "--run-dir", str(place / "none"), "--train.channels", "4"]
        given += ["--train.cells", "3"]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error


def test_a_classifier_is_no_detector(place):
    with pytest.raises(UserError, match="not detection"):
        Detector(jdarts.load(place / "first"))
