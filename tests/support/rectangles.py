"""Small data sets in COCO's format: coloured rectangles, drawn by Pillow."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {1: (230, 30, 30), 3: (40, 220, 60), 7: (40, 60, 240)}
"""By the numbers of the categories, which have gaps as in COCO."""
NAMES = {1: "red", 3: "green", 7: "blue"}


def write_rectangles(root: Path, *, train: int = 4, val: int = 2, sides: tuple[int, int] = (48, 64)) -> Path:
    """`instances_train.json`, `instances_val.json` and images of height and width `sides` with one to three objects."""
    random, number = np.random.default_rng(0), 0
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            height, width = sides if i % 2 == 0 else sides[::-1]
            picture = Image.new("RGB", (width, height), (120, 120, 120))
            for kind in random.permutation(list(COLOURS))[: 1 + i % 3].tolist():
                w, h = random.integers(16, 30, 2).tolist()
                x, y = int(random.integers(0, width - w)), int(random.integers(0, height - h))
                ImageDraw.Draw(picture).rectangle((x, y, x + w - 1, y + h - 1), fill=COLOURS[kind])
                number += 1
                box = {"id": number, "image_id": 10 + i, "category_id": kind, "bbox": [x, y, w, h], "area": w * h}
                annotations.append({**box, "iscrowd": 0})
            picture.save(root / split / f"{i}.png")
            images.append({"id": 10 + i, "file_name": f"{i}.png", "width": width, "height": height})
        categories = [{"id": kind, "name": name} for kind, name in NAMES.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"instances_{split}.json").write_text(json.dumps(content))
    return root
