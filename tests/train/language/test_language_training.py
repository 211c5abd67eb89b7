"""Training on text: a step and an evaluation against NumPy, rollback, and whole runs."""

import dataclasses
import math
import os
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.config import Experiment
from jdarts.config.language import LanguageTrainConfig
from jdarts.data.text import TextData
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.genotypes import parse
from jdarts.losses import perplexity
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.train.language import (
    evaluate,
    language_model,
    make_language_training,
    recurrent_cell,
    run_language_training,
)
from jdarts.train.language.averaging import PLAIN

WORDS = 11
TEXT = np.random.default_rng(0).integers(0, WORDS, 50).astype(np.int32)
DATA = TextData(name="tiny", train=TEXT, valid=TEXT[:23], test=TEXT[5:30], vocabulary=tuple("abcdefghijk"))
SETTINGS = LanguageTrainConfig(
    epochs=5,
    units=6,
    batch_size=5,
    bptt=6,
    activation=0.3,
    slowness=0.2,
    weight_decay=1e-2,
    nonmono=1,
    val_batch_size=2,
)
CONFIG = Experiment(language_train=SETTINGS)
CELL = recurrent_cell(parse("Genotype(recurrent=[('sigmoid', 0), ('relu', 1)], concat=range(1, 3))"), "tiny")


def changed(**settings) -> Experiment:
    return dataclasses.replace(CONFIG, language_train=dataclasses.replace(SETTINGS, **settings))


@pytest.fixture(scope="module")
def training():
    with jax.enable_x64(True):
        yield make_language_training(CONFIG, language_model(SETTINGS, CELL, WORDS), DATA)


@pytest.fixture
def state(training, x64):
    return training.init(jax.random.key(3))


def copied(tree):
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def cross_entropy(logits, targets):
    return -np.take_along_axis(log_softmax(np.asarray(logits)), np.asarray(targets)[..., None], -1).mean()


def short_window_loss(weights, model, tokens, targets, hidden, key):
    """The loss of a window without any padding, and its cross-entropy, with the penalties as the papers write them."""
    outputs = model.apply({"params": weights}, tokens, hidden, True, rngs={"dropout": key})
    log_p = jax.nn.log_softmax(outputs.logits)
    loss = -jnp.mean(jnp.take_along_axis(log_p, targets[..., None], -1))
    activation = (outputs.dropped**2).mean()
    slowness = ((outputs.raw[1:] - outputs.raw[:-1]) ** 2).mean()
    return loss + 0.3 * activation + 0.2 * slowness, (loss, outputs.raw[-1])


def test_a_step_is_that_of_a_short_window_by_numpy(training, state):
    """Lengths below, at and above the first sizes; the step is clipped and decayed, the rate is that of the length."""
    columns, seen = TEXT.reshape(5, 10).T, set()
    for _ in range(6):
        fields = ("weights", "hidden", "sums", "step")
        before = jax.tree.map(np.array, {name: getattr(state, name) for name in fields})
        length_key, key = jax.random.split(jax.random.fold_in(state.key, state.step))
        length = int(training.windows.length(length_key, state.position))
        seen.add(length)
        first = int(state.position)
        tokens, targets = columns[first : first + length], columns[first + 1 : first + length + 1]
        gradient, (loss, hidden) = jax.grad(short_window_loss, has_aux=True)(
            before["weights"], training.model, tokens, targets, before["hidden"], key
        )
        state, metrics = training.step(state, training.text)
        norm = math.sqrt(sum(float((np.asarray(g) ** 2).sum()) for g in jax.tree.leaves(gradient)))
        clip, rate = min(1.0, 0.25 / (norm + 1e-6)), 20 * length / 6
        for name, w in before["weights"].items():
            wanted = w - rate * (clip * np.asarray(gradient[name]) + 1e-2 * w)
            np.testing.assert_allclose(state.weights[name], wanted, rtol=1e-10, atol=1e-12)
        position = first + length if first + length < 9 else 0
        assert int(state.position) == position
        np.testing.assert_allclose(state.hidden, hidden if position else 0 * hidden, rtol=1e-10)
        np.testing.assert_allclose(metrics["train_loss"], state.sums["loss"] / state.sums["words"])
        np.testing.assert_allclose(
            state.sums["loss"] - (before["sums"]["loss"] if before["step"] % training.windows.steps_per_epoch else 0),
            loss * length,
            rtol=1e-9,
        )
    assert len(seen) > 2, seen


def test_an_average_in_the_step_is_the_mean_of_the_weights_behind_its_first_step(training, state):
    state = dataclasses.replace(state, averaged_steps=jnp.int32(0))
    seen = []
    for _ in range(4):
        state, _ = training.step(state, training.text)
        seen.append(np.asarray(state.weights["W0"]))
    np.testing.assert_allclose(state.average["W0"], np.mean(seen[1:], axis=0), rtol=1e-12)
    assert int(state.averaged_steps) == 4


def test_the_loss_in_chunks_with_a_carried_state_is_that_of_one_pass(training, state):
    weights = jax.tree.map(lambda w: 5 * w, state.weights)
    for batch, words in ((1, 25), (2, 12)):
        text = DATA.test[: batch * words].reshape(batch, words).T
        outputs = training.model.apply({"params": weights}, text[:-1], training.model.initial_hidden(batch), False)
        wanted = cross_entropy(outputs.logits, text[1:])
        assert evaluate(training, weights, DATA.test, batch) == pytest.approx(wanted, rel=1e-12)


def test_the_perplexity_of_a_uniform_model_is_the_size_of_the_vocabulary(training, state):
    zero = jax.tree.map(jnp.zeros_like, state.weights)
    assert perplexity(evaluate(training, zero, DATA.valid, 2)) == pytest.approx(WORDS, rel=1e-12)


def test_the_state_behind_an_epoch_keeps_the_best_weights_and_begins_to_average(training, state):
    first = training.end_epoch(state, 2.0)
    assert float(first.best.loss) == 2.0
    worse = training.end_epoch(dataclasses.replace(first, average=jax.tree.map(lambda w: w + 1, first.average)), 2.5)
    np.testing.assert_array_equal(worse.best.weights["W"], state.average["W"])
    assert int(worse.averaged_steps) == PLAIN, "one loss before is not more than nonmono = 1"
    third = training.end_epoch(worse, 2.25)
    assert int(third.averaged_steps) == 0
    assert int(training.end_epoch(dataclasses.replace(third, averaged_steps=jnp.int32(7)), 9.0).averaged_steps) == 7


@pytest.mark.parametrize("factor", [np.nan, 1e6], ids=["nan", "far larger"])
def test_an_explosion_returns_to_the_best_weights(training, state, factor):
    best = dataclasses.replace(state.best, averaged_steps=jnp.int32(4))
    bad = dataclasses.replace(
        state, weights=jax.tree.map(lambda w: w * factor, state.weights), best=copied(best), averaged_steps=jnp.int32(9)
    )
    wanted = np.asarray(best.weights["W0"])
    after, metrics = training.step(bad, training.text)
    assert int(after.rollbacks) == int(after.sums["rollbacks"]) == 1 and metrics["finite"]
    assert int(after.averaged_steps) == 4
    np.testing.assert_array_equal(after.weights["W0"], wanted)
    np.testing.assert_array_equal(after.average["W0"], wanted)
    assert not np.any(after.hidden) and np.isfinite(metrics["train_loss"])


class InterruptedAt(SilentReporter):
    """Presses Ctrl-C behind one step."""

    def __init__(self, at: int):
        super().__init__()
        self.at = at

    def step(self, step, metrics=None):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def last_state(folder, training):
    with Checkpoints(folder.checkpoints_dir, read_only=True) as checkpoints:
        found = checkpoints.restore_latest(jax.eval_shape(training.init, jax.random.key(0)))
    assert found is not None
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(found.state)
    ]


def test_an_interrupted_run_resumes_to_the_last_bit(tmp_path, training, x64):
    per_epoch = training.windows.steps_per_epoch
    whole = RunFolder.create(tmp_path / "whole", CONFIG)
    wanted = run_language_training(CONFIG, CELL, DATA, whole, reporter=SilentReporter())
    parts = RunFolder.create(tmp_path / "parts", CONFIG)
    for at, resume in ((per_epoch, False), (3 * per_epoch + 1, True)):  # at the end of an epoch, and inside the fourth
        with pytest.raises(Interrupted, match=f"after step {at} "):
            run_language_training(CONFIG, CELL, DATA, parts, resume=resume, reporter=InterruptedAt(at))
    found = run_language_training(CONFIG, CELL, DATA, parts, resume=True, reporter=SilentReporter())
    assert found == wanted
    for one, other in zip(last_state(whole, training), last_state(parts, training), strict=True):
        np.testing.assert_array_equal(one, other)
    timeless = [
        [
            {k: v for k, v in record.items() if "seconds" not in k and k != "peak_memory"}
            for record in folder.records("metrics")
        ]
        for folder in (whole, parts)
    ]
    assert timeless[0] == timeless[1] and len(timeless[0]) == 5
    assert [record["averaged"] for record in timeless[0]] == [False, False, False, True, True]
    assert wanted.parameters == WORDS * 6 + WORDS + 2 * 6 * 12 + 2 * 6 * 12
    assert wanted.val_perplexity == min(record["val_perplexity"] for record in timeless[0])
    assert wanted.train_perplexities == tuple(math.exp(record["train_loss"]) for record in timeless[0])


def test_explosions_are_told_and_too_many_end_the_run(tmp_path, x64):
    config = changed(learning_rate=1e9, gradient_clip=0.0, rollbacks=3, epochs=20)
    reporter = SilentReporter()
    with pytest.raises(Diverged, match="learning_rate 1e"):
        run_language_training(config, CELL, DATA, RunFolder.create(tmp_path / "run", config), reporter=reporter)
    assert reporter.warnings and all("exploded" in line and "best weights" in line for line in reporter.warnings)


def test_thirty_steps_on_a_repeated_text_beat_the_uniform_model(x64):
    none: dict[str, Any] = dict.fromkeys(SETTINGS.dropouts(), 0.0)
    settings = LanguageTrainConfig(units=6, batch_size=10, bptt=6, learning_rate=1.0, **none)
    repeated = dataclasses.replace(DATA, train=np.tile(TEXT, 2))
    model = language_model(settings, CELL, WORDS)
    training = make_language_training(Experiment(language_train=settings), model, repeated)
    state = training.init(jax.random.key(0))
    for _ in range(30):
        state, _ = training.step(state, training.text)
    assert evaluate(training, state.weights, repeated.train, 1) < math.log(WORDS)


@pytest.mark.parametrize(
    ("config", "cell", "data", "message"),
    [
        (CONFIG, parse("DARTS_V2"), DATA, "network of images.*data.source tiny is a text"),
        (changed(batch_size=8), CELL, DATA, "train text of tiny has 50 words, 6 in each.*batch_size = 8.*at least 7"),
        (changed(val_batch_size=12), CELL, DATA, "valid text.*val_batch_size = 12"),
        (CONFIG, CELL, dataclasses.replace(DATA, test=TEXT[:1]), "test text.*1 words"),
    ],
)
def test_mistakes_get_one_line(tmp_path, config, cell, data, message):
    folder = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(UserError, match=message) as caught:
        run_language_training(config, cell, data, folder, reporter=SilentReporter())
    assert "\n" not in str(caught.value)
