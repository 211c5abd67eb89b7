"""The source npz: arrays in one file."""

import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jdarts.data.arrays import assemble
from jdarts.data.dataset import Dataset, ImagesAndLabels
from jdarts.errors import DataNote, UserError


def load_npz(path: str, *, remap_labels: bool = False) -> Dataset:
    """An .npz file with `x_train`, `y_train`, and optionally `x_test`, `y_test`, `x_val`, `y_val`.

    `x_*` are images [N, H, W] or [N, H, W, C], best uint8, and `y_*` labels [N] (`arrays.from_arrays` lists other
    accepted forms). The order of the file is kept. Without test arrays the data can be searched on, but not retrained
    on.

    Raises `UserError` for a missing or damaged file, and for arrays of Python objects.
    """
    splits = read_npz(path)
    if "test" not in splits:
        warnings.warn(
            f"{path} has no x_test: it can be searched on, but a retrained cell needs a test", DataNote, stacklevel=2
        )
    return assemble(Path(path).stem, splits, remap=remap_labels)


def read_npz(path: str) -> dict[str, ImagesAndLabels]:
    """The arrays of an .npz file by split; raises `UserError` for a missing or damaged file."""
    if not path:
        raise UserError("source npz needs data.path: the .npz file with x_train, y_train, x_test, y_test")
    file = Path(path)
    if not file.is_file():
        raise UserError(f"data.path is {path!r}, which is not a file; give the .npz file")
    try:
        return _read(file)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{file} claims arrays larger than the memory of this machine; check or split it") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:120] or "damaged"
        raise UserError(
            f"{file} cannot be read as plain arrays ({reason}); save it with numpy.savez and no object arrays"
        ) from error


def _read(file: Path) -> dict[str, ImagesAndLabels]:
    """The arrays by split; every member is read to its end, so that its checksum is verified."""
    with np.load(file, allow_pickle=False) as archive:
        names = set(archive.files)
        wanted = ["train", *(split for split in ("test", "val") if names & {f"x_{split}", f"y_{split}"})]
        missing = [f"{part}_{split}" for split in wanted for part in "xy" if f"{part}_{split}" not in names]
        if missing:
            raise UserError(f"{file} has no array {missing[0]!r} (it has {', '.join(sorted(names)) or 'none'})")
        return {split: (archive[f"x_{split}"], archive[f"y_{split}"]) for split in wanted}
