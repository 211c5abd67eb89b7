"""`jdarts bench` from the command line: measurements on a small search, and refusals."""

import contextlib
import dataclasses
import io
import json

import jax
import numpy as np
import pytest

from jdarts import spaces
from jdarts.bench import gradients, steps
from jdarts.cli import main
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.search import make_search

CONFIG = Experiment(
    name="small",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="robust_s3", channels=2, cells=1),
    search=SearchConfig(epochs=2, batch_size=8),
)
TEXT = """
from jdarts.config import *
config = Experiment(
    name="small",
    data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
    space=SpaceConfig(name="robust_s3", channels=2, cells=1),
    search=SearchConfig(epochs=2, batch_size=8),
)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    (folder / "small.py").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def measured(place):
    """One benchmark of two configurations: its JSON, what it printed, and its progress."""
    target = place / "result.json"
    other = f"{place / 'small.py'} --search.batch_size 16"
    arguments = ["bench", str(place / "small.py"), "--against", other, "--only", "first_order", "--steps", "3"]
    arguments += ["--search.hypergradient", "first_order", "--json", str(target)]
    out, progress = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(progress):
        assert main(arguments) == 0
    return json.loads(target.read_text()), out.getvalue(), progress.getvalue()


def test_every_number_is_there_and_consistent(measured):
    found = measured[0]
    assert found["benchmark"] == "steps" and found["config"]["name"] == "small"
    assert found["machine"]["jax"] == jax.__version__ and found["machine"]["processors"] >= 1
    assert set(found["steps"]) == {"first_order"}
    report = found["steps"]["first_order"]
    seconds = report["seconds"]
    assert 0 < seconds["low"] <= seconds["median"] <= seconds["high"] and seconds["count"] == 3
    assert report["trace_seconds"] > 0 and report["compile_seconds"] > 0 and report["first_seconds"] > 0
    assert report["images_per_second"] == pytest.approx(8 / seconds["median"])
    assert report["flops_per_second"] == pytest.approx(report["flops"] / seconds["median"])
    assert report["bytes_per_second"] == pytest.approx(report["bytes_accessed"] / seconds["median"])
    assert report["temporary_bytes"] > 0
    assert report["argument_bytes"] > 160 * 64, "the images, uint8, both splits together, and the state"
    assert found["ceilings"]["bytes_per_second"] > 0 and "float32" in found["ceilings"]["flops_per_second"]


@pytest.mark.slow
def test_the_error_of_the_finite_difference_in_both_precisions(place, capsys):
    arguments = ["bench", "hypergrad", str(place / "small.py"), "--noise", "--only", "dropout", "--steps", "2"]
    assert main([*arguments, "--json", str(place / "noise.json")]) == 0
    found = json.loads((place / "noise.json").read_text())
    study = found["networks"]["dropout"]
    epsilons = study["double"]["epsilons"]
    double, single, redrawn = (
        np.array([deviation["relative_error"] for deviation in study[precision]["differences"][noise]])
        for precision, noise in (("double", "same"), ("single", "same"), ("single", "legacy"))
    )
    assert found["steps"] == 2 and epsilons[0] == 1e-8 and len(epsilons) == len(double) == 10
    assert double.min() < 1e-7, "some ε meets no kink, and float64 rounds little"
    assert single.min() > 1e2 * double.min() and single[0] > 1e3 * double[0], "float32 rounds"
    np.testing.assert_allclose(redrawn[0] / redrawn[1], 10, rtol=0.2, err_msg="the difference of two noises over 2ε")
    assert study["orders"][0] is None
    np.testing.assert_allclose(study["orders"][1:], np.diff(np.log10(double)), rtol=1e-6)
    table = capsys.readouterr().out
    assert "noise redrawn" in table and f"{double[3]:.1e}" in table and "kinks of ReLU" in table


def test_against_has_ratios_of_the_second_to_the_first(measured):
    against = measured[0]["against"]
    assert against["config"]["search"]["batch_size"] == 16
    ratio = against["time_ratio"]["first_order"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"] and ratio["count"] == 3
    double = against["steps"]["first_order"]["flops"] / measured[0]["steps"]["first_order"]["flops"]
    assert 1.6 < double < 2.1, "twice the images, nearly twice the arithmetic"


def test_the_search_loop_runs_and_is_reported(measured):
    loop = measured[0]["search_loop"]
    assert loop["steps"] == 12 and loop["steps_per_epoch"] == 10 and loop["step_seconds"] > 0
    assert 0 <= loop["fraction"] < 1


def test_the_table_is_printed_and_progress_kept_apart(measured):
    _, out, progress = measured
    lines = out.splitlines()
    head = next(line for line in lines if "compile" in line and "images/s" in line)
    assert all(word in head for word in ("trace", "first", "step", "temporary", "FLOP/s", "bytes/s"))
    assert sum(line.startswith("first-order search step") for line in lines) == 2
    assert "ceilings: matrix product" in out and "% of an epoch of 10 steps outside the compiled step" in out
    assert "compiling first-order search step" in progress and "round 3 of 3" in progress
    assert "round" not in out.splitlines()[0]


def test_the_weight_step_is_the_search_step_without_alphas():
    """With alphas that hardly move, both give the same weights."""
    still = dataclasses.replace(CONFIG.search, alpha_optimizer=AdamConfig(learning_rate=1e-30))
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(still, hypergradient="first_order"))
    space, data = spaces.get(config.space.name), load(config.data).for_search(config.data)
    search, weight = steps.build_step(config, space, data, "weight")
    _, whole = steps.build_step(config, space, data, "first_order")
    state = jax.jit(search.init)(jax.random.key(0))
    after = jax.jit(weight)(state, search.arrays)[0]
    expected = jax.jit(whole)(state, search.arrays)[0]
    np.testing.assert_allclose(after.weights, expected.weights, rtol=1e-4, atol=1e-6)
    assert np.abs(after.weights - state.weights).max() > 1e-4
    assert int(after.step) == 1 and np.array_equal(after.alphas["normal"], state.alphas["normal"])


def test_which_steps_a_configuration_has():
    assert list(steps.step_names(CONFIG)) == ["weight", "first_order", "second_order"]
    assert steps.configured_name(CONFIG) == "second_order"
    for settings, words in (
        ({"hypergradient": "neumann", "hypergradient_terms": 4}, "neumann 4"),
        ({"unroll_steps": 3}, "unrolled, 3 steps"),
    ):
        config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, **settings))
        assert words in steps.step_names(config)["configured"] and steps.configured_name(config) == "configured"


def test_hypergradients_are_measured_against_a_weight_step(place, capsys):
    arguments = ["--only", "first_order", "--steps", "2", "--json", "-"]
    assert main(["bench", "hypergrad", str(place / "small.py"), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    costs = found["gradients"]
    assert list(costs) == ["weight_step", "first_order"]
    assert costs["weight_step"]["steps"]["median"] == 1
    for cost in costs.values():
        assert cost["seconds"]["median"] > 0 and cost["temporary_bytes"] > 0
    table = list(gradients.gradient_names())
    wanted = {"first_order", "unrolled", "finite_difference", "unrolled_2", "unrolled_5", "neumann_3"}
    assert wanted | {"conjugate_gradient_5", "amended", "single_level", "weight_step"} <= set(table)


def test_rows_compute_what_they_are_named_after():
    """The k-step row gets the batches of the next k steps, and the weight step is the optimiser's."""
    space, data = spaces.get(CONFIG.space.name), load(CONFIG.data).for_search(CONFIG.data)
    search = make_search(CONFIG, space, data)
    state = jax.jit(search.init)(jax.random.key(CONFIG.seed))
    _, arguments = gradients.build_gradient(CONFIG, space, data, "unrolled_2")
    stacked = arguments[3]["labels"]
    for i in range(2):
        drawn = search.draw(state.replace(step=state.step + i), search.arrays)[0]
        assert np.array_equal(stacked[i], drawn["labels"])
    function, arguments = gradients.build_gradient(CONFIG, space, data, "weight_step")
    vector, opt_state, _ = jax.jit(function)(*arguments)
    moved = vector - arguments[0]
    assert np.linalg.norm(moved) > 0 and jax.tree.structure(opt_state) == jax.tree.structure(arguments[2])


def test_conjugate_gradients_run_all_their_iterations():
    from support.hypergrad_counting import count_products

    assert count_products(damping=gradients._CG_DAMPING) == 5
    assert count_products(damping=0.0) < 5, "the problem has negative curvature, where CG stops"


MISTAKES = {
    "no config": (["hypergrad"], "needs a CONFIG"),
    "misspelt": (["hypergrd", "small.py"], "hypergrad"),
    "two configs": (["small.py", "small.py"], "KIND CONFIG"),
    "unknown file": (["smal.py"], "smal.py"),
    "unknown measurement": (["small.py", "--only", "wait"], "'weight'"),
    "unknown estimator": (["hypergrad", "small.py", "--only", "unroled"], "unrolled"),
    "no rounds": (["small.py", "--steps", "0"], "--steps"),
    "unknown key": (["small.py", "--search.batchsize", "3"], "search.batch_size"),
    "against nothing": (["small.py", "--against", ""], "--against"),
    "against a missing file": (["small.py", "--against", "other.py"], "other.py"),
    "against a wrong override": (["small.py", "--against", "small.py --search.epochz 2"], "search.epochs"),
    "against an open quote": (["small.py", "--against", "'small.py"], "--against"),
    "against estimators": (["hypergrad", "small.py", "--against", "small.py"], "--against"),
    "seeds of steps": (["small.py", "--seeds", "2"], "--seeds is for jdarts bench seeds"),
    "no seeds": (["seeds", "small.py", "--seeds", "1,0"], "--seeds is '1,0'"),
    "noise of steps": (["small.py", "--noise"], "--noise is for jdarts bench hypergrad"),
    "only of seeds": (["seeds", "small.py", "--only", "1"], "--only is for jdarts bench and jdarts bench hypergrad"),
    "seeds that stop": (["seeds", "small.py", "--search.method", "darts_plus"], "stops by a rule"),
    "input without a stream": (["input", "small.py"], "jdarts bench input is for stream:folder"),
    "steps of a stream": (["small.py", "--data.source", "stream:folder"], "jdarts bench input CONFIG"),
    "input of nothing": (["input"], "needs a CONFIG"),
    "no such folder": (["small.py", "--json", "nowhere/x.json"], "nowhere"),
    "a folder for a file": (["small.py", "--json", "."], "folder"),
    "no data": (["small.py", "--data.source", "cifar10"], "synthetic:32x32x3"),
    "batch too large": (["small.py", "--search.batch_size", "100"], "100"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(place, capsys, monkeypatch, name):
    arguments, expected = MISTAKES[name]
    monkeypatch.chdir(place)

    def refuse(*args, **kwargs):
        raise AssertionError("a mistake must be found before anything is measured")

    for module in ("steps", "gradients", "seeds", "reading"):
        monkeypatch.setattr(f"jdarts.bench.{module}.make_search", refuse)
    monkeypatch.setattr("jdarts.bench.command.measure_ceilings", refuse)
    assert main(["bench", *arguments]) == 2
    errors = capsys.readouterr().err.strip()
    assert len(errors.splitlines()) == 1 and expected in errors, errors


@pytest.mark.parametrize("fails", [False, True])
def test_only_the_measurement_compiles_without_a_cache(place, monkeypatch, fails):
    seen = []

    def bench(*args, **options):
        seen.append(jax.config.jax_enable_compilation_cache)
        if fails:
            raise UserError("no")

    monkeypatch.setattr("jdarts.bench.command.bench_steps", bench)
    assert main(["bench", str(place / "small.py")]) == (2 if fails else 0)
    assert seen == [False] and jax.config.jax_enable_compilation_cache


def test_a_choice_keeps_the_order_of_the_table():
    names = {"a": "A", "b": "B", "c": "C"}
    assert steps.choose(names, None) == names
    assert list(steps.choose(names, ["c", "a", "c"])) == ["a", "c"]
    with pytest.raises(UserError, match="'d'"):
        steps.choose(names, ["d"])
