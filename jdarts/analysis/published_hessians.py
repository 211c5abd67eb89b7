"""The published alpha-Hessians of RobustDARTS: 67 searches with 26 matrices each, and their genotypes and accuracies.

Zela et al. (ICLR 2020) published the logs of their searches on S1 (CIFAR-10, 56 alphas) and S3 (SVHN, 84 alphas). The
logs of 67 searches contain the dense Hessian of the validation loss by the alphas after every second epoch, on one
batch of 64 images. `load` reads them from a clone of the authors' repository, or from a compact copy:

    git clone --depth 1 https://github.com/automl/RobustDARTS

    from jdarts.analysis import published_hessians

    searches = published_hessians.load("RobustDARTS")
    searches[0].hessians.shape, searches[0].eigenvalues[:, 0]     # (26, 56, 56), and λ_max after each epoch

The compact copy is a folder with two files. `upper_triangles.npz` has the row-major upper triangles of all matrices of
n alphas as `size<n>` `[matrices, n(n + 1)/2]`; `runs.json` is a list with one object for each search.
"""

import functools
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.errors import UserError

ALPHA_DECAY = 1e-3
"""The weight decay of the alphas. The authors' code adds it to the diagonal of every matrix."""
HOW_TO_GET = (
    "clone the authors' repository (git clone --depth 1 https://github.com/automl/RobustDARTS) and give its folder"
)
TRIANGLES, RUNS, LOGS = "upper_triangles.npz", "runs.json", "experiments/search_logs"


@dataclass(frozen=True, eq=False)
class PublishedSearch:
    """One search of RobustDARTS: second-order DARTS for 50 epochs, with its alpha-Hessians.

    Attributes:
      space, dataset: `"s1"` and `"cifar10"`, or `"s3"` and `"svhn"`.
      drop_path: drop-path probability at the end of the search.
      weight_decay: weight decay of the weights. That of the alphas is `ALPHA_DECAY`.
      seed: the authors' seed. Two searches on S3 with decay 0.0027 have the seed 1.
      epochs: 0-based epochs after which the Hessian was measured, `[m]`.
      hessians: `∂²L_val/∂α² + ALPHA_DECAY · I` on one batch in training mode, `[m, n, n]`, float64 copies of float32
        numbers, in nats; the alphas are in row-major order, those of the normal cell first.
      genotypes: text of the derived genotype after every epoch.
      valid_accuracy: accuracy of the supernet on the validation half after every epoch, in percent.
    """

    space: str
    dataset: str
    drop_path: float
    weight_decay: float
    seed: int
    epochs: np.ndarray
    hessians: np.ndarray
    genotypes: tuple[str, ...]
    valid_accuracy: np.ndarray

    @property
    def name(self) -> str:
        """The settings in one line."""
        return (
            f"{self.space} {self.dataset}, drop-path {self.drop_path:g}, decay {self.weight_decay:g}, seed {self.seed}"
        )

    @functools.cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of every matrix, largest first, `[m, n]`; they include the decay of the alphas."""
        return np.linalg.eigvalsh(self.hessians)[:, ::-1]

    def records(self) -> list[dict[str, Any]]:
        """Records of all epochs as the rules of `jdarts.stopping` read them.

        Every record has `epoch` (finished epochs) and `genotype`; those of measured epochs have `dominant_eigenvalue`.
        """
        largest = dict(zip(self.epochs.tolist(), self.eigenvalues[:, 0].tolist(), strict=True))
        records = [{"epoch": epoch + 1, "genotype": text} for epoch, text in enumerate(self.genotypes)]
        return [
            record | ({"dominant_eigenvalue": largest[epoch]} if epoch in largest else {})
            for epoch, record in enumerate(records)
        ]


def load(folder: str | Path) -> list[PublishedSearch]:
    """All searches in `folder`: the compact copy, or a clone of the authors' repository.

    The compact copy takes about a second, the clone about ten (190 MB of JSON).

    Raises `UserError` if the folder has neither of the two, and for files that are damaged or have another layout.
    """
    folder = Path(folder)
    if (folder / TRIANGLES).is_file() and (folder / RUNS).is_file():
        return _compact(folder)
    logs = folder / LOGS if (folder / LOGS).is_dir() else folder
    files = sorted(logs.glob("s*/*/*/derivatives_*.json"))
    if not files:
        what = "does not exist" if not folder.exists() else f"has neither {TRIANGLES} and {RUNS} nor {LOGS}"
        raise UserError(f"{folder} {what}; {HOW_TO_GET}")
    return [_from_logs(file) for file in files]


def _compact(folder: Path) -> list[PublishedSearch]:
    try:
        runs = json.loads((folder / RUNS).read_text())
        with np.load(folder / TRIANGLES, allow_pickle=False) as arrays:
            triangles = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:  # JSON and Unicode errors are ValueErrors
        raise UserError(f"the alpha-Hessians in {folder} cannot be read: {error}; {HOW_TO_GET}") from None
    if not isinstance(runs, list):
        raise UserError(f"{folder / RUNS} is not a list of searches; {HOW_TO_GET}")
    places = [f"{folder / RUNS}, search {i}" for i in range(len(runs))]
    return [_search(run, _rows(run, triangles, where), where) for run, where in zip(runs, places, strict=True)]


def _rows(run: Any, triangles: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """The matrices `[m, n, n]` of an entry of `runs.json`."""
    try:
        size, first, count = int(run["size"]), int(run["first_row"]), len(run["epochs"])
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(where, error) from None
    rows = triangles.get(f"size{size}", np.zeros((0, 0)))
    if size < 1 or rows.ndim != 2 or rows.shape[1] != size * (size + 1) // 2 or not 0 <= first <= len(rows) - count:
        raise UserError(
            f"{where}: needs the rows {first} to {first + count - 1} of size{size} [rows, {size * (size + 1) // 2}] in "
            f"{TRIANGLES}, which has {', '.join(f'{k} {list(v.shape)}' for k, v in triangles.items()) or 'nothing'}"
        )
    matrices = np.zeros((count, size, size))
    upper = np.triu_indices(size)
    matrices[:, upper[0], upper[1]] = matrices[:, upper[1], upper[0]] = rows[first : first + count]
    return matrices


def _from_logs(file: Path) -> PublishedSearch:
    """The search of `<space>/<dataset>/<drop-path>_<decay>-<job>/derivatives_<seed>.json` and its `log_<seed>.txt`."""
    seed = file.stem.removeprefix("derivatives_")
    log = file.with_name(f"log_{seed}.txt")
    try:
        drop_path, weight_decay = file.parent.name.split("-")[0].split("_")
        lines = log.read_text().splitlines()
        readings = [json.loads(line) for line in file.read_text().splitlines()]
        matrices = np.array([reading["H"] for reading in readings], np.float64)
        run = {
            "space": file.parents[2].name,
            "dataset": file.parents[1].name,
            "drop_path": drop_path,
            "weight_decay": weight_decay,
            "seed": seed,
            "epochs": [reading["epoch"] for reading in readings],
            "genotypes": [line.partition(" genotype = ")[2] for line in lines if " genotype = " in line],
            "valid_accuracy": [line.partition(" valid_acc ")[2] for line in lines if " valid_acc " in line],
        }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _malformed(str(file), error) from None
    if matrices.ndim != 3:
        raise UserError(f"{file}: the matrices have shape {list(matrices.shape)}, not [readings, n, n]; {HOW_TO_GET}")
    return _search(run, (matrices + matrices.swapaxes(1, 2)) / 2, str(file))


def _search(run: Mapping[str, Any], matrices: np.ndarray, where: str) -> PublishedSearch:
    try:
        search = PublishedSearch(
            space=str(run["space"]),
            dataset=str(run["dataset"]),
            drop_path=float(run["drop_path"]),
            weight_decay=float(run["weight_decay"]),
            seed=int(run["seed"]),
            epochs=np.array(run["epochs"], np.int64),
            hessians=matrices,
            genotypes=tuple(map(str, run["genotypes"])),
            valid_accuracy=np.array(run["valid_accuracy"], np.float64),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(where, error) from None
    epochs = len(search.genotypes)
    if search.epochs.ndim != 1 or not np.all(np.isin(search.epochs, np.arange(epochs))):
        raise UserError(f"{where}: Hessians of the epochs {search.epochs.tolist()}, genotypes of {epochs} epochs")
    if search.valid_accuracy.shape != (epochs,):
        raise UserError(f"{where}: {len(search.valid_accuracy)} accuracies, genotypes of {epochs} epochs; {HOW_TO_GET}")
    if not np.all(np.isfinite(matrices)):
        raise UserError(f"{where}: a Hessian has entries that are not finite; {HOW_TO_GET}")
    return search


def _malformed(where: str, error: Exception) -> UserError:
    what = f"no entry {error}" if isinstance(error, KeyError) else str(error)
    return UserError(f"{where}: {what}; {HOW_TO_GET}")
