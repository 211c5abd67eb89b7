"""Trials that share one compiled step have the results of searches and trainings on their own."""

import signal
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from support.tiny_text import TRAIN_CONFIG as TEXT_TRAINING
from support.tiny_text import text, write_text

from jdarts import staging
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig
from jdarts.data import load
from jdarts.errors import Interrupted, UserError
from jdarts.estimation import FromScratch, image_children, text_children
from jdarts.genotypes import parse
from jdarts.methods import configured
from jdarts.runs.folder import RunFolder
from jdarts.search import SearchRun, run_search
from jdarts.spaces import define_space
from jdarts.strategies.study import optimize
from jdarts.strategies.tuned_trials import TunedSearches, TunedTrainings, tuned, tuned_together
from jdarts.strategies.tuning import varied_of, with_values_of

SPACE = define_space("small", nodes=1, normal=("skip_connect", "sep_conv_3x3"))
CELL = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|"
IMAGES = Experiment(
    data=DataConfig(source="synthetic:8x8x3:2:64", crop_padding=1, flip=False, val_fraction=0.5),
    space=SpaceConfig(channels=4, cells=1),
    search=SearchConfig(epochs=1, batch_size=8, hypergradient="first_order"),
    train=TrainConfig(batch_size=8, channels=4, cells=1, epochs=1, auxiliary_weight=0.0, cutout=0, drop_path=0.0),
)
DROPPED = (  # drop-path acts on its convolution
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=range(2, 3), "
    "reduce=[('avg_pool_3x3', 0), ('avg_pool_3x3', 1)], reduce_concat=range(2, 3))"
)
RECURRENT = "Genotype(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))"


def counted(monkeypatch, module, name):
    """The calls of a function from now on."""
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: calls.append(args) or function(*args, **kwargs))
    return calls


def run(base, varied, measure, trials):
    """The trials of a study with the given parameters."""
    study = optuna.create_study()
    for params in trials:
        study.enqueue_trial(params)
    study.optimize(tuned(base, varied, measure), n_trials=len(trials))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * len(trials), study.trials
    return [trial.user_attrs["score"]["values"] for trial in study.trials]


@pytest.mark.parametrize(
    ("values", "programs"),
    [
        ({"optimizer.learning_rate": (0.1, 0.3), "label_smoothing": (0.0, 0.2), "drop_path": (0.0, 0.3)}, 1),
        ({"channels": (4, 8), "optimizer.weight_decay": (0.0, 0.1)}, 2),
        ({"mixup": (0.0, 0.4), "optimizer.momentum": (0.9, 0.1)}, 5),  # refused, tried twice, and one for each mixup
    ],
    ids=["numbers", "a size", "a number that decides how the step is built"],
)
def test_trainings_of_images(values, programs, monkeypatch):
    values = {f"train.{name}": pair for name, pair in values.items()}
    varied = varied_of([f"{name}={low},{high}" for name, (low, high) in values.items()], IMAGES)
    trials = [{name: str(pair[i]) for name, pair in values.items()} for i in (0, 1, 1)]
    made = counted(monkeypatch, image_children, "make_trainings")
    found = run(IMAGES, varied, TunedTrainings(parse(CELL), IMAGES, varied).measure, trials)
    assert len(made) == programs and found[1] == found[2]
    alone = [FromScratch.of(with_values_of(IMAGES, trial))(parse(CELL), {})["accuracy"] for trial in trials[:2]]
    assert [each["accuracy"] for each in found[:2]] == alone


def children(task, config, data, architecture, numbers=()):
    """`configuration -> training` of a genotype, with one compiled step; `numbers` are its arguments."""
    neutral = FromScratch(with_values_of(config, dict.fromkeys(numbers, 0.05)), data)
    return task.children(parse(architecture), neutral.at({}), numbers)


def trained(child):
    """The weights of a training in its second epoch."""
    state = child.init(jax.random.key(3))
    for _ in range(child.steps_per_epoch + 2):
        state, _ = child.step(state)
    return state.weights


def test_arguments_of_a_step_act_as_numbers_do(x64):
    """Each of the values leads to other weights."""
    names = ("optimizer.learning_rate", "label_smoothing", "drop_path", "optimizer.weight_decay")
    images = {f"train.{name}": value for name, value in zip(names, (0.3, 0.2, 0.4, 0.3), strict=True)}
    longer = replace(IMAGES, train=replace(IMAGES.train, epochs=2))
    names = ("learning_rate", "gradient_clip", "slowness", "dropout_hidden", "activation")
    words = {f"language_train.{name}": v for name, v in zip(names, (3.0, 0.1, 0.5, 0.3, 0.4), strict=True)}
    for task, base, data, cell, values in (
        (image_children.IMAGE_CHILDREN, longer, load(IMAGES.data), DROPPED, images),
        (text_children.TEXT_CHILDREN, TEXT_TRAINING, text(300, 150), RECURRENT, words),
    ):
        config = with_values_of(base, values)
        alone = trained(children(task, config, data, cell)(config))
        child = children(task, config, data, cell, tuple(values))
        together = trained(child(config))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12), together, alone)
        for name in values:
            other = trained(child(with_values_of(config, {name: 0.9 * values[name]})))
            assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.any(a != b)), together, other))), name


SEARCHES = replace(IMAGES, search=replace(IMAGES.search, method="darts_minus"))


@pytest.fixture(scope="module")
def make():
    data = load(IMAGES.data)
    return lambda config, folder: SearchRun(config, SPACE, data, folder, configured(config.search))


def test_searches(make, monkeypatch, tmp_path):
    """Method options, learning rates and seeds are arguments of one step; epochs are not."""
    config, folder = SEARCHES, RunFolder.create(tmp_path / "run", SEARCHES)
    options = ["weight_optimizer.learning_rate=0.05,0.1", "method_options.beta=0.5,1.0", "epochs=1,2"]
    varied = varied_of([f"search.{option}" for option in options] + ["seed=1,2"], config)
    names = [each.name for each in varied]
    trials = [dict(zip(names, texts, strict=True)) for texts in (("0.05", "0.5", "1", "1"), ("0.1", "1.0", "1", "2"))]
    compiled = counted(monkeypatch, staging, "compile")
    found = run(config, varied, TunedSearches(make, folder, config, varied).measure, trials)
    assert len(compiled) == 1
    for i, trial in enumerate(trials):
        own = with_values_of(config, trial)
        alone = RunFolder.create(tmp_path / f"alone-{i}", own)
        run_search(make(own, alone))
        together = folder.subfolder("trials").subfolder(f"{i:04}")
        (record,), (expected,) = (each.records("metrics") for each in (together, alone))
        assert found[i]["accuracy"] == 100 * record["val_accuracy"]
        for name in ("train_loss", "val_loss", "alpha_entropy"):
            assert record[name] == pytest.approx(expected[name], rel=1e-5), name
        (shared,), (single,) = (each.records("genotypes") for each in (together, alone))
        assert shared["genotype"] == single["genotype"]


def test_searches_at_the_same_time(make, tmp_path):
    """Five trials, three at a time: each has the result of a search on its own."""
    folder, study = RunFolder.create(tmp_path / "run", SEARCHES), optuna.create_study(direction="maximize")
    varied = varied_of(["search.weight_optimizer.learning_rate=log:1e-2:1e-1", "seed=1,2"], SEARCHES)
    together = TunedSearches(make, folder, SEARCHES, varied, 3)
    single = TunedSearches(make, RunFolder.create(tmp_path / "alone", SEARCHES), SEARCHES, varied)
    batches = []

    def measure(trials):
        batches.append(len(trials))
        return together.measure_together(trials)

    optimize(study, tuned_together(SEARCHES, varied, measure, 3, 5), 5)
    assert batches == [3, 2] and [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5
    assert sorted(path.name for path in (tmp_path / "run" / "trials").iterdir()) == [f"000{i}" for i in range(5)]
    again = optuna.create_study(direction="maximize")
    for trial in study.trials:
        again.enqueue_trial(trial.params)
    again.optimize(tuned(SEARCHES, varied, single.measure), n_trials=5)
    for trial, alone in zip(study.trials, again.trials, strict=True):
        (record,) = folder.subfolder("trials").subfolder(f"{trial.number:04}").records("metrics")
        assert trial.value == alone.value == 100 * record["val_accuracy"]
        assert trial.user_attrs["score"]["architecture"] == alone.user_attrs["score"]["architecture"]
    assert len({trial.value for trial in study.trials}) > 1


@pytest.mark.parametrize("task", ["images", "text"])
def test_trainings_at_the_same_time(task, monkeypatch, tmp_path):
    """Four trials, two at a time, the last two in one program each, since their sizes differ."""
    section, size, values = ("train", "channels", "4,8") if task == "images" else ("language_train", "units", "4,6")
    longer = replace(IMAGES, train=replace(IMAGES.train, epochs=6))
    base, cell = (longer, CELL) if task == "images" else (TEXT_TRAINING, RECURRENT)
    if task == "text":
        monkeypatch.chdir(tmp_path)
        write_text(tmp_path / "text")
    rate = f"{section}.{'optimizer.' * (task == 'images')}learning_rate"
    varied = varied_of([f"{rate}=lin:0.1:0.5", f"{section}.{size}={values}", "seed=1,2"], base)
    (first, second), names = values.split(","), [each.name for each in varied]
    trials = [(0.1, first, "1"), (0.3, first, "2"), (0.2, second, "1"), (0.4, first, "1")]
    results = []
    for together in (1, 2):
        study, tried = optuna.create_study(), TunedTrainings(parse(cell), base, varied, together)
        for each in trials:
            study.enqueue_trial(dict(zip(names, each, strict=True)))
        every = tuned_together(base, varied, tried.measure_together, 2, 4)
        optimize(study, tuned(base, varied, tried.measure) if together == 1 else every, 4)
        results.append([trial.value for trial in study.trials])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    assert len(set(results[0])) > 1


def test_a_trial_without_result_does_not_end_the_others(make, tmp_path):
    """Values that are not allowed together, and a rate at which the weights become infinite."""
    config = with_values_of(SEARCHES, {"search.weight_optimizer.learning_rate": 0.1})
    folder, study = RunFolder.create(tmp_path / "run", config), optuna.create_study(direction="maximize")
    rates = ["search.weight_optimizer.learning_rate", "search.weight_optimizer.learning_rate_min"]
    varied = varied_of([f"{rates[0]}=0.1,0.02,1e30", f"{rates[1]}=0.001,0.05"], config)
    for values in (("0.1", "0.05"), ("0.02", "0.05"), ("1e30", "0.05")):
        study.enqueue_trial(dict(zip(rates, values, strict=True)))
    searches = TunedSearches(make, folder, config, varied, 3)
    optimize(study, tuned_together(config, varied, searches.measure_together, 3, 3), 3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    reasons = [trial.user_attrs.get("reason", "") for trial in study.trials]
    assert reasons[0] == "" and "learning_rate_min" in reasons[1] and "not finite" in reasons[2]


def test_a_mistake_of_all_trials_prunes_them():
    study = optuna.create_study(direction="maximize")
    varied = varied_of(["seed=1,2,3"], SEARCHES)

    def refused(trials):
        raise UserError("too little memory")

    optimize(study, tuned_together(SEARCHES, varied, refused, 2, 3), 3)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 3
    assert {trial.user_attrs["reason"] for trial in study.trials} == {"too little memory"}


def test_an_interruption_puts_all_trials_back(make, tmp_path):
    study = optuna.create_study(direction="maximize")
    varied = varied_of(["seed=1,2,3"], SEARCHES)

    def interrupted(trials):
        raise Interrupted(signal.SIGINT, "stopped")

    with pytest.raises(Interrupted):
        optimize(study, tuned_together(SEARCHES, varied, interrupted, 2, 3), 3)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert [trial.params for trial in study.trials[:2]] == [
        trial.system_attrs["fixed_params"] for trial in study.trials[2:]
    ]
