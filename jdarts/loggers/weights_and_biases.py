"""Records for Weights & Biases, in RUN/wandb: offline, unless WANDB_MODE says otherwise."""

import importlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jdarts.loggers.entries import alphas, cell_picture, heat_map, scalars, step_of


class WandbLogger:
    """Writes numbers over the epoch, alphas as heat maps, cells as pictures, and the settings as the configuration.

    An offline run is replaced when the record begins again; `wandb sync RUN/wandb/offline-run-*` uploads it. Online,
    a run that is resumed becomes another W&B run of the same group, with the whole history.
    """

    def __init__(self):
        self._wandb: Any = importlib.import_module("wandb")
        self._run: Any = None
        self._drawn: dict[str, str] = {}

    def begin(self, run_dir: Path, settings: Mapping[str, Any]) -> None:
        """Start a W&B run; an offline one takes the place of the old one."""
        if self._run is not None:
            self._run.finish()
        for old in (run_dir / "wandb").glob("offline-run-*"):
            shutil.rmtree(old)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        options = self._wandb.Settings(silent=True, console="off")
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "jdarts"),
            dir=str(run_dir),
            mode=mode,
            group=run_dir.name,
            name=run_dir.name,
            config=dict(settings),
            settings=options,
        )
        self._drawn = {}

    def record(self, series: str, file: str, record: Mapping[str, Any]) -> None:
        """Write the parts of a record."""
        prefix = f"{series}/" if series else ""
        axis = f"{prefix}{'number' if file == 'trials' else 'epoch'}"
        shown: dict[str, Any] = {f"{prefix}{name}": value for name, value in scalars(record).items()}
        if not record.get("compared"):
            for kind, rows in alphas(record).items():
                shown[f"{prefix}alphas/{kind}"] = self._wandb.Image(heat_map(rows))
        genotype = record.get("genotype")
        if isinstance(genotype, str) and self._drawn.get(series) != genotype:
            self._drawn[series] = genotype
            picture = cell_picture(genotype)
            if picture is not None:
                shown[f"{prefix}cells"] = self._wandb.Image(picture, caption=genotype)
        for name in shown:
            self._run.define_metric(name, step_metric=axis)
        self._run.log({axis: step_of(record), **shown})

    def flush(self) -> None:
        """W&B writes by itself."""

    def close(self) -> None:
        """End the W&B run."""
        self._run.finish()
