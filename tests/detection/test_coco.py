"""Data in COCO's format and its metrics: canvases, mirrors, a perfect detector, pycocotools on both forms of data."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.rectangles import COLOURS, NAMES, write_rectangles

from jdarts.config import DataConfig
from jdarts.data.streaming import BatchShare
from jdarts.detection.coco import Fitting, open_coco
from jdarts.detection.metrics import coco_metrics, coco_results
from jdarts.errors import UserError

pytest.importorskip("pycocotools", reason="needs the extra jdarts[detection]")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_rectangles(tmp_path_factory.mktemp("coco") / "data", train=6, val=3)


def data(root, **changes):
    return open_coco(
        DataConfig(**{"source": "coco", "path": str(root), "crop_padding": 0, "image_size": 96, **changes})
    )


def covered(canvas: np.ndarray, box: np.ndarray, kind: int) -> float:
    """The share of the inner pixels of a box that have the colour of its category."""
    left, top, right, bottom = np.round(box).astype(int)
    inner = canvas[top + 2 : bottom - 2, left + 2 : right - 2].astype(int)
    return float(np.mean(np.abs(inner - COLOURS[kind]).max(-1) < 40))


def test_images_are_scaled_and_padded_with_their_boxes(root):
    split = data(root, image_size=(96, 64)).for_training().train
    for number in range(6):
        for mirrored in (False, True):
            canvas, label = split.example(number, mirrored=mirrored)
            picture = split.source.pictures[number]
            scale = min(96 / max(picture["width"], picture["height"]), 64 / min(picture["width"], picture["height"]))
            height, width = round(picture["height"] * scale), round(picture["width"] * scale)
            assert canvas.shape == (96, 96, 3) and (canvas[height:] == (124, 116, 104)).all()
            assert (canvas[:, width:] == (124, 116, 104)).all() and label.shape[1] == 5
            kept = label[label[:, 4] >= 0]
            own = [each for each in split.source.annotations["annotations"] if each["image_id"] == picture["id"]]
            assert len(kept) == len(own)
            for row, each in zip(kept, own, strict=True):
                assert list(NAMES)[int(row[4])] == each["category_id"]
                assert row[2] - row[0] == pytest.approx(each["bbox"][2] * scale, rel=1e-5)
            last = kept[-1]  # drawn on top of the others
            assert covered(canvas, last[:4], list(NAMES)[int(last[4])]) > 0.95


def test_batches_depend_on_seed_and_step_only(root):
    split = data(root, flip=True).for_training().train
    share = BatchShare(batch_size=4, section="train")
    whole = split.stream(share, seed=3, size=0, threads=0)
    first = [whole.batch(step) for step in range(4)]
    later = next(iter(split.stream(share, seed=3, size=0, threads=0).batches(start=2)))
    np.testing.assert_array_equal(later["images"][0], first[2]["images"])
    np.testing.assert_array_equal(later["labels"][0], first[2]["labels"])
    halves = [BatchShare(batch_size=4, process=i, processes=2, section="train") for i in range(2)]
    parts = [split.stream(half, seed=3, size=0, threads=0).batch(2)["images"] for half in halves]
    np.testing.assert_array_equal(np.concatenate(parts), first[2]["images"])
    plain = replace(split, flip=False).stream(share, seed=3, size=0, threads=0)
    same = [
        np.array_equal(a, b)
        for i in range(4)
        for a, b in zip(first[i]["images"], plain.batch(i)["images"], strict=True)
    ]
    assert 2 < sum(same) < 14, "about half of the images are mirrored"


def perfect(split) -> dict[str, np.ndarray]:
    most = split.most
    labels = np.stack([split.example(int(row))[1] for row in split.rows])
    scores = np.where(labels[:, :, 4] >= 0, 0.9 - np.arange(most) / 100, 0)
    return {"boxes": labels[:, :, :4], "scores": scores, "classes": labels[:, :, 4].astype(int)}


def test_a_perfect_detector_has_an_ap_of_one(root):
    split = data(root).split("test")
    metrics = coco_metrics(coco_results(perfect(split), split), split)
    assert metrics["ap"] == metrics["ap50"] == metrics["ap75"] == 1.0
    assert np.isnan(metrics["ap_large"]), "no object of 96 pixels"
    assert coco_metrics([], split)["ap"] == 0


def test_the_metrics_are_those_of_pycocotools_on_files(root, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    split = data(root).split("train")
    found = perfect(split)
    random = np.random.default_rng(0)
    found["boxes"] = found["boxes"] + random.normal(0, 4, found["boxes"].shape)
    found["scores"] = np.where(found["scores"] > 0, random.uniform(0.1, 1, found["scores"].shape), 0)
    results = coco_results(found, split)
    (tmp_path / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "instances_train.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = coco_metrics(results, split)
    assert 0.05 < metrics["ap"] < 0.95
    assert list(metrics.values())[:3] == evaluation.stats[:3].tolist()


def test_scales_are_those_of_the_article():
    fitting = Fitting.of(None)
    assert (fitting.long, fitting.short, fitting.side) == (1333, 800, 1344)
    assert fitting.scale(480, 640) == pytest.approx(800 / 480) and fitting.scale(300, 640) == pytest.approx(1333 / 640)


def test_crowds_and_tiny_boxes_do_not_train(root, tmp_path):
    content = json.loads((root / "instances_train.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["bbox"][2] = 0.5
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(content))
    (tmp_path / "annotations" / "instances_val.json").write_text((root / "instances_val.json").read_text())
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(root / split)
    counts = data(tmp_path).sources["train"].labels()
    assert counts.sum() == data(root).sources["train"].labels().sum() - 2
    assert len(data(tmp_path).for_training().train) == (counts > 0).sum() < 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ""}, "needs the folder with instances_train"),
        ({"crop_padding": 4}, "data.crop_padding is 4"),
        ({"image_size": (64, 96)}, "the longer side first"),
        ({"source": "digits"}, "choose from: coco"),
    ],
)
def test_mistakes_in_the_data(root, change, message):
    with pytest.raises(UserError, match=message):
        data(root, **change)


def test_missing_and_damaged_files(root, tmp_path):
    with pytest.raises(UserError, match="0 files instances_train"):
        data(tmp_path)
    for split in ("train", "val"):
        (tmp_path / f"instances_{split}.json").write_text((root / f"instances_{split}.json").read_text())
    with pytest.raises(UserError, match="lacks 6 of 6 images"):
        data(tmp_path)
    (tmp_path / "instances_train.json").write_text("{}")
    with pytest.raises(UserError, match="not an annotation file"):
        data(tmp_path)
    assert Image.open(root / "train" / "0.png").size == (64, 48)
