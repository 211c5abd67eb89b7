"""NAS-Bench-201 (Dong & Yang 2020) as a small table: accuracies, rank and regret of every architecture.

The table is a CSV file, plain or compressed (`.csv.gz`), with a header and one line for each architecture:

    index, arch                       the benchmark's number and arch string
    {c10,c100,in16}_test_200          test accuracy in % after 200 epochs, mean over the benchmark's seeds
    {c10,c100,in16}_{valid,test}_12   validation and test accuracy in % after 12 epochs
    params_c10, flops_c10             parameters, and multiply–accumulates for one image

Only `arch` and at least one accuracy are needed. The official archive is a Python pickle, which would run any code that
it holds when read; it is refused.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.benchmarks.table import BenchmarkTable
from jdarts.errors import UserError
from jdarts.genotypes import Genotype, excerpt, parse

ARCHITECTURES = 15_625
METRIC = "c10_test_200"
_NUMBERS = ("params_c10", "flops_c10", "index")


class NASBench201Table(BenchmarkTable):
    """All architectures of a table of NAS-Bench-201.

    table = load_nasbench201_table("nasbench201.csv.gz")
    table.query(genotype)["c10_test_200"]       # 93.66
    table.rank(genotype)                        # 1 is the best
    table.regret(genotype)                      # percentage points below the best
    """

    space = "nasbench201"
    chosen_by = "c10_valid_12"

    def __init__(self, columns: dict[str, np.ndarray], architectures: list[str]):
        super().__init__(columns, architectures, (name for name in columns if name not in _NUMBERS), METRIC)

    def test_accuracies(self, architecture: Genotype | str) -> dict[str, float]:
        """Test accuracies after 200 epochs on CIFAR-10 `c10`, CIFAR-100 `c100` and ImageNet16-120 `in16`."""
        entry = self.query(architecture)
        names = [name for name in self.accuracies if name.endswith("_test_200")]
        return {f"benchmark_{name.split('_')[0]}_accuracy": entry[name] / 100 for name in names}

    def text(self, architecture: Any) -> str:
        """The arch string; raises `UserError` for a genotype of another space."""
        genotype = parse(architecture) if isinstance(architecture, str) else architecture
        if not isinstance(genotype, Genotype):
            raise UserError(f"{excerpt(genotype)} is no genotype; a table of NAS-Bench-201 is asked for genotypes")
        return genotype.to_nasbench201()


def load_nasbench201_table(path: str | Path) -> NASBench201Table:
    """The table in a `.csv` or `.csv.gz` file; raises `UserError` for anything else, pickles included."""
    path = Path(path)
    if path.suffix in (".pth", ".pickle", ".pkl", ".pt", ".pbz2"):
        raise UserError(
            f"{path} is a Python pickle, which runs code when it is read; "
            "export it to CSV with the benchmark's own program (columns: arch, c10_test_200, …)"
        )
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return _read(csv.DictReader(io.StringIO(content.decode())), path)
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot read benchmark table {str(path)!r}: {reason}; give an undamaged .csv or .csv.gz file"
        ) from None


def _read(lines: Iterable[dict[str, str]], path: Path) -> NASBench201Table:
    rows = list(lines)
    names = [name for name in (rows[0] if rows else {}) if name not in ("arch", None)]
    if not rows or "arch" not in rows[0] or not names:
        raise UserError(f"{path} has no column arch, or no other column; see jdarts.benchmarks.nasbench201")
    columns: dict[str, np.ndarray] = {}
    for name in names:
        try:
            values = np.array([float(row[name]) for row in rows])
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: column {name} holds something that is not a number ({error})") from None
        columns[name] = _checked(values, name, path)
    if any(row["arch"] is None for row in rows):
        raise UserError(f"{path}: a line has no arch; every line needs all columns")
    return NASBench201Table(columns, [row["arch"] for row in rows])


def _checked(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    """A column unchanged; `UserError` unless accuracies are percentages and counts finite and not negative."""
    most = np.inf if name in _NUMBERS else 100.0
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values <= most)))
    if len(wrong):
        what = "a finite number of at least 0" if name in _NUMBERS else "a percentage, 0 to 100"
        raise UserError(f"{path}, line {wrong[0] + 2}: {name} is {values[wrong[0]]:g}; it must be {what}")
    return values
