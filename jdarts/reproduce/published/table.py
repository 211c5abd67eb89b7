"""A table of published numbers, written as text with a line for each row.

    columns   error of the test, % | parameters, M
    rows      DARTS, second order | 2.76 ± 0.09 | 3.3 | Liu et al. 2019, Table 1

A cell is a number, a number with its standard deviation, or `-`. A `?` behind it marks a recalled number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from jdarts.errors import UserError, unknown

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?: ± (\d*\.?\d+))?(\?)?")


@dataclass(frozen=True)
class Number:
    """A published number.

    Attributes:
      mean: the number, or the mean of several runs.
      std: the standard deviation over the runs, as published; None if there is none.
      recalled: it is from memory and was not checked.
      text: the number as it is printed in the source, with the mark of a recalled one.
    """

    mean: float
    std: float | None = None
    recalled: bool = False
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:g}"
        return self.text or f"{self.mean:g}{spread}{'?' if self.recalled else ''}"


@dataclass(frozen=True)
class PublishedRow:
    """The numbers of one method, None where a cell is empty, and the source."""

    method: str
    numbers: tuple[Number | None, ...]
    source: str


@dataclass(frozen=True)
class PublishedTable:
    """A table.

    Attributes:
      name: unique among all tables.
      title: the data, the space and the protocol.
      columns: names of the numbers, with units.
      rows: a row for each method.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[PublishedRow, ...]

    def __getitem__(self, method: str) -> PublishedRow:
        """The row of a method; raises `UserError` if there is none."""
        for row in self.rows:
            if row.method == method:
                return row
        raise unknown(f"row of the published table {self.name}", method, [row.method for row in self.rows])

    def number(self, method: str, column: str) -> Number | None:
        """The number of a method in a column; raises `UserError` for a name that the table lacks."""
        if column not in self.columns:
            raise unknown(f"column of the published table {self.name}", column, self.columns)
        return self[method].numbers[self.columns.index(column)]

    def cells(self) -> list[list[str]]:
        """The table as rows of text, the first of which is the head."""
        rows = [
            [row.method, *("–" if number is None else str(number) for number in row.numbers), row.source]
            for row in self.rows
        ]
        return [["published", *self.columns, "source"], *rows]


def read_rows(name: str, title: str, columns: Sequence[str], text: str) -> PublishedTable:
    """The table that `text` describes; raises `UserError` for a line with another number of cells."""
    rows = []
    for line in text.strip().splitlines():
        method, *numbers, source = (cell.strip() for cell in line.split("|"))
        if len(numbers) != len(columns):
            raise UserError(f"published table {name}, {method}: {len(numbers)} numbers for {len(columns)} columns")
        rows.append(PublishedRow(method, tuple(_number(cell, name, method) for cell in numbers), source))
    return PublishedTable(name, title, tuple(columns), tuple(rows))


def _number(cell: str, name: str, method: str) -> Number | None:
    if cell == "-":
        return None
    found = _NUMBER.fullmatch(cell)
    if found is None:
        raise UserError(f"published table {name}, {method}: {cell!r} is no number")
    mean, std, mark = found.groups()
    return Number(float(mean), None if std is None else float(std), mark is not None, cell)
