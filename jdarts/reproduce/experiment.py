"""The parts of a reproduction: its declaration, the setting of a run, and the findings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from jdarts.reproduce.published import PublishedTable
from jdarts.runs.reporter import Reporter, SilentReporter

Scale = Literal["smoke", "cpu", "full"]
SCALES: dict[Scale, str] = {
    "smoke": "a minute of a CPU on data that need no files; shows that the parts work together, no more",
    "cpu": "two CPU cores, real data, reduced",
    "full": "the published protocol; needs accelerators",
}
Input = Literal["data", "table", "transfer"]
INPUTS: tuple[Input, ...] = ("data", "table", "transfer")


@dataclass(frozen=True)
class Setting:
    """A reproduction that is asked for.

    Attributes:
      scale: a key of `SCALES`.
      folder: of the experiment; its runs lie in it.
      data: the file or folder of the data.
      table: the file of a benchmark.
      transfer: the file or folder of a second data set, to which found cells are transferred.
      seeds: number of seeds; None is that of the scale.
      reporter: shows the runs to the user.
    """

    scale: Scale
    folder: Path
    data: str = ""
    table: str = ""
    transfer: str = ""
    seeds: int | None = None
    reporter: Reporter = field(default_factory=SilentReporter)


@dataclass(frozen=True)
class Sheet:
    """A table of results: a title, rows of text of which the first is the head, and what to know about them."""

    title: str
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """The results of a reproduction.

    Attributes:
      sheets: tables with our numbers beside the published ones.
      figures: figures by name.
      values: the numbers as JSON, by name.
    """

    sheets: Sequence[Sheet]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduction:
    """A published experiment.

    Attributes:
      name: as in `jdarts reproduce NAME`.
      summary: one line.
      tables: the published numbers.
      inputs: for each scale, the inputs that it cannot do without.
      costs: the expected cost of each scale, in words.
      differences: how each scale differs from the published protocol, in words.
      run: the experiment.
      optional: inputs that smoke and others use if they are given.
    """

    name: str
    summary: str
    tables: tuple[PublishedTable, ...]
    inputs: Mapping[Scale, tuple[Input, ...]]
    costs: Mapping[Scale, str]
    differences: Mapping[Scale, str]
    run: Callable[[Setting], Findings]
    optional: tuple[Input, ...] = ()
