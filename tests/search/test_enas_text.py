"""ENAS on text: the steps of shared weights and controller, the search of both releases' spaces, and its resume."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_text import BATCH, BPTT, CONFIG, SGD, SPACE, UNITS, WORDS, text

from jdarts.controllers import batch_bonus
from jdarts.errors import UserError
from jdarts.genotypes.recurrent import ENAS_FUNCTIONS, ENAS_LM_FUNCTIONS
from jdarts.methods import build, configured
from jdarts.networks.recurrent import RecurrentModel
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, make_search, run_search
from jdarts.search.enas_step import enas_step
from jdarts.spaces.recurrent import RecurrentSpace

ENAS = RecurrentSpace("tiny_enas", 3, ENAS_FUNCTIONS, "loose_ends", first=True)
ENAS_LM = RecurrentSpace("tiny_enas_lm", 2, ENAS_LM_FUNCTIONS, "nodes")
SPACES = {space.name: space for space in (ENAS, ENAS_LM, SPACE)}
OPTIONS = ("controller_steps=2", "controller_samples=3", "candidates=4", "epoch_candidates=2", "reward_scale=80")
OPTIONS += ("baseline=running", "entropy_weight=0.5")


def config_of(method="enas", options=OPTIONS, **changes):
    settings = dataclasses.replace(CONFIG.search, method=method, method_options=options, **changes)
    return dataclasses.replace(CONFIG, search=settings)


@cache
def steps(name="tiny_enas"):
    config, space = config_of(), SPACES[name]
    settings = build("enas", OPTIONS).options["enas"]
    return enas_step(settings, config.search, make_search(config, space, text()), space)


@cache
def initial():
    return jax.jit(steps().init)(jax.random.key(0))


def path(choices, space=ENAS):
    return space.one_hot(space.decode(choices))


@pytest.mark.parametrize("space", [ENAS, ENAS_LM], ids=lambda space: space.name)
def test_the_network_reads_the_token_list_of_an_architecture(space):
    genotype = space.random_genotype(3)
    tokens = [space.activations.index(genotype.first)]
    for activation, source in genotype.recurrent:
        tokens += [source, space.activations.index(activation)]
    np.testing.assert_array_equal(jax.jit(space.network_input)(space.one_hot(genotype)), tokens)


def test_the_score_of_enas_lm_is_that_of_the_derived_cell_with_its_share_of_the_weights():
    """Without batch norm the path is the network of the genotype, whose forward pass has an oracle in NumPy."""
    made, genotype = steps("tiny_enas_lm"), ENAS_LM.decode((1, 1, 3))  # relu after node 0, identity after node 1
    assert genotype.recurrent == (("relu", 0), ("identity", 1))
    state: Any = jax.jit(made.init)(jax.random.key(0))
    state = state.shared.replace(weights=10 * state.shared.weights)
    shared = made.search.variables(state)["params"]
    weights = {"embedding_table": shared["embedding_table"], "W0": shared["W0"][0]}
    weights["W"] = jnp.stack([shared["W"][0, 1], shared["W"][2, 3]])  # pairs (0, 1), (0, 2), (1, 2)
    model = RecurrentModel(genotype=genotype, vocabulary=WORDS, embedding=UNITS, units=UNITS, decoder_bias=False)
    score = jax.jit(made.accuracy)
    val = np.asarray(made.search.arrays["val_tokens"])[:, : len(text().valid) // BATCH]
    losses = []
    for first in range(val.shape[1] - BPTT):
        tokens, targets = val[:, first : first + BPTT].T, val[:, first + 1 : first + BPTT + 1].T
        outputs: Any = model.apply({"params": weights}, tokens, model.initial_hidden(BATCH), False)
        picked = jnp.take_along_axis(jax.nn.log_softmax(outputs.logits), targets[..., None], -1)
        losses.append(float(jnp.exp(jnp.mean(picked))))
    p = ENAS_LM.one_hot(genotype)
    found = {float(score(state, p, made.search.arrays, jnp.int32(number))) for number in range(40)}
    for each in found:
        assert min(abs(each - loss) for loss in losses) < 1e-6, "a window of the validation text"
    assert len(found) > len(losses) / 2, "windows everywhere"


def test_a_weight_step_moves_the_path_at_the_rate_of_its_window_and_carries_the_hidden_state():
    made, choices = steps(), (1, 2, 0, 3, 2, 0)  # node 0 relu; (0, identity), (0, sigmoid), (2, tanh)
    state = initial().shared
    moved, metrics = jax.jit(made.train)(state, path(choices), made.search.arrays)
    before, after = (made.search.variables(s)["params"] for s in (state, moved))
    batch, _ = made.search.draw(state, made.search.arrays)
    decayed = (1 - SGD.learning_rate * batch["rate"] * SGD.weight_decay) * before["W"]
    changed = np.argwhere((abs(after["W"] - decayed) > 1e-8).any((2, 3)))
    assert set(map(tuple, changed.tolist())) == {(0, 2), (1, 3), (5, 0)}
    assert int(moved.step) == 1 and bool(metrics["finite"]) and moved.alphas == {}
    assert int(moved.carried["train"]["position"]) == int(batch["position"])
    assert np.abs(moved.carried["train"]["hidden"]).max() > 0
    assert np.abs(moved.carried["val"]["hidden"]).max() == 0


def test_the_reward_is_the_scaled_inverse_perplexity_and_moves_the_running_baseline():
    made, state = steps(), initial()
    choices = jnp.array([(1, 2, 0, 3, 2, 0), (0, 0, 1, 1, 0, 3), (3, 1, 0, 2, 1, 1)])
    scores = jnp.array([1 / 7.0, 1 / 5.0, 1 / 9.0])
    taught, metrics = jax.jit(made.teach)(state, choices, scores)
    rewards = 80 * scores + 0.5 * batch_bonus(made.controller, state.controller, choices)
    baseline = 0.0
    for reward in np.asarray(rewards):
        baseline = 0.99 * baseline + 0.01 * reward
    np.testing.assert_allclose(metrics["reward"], rewards.mean(), rtol=1e-6)
    np.testing.assert_allclose(taught.baseline, baseline, rtol=1e-6)
    np.testing.assert_allclose(metrics["val_inverse_perplexity"], scores.mean(), rtol=1e-6)


class PulledPlug(SilentReporter):
    """Ends the program, as a power cut would, after some step."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def step(self, step, metrics=None):
        if step == self.last:
            raise ConnectionError("no power")


def run(folder, space: Any = ENAS, *, resume=False, reporter=None, config=None):
    config = config or config_of(checkpoint_every_steps=1)
    folder = RunFolder.open(folder, config) if resume else RunFolder.create(folder, config)
    return SearchRun(config, space, text(), folder, configured(config.search), resume, reporter or SilentReporter())


def finished(folder):
    with Checkpoints(folder.checkpoints_dir, read_only=True) as checkpoints:
        found = checkpoints.restore_latest(jax.eval_shape(steps().init, jax.random.key(0)))
    assert found is not None
    return found.state


def test_an_interrupted_search_resumes_bit_for_bit(tmp_path):
    """The run is cut once at a step of the shared weights and once at one of the controller."""
    whole = run(tmp_path / "whole")
    expected, _ = run_search(whole)
    weights = steps().search.steps_per_epoch
    last = weights + 2 + 3
    for stop in (last, last + weights - 2):
        with pytest.raises(ConnectionError):
            run_search(run(tmp_path / "cut", reporter=PulledPlug(stop), resume=stop != last))
    again = run(tmp_path / "cut", resume=True)
    found, _ = run_search(again)
    assert found == expected and ENAS.encode(found)
    states = finished(whole.folder), finished(again.folder)
    assert int(states[0].step) == 2 * (weights + 2)
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        np.testing.assert_array_equal(a, b)
    records = [
        [
            {k: v for k, v in r.items() if "seconds" not in k and k != "peak_memory"}
            for r in each.folder.records("metrics")
        ]
        for each in (whole, again)
    ]
    assert records[0] == records[1]
    record = records[0][-1]
    assert record["val_perplexity"] == pytest.approx(1 / record["val_inverse_perplexity"])
    assert record["train_perplexity"] == pytest.approx(np.exp(record["train_loss"]))
    assert 0 <= record["identity_share"] <= 1 and "skip_share" not in record


@pytest.mark.parametrize("space", [ENAS_LM, SPACE], ids=lambda space: space.name)
def test_other_spaces_of_recurrent_cells_are_searched(space, tmp_path):
    reporter = SilentReporter()
    asked = run(tmp_path / "run", space, config=config_of(epochs=1), reporter=reporter)
    genotype, _ = run_search(asked)
    assert space.encode(genotype) and any("perplexity" in message for message in reporter.messages)


def test_a_space_without_alphas_needs_a_method_that_samples():
    with pytest.raises(UserError, match="space tiny_enas has no alphas, which method darts needs; use --method enas"):
        make_search(config_of("darts", ()), ENAS, text())  # pyright: ignore[reportArgumentType]
