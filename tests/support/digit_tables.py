"""Tables of real images, the 8 × 8 digits of scikit-learn, with targets for every task."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

PRIMES = (2, 3, 5, 7)
SPLITS = {"train": (0, 64), "test": (64, 101), "val": (101, 128)}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first 128 images, uint8 [128, 8, 8], and their digits."""
    found: Any = load_digits()
    return np.rint(found.images[:128] * (255 / 16)).astype(np.uint8), found.target[:128]


def targets(kind: str) -> dict[str, list]:
    """The columns of all 128 images for a task; masks have the classes 0 (paper), 1 (gray) and 2 (ink)."""
    images, numbers = digits()
    match kind:
        case "regression":
            return {"ink": images.mean((1, 2)).tolist(), "top": images[:, :4].mean((1, 2)).tolist()}
        case "multilabel":
            return {
                "even": (numbers % 2 == 0).astype(int).tolist(),
                "prime": np.isin(numbers, PRIMES).astype(int).tolist(),
                "above_4": (numbers > 4).astype(int).tolist(),
            }
        case "segmentation":
            return {"mask": [f"masks/{i}.png" for i in range(len(images))]}
        case _:
            return {"label": numbers.tolist()}


def masks() -> np.ndarray:
    """Classes of the pixels, uint8 [128, 8, 8]; the corner at the top left is ignored."""
    images, _ = digits()
    found = np.digitize(images, (64, 192)).astype(np.uint8)
    found[:, 0, 0] = 255
    return found


def write_table(folder: Path, kind: str) -> Path:
    """The folder of a source `table` for a task."""
    (folder / "images").mkdir(parents=True)
    images, _ = digits()
    columns = targets(kind)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
    if kind == "segmentation":
        (folder / "masks").mkdir()
        for i, mask in enumerate(masks()):
            Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
        (folder / "classes.txt").write_text("paper\ngray\nink\n")
    for split, (first, last) in SPLITS.items():
        with open(folder / f"{split}.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image", *columns])
            table.writerows(
                [f"images/{i}.png", *(column[i] for column in columns.values())] for i in range(first, last)
            )
    return folder
