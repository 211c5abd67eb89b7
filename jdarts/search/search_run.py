"""`SearchRun`: all that `run_search` and the drivers need for a search, as one value."""

from dataclasses import dataclass, field, replace
from typing import Any

from jdarts.benchmarks import BenchmarkTable, load_table
from jdarts.config import Experiment
from jdarts.data import Dataset, SearchData
from jdarts.data.streaming import StreamedData
from jdarts.data.text import TextData
from jdarts.devices.placement import Placement
from jdarts.errors import UserError
from jdarts.methods import Method
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import LoopSettings
from jdarts.runs.reporter import Reporter, SilentReporter
from jdarts.search.hooks import MakeHooks, no_hooks
from jdarts.spaces.space import Space


@dataclass(frozen=True)
class SearchRun:
    """A search to run.

        run = SearchRun(config, space, data, folder, configured(config.search))
        genotype, state = run_search(run)

    Attributes:
      config: all settings.
      space: the search space.
      data: images; a driver that also trains cells needs the whole `Dataset`.
      folder: the folder for records, checkpoints and results.
      method: the search method; `jdarts.methods.configured(config.search)` builds the method of the settings.
      resume: continue from the newest checkpoint in `folder`.
      reporter: shows the run to the user.
      hooks: makes the functions that are called after every epoch (`jdarts.search.hooks`).
      placement: the devices of its loops; None is one device. Streamed images need a placement.
    """

    config: Experiment
    space: Space
    data: Dataset | SearchData | StreamedData | TextData
    folder: RunFolder
    method: Method
    resume: bool = False
    reporter: Reporter = field(default_factory=SilentReporter)
    hooks: MakeHooks = no_hooks
    placement: Placement | None = None

    @property
    def dataset(self) -> Dataset:
        """All images, for drivers that also train cells. Raises `UserError` if the run has only images of a search."""
        if not isinstance(self.data, Dataset):
            raise UserError(f"method {self.method.name} also trains cells, which needs a whole data set")
        return self.data

    @property
    def search_data(self) -> SearchData | StreamedData | TextData:
        """The training and validation images of the search, without the test images."""
        return self.data.for_search(self.config.data) if isinstance(self.data, Dataset) else self.data

    @property
    def table(self) -> BenchmarkTable | None:
        """The benchmark's table in which to look up architectures, read from its file; None without one."""
        path = self.config.search.benchmark_table
        return load_table(path) if path else None

    def split(self) -> "SearchRun":
        """The same run on `search_data`, for drivers that search several times on one split."""
        return replace(self, data=self.search_data)

    def stage(self, name: str, **changes: Any) -> "SearchRun":
        """The part of this run that keeps its records in the subfolder `name`, with these fields changed."""
        return replace(self, folder=self.folder.subfolder(name), **changes)

    def loop_settings(self, steps_per_epoch: int) -> LoopSettings:
        """The length of the search and the interval of its checkpoints, from the settings."""
        settings = self.config.search
        return LoopSettings(
            epochs=settings.epochs,
            steps_per_epoch=steps_per_epoch,
            checkpoint_every=settings.checkpoint_every,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            keep_checkpoints=settings.keep_checkpoints,
        )
