"""Numbers of options: one declaration gives the check, the message, the help and `jdarts methods NAME`."""

import math
import typing
from typing import Annotated, Literal

import jax
import numpy as np
import pytest

from jdarts import cli, methods
from jdarts.config import DataConfig, SearchConfig, SGDConfig, SpaceConfig, TrainConfig
from jdarts.config.files import describe_options, load_config, option_types
from jdarts.config.ranges import LARGEST, Range, check, described, field_hints, range_of
from jdarts.errors import UserError
from jdarts.methods.registry import option_defaults, option_ranges
from jdarts.methods.registry import option_types as types_of

AtLeastTwo = Annotated[int, Range(2)]


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        (Range(1), (1, 5), (0, -1, math.nan), "at least 1"),
        (Range(0, below=1), (0, 0.5), (1, -1e-9), "at least 0 and below 1"),
        (Range(above=0, most=1), (1e-9, 1), (0, 1.1), "above 0 and at most 1"),
        (Range(2, 65_536, note="even"), (2, 65_536), (1, 65_537), "2 to 65,536 (even)"),
    ],
)
def test_a_range_knows_its_numbers_and_its_words(limits, inside, outside, words):
    assert all(number in limits for number in inside) and not any(number in limits for number in outside)
    assert str(limits) == words


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, 10**400])
def test_a_real_number_without_a_range_is_finite_in_32_bits(value):
    with pytest.raises(UserError, match=r"x is .*finite number"):
        check("x", value, float)


def test_whole_numbers_have_32_bits_and_messages_stay_short():
    check("x", LARGEST[int], int)
    for value in (LARGEST[int] + 1, 10**30, 10**5_000):
        with pytest.raises(UserError) as caught:
            check("x", value, int)
        assert len(str(caught.value)) < 200


def test_what_is_checked_inside_of_other_types():
    check("x", None, field_hints(DataConfig)["limit"])
    check("x", (), tuple[AtLeastTwo, ...])
    check("x", "linear", Literal["linear"])
    jax.make_jaxpr(lambda value: [check("x", value, float), value][1])(1.0)  # the traced number of a sweep passes
    for value, hint in (
        (1, field_hints(DataConfig)["limit"]),
        ((3, 1), tuple[AtLeastTwo, ...]),
        (np.float32(np.nan), float),
        ("3", int),
    ):
        with pytest.raises(UserError, match=r"x is .*; it must be"):
            check("x", value, hint)


def every_option():
    for name in methods.names():
        hints = typing.get_type_hints(methods.get(name), include_extras=True)
        for option, kind in types_of(name).items():
            if kind in (int, float) or typing.get_origin(kind) is tuple:
                yield name, option, hints[option]


@pytest.mark.parametrize("name", methods.names())
def test_every_number_of_a_method_refuses_what_cannot_be(name):
    """The default is in the range; NaN, infinities and numbers outside the bounds are refused, also from Python."""
    for method, option, hint in every_option():
        if method != name:
            continue
        many, limits = typing.get_origin(hint) is tuple, range_of(hint)
        assert limits is not None
        check(option, option_defaults(name)[option], hint)
        wrong = [LARGEST[int] + 1] if int in (hint, *typing.get_args(hint)) else [math.nan, math.inf]
        wrong += [bound - 1 for bound in (limits.least,) if bound is not None]
        wrong += [bound + 1 for bound in (limits.most,) if bound is not None]
        wrong += [bound for bound in (limits.above, limits.below) if bound is not None]
        for value in wrong:
            with pytest.raises(UserError, match=f"^{option} of method {name} is"):
                methods.get(name)(**{option: (value,) if many else value})
        assert limits != Range(), f"{option} of {name} takes any number; declare which make sense"


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("gdas", "temperature_end=-1"),
        ("darts_minus", "beta=nan"),
        ("darts_pt", "tune_epochs=-1"),
        ("drop_nas", "rate=2"),
        ("amended_darts", "coefficient=inf"),
        ("beta_darts", "weight=nan"),
        ("p_darts", "cells=5,0,17"),
        ("darts_ada", "multiply=1"),
    ],
)
def test_nonsense_options_are_refused(method, option):
    with pytest.raises(UserError, match=f"{option.partition('=')[0]} of method {method}"):
        methods.build(method, (option,))


@pytest.mark.parametrize(
    ("section", "fields", "message"),
    [
        (SearchConfig, {"epochs": 10**21}, "search.epochs is 1000"),
        (SGDConfig, {"weight_decay": math.nan}, "weight_decay is nan; it must be at least 0"),
        (SGDConfig, {"learning_rate": math.inf}, "learning_rate is inf"),
        (SpaceConfig, {"channels": 10**6}, "space.channels is 1000000; it must be 2 to 65,536"),
        (TrainConfig, {"cells": 0}, "train.cells is 0; it must be 1 to 1,000"),
        (DataConfig, {"limit": 1}, "data.limit is 1; it must be at least 2"),
    ],
)
def test_fields_of_the_configuration_have_ranges(section, fields, message):
    with pytest.raises(UserError) as caught:
        section(**fields)
    assert message in str(caught.value)


def test_help_shows_every_declared_range(tmp_path):
    (tmp_path / "c.py").write_text("from jdarts.config import Experiment\nconfig = Experiment()\n")
    lines = describe_options(load_config(tmp_path / "c.py")).splitlines()
    assert any(line.endswith("--search.epochs INT   1 to 1,000,000") for line in lines)
    assert any(line.endswith("--search.weight_optimizer.momentum FLOAT   at least 0 and below 1") for line in lines)
    shown = [line for line in lines if line.lstrip().startswith("--") and "   " in line.strip()]
    sections = (DataConfig, SpaceConfig, SearchConfig, TrainConfig)
    assert len(shown) > sum(bool(described(hint)) for cls in sections for hint in field_hints(cls).values())
    assert {line.split()[0][2:] for line in shown} <= set(option_types())


def test_methods_name_shows_types_defaults_and_ranges(capsys):
    assert cli.main(["methods", "darts_minus"]) == 0
    out = capsys.readouterr().out
    assert "beta=1.0   number; at least 0" in out
    assert "decay=linear   linear | cosine | slow_cosine | step" in out
    assert "arXiv:2009.01027" in out
    assert option_ranges("darts_minus")["last_epochs"] == "at least 0 (0 is all epochs)"
    assert cli.main(["methods", "darts_mins"]) == 2
