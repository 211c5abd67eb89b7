"""Image folders (`train/CLASS/*.png`), and decoding of single image files."""

import io
from pathlib import Path

import numpy as np

from jdarts.data.arrays import fixed_order
from jdarts.data.dataset import Dataset, Pair, from_arrays
from jdarts.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")


def decode_image(encoded: bytes, where: str) -> np.ndarray:
    """PNG or JPEG bytes as uint8 [H, W, 1] (grayscale) or [H, W, 3]; `where` names the image in errors."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            if image.mode == "1":
                image = image.convert("L")
            elif image.mode == "P" and "transparency" not in image.info:
                image = image.convert("RGB")
            if image.mode not in ("L", "RGB"):
                raise UserError(f"{where} has pixel format {image.mode}; convert it to 8-bit grayscale or RGB")
            pixels = np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise UserError(f"{where} is not a readable PNG or JPEG image; replace or remove it") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def load_folder(path: str) -> Dataset:
    """Images in `path/train/CLASS/`, `path/test/CLASS/` and optionally `path/val/CLASS/` (.png, .jpg, .jpeg).

    The classes are the sorted names of the folders in `train`. All images share one size and are all
    grayscale or all RGB. Files sorted by name are grouped by class, so the training images are put into one
    fixed shuffled order.
    """
    if not path:
        raise UserError("source folder needs data.path: the folder that holds train/CLASS/*.png and test/CLASS/*.png")
    root = Path(path)
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise UserError(
                f"data.path is {path!r}, which has no folder {split!r}; it needs train/CLASS/ and test/CLASS/"
            )
    classes = class_folders(root / "train")
    if not classes:
        raise UserError(f"{root / 'train'} has no class folders; put the images into train/CLASS/")
    shape: tuple[int, ...] | None = None
    splits: dict[str, Pair] = {}
    for split in ("train", "test", "val"):
        if not (root / split).is_dir():
            continue
        stray = sorted(set(class_folders(root / split)) - set(classes))
        if stray:
            raise UserError(f"{root / split / stray[0]} is no class of {root / 'train'}; remove or rename it")
        images, labels = [], []
        for label, name in enumerate(classes):
            files = image_files(root / split / name)
            if split == "train" and not files:
                raise UserError(f"{root / split / name} has no .png, .jpg or .jpeg images; add some or remove it")
            for file in files:
                pixels = decode_image(file.read_bytes(), str(file))
                shape = shape or pixels.shape
                if pixels.shape != shape:
                    raise UserError(
                        f"{file} is {_describe(pixels.shape)}, the images before it {_describe(shape)}; "
                        "resize or convert it, all images must be alike"
                    )
                images.append(pixels)
                labels.append(label)
        if not images:
            raise UserError(f"{root / split} has no .png, .jpg or .jpeg images in its class folders; add some")
        splits[split] = np.stack(images), np.array(labels, np.int32)
    images, labels = splits["train"]
    order = fixed_order(len(images))
    return from_arrays(
        root.resolve().name,
        (images[order], labels[order]),
        splits["test"],
        splits.get("val"),
        num_classes=len(classes),
    )


def class_folders(folder: Path) -> list[str]:
    """The names of the folders inside `folder`, sorted."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """The images in `folder`, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))


def _describe(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]} {'grayscale' if shape[2] == 1 else 'RGB'}"
