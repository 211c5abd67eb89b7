"""NAS-Bench-NLP (Klyuchnikov et al. 2020, arXiv:2006.07116): losses of recurrent networks by epoch.

The public archive `train_logs_wikitext-2/logs.zip` holds one JSON file a training on WikiText-2, whose lists of numbers
are texts in some files. Losses are negative log-likelihoods per word, in nats.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.errors import UserError

_LARGEST_MEMBER = 5_000_000  # bytes; the files have 10 kB
_MOST_MEMBERS = 100_000
_LOSSES = ("train_losses", "val_losses", "test_losses")


@dataclass(frozen=True)
class LossCurves:
    """One training.

    Attributes:
      name: of its file.
      train, validation, test: losses after each epoch, `[epochs]`.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def load_loss_curves(path: str | Path) -> list[LossCurves]:
    """The trainings in the order of the archive, up to the first epoch whose losses are not finite.

    Those with fewer than two such epochs are left out.

    Raises `UserError`, one line, for a file of another kind or a training without its losses.
    """
    path, found = Path(path), []
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".json")]
            if not members or len(members) > _MOST_MEMBERS:
                raise UserError(f"{path} holds {len(members)} .json files; give logs.zip of NAS-Bench-NLP")
            for member in members:
                if member.file_size > _LARGEST_MEMBER:
                    raise UserError(f"{path}, {member.filename}: too large for this benchmark")
                curves = _curves(json.loads(archive.read(member)), f"{path}, {member.filename}")
                if len(curves[0]) >= 2:
                    found.append(LossCurves(member.filename, *curves))
    except (OSError, EOFError, ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {str(path)!r}: {reason}; give an undamaged logs.zip") from None
    return found


def _curves(content: Any, where: str) -> list[np.ndarray]:
    curves = []
    for name in _LOSSES:
        values = content.get(name) if isinstance(content, dict) else None
        if isinstance(values, str):
            values = json.loads(values.replace("nan", "NaN").replace("inf", "Infinity"))
        if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            raise UserError(f"{where}: {name} must be a list of numbers")
        curves.append(np.array(values, float))
    if len({len(curve) for curve in curves}) != 1:
        raise UserError(f"{where}: the lists of losses have different lengths")
    bad = np.flatnonzero(~np.isfinite(np.stack(curves)).all(axis=0))
    end = int(bad[0]) if len(bad) else len(curves[0])
    return [curve[:end] for curve in curves]
