"""Images and objects in COCO's format, resized and padded to one size, in batches.

`path` holds `instances_train*.json` and `instances_val*.json`, or they lie in `path/annotations`; the images of
`instances_NAME.json` are in `path/NAME`. Objects of crowds do not train.

Letters: M objects of an image, padded to the most of all images; S side of the canvas.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jdarts.config import DataConfig
from jdarts.data.decoding import ImageForm, decode_image
from jdarts.data.streamed_training import StreamedTrainingData
from jdarts.data.streaming import IMAGENET_MEAN, BatchShare, Encoded, Stream, StreamSplit
from jdarts.errors import UserError, unknown

LONG, SHORT = 1333, 800
"""The sides of an image to which it is scaled: the longer one at most, the shorter one at most."""
MULTIPLE = 32
_RGB = ImageForm(color="rgb")
_FILL = tuple(round(255 * mean) for mean in IMAGENET_MEAN)


class Fitting(NamedTuple):
    """The scaling of images: the longer side to at most `long` pixels, the shorter one to at most `short`."""

    long: int
    short: int

    @classmethod
    def of(cls, image_size: int | tuple[int, int] | None) -> "Fitting":
        """From `data.image_size`, (longer side, shorter side), or one number for both; None is 1333, 800."""
        if image_size is None:
            return cls(LONG, SHORT)
        long, short = (image_size, image_size) if isinstance(image_size, int) else image_size
        if long < short or short < MULTIPLE:
            raise UserError(
                f"data.image_size is {long},{short}; for detection give the longer side first, and at least {MULTIPLE}"
            )
        return cls(long, short)

    @property
    def side(self) -> int:
        """S: the side of the square canvas, `long` rounded up to a multiple of 32."""
        return -(-self.long // MULTIPLE) * MULTIPLE

    def scale(self, height: int, width: int) -> float:
        """The factor on the sides of an image."""
        return min(self.long / max(height, width), self.short / min(height, width))

    def placed(self, image: np.ndarray, *, mirrored: bool = False) -> tuple[np.ndarray, float]:
        """The image uint8 [H, W, 3], scaled, mirrored, and put at the top left of a canvas of ImageNet's mean colour.

        Returns the canvas [S, S, 3] and the factor of the scaling.
        """
        from PIL import Image

        height, width = image.shape[:2]
        scale = self.scale(height, width)
        sides = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(Image.fromarray(image).resize(sides, Image.Resampling.BILINEAR))
        canvas = np.empty((self.side, self.side, 3), np.uint8)
        canvas[:] = _FILL
        canvas[: sides[1], : sides[0]] = picture[:, ::-1] if mirrored else picture
        return canvas, scale


class Objects(NamedTuple):
    """The objects of an image: boxes float32 [m, 4] in its pixels, and classes int32 [m]."""

    boxes: np.ndarray
    classes: np.ndarray


class CocoSource:
    """The images and objects of one annotation file."""

    def __init__(self, file: Path, images: Path):
        self.file, self._images = file, images
        self.annotations = _read(file)
        categories = sorted(self.annotations["categories"], key=lambda each: each["id"])
        self.category_ids = tuple(each["id"] for each in categories)
        self.name, self.num_classes = file.stem, len(categories)
        self.class_names = tuple(str(each["name"]) for each in categories)
        self.pictures = self.annotations["images"]
        if not self.pictures or not categories:
            raise UserError(f"{file} has {len(self.pictures)} images and {len(categories)} categories; give some")
        missing = [each["file_name"] for each in self.pictures if not (images / each["file_name"]).is_file()]
        if missing:
            raise UserError(f"{images} lacks {len(missing):,} of {len(self.pictures):,} images, e.g. {missing[0]}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pictures)

    def __getitem__(self, row: int) -> Encoded:
        """The file of image number `row`; its class is the number of its objects."""
        try:
            return Encoded(Path(self.where(row)).read_bytes(), len(self.objects[row].classes))
        except OSError as error:
            raise UserError(f"{self.where(row)} cannot be read: {error.strerror}; restore it") from error

    def where(self, row: int) -> str:
        """The file of image number `row`."""
        return str(self._images / self.pictures[row]["file_name"])

    def labels(self) -> np.ndarray:
        """The number of objects of every image, int32 [N]."""
        return np.array([len(each.classes) for each in self.objects], np.int32)

    @cached_property
    def objects(self) -> list[Objects]:
        """The objects of every image, without crowds and boxes of less than a pixel."""
        rows = {picture["id"]: row for row, picture in enumerate(self.pictures)}
        classes = {number: i for i, number in enumerate(self.category_ids)}
        found: list[list[tuple]] = [[] for _ in self.pictures]
        for each in self.annotations["annotations"]:
            row = rows.get(each["image_id"])
            if row is None or each.get("iscrowd", 0):
                continue
            picture, (x, y, w, h) = self.pictures[row], each["bbox"]
            box = (max(x, 0), max(y, 0), min(x + w, picture["width"]), min(y + h, picture["height"]))
            if box[2] - box[0] >= 1 and box[3] - box[1] >= 1:
                found[row].append((*box, classes[each["category_id"]]))
        tables = [np.array(each, np.float64).reshape(-1, 5) for each in found]
        return [Objects(table[:, :4].astype(np.float32), table[:, 4].astype(np.int32)) for table in tables]


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
        for name in ("images", "annotations", "categories"):
            if not isinstance(found[name], list):
                raise TypeError(f"{name} is not a list")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not an annotation file in COCO's format: {error}") from None


@dataclass(frozen=True)
class CocoSplit(StreamSplit):
    """Images of a `CocoSource`, in the form of `fitting`; `most` is M, `flip` mirrors half of the training images.

    The label of an image is float32 [M, 5]: left, top, right and bottom on the canvas, and the class, -1 for none.
    """

    source: CocoSource
    fitting: Fitting = field(kw_only=True)
    most: int = field(kw_only=True)
    flip: bool = field(kw_only=True, default=False)

    def centre(self, row: int, size: int, resize: int | None = None) -> tuple[np.ndarray, Any]:
        """The whole image `row` on its canvas, and its objects."""
        del size, resize
        return self.example(int(self.rows[row]))

    def example(self, number: int, *, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Image `number` of the source on its canvas, and its objects."""
        image = decode_image(self.source[number].content, self.source.where(number), _RGB)
        canvas, scale = self.fitting.placed(image, mirrored=mirrored)
        boxes, classes = self.source.objects[number]
        label = np.zeros((self.most, 5), np.float32)
        label[:, 4] = -1
        kept = boxes * scale
        if mirrored:
            width = round(image.shape[1] * scale)
            kept = np.stack([width - kept[:, 2], kept[:, 1], width - kept[:, 0], kept[:, 3]], -1)
        label[: len(kept), :4], label[: len(kept), 4] = kept, classes
        return canvas, label

    def stream(self, share: BatchShare, **options: Any) -> Stream:
        """The training batches."""
        return CocoStream(self, share, **options)


class CocoStream(Stream):
    """Batches `{"images": uint8 [P, B/P/H, S, S, 3], "labels": float32 [P, B/P/H, M, 5]}` of a `CocoSplit`."""

    _split: CocoSplit

    def load(self, index: int) -> dict[str, Any]:
        """The process's image number `index`, counted from the start of the run."""
        number, random = self.drawn(index)
        mirrored = self._split.flip and bool(random.random() < 0.5)
        image, label = self._split.example(number, mirrored=mirrored)
        return {"images": image, "labels": label}


@dataclass(frozen=True, kw_only=True)
class CocoDataset:
    """The sources `train` and `test` (the images of val) of a training."""

    sources: Mapping[str, CocoSource]
    config: DataConfig
    fitting: Fitting

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of the canvas."""
        return self.fitting.side, self.fitting.side, 3

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the categories by number."""
        return self.sources["train"].class_names

    def split(self, name: str) -> CocoSplit:
        """All images of a source."""
        source = self.sources[name]
        return CocoSplit(source, np.arange(len(source)), fitting=self.fitting, most=_most(source))

    def for_training(self, val_fraction: float = 0.0) -> StreamedTrainingData:
        """Training images with objects, the share of them that is held out, and the test images.

        `data.limit` keeps the first ones.
        """
        source = self.sources["train"]
        rows = np.flatnonzero(source.labels() > 0)[: self.config.limit]
        held_out = int(np.floor(val_fraction * len(rows) + 1e-6))
        if len(rows) - held_out == 0 or (val_fraction > 0 and held_out == 0):
            raise UserError(
                f"{source.name}: of {len(rows)} images with objects train.val_fraction {val_fraction} holds out "
                f"{held_out}; both parts need at least one"
            )
        whole = self.split("train")
        train = replace(whole, rows=rows[: len(rows) - held_out], flip=self.config.flip)
        val = replace(whole, rows=rows[len(rows) - held_out :]) if held_out else None
        return StreamedTrainingData.of(source, self.image_shape, train=train, val=val, test=self.split("test"))


def _most(source: CocoSource) -> int:
    return max(1, int(source.labels().max()))


def open_coco(config: DataConfig) -> CocoDataset:
    """The data set in the folder `config.path`; raises `UserError` for anything missing or damaged."""
    if config.source != "coco":
        raise unknown("data.source of detection", config.source, ("coco",))
    if not config.path or not Path(config.path).is_dir():
        raise UserError(f"data.path is {config.path!r}; source coco needs the folder with instances_train*.json")
    for name, plain in (("crop_padding", 0), ("shrink", 1), ("stratify", False), ("remap_labels", False)):
        if getattr(config, name) != plain:
            raise UserError(f"data.{name} is {getattr(config, name)}; detection needs {str(plain).lower()}")
    sources = {use: find_source(config.path, name) for use, name in (("train", "train"), ("test", "val"))}
    if sources["train"].category_ids != sources["test"].category_ids:
        raise UserError(f"{config.path}: the categories of train and val differ; give both the same")
    return CocoDataset(sources=sources, config=config, fitting=Fitting.of(config.image_size))


def find_source(path: str | Path, name: str) -> CocoSource:
    """The source of `instances_NAME*.json`, such as train or val2017."""
    root = Path(path)
    found = sorted(file for place in (root, root / "annotations") for file in place.glob(f"instances_{name}*.json"))
    if len(found) != 1:
        raise UserError(f"{root} has {len(found)} files instances_{name}*.json; give one, beside the folders of images")
    return CocoSource(found[0], root / found[0].stem.removeprefix("instances_"))
