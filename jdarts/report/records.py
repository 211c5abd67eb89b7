"""The records in run folders. Reading tolerates runs that are unfinished, interrupted or damaged."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jdarts.config import Experiment, as_dict
from jdarts.config.files import from_json
from jdarts.errors import UserError
from jdarts.genotypes import Genotype, parse_result
from jdarts.ops import user_ops
from jdarts.runs.folder import CONFIG, RunFolder
from jdarts.runs.kinds import find_run


@dataclass(frozen=True)
class SearchRecord:
    """One search with one seed.

    Attributes:
      seed: the seed. metrics, genotypes: the records of the finished epochs, in order.
      values: the values of swept settings, e.g. `learning_rate-0.01`; empty without a sweep.
      found: the text of `genotype.txt`, which a search writes at its end; empty before.
    """

    seed: int
    metrics: list[dict[str, Any]]
    genotypes: list[dict[str, Any]]
    values: str = ""
    found: str = ""

    @property
    def result(self) -> Genotype | None:
        """The genotype that the search returned; before its end, the newest one."""
        text = self.found or (self.genotypes[-1]["genotype"] if self.genotypes else "")
        return parse_result(text) if text else None

    @property
    def label(self) -> str:
        """The seed, and the swept values if there are any."""
        return f"{self.seed}, {self.values}" if self.values else str(self.seed)

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.metrics)

    @property
    def diverged(self) -> bool:
        """True if the training loss of the last epoch is not finite; records then contain null."""
        loss = self.metrics[-1].get("train_loss", 0.0) if self.metrics else 0.0
        return loss is None or not math.isfinite(loss)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """`(epochs, values)` of the number `name` in the epochs that recorded it."""
        found = [(r["epoch"], r[name]) for r in self.metrics if isinstance(r.get(name), (int, float))]
        return [epoch for epoch, _ in found], [float(value) for _, value in found]

    def last(self, name: str) -> float | None:
        """The newest value of a number, or None."""
        values = self.series(name)[1]
        return values[-1] if values else None


@dataclass(frozen=True)
class RunRecord:
    """A run folder as read.

    Attributes:
      searches: at least one; one for each seed and each combination of swept values.
      together: records that the searches of one program share, such as computing times.
      summary: `summary.json` of a whole experiment. trainings: records of each retraining by name.
      environment: `environment.json`. analysis: `analysis.json` of `jdarts analyze`.
      problems: one line for each file that could not be read.
    """

    path: Path
    config: Experiment
    searches: list[SearchRecord]
    together: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    trainings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    analysis: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's name, which distinguishes runs of one configuration."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """True if the search is over, and the retraining if there is one."""
        done = all(search.found or search.epochs >= self.config.search.epochs for search in self.searches)
        return done and (bool(self.summary) or not self.trainings)

    def spent(self, name: str) -> float | None:
        """Sum over all epochs of all searches of `seconds` or `cpu_seconds`; None if never recorded."""
        parts = [SearchRecord(0, self.together, []), *self.searches]
        values = [value for part in parts for value in part.series(name)[1]]
        return sum(values) if values else None

    @property
    def search_records(self) -> list[dict[str, Any]]:
        """The records of the epochs of all searches, without retrainings."""
        parts = [self.together, *(search.metrics for search in self.searches)]
        return [record for part in parts for record in part]

    @property
    def options(self) -> dict[str, Any]:
        """The configuration as a flat dict with dotted names."""
        return flat(as_dict(self.config))


def read_run(path: str | Path) -> RunRecord:
    """Read the run folder at `path`. Damaged records become `problems`, not errors.

    Raises `UserError` if the folder holds no run, or a configuration that this version cannot read.
    """
    folder = find_run(path)
    try:
        config = from_json((folder / CONFIG).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from None
    except UserError as error:
        reason = "is half written or damaged" if "not a JSON" in str(error) else "is of another version of jdarts"
        raise UserError(f"{folder / CONFIG} {reason}: {error}") from None
    problems: list[str] = []
    user_ops.declare(
        name for name in read_json(folder / "own_ops.json", problems).get("names", []) if isinstance(name, str)
    )
    trainings = {
        child.name.removeprefix("train-"): _records(child, "metrics", problems)
        for child in sorted(folder.glob("train-*"))
        if child.is_dir()
    }
    return RunRecord(
        path=folder.resolve(),
        config=config,
        searches=_searches(folder, config, problems),
        together=_records(_base(folder), "metrics", problems) if _members(folder) else [],
        summary=read_json(folder / "summary.json", problems),
        trainings=trainings,
        environment=read_json(folder / "environment.json", problems),
        analysis=read_json(folder / "analysis" / "analysis.json", problems),
        problems=problems,
    )


@dataclass(frozen=True)
class Spent:
    """The cost of epochs; None where nothing was recorded.

    Attributes:
      device_seconds: wall-clock seconds times devices. cpu_seconds: of all processors of the host.
      peak_memory: the largest peak in bytes, of the device, or on CPUs of the process. images: images drawn.
    """

    device_seconds: float | None
    cpu_seconds: float | None
    peak_memory: float | None
    images: float | None


def cost_of(records: Sequence[dict[str, Any]]) -> Spent:
    """The cost of epochs from their records."""

    def numbers(name: str) -> list[float]:
        return [float(r[name]) for r in records if isinstance(r.get(name), (int, float))]

    seconds = [float(r["seconds"]) * (r.get("devices") or 1) for r in records if isinstance(r.get("seconds"), float)]
    cpu, peaks, images = (numbers(name) for name in ("cpu_seconds", "peak_memory", "images"))
    return Spent(
        sum(seconds) if seconds else None,
        sum(cpu) if cpu else None,
        max(peaks, default=None),
        sum(images) if images else None,
    )


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one flat dict with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, item in value.items():
        found.update(flat(item, f"{prefix}.{name}" if prefix else name))
    return found


def genotype_changes(search: SearchRecord, without: str = "") -> list[tuple[int, int, Genotype]]:
    """`(first epoch, last epoch, genotype)` of each stretch of equal genotypes.

    The order of edges is ignored, and so is the cell `without`.
    """
    stretches: list[tuple[int, int, Genotype]] = []
    for record in search.genotypes:
        genotype = parse_result(record["genotype"])
        if stretches and _edges(stretches[-1][2], without) == _edges(genotype, without):
            stretches[-1] = (stretches[-1][0], record["epoch"], genotype)
        else:
            stretches.append((record["epoch"], record["epoch"], genotype))
    return stretches


def _edges(genotype: Genotype, without: str) -> list[list[tuple[str, int]]]:
    return [sorted(edges) for kind, cell in genotype.cells.items() if kind != without for edges in cell.nodes]


def by_values(runs: Sequence[RunRecord], names: Sequence[str]) -> tuple[list[RunRecord], list[str]]:
    """Each run, or a part of it for each combination of swept values, so that means are only over seeds; and names.

    A part has the searches with these values and their retrainings. The time that all searches took together is left
    out.
    """
    parts, named = [], []
    for run, name in zip(runs, names, strict=True):
        for values in (several := list(dict.fromkeys(search.values for search in run.searches))):
            if len(several) == 1:
                part = run
            else:
                searches = [search for search in run.searches if search.values == values]
                kept = {f"seed-{search.label.replace(', ', ',')}" for search in searches}
                trainings = {member: records for member, records in run.trainings.items() if member in kept}
                part = replace(run, searches=searches, trainings=trainings, together=[])
            parts.append(part)
            named.append(f"{name}, {values}" if values else name)
    return parts, named


def same_but_seed(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs grouped by their settings and swept values, except seed and name, in order of first appearance."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        options = {k: v for k, v in run.options.items() if k not in ("seed", "name")}
        options["swept values"] = sorted({search.values for search in run.searches})
        groups.setdefault(json.dumps(options, sort_keys=True, default=str), []).append(run)
    return list(groups.values())


def _base(folder: Path) -> Path:
    return folder / "search" if (folder / "search").is_dir() else folder


def _members(folder: Path) -> list[tuple[re.Match[str], Path]]:
    """The folders of searches that share a program, each with the match of its name."""
    found = _base(folder).glob("seed-*")
    return [(match, f) for f in found if (match := re.fullmatch(r"seed-(\d+),?(.*)", f.name))]


def _searches(folder: Path, config: Experiment, problems: list[str]) -> list[SearchRecord]:
    """The searches of a run: one for each folder `seed-N`, or for each seed named in the records, or just one."""
    base, members = _base(folder), _members(folder)
    if members:
        found = [
            SearchRecord(
                int(m[1]),
                _records(f, "metrics", problems),
                _records(f, "genotypes", problems),
                m[2],
                _found(f, problems),
            )
            for m, f in members
        ]
        return sorted(found, key=lambda search: (search.values, search.seed))
    metrics, genotypes = _records(base, "metrics", problems), _records(base, "genotypes", problems)
    seeds = sorted({r["seed"] for r in metrics if isinstance(r.get("seed"), int)}) or [config.seed]

    def of(records: list[dict], seed: int) -> list[dict]:
        return [r for r in records if r.get("seed", seed) == seed]

    text = _found(folder, problems) if len(seeds) == 1 else ""
    return [SearchRecord(seed, of(metrics, seed), of(genotypes, seed), found=text) for seed in seeds]


def _found(folder: Path, problems: list[str]) -> str:
    file = folder / "genotype.txt"
    if not file.is_file():
        return ""
    try:
        text = file.read_text().strip()
        parse_result(text)
    except (OSError, UnicodeDecodeError, UserError) as error:
        problems.append(f"{file} cannot be read: {error}")
        return ""
    return text


def _records(folder: Path, name: str, problems: list[str]) -> list[dict[str, Any]]:
    try:
        return [r for r in RunFolder(folder).records(name) if isinstance(r.get("epoch"), int)]
    except (UserError, OSError) as error:
        problems.append(str(error))
        return []


def read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in a JSON file; empty if there is none. An unreadable file adds a line to `problems`."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return {}
    return value if isinstance(value, dict) else {}
