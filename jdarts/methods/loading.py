"""Loads configurations: checks the names of method and space, and applies published settings of a method on request."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jdarts import hypergrad, spaces
from jdarts.config import Experiment, as_dict
from jdarts.config.files import find, load_config, parse_overrides, with_values
from jdarts.config.section import given
from jdarts.errors import UserError
from jdarts.methods.published import Published, as_text, fitting
from jdarts.methods.registry import build, check_space_of_options, configured

HYPERGRADIENT = {"search.hypergradient", "search.hypergradient_options"}
METHOD, OPTIONS, SPACE = "search.method", "search.method_options", "space.name"
OWN_GRADIENT = ("cdarts",)
"""Drivers whose gradient of the alphas is a part of the method."""
FRACTIONS = {"data.train_fraction", "data.val_fraction"}
"""Setting one of these fields fixes both, because their sum is bounded."""


def load_known(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """`load_config`, with the names of method and space and the method's options checked."""
    return known(load_config(path_or_name, overrides), path_or_name, overrides)


def known(config: Experiment, path_or_name: str | Path, overrides: Sequence[str]) -> Experiment:
    """Check the method, its options and the space of a loaded configuration; returns `config`.

    Raises `UserError` for an unknown method, hypergradient, option or space. The message begins with the file that
    holds the name.
    """
    chosen = parse_overrides(overrides)
    _check(lambda: configured(config.search), path_or_name, from_file={METHOD, OPTIONS}.isdisjoint(chosen))
    _check(lambda: hypergrad.check_named(config.search), path_or_name, from_file=HYPERGRADIENT.isdisjoint(chosen))
    if not config.space.name.endswith(".py"):  # the file of a space is executed when the search begins
        _check(lambda: spaces.get_relaxed(config.space.name), path_or_name, from_file=SPACE not in chosen)
        _check(
            lambda: check_space_of_options(config.search, config.space.name),
            path_or_name,
            from_file={METHOD, OPTIONS, SPACE}.isdisjoint(chosen),
        )
    return config


def _check(look_up: Any, path_or_name: str | Path, *, from_file: bool) -> None:
    try:
        look_up()
    except UserError as error:
        raise (UserError(f"{find(path_or_name)}: {error}") if from_file else error) from None


def with_method(
    config: Experiment, method: str, path_or_name: str | Path, overrides: Sequence[str] = ()
) -> tuple[Experiment, str]:
    """`config` with a method and its published settings, and a line for the user that lists them.

    A published setting applies to a field that neither the file nor `overrides` set; a method with one level or with a
    gradient of its own also replaces the file's hypergradient. A space of the user gets the
    settings for the kind of its class (`jdarts.spaces.kind`); its file is executed for that. Raises `UserError` like
    `known`.
    """
    chosen = parse_overrides(overrides)
    if chosen.get(METHOD, method) != method:
        raise UserError(f"--method is {method!r} and --search.method is {chosen[METHOD]!r}; give one of them")
    chosen[METHOD] = method
    asked = known(with_values(config, chosen), path_or_name, [*overrides, f"--{METHOD}={method}"])
    kind = spaces.kind(asked.space.name)
    published = fitting(build(method, asked.search.method_options).published, kind)
    if published is None:
        check_space_of_options(asked.search, asked.space.name)
        return asked, f"method {method} has no published settings for space {asked.space.name}; none were applied"
    fixed = given(config) | set(chosen)
    if FRACTIONS & fixed:
        fixed |= FRACTIONS
    values = dict(published.settings)
    built = build(method, asked.search.method_options)
    if HYPERGRADIENT.isdisjoint(chosen) and (built.hypergradient == "single_level" or built.driver in OWN_GRADIENT):
        # Such a method has one gradient; that of the file is the choice for its own method.
        values |= {"search.hypergradient": None, "search.hypergradient_options": ()}
        fixed -= HYPERGRADIENT
    if published.options:
        values[OPTIONS] = (*published.options, *asked.search.method_options)
        fixed -= {OPTIONS}
    applied = {name: value for name, value in values.items() if name not in fixed}
    result = with_values(asked, applied)
    check_space_of_options(result.search, result.space.name)
    return result, _note(method, published, asked, result, fixed)


def _note(method: str, published: Published, asked: Experiment, result: Experiment, fixed: set[str]) -> str:
    before, after = _flat(as_dict(asked)), _flat(as_dict(result))
    changed = {name: value for name, value in after.items() if before[name] != value}
    kept = {
        name: f"{after[name]} (published: {value})"
        for name, value in published.settings.items()
        if name in fixed and after[name] != value
    }
    line = f"method {method}, published settings: {as_text(changed) or 'the configuration has them already'}"
    return f"{line}; kept as given: {as_text(kept)}" if kept else line


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
