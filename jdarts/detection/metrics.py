"""COCO's official metrics, by pycocotools."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jdarts.detection.coco import CocoSplit
from jdarts.errors import UserError

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""Average precisions: over overlaps of 0.5 to 0.95, at 0.5, at 0.75, and of objects of three sizes."""


def coco_results(found: Mapping[str, np.ndarray], split: CocoSplit) -> list[dict[str, Any]]:
    """Detections in COCO's format, in the pixels of the original images.

    Args:
      found: `boxes` [N, D, 4] on the canvas, `scores` and `classes` [N, D] (-1: none) of the rows of `split`.
      split: the images.
    """
    source, results = split.source, []
    for i, row in enumerate(split.rows):
        picture = source.pictures[int(row)]
        scale = split.fitting.scale(picture["height"], picture["width"])
        limit = np.array([picture["width"], picture["height"]] * 2)
        for box, score, kind in zip(found["boxes"][i], found["scores"][i], found["classes"][i], strict=True):
            if kind < 0:
                continue
            left, top, right, bottom = np.minimum(box / scale, limit).tolist()
            results.append(
                {
                    "image_id": picture["id"],
                    "category_id": source.category_ids[int(kind)],
                    "bbox": [left, top, right - left, bottom - top],
                    "score": float(score),
                }
            )
    return results


def coco_metrics(results: Sequence[Mapping[str, Any]], split: CocoSplit) -> dict[str, float]:
    """The metrics of `NAMES` of detections in COCO's format, on the images of `split`; NaN where there are no objects.

    Raises `UserError` without pycocotools.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise UserError('the metrics of detection need a package: pip install "jdarts[detection]"') from None
    if not results:
        return dict.fromkeys(NAMES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth: Any = COCO()
        truth.dataset = split.source.annotations
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(each) for each in results]), "bbox")
        evaluation.params.imgIds = sorted(split.source.pictures[int(row)]["id"] for row in split.rows)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = np.asarray(evaluation.stats[: len(NAMES)], float)
    return {name: float(value) if value >= 0 else float("nan") for name, value in zip(NAMES, values, strict=True)}
