"""Records as event files for TensorBoard, in RUN/tensorboard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jdarts.loggers.entries import alphas, cell_picture, heat_map, scalars, step_of


class TensorBoardLogger:
    """Writes numbers, alphas as heat maps, cells as pictures and the settings as text; the step is the epoch."""

    def __init__(self):
        from tensorboardX import SummaryWriter

        self._make, self._writer = SummaryWriter, None
        self._drawn: dict[str, str] = {}

    def begin(self, run_dir: Path, settings: Mapping[str, Any]) -> None:
        """Start a new event file in place of the old ones; a TensorBoard that shows them drops what they hold."""
        folder = run_dir / "tensorboard"
        folder.mkdir(exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        if self._writer is not None:
            self._writer.close()
        self._writer, self._drawn = self._make(str(folder), purge_step=0), {}
        table = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
        self._writer.add_text("settings", f"| name | value |\n|---|---|\n{table}", 0)

    def record(self, series: str, file: str, record: Mapping[str, Any]) -> None:
        """Write the parts of a record."""
        assert self._writer is not None
        prefix, step = f"{series}/" if series else "", step_of(record)
        for name, value in scalars(record).items():
            self._writer.add_scalar(f"{prefix}{name}", value, step)
        if not record.get("compared"):
            for kind, rows in alphas(record).items():
                self._writer.add_image(f"{prefix}alphas/{kind}", heat_map(rows), step, dataformats="HWC")
        genotype = record.get("genotype")
        if isinstance(genotype, str) and self._drawn.get(series) != genotype:
            self._drawn[series] = genotype
            self._writer.add_text(f"{prefix}genotype", genotype, step)
            picture = cell_picture(genotype)
            if picture is not None:
                self._writer.add_image(f"{prefix}cells", picture, step, dataformats="HWC")

    def flush(self) -> None:
        """Put the events on disk."""
        assert self._writer is not None
        self._writer.flush()

    def close(self) -> None:
        """End the event file."""
        assert self._writer is not None
        self._writer.close()
