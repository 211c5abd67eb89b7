"""A table of trained architectures: named columns of numbers, one row for each architecture."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jdarts.errors import UserError, unknown


@dataclass(frozen=True)
class Entry:
    """One architecture: its text and the columns of its row, with percentages unchanged."""

    arch: str
    values: dict[str, float]

    def __getitem__(self, column: str) -> float:
        if column not in self.values:
            raise unknown("column", column, self.values)
        return self.values[column]


class ArchitectureTable:
    """All architectures of a table, found by their text.

    Attributes:
      columns: arrays `[architectures]` by name; NaN is a missing value.
      architectures: the text of every row.
      accuracies: the columns by which architectures are ranked.
      metric: the accuracy that is used if none is named.

    Raises `UserError` if the table holds an architecture twice.
    """

    def __init__(
        self, columns: dict[str, np.ndarray], architectures: list[str], accuracies: Iterable[str], metric: str
    ):
        self.columns, self.architectures = columns, architectures
        self.accuracies, self.metric = tuple(accuracies), metric
        self._rows = {arch: row for row, arch in enumerate(architectures)}
        if len(self._rows) != len(architectures):
            raise UserError("the table holds an architecture twice")

    def __len__(self) -> int:
        return len(self.architectures)

    def query(self, architecture: Any) -> Entry:
        """The row of an architecture, or of its text; raises `UserError` if it is not in the table."""
        row = self._row(architecture)
        return Entry(self.architectures[row], {name: float(values[row]) for name, values in self.columns.items()})

    def rank(self, architecture: Any, metric: str | None = None) -> int:
        """1 + the number of architectures that are better by `metric`."""
        values = self._column(metric)
        return 1 + int(np.sum(values > values[self._row(architecture)]))

    def regret(self, architecture: Any, metric: str | None = None) -> float:
        """Distance below the best architecture, in the unit of `metric`."""
        values = self._column(metric)
        return float(np.nanmax(values) - values[self._row(architecture)])

    def best(self, metric: str | None = None) -> Entry:
        """The architecture with the largest `metric`."""
        return self.query(self.architectures[int(np.nanargmax(self._column(metric)))])

    def text(self, architecture: Any) -> str:
        """The text by which the table knows an architecture."""
        return architecture if isinstance(architecture, str) else architecture.to_text()

    def _column(self, metric: str | None) -> np.ndarray:
        if (metric or self.metric) not in self.accuracies:
            raise unknown("accuracy", metric or self.metric, self.accuracies)
        return self.columns[metric or self.metric]

    def _row(self, architecture: Any) -> int:
        text = self.text(architecture)
        if text not in self._rows:
            raise UserError(f"{text} is not in the table of {len(self)} architectures")
        return self._rows[text]


class BenchmarkTable(ArchitectureTable, ABC):
    """A table of the architectures of a search space, for searches to look theirs up.

    Attributes:
      space: the name of the space.
      chosen_by: the accuracy by which random search chooses: on validation images, if the table has such.
    """

    space: ClassVar[str]
    chosen_by: ClassVar[str]

    @abstractmethod
    def test_accuracies(self, architecture: Any) -> dict[str, float]:
        """`{"benchmark_c10_accuracy": fraction, …}`: test accuracies by data set, for the records of a search."""


def column(values: Iterable[Any], name: str, path: Path, *, most: float, rows: Callable[[int], str]) -> np.ndarray:
    """A column as float64, None as NaN; `UserError` for a value that is not a number of 0 to `most`.

    `rows` names the row of an index in the message.
    """
    found = []
    for i, value in enumerate(values):
        number = np.nan if value is None else value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise UserError(f"{path}, {rows(i)}: {name} is {number!r}, which is not a number")
        if not (0 <= number <= most or value is None):
            raise UserError(f"{path}, {rows(i)}: {name} is {number:g}; it must be a number of 0 to {most:g}")
        found.append(float(number))
    return np.array(found)
