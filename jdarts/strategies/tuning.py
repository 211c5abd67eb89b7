"""Hyper-parameters to tune: fields of the configuration with the values to try, as parameters of a study.

    log:1e-4:1e-1       a real number, its logarithm uniform
    lin:0.5:0.99        a real number, uniform
    int:2:8             a whole number, uniform
    16,32,64            one of these

A grid needs a number of points for the first three: `log:1e-4:1e-1:5` has 5, evenly spaced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial

from jdarts import __version__
from jdarts.config import Experiment
from jdarts.config.files import override
from jdarts.config.ranges import shown
from jdarts.errors import UserError, unknown
from jdarts.estimation import measure_of
from jdarts.runs.kinds import TUNING
from jdarts.strategies.plan import SHARED_SEED, fresh_seed, identity, read_stored, refuse_known, refuse_missing
from jdarts.strategies.pruners import pruner_by_name
from jdarts.strategies.registry import check_torch
from jdarts.strategies.storage import shown as shown_storage
from jdarts.strategies.study import open_study

SAMPLERS = ("random", "grid", "tpe", "gp")
_OPTIONS = "search.method_options."
_LARGEST_GRID = 100_000


@dataclass(frozen=True)
class Varied:
    """A field of the configuration and its values.

    Attributes:
      name: the dotted name, or `search.method_options.` and an option of the method.
      distribution: of the parameter; the choices of a list are texts.
      points: the values of a grid; empty if their number is not given.
    """

    name: str
    distribution: BaseDistribution
    points: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check before anything runs: all of a list, both ends of a range."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices
        return (d.low, d.high) if isinstance(d, FloatDistribution | IntDistribution) else ()


@dataclass(frozen=True)
class TuningPlan:
    """A search for hyper-parameters, besides the configuration of its experiment.

    Attributes:
      vary: the texts `NAME=VALUES`.
      trials: the number of evaluated trials.
      sampler, pruner: their names.
      genotype: the text of the genotype to train; "" tunes the search.
      storage: a URL or a journal file; "" is a journal in the run folder.
      together: the number of trials that run at the same time in one program.
    """

    vary: tuple[str, ...]
    trials: int
    sampler: str = "tpe"
    pruner: str = "none"
    genotype: str = ""
    storage: str = ""
    together: int = 1

    def as_json(self) -> dict[str, Any]:
        """The content of `tune.json`, with the version of jdarts and without the password of the storage."""
        return {**asdict(self), "storage": shown_storage(self.storage), "jdarts": __version__}


def read_tuning(run_dir: Path) -> tuple[TuningPlan, str]:
    """The plan that a run folder stores, and the version of jdarts that wrote it; raises `UserError`."""
    return read_stored(run_dir / TUNING, "jdarts tune", TuningPlan)


def open_tuning(
    config: Experiment, plan: TuningPlan, journal: Path, *, resume: bool = False, worker: bool = False
) -> Study:
    """The study of a plan, in its storage or in the journal of its run folder; raises `UserError` for another study."""
    storage, varied = plan.storage or journal, varied_of(plan.vary, config)
    name = f"{config.name}-tune"
    if worker:
        refuse_missing(storage, journal, name)
    study = open_study(
        "hyper-parameters",
        sampler_of(plan.sampler, varied, config.seed),
        objectives=(measure_of(config),),
        storage=storage,
        name=name,
        pruner=pruner_by_name(plan.pruner),
        identity={"configuration": identity(config, plan.as_json())},
    )
    known = refuse_known(study, storage, resume=resume or worker)
    if (known or worker) and plan.sampler not in SHARED_SEED:
        study.sampler = sampler_of(plan.sampler, varied, fresh_seed(config.seed, known, worker=worker))
    return study


def varied_of(texts: Sequence[str], config: Experiment) -> tuple[Varied, ...]:
    """The fields of the texts `NAME=VALUES`; raises `UserError` for a wrong form and values that are not allowed."""
    found = tuple(_varied(text) for text in texts)
    names = [varied.name for varied in found]
    if not found:
        raise UserError("nothing is varied; give --vary NAME=VALUES, as in search.epochs=10,20")
    for varied in found:
        if names.count(varied.name) > 1:
            raise UserError(f"--vary {varied.name} is given twice; give all values once")
        for value in varied.ends:
            with_values_of(config, {varied.name: value})
    return found


def with_values_of(config: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The configuration with the values of a trial; raises `UserError` if they are not allowed."""
    fields = [f"--{name}={_text(value)}" for name, value in values.items() if not name.startswith(_OPTIONS)]
    options = [f"{name.removeprefix(_OPTIONS)}={_text(v)}" for name, v in values.items() if name.startswith(_OPTIONS)]
    changed = override(config, fields) if fields else config
    return replace(changed, search=replace(changed.search, method_options=(*changed.search.method_options, *options)))


def suggest(trial: Trial, varied: Sequence[Varied]) -> dict[str, Any]:
    """The values that the sampler of a running trial proposes."""
    values: dict[str, Any] = {}
    for each in varied:
        d = each.distribution
        if isinstance(d, FloatDistribution):
            values[each.name] = trial.suggest_float(each.name, d.low, d.high, log=d.log)
        elif isinstance(d, IntDistribution):
            values[each.name] = trial.suggest_int(each.name, d.low, d.high)
        elif isinstance(d, CategoricalDistribution):
            values[each.name] = trial.suggest_categorical(each.name, d.choices)
    return values


def sampler_of(name: str, varied: Sequence[Varied], seed: int) -> BaseSampler:
    """The sampler of that name; raises `UserError` for an unknown one and for a grid without numbers of points."""
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    if name == "grid":
        grid_size(varied)
        return optuna.samplers.GridSampler({each.name: each.points for each in varied}, seed=seed)
    for each in varied:
        if each.points and not isinstance(each.distribution, CategoricalDistribution):
            raise UserError(f"--vary {each.name} has a number of points, which is for --sampler grid; leave it out")
    if name == "gp":
        check_torch()
    samplers = {
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
    }
    return samplers[name](seed=seed)


def grid_size(varied: Sequence[Varied]) -> int:
    """The number of points of the grid; raises `UserError` if a range has no number of points, or if it is large."""
    size = 1
    for each in varied:
        if not each.points:
            raise UserError(f"--vary {each.name} needs a number of points for the grid, as in log:1e-4:1e-1:5")
        size *= len(each.points)
    if size > _LARGEST_GRID:
        raise UserError(f"the grid has {size:,} points, at most {_LARGEST_GRID:,} are possible; use random")
    return size


def _varied(text: str) -> Varied:
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values.strip() or not name:
        raise UserError(f"--vary is {shown(text)}; write NAME=VALUES, as in search.epochs=10,20")
    kind, colon, rest = values.strip().partition(":")
    if colon and kind in ("log", "lin", "int"):
        return Varied(name, *_range(name, kind, rest))
    choices = tuple(part.strip() for part in values.split(","))
    if len(set(choices)) < len(choices) or not all(choices):
        raise UserError(f"--vary {name} is {shown(values)}; list different values, separated by commas")
    return Varied(name, CategoricalDistribution(choices), choices)


def _range(name: str, kind: str, text: str) -> tuple[BaseDistribution, tuple[Any, ...]]:
    parts = text.split(":")
    try:
        low, high, *count = [int(p) if kind == "int" else float(p) for p in parts[:2]] + [int(p) for p in parts[2:]]
        allowed = len(count) <= 1 and -np.inf < low < high < np.inf and (kind != "log" or low > 0)
    except ValueError:
        allowed, low, high, count = False, 0, 0, []
    if not allowed or (count and count[0] < 2):
        above = " above 0" if kind == "log" else ""
        raise UserError(
            f"--vary {name} is {shown(f'{kind}:{text}')}; write {kind}:LOW:HIGH with LOW < HIGH{above}, or "
            f"{kind}:LOW:HIGH:POINTS with at least 2 points"
        )
    n = int(count[0]) if count else 0
    if kind == "int":
        points = tuple(dict.fromkeys(int(v) for v in np.linspace(low, high, n).round())) if n else ()
        return IntDistribution(int(low), int(high)), points
    spaced = np.geomspace(low, high, n) if kind == "log" else np.linspace(low, high, n)
    return FloatDistribution(low, high, log=kind == "log"), tuple(map(float, spaced)) if n else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
