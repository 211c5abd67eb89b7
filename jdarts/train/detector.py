"""Detections of a trained network, on files and on whole splits.

detector = Detector(jdarts.load("runs/coco_retinanet-train"))
detector.detect("street.jpg")                     # [FoundObject(name='car', score=0.91, box=(…)), …]
detector.on_split(split)                          # for jdarts.detection.metrics
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jdarts.data.decoding import ImageForm, decode_image
from jdarts.data.evaluation import evaluation_batches
from jdarts.data.streaming import BatchShare
from jdarts.detection.coco import CocoSplit, Fitting
from jdarts.detection.suppression import Detections, detections
from jdarts.errors import UserError
from jdarts.train.tasks import TASKS
from jdarts.train.trained import TrainedNetwork


@dataclass(frozen=True)
class FoundObject:
    """An object: the name and number of its class, its score, and its box (left, top, right, bottom) in pixels."""

    name: str
    number: int
    score: float
    box: tuple[float, float, float, float]


class Detector:
    """A trained network of `train.task` detection; raises `UserError` for another one."""

    def __init__(self, network: TrainedNetwork):
        if network.task != "detection":
            raise UserError(f"the network is for {network.task}, not detection; use jdarts predict")
        self.network = network
        long, short = network.settings["image_size"]
        self.fitting = Fitting(long, short)

    def detect(self, image: str | Path | np.ndarray) -> list[FoundObject]:
        """The objects in an image file or an array uint8 [H, W, 3], by falling score; at most 100."""
        pixels = image if isinstance(image, np.ndarray) else read_image(image)
        canvas, scale = self.fitting.placed(pixels)
        found = jax.tree.map(lambda rows: np.asarray(rows)[0], self._compiled(canvas[None]))
        height, width = pixels.shape[:2]
        objects = []
        for box, score, number in zip(found.boxes / scale, found.scores, found.classes, strict=True):
            if number < 0:
                break
            left, top, right, bottom = np.minimum(box, (width, height, width, height)).tolist()
            box = (left, top, right, bottom)
            objects.append(FoundObject(self.network.classes[int(number)], int(number), float(score), box))
        return objects

    def on_split(self, split: CocoSplit, *, batch: int = 8, threads: int = 4) -> dict[str, np.ndarray]:
        """The detections `boxes`, `scores` and `classes` of all images of a split, on the canvas."""

        def parts() -> Iterator[dict[str, Any]]:
            for rows in evaluation_batches(split, BatchShare(batch_size=batch, section="detect"), threads=threads):
                yield {**self._compiled(rows["images"][0])._asdict(), "counted": rows["counted"][0]}

        return TASKS["detection"].added(parts())

    def on_canvas(self, images: jax.Array) -> Detections:
        """The detections in uint8 images [N, S, S, 3] that `fitting` has placed; can be traced."""
        return detections(self.network.logits(images), (self.fitting.side, self.fitting.side))  # pyright: ignore[reportArgumentType]

    @cached_property
    def _compiled(self) -> Any:
        return jax.jit(self.on_canvas)


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3]; raises `UserError` for one that cannot be read."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    return decode_image(content, str(path), ImageForm(color="rgb"))
