"""The parts of a record that loggers show: numbers, alphas as heat maps, cells as pictures, hyper-parameters."""

import io
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jdarts.report.records import flat

FILES = ("metrics", "genotypes", "trials")
"""The files of records, NAME.jsonl, that loggers follow."""


class Logger(Protocol):
    """Writes the records of a run somewhere. `series` is the folder of the records below the run's."""

    def begin(self, run_dir: Path, settings: Mapping[str, Any]) -> None:
        """Start from nothing: whatever was written for this run before is replaced."""

    def record(self, series: str, file: str, record: Mapping[str, Any]) -> None:
        """Write one record of FILE.jsonl."""

    def flush(self) -> None:
        """Put everything on disk."""

    def close(self) -> None:
        """End; nothing is written afterwards."""


def step_of(record: Mapping[str, Any]) -> int:
    """The place of a record on the axis: its epoch, or the number of its trial."""
    return int(record.get("epoch", record.get("number", 0)))


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a record by their names, those of nested objects with a slash."""
    found = {name.replace(".", "/"): value for name, value in flat(dict(record)).items()}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return {
        name: float(value)
        for name, value in numbers.items()
        if name not in ("step", "epoch", "number") and not name.startswith("alphas") and math.isfinite(value)
    }


def alphas(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The alphas of a record by the kind of cell, `[edges, ops]`."""
    found = {name: np.asarray(rows, float) for name, rows in dict(record.get("alphas") or {}).items()}
    return {name: rows for name, rows in found.items() if rows.ndim == 2 and rows.size}


def heat_map(rows: np.ndarray) -> np.ndarray:
    """A picture of alphas, uint8 `[height, width, 3]`: edges downwards, ops to the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 0.45 * rows.shape[1], 1.0 + 0.3 * rows.shape[0]), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(rows, cmap="viridis", aspect="auto")
    axes.set(xlabel="op", ylabel="edge", xticks=range(rows.shape[1]), yticks=range(rows.shape[0]))
    figure.colorbar(image)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def cell_picture(genotype: str) -> np.ndarray | None:
    """The drawing of a genotype, uint8 `[height, width, 3]`; None for an architecture without one."""
    from PIL import Image

    from jdarts.errors import UserError
    from jdarts.genotypes import parse_architecture
    from jdarts.report.cell_drawing import draw

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.png"
        try:
            draw(parse_architecture(genotype), path)  # pyright: ignore[reportArgumentType]
        except UserError:
            return None
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return np.asarray(image.convert("RGB"))
