"""An option that has no effect is refused in one line that names the places where it has one."""

import pytest

from jdarts import cli, methods, spaces
from jdarts.config import Experiment, SearchConfig, SpaceConfig
from jdarts.errors import UserError
from jdarts.methods.registry import describe, with_known_method
from jdarts.search.checks import check_conventions
from jdarts.strategies import by_name

ENAS_SPACES = ("enas_micro", "enas_macro", "nasbench201", *spaces.LANGUAGE)
OF_ONE_SPACE = {
    "op_tanh_reduce=2": ("enas_micro",),
    "skip_target=0.3": ("enas_macro",),
    "skip_weight=0.5": ("enas_macro",),
    "release_penalty=true": ("enas_macro",),
    "tanh=1.5": ENAS_SPACES,
}


def searching(method: str, *options: str, space: str = "darts_cnn", **settings) -> Experiment:
    search = SearchConfig(method=method, method_options=options, **settings)
    return Experiment(space=SpaceConfig(name=space), search=search)


@pytest.mark.parametrize("space", ENAS_SPACES)
@pytest.mark.parametrize("option", OF_ONE_SPACE)
def test_options_of_one_space(option, space):
    config = searching("enas", option, space=space)
    if space in OF_ONE_SPACE[option]:
        assert with_known_method(config) is config
    else:
        name, wanted = option.partition("=")[0], " and ".join(OF_ONE_SPACE[option])
        with pytest.raises(
            UserError, match=f"option {name} of method enas has no effect in space {space}; it is for {wanted}: leave"
        ):
            with_known_method(config)


def test_the_command_names_the_option_before_it_reads_data(capsys, tmp_path):
    (tmp_path / "toy.py").write_text("from jdarts.config import Experiment\nconfig = Experiment()\n")
    options = ["--space", "enas_micro", "--search.method_options", "skip_target=0.2"]
    assert cli.main(["search", str(tmp_path / "toy.py"), "--method", "enas", *options]) == 2
    assert capsys.readouterr().err == (
        "jdarts: error: option skip_target of method enas has no effect in space enas_micro; it is for enas_macro: "
        "leave it out\n"
    )


@pytest.mark.parametrize(
    ("method", "useless", "useful"),
    [
        ("darts_plus", ("criterion=ranking", "skips=3"), ("skips=3",)),
        ("darts_plus", ("patience=5",), ("criterion=ranking", "patience=5")),
        ("snas", ("resource_weight=0.1",), ("resource=flops", "resource_weight=0.1")),
        ("snas", ("estimate=expectation",), ("resource=memory", "estimate=expectation", "size=8", "cells=3")),
        ("fair_darts", ("weight=0", "form=absolute"), ("weight=1", "form=absolute")),
        ("darts_minus", ("beta=0", "decay=cosine"), ("decay=cosine",)),
        ("gdas+darts_minus", ("beta=0", "darts_minus.last_epochs=5"), ("beta=0",)),
        ("enas", ("skip_weight=0", "skip_target=0.3"), ("skip_weight=0",)),
    ],
)
def test_options_that_need_another_one(method, useless, useful):
    assert methods.build(method, useful)
    with pytest.raises(UserError, match=r"option \w+ of method \w+ has no effect where \w+ is .*; leave it out, or"):
        methods.build(method, useless)


def test_a_default_that_is_not_given_is_not_refused_and_a_traced_value_passes():
    import jax

    assert methods.build("darts_minus", ("beta=0",)).edge_values
    value = jax.eval_shape(lambda beta: methods.build("darts_minus", (("beta", beta), "decay=cosine")) and beta, 0.5)
    assert value.shape == ()


def test_the_list_of_options_says_where_they_have_an_effect():
    text = describe("enas")
    assert "op_tanh_reduce=2.5   number; above 0; only in enas_micro\n" in text
    assert "published settings for enas_rnn," in text and text.count("published settings for NAS-Bench-201") == 1
    assert "skips=2   whole number; at least 1; not with criterion=ranking" in describe("darts_plus")


@pytest.mark.parametrize("name", methods.names())
def test_published_options_have_an_effect(name):
    for entry in methods.build(name).published:
        assert with_known_method(searching(name, *entry.options, space=entry.kind))


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("darts_minus", {"unroll_steps": 2}, "unroll_steps is 2, but hypergradient first_order of darts_minus"),
        (
            "darts",
            {"hypergradient_terms": 5},
            "hypergradient_terms is 5, but hypergradient unrolled has no terms; it is",
        ),
        ("darts", {"hypergradient": "amortised", "hypergradient_terms": 5}, "hypergradient amortised has no terms"),
        ("darts", {"hypergradient": "neumann", "hypergradient_terms": 5}, ""),
        ("darts", {"hypergradient": "warm_started", "hypergradient_terms": 5}, ""),
        ("darts", {"unroll_steps": 2}, ""),
    ],
)
def test_settings_of_other_hypergradients(method, settings, expected):
    check = lambda: check_conventions(SearchConfig(method=method, **settings), methods.build(method))  # noqa: E731
    if not expected:
        assert check() is None
        return
    with pytest.raises(UserError, match=expected):
        check()


@pytest.mark.parametrize("strategy", ["reinforce", "ppo"])
@pytest.mark.parametrize("option", ["layers", "scale"])
def test_settings_of_an_lstm_that_a_controller_does_not_have(strategy, option):
    space = spaces.get_decisions("nasbench201")
    assert by_name(strategy, space, **{option: 1})
    with pytest.raises(UserError, match=f"option {option} of .* has no effect where hidden is None"):
        by_name(strategy, space, hidden=None, **{option: 1})
