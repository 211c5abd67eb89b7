"""The searches of one program: seeds and values of hyper-parameters.

    members_of(config, "5", ["weight_optimizer.learning_rate=0.01,0.025"])     # 5 seeds × 2 values = 10 searches

A swept hyper-parameter enters the compiled step as an array with one number per search. It can be any real number of
the section `search`, of its optimisers, or of the options of its method (`method_options.beta=0.5,1`). A number that
decides how Python builds the step (in an `if`, a shape) cannot be swept and is refused by name.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jdarts.config import Experiment
from jdarts.config.files import numbers_of, override
from jdarts.config.ranges import shown
from jdarts.config.swept import METHOD_OPTIONS
from jdarts.errors import UserError, unknown
from jdarts.methods.registry import float_options, with_known_method

MOST = 1_000
"""Largest number of searches in one program, which are all in memory or are computed in turn."""


@dataclass(frozen=True)
class Member:
    """One search: its seed and its values of the swept hyper-parameters, by their names in the configuration."""

    seed: int
    values: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """The name of the search's folder, e.g. `seed-3` or `seed-0,learning_rate-0.01`."""
        last = [path.rpartition(".")[2] for path, _ in self.values]
        shown = [
            f"{short if last.count(short) == 1 else path}-{value:g}"
            for short, (path, value) in zip(last, self.values, strict=True)
        ]
        return ",".join([f"seed-{self.seed}", *shown])

    def config(self, base: Experiment) -> Experiment:
        """The configuration of this search alone; raises `UserError` if a value is not allowed."""
        fields = [(path, value) for path, value in self.values if not path.startswith(METHOD_OPTIONS)]
        options = tuple(
            f"{path.removeprefix(METHOD_OPTIONS)}={value!r}"
            for path, value in self.values
            if path.startswith(METHOD_OPTIONS)
        )
        search = replace(base.search, method_options=(*base.search.method_options, *options))
        tokens = [token for path, value in fields for token in (f"--{path}", repr(value))]
        return with_known_method(override(replace(base, seed=self.seed, search=search), tokens))


def members_of(config: Experiment, seeds: str | None, sweeps: Sequence[str]) -> tuple[Member, ...]:
    """The searches that `--seeds` and `--sweep` ask for: every seed with every combination of values.

    Args:
      seeds: a number of seeds, counted from `config.seed`, or a list "0,3,7"; None is the seed of `config`.
      sweeps: texts "NAME=VALUE,VALUE,…"; a name may leave out the section `search`.

    Returns an empty tuple if both are absent. Raises `UserError` for texts that it cannot interpret.
    """
    if seeds is None and not sweeps:
        return ()
    numbers = (config.seed,) if seeds is None else _seeds(seeds, config.seed)
    grid = [_sweep(text, config) for text in sweeps]
    names = [name for name, _ in grid]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--sweep {name} is given twice; list all its values once, separated by commas")
    count = len(numbers) * math.prod(len(values) for _, values in grid)
    if count > MOST:
        raise UserError(f"--seeds and --sweep ask for {count:,} searches; one program takes at most {MOST:,}")
    combinations = itertools.product(*([(name, value) for value in values] for name, values in grid))
    members = tuple(Member(seed, tuple(values)) for values in combinations for seed in numbers)
    for member in members:
        member.config(config)  # every combination must be a valid configuration
    return members


def _seeds(text: str, first: int) -> tuple[int, ...]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items or not all(item.isdecimal() for item in items):
        raise UserError(f"--seeds is {shown(text)}; give a number of seeds (5) or a list (0,3,7)")
    if any(len(item) > 18 for item in items):
        raise UserError(f"--seeds is {shown(text)}; seeds must be below 2**31, and at most {MOST:,} of them")
    numbers = [int(item) for item in items]
    if "," not in text:
        if numbers[0] < 1:
            raise UserError("--seeds is 0; use at least 1")
        if numbers[0] > MOST:
            raise UserError(f"--seeds is {text}; one program takes at most {MOST:,} searches")
        return tuple(range(first, first + numbers[0]))
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--seeds is {shown(text)}; every seed may be listed once")
    return tuple(numbers)


def _sweep(text: str, config: Experiment) -> tuple[str, list[float]]:
    name, equals, listed = text.partition("=")
    items = [item.strip() for item in listed.split(",") if item.strip()]
    if not equals or not items:
        raise UserError(
            f"--sweep is {shown(text)}; write NAME=VALUE,VALUE, e.g. weight_optimizer.learning_rate=0.01,0.025"
        )
    floats = numbers_of_search(config, options="method_options." in name)
    name = name.strip().replace("-", "_")
    full = name if name in floats else f"search.{name}"
    if full not in floats:
        raise unknown("hyper-parameter to sweep", name, [option.removeprefix("search.") for option in floats])
    values = []
    for item in items:
        try:
            values.append(float(item))
        except ValueError:
            raise UserError(f"--sweep {name}: {shown(item)} is not a number") from None
    if len(set(values)) < len(values):
        raise UserError(f"--sweep {name} lists a value twice: {shown(listed)}")
    return full, values


def numbers_of_search(config: Experiment, *, options: bool = True) -> list[str]:
    """The names of the hyper-parameters that may be swept: real numbers of `search` and, with `options`, its method."""
    return numbers_of("search") + [METHOD_OPTIONS + option for option in float_options(config.search.method) if options]


def stacked(members: Sequence[Member], dtype: Any = np.float32) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Seeds and values of all members as arrays `[members]`."""
    seeds = np.array([member.seed for member in members], np.int32)
    names = [name for name, _ in members[0].values]
    values = {name: np.array([dict(member.values)[name] for member in members], dtype) for name in names}
    return seeds, values
