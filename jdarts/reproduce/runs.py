"""Searches and trainings of a reproduction: each is a run folder, which a second call reuses or continues."""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.genotypes import parse_architecture
from jdarts.pipeline import run_search_only, run_train_only
from jdarts.report.records import Spent, cost_of, read_run
from jdarts.reproduce.experiment import Setting
from jdarts.reproduce.published import Number
from jdarts.runs.folder import CONFIG, RunFolder, check_folder
from jdarts.search.members import Member


@dataclass(frozen=True)
class SearchedRun:
    """A finished search.

    Attributes:
      folder: its run folder.
      members: the results in `members.json`: `name`, `seed`, `genotype` (None if it diverged) and the last metrics.
      records: of all epochs.
    """

    folder: Path
    members: list[dict[str, Any]]
    records: list[dict[str, Any]]

    @property
    def cost(self) -> Spent:
        """The cost of all epochs."""
        return cost_of(self.records)

    @property
    def genotypes(self) -> list[str]:
        """The found genotypes of the searches that did not diverge."""
        return [member["genotype"] for member in self.members if member["genotype"] is not None]

    def member_folder(self, index: int) -> Path:
        """The folder of one search."""
        return self.folder / "search" / self.members[index]["name"]

    def epochs(self, index: int) -> list[dict[str, Any]]:
        """The records of `genotypes.jsonl` of one search."""
        return RunFolder(self.member_folder(index)).records("genotypes")


@dataclass(frozen=True)
class TrainedRun:
    """A finished training: its folder, the numbers in `result.json`, the records of its epochs, and its cost."""

    folder: Path
    result: dict[str, Any]
    epochs: list[dict[str, Any]]
    cost: Spent


def search(setting: Setting, name: str, config: Experiment, seeds: int) -> SearchedRun:
    """The searches of `config` with seeds 0, 1, … in the folder `name`; runs or continues them if needed."""
    folder, members = setting.folder / name, [Member(seed) for seed in range(seeds)]
    done = folder / "search" / "members.json"
    again = holds(folder, config)
    if not done.is_file():
        setting.reporter.message(f"search {name}: {config.search.method}, {seeds} seeds")
        run_search_only(config, members, folder, resume=again, reporter=setting.reporter)
    found = json.loads(done.read_text())["members"]
    if [member["seed"] for member in found] != [member.seed for member in members]:
        raise UserError(f"{folder} holds {len(found)} searches, {seeds} are asked for; give another --run-dir")
    return SearchedRun(folder, found, read_run(folder).search_records)


def train(setting: Setting, name: str, config: Experiment, genotype: str) -> TrainedRun:
    """The training of a genotype in the folder `name`; runs or continues it if needed."""
    folder = setting.folder / name
    again = holds(folder, config)
    if not (folder / "result.json").is_file():
        setting.reporter.message(f"train {name}")
        architecture = parse_architecture(genotype)
        run_train_only(config, architecture, folder, resume=again, reporter=setting.reporter)
    return finished(folder)


def finished(folder: Path) -> TrainedRun:
    """The finished training in a folder."""
    epochs = RunFolder(folder).records("metrics")
    return TrainedRun(folder, json.loads((folder / "result.json").read_text()), epochs, cost_of(epochs))


def train_briefly(setting: Setting, config: Experiment, genotype: str) -> TrainedRun:
    """The training of a genotype in a folder of its own, so that one that occurs twice is trained once."""
    digest = hashlib.sha256(genotype.encode()).hexdigest()[:10]
    return train(setting, f"brief-{digest}", replace(config, name=f"brief-{digest}"), genotype)


def holds(folder: Path, config: Experiment) -> bool:
    """True if the folder holds this run, begun or finished; `UserError` if it holds another one."""
    if not (folder / CONFIG).is_file():
        return False
    check_folder(folder, config, resume=True)
    return True


def mean_of(values: Sequence[float]) -> Number | None:
    """The mean and the sample standard deviation; None without values."""
    if not values:
        return None
    return Number(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def shown(number: Number | None, digits: int = 2) -> str:
    """A number of ours, rounded."""
    if number is None:
        return "–"
    spread = "" if number.std is None else f" ± {number.std:.{digits}f}"
    return f"{number.mean:.{digits}f}{spread}"


def theirs(number: Number | None) -> str:
    """A published number as text."""
    return "–" if number is None else str(number)


def beside(ours: Number | None, published: Number | None) -> str:
    """The difference of the means, ours minus published."""
    return "–" if ours is None or published is None else f"{ours.mean - published.mean:+.2f}"
