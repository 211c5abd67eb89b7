"""The source table: images named in tables, with their targets in the other columns.

`path/train.csv`, `path/test.csv` and optionally `path/val.csv` have a first line with the names of the columns. The
column `image` has files relative to `path`. A column `label` has classes; a column `mask` has image files whose gray
values are the classes of the pixels (255 is ignored), named by the lines of `path/classes.txt` if there is one. All
other columns are numbers, or labels that are 0 or 1.
"""

import csv
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jdarts.config import DataConfig
from jdarts.data.arrays import assemble
from jdarts.data.dataset import Dataset, ImagesAndLabels
from jdarts.data.decoding import ImageForm
from jdarts.data.image_files import OddFiles, read_images
from jdarts.data.npz import read_npz
from jdarts.data.targets import TargetDataset, TargetKind, assemble_targets
from jdarts.errors import UserError, unknown

SPLITS = ("train", "test", "val")
TARGET_SOURCES = ("table", "npz")
_PLACE = "source table needs data.path: the folder that holds train.csv and test.csv"


class _Table(NamedTuple):
    file: Path
    columns: tuple[str, ...]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The cells of a column."""
        if name not in self.columns:
            raise UserError(f"{self.file} has no column {name!r} (it has {', '.join(self.columns)}); add it")
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def load_table(path: str, form: ImageForm, *, threads: int = 1) -> Dataset:
    """Images with one class each: the columns `image` and `label`."""
    tables = _tables(path)
    splits = {
        split: (_images(path, table.column("image"), form, threads), np.array(table.column("label")))
        for split, table in tables.items()
    }
    return assemble(Path(path).resolve().name, splits)


def load_targets(config: DataConfig, kind: TargetKind) -> TargetDataset:
    """Images with targets, from a table, or an .npz file with `x_train`, `y_train`, `x_test`, … (`data.npz`).

    `config.shuffle` and `config.limit` apply. Raises `UserError` for other sources, for options that only classes have,
    and for anything missing or damaged.
    """
    for name, plain in (("stratify", False), ("remap_labels", False), ("shrink", 1)):
        if getattr(config, name) != plain:
            raise UserError(f"data.{name} is {getattr(config, name)}; it is for images with one class each")
    if config.source == "npz":
        if config.image_size is not None or config.color is not None:
            raise UserError("data.image_size and data.color are for image files and classes, not npz with targets")
        data = assemble_targets(Path(config.path).stem, read_npz(config.path), kind)
    elif config.source == "table":
        data = _from_tables(config, kind)
    else:
        raise unknown("data.source of this task", config.source, TARGET_SOURCES)
    return data.ordered(config.shuffle, config.limit)


def _from_tables(config: DataConfig, kind: TargetKind) -> TargetDataset:
    path, form, threads = config.path, ImageForm.of(config), config.read_threads
    splits: dict[str, ImagesAndLabels] = {}
    names: tuple[str, ...] = ()
    tables = _tables(path)
    for split, table in tables.items():
        images = _images(path, table.column("image"), form, threads)
        if kind == "masks":
            if form.size is not None:
                raise UserError("data.image_size is for images without masks; scale the files of both")
            masks = _images(path, table.column("mask"), ImageForm(color=None), threads)
            if masks.shape[-1] != 1:
                raise UserError(f"the masks of {table.file} are RGB; give gray images whose values are classes")
            splits[split] = images, masks[..., 0]
        else:
            names = tuple(name for name in tables["train"].columns if name != "image")
            if not names:
                raise UserError(f"{table.file} has no column of targets besides image; add some")
            splits[split] = images, np.array([_numbers(table, name) for name in names]).T
    if kind == "masks":
        names = _class_names(Path(path) / "classes.txt")
    return assemble_targets(Path(path).resolve().name, splits, kind, names)


def _numbers(table: _Table, name: str) -> list[float]:
    found = []
    for number, text in enumerate(table.column(name), start=2):
        try:
            found.append(float(text))
        except ValueError:
            raise UserError(f"{table.file}:{number}: {name} is {text[:40]!r}, which is not a number") from None
    return found


def _class_names(file: Path) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    return tuple(line for line in file.read_text().splitlines() if line)


def _tables(path: str) -> dict[str, _Table]:
    if not path or not Path(path).is_dir():
        raise UserError(_PLACE if not path else f"data.path is {path!r}, which is not a folder; {_PLACE}")
    files = {split: Path(path) / f"{split}.csv" for split in SPLITS}
    if not files["train"].is_file():
        raise UserError(f"{path} has no train.csv; {_PLACE}")
    return {split: _read(file) for split, file in files.items() if file.is_file()}


def _read(file: Path) -> _Table:
    try:
        with open(file, newline="", encoding="utf-8") as opened:
            head, *rows = [row for row in csv.reader(opened) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a table: {error}") from None
    columns = tuple(name.strip() for name in head)
    if not rows or len(set(columns)) < len(columns):
        raise UserError(f"{file} needs a first line with different names of columns, and rows below it")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise UserError(f"{file}:{number} has {len(row)} cells and the first line {len(columns)}; give all of them")
    return _Table(file, columns, rows)


def _images(path: str, names: list[str], form: ImageForm, threads: int) -> np.ndarray:
    files = [os.path.join(path, name) for name in names]
    return read_images(
        files, np.arange(len(files)), OddFiles(Path(path)), form, threads=min(threads, os.cpu_count() or 1)
    )
