"""Searches on text: the windows of both streams, the loss on them, and a step against autodiff through it."""

import json
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_text import BATCH, BPTT, CONFIG, SGD, SPACE, TRAIN_CONFIG, UNITS, WORDS, search, text

from jdarts import methods
from jdarts.errors import UserError
from jdarts.genotypes.recurrent import RECURRENT_OPS
from jdarts.runs.folder import RunFolder
from jdarts.search import SearchRun, run_search


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def at(made, position: int, step: int = 0, seed: int = 0):
    """A state whose training stream stands at `position`, with hidden states unlike zeros."""
    state = made.init(jax.random.key(seed))
    hidden = jax.random.normal(jax.random.key(1), (2, BATCH, UNITS)) / 2
    carried = {name: {"hidden": hidden[i], "position": jnp.int32(position)} for i, name in enumerate(("train", "val"))}
    return state.replace(step=jnp.int32(step), carried=carried)


def test_windows_read_both_texts_from_front_to_back():
    made, data = search(), text()
    train, val = (part[: len(part) // BATCH * BATCH].reshape(BATCH, -1) for part in (data.train, data.valid))
    draw = jax.jit(made.draw)
    position, lengths = 0, []
    for step in range(60):
        batch, other = draw(at(made, position, step), made.arrays)
        n = int(batch["length"])
        lengths.append(n)
        left = train.shape[1] - 1 - position
        assert n == min(left, BPTT) or n == min(left, BPTT // 2)
        np.testing.assert_array_equal(batch["tokens"][:, :n], train[:, position : position + n])
        np.testing.assert_array_equal(batch["targets"][:, :n], train[:, position + 1 : position + n + 1])
        assert float(batch["rate"]) == n / BPTT
        start, m = position % (val.shape[1] - 1), int(other["length"])
        assert m == min(BPTT, val.shape[1] - 1 - start)
        np.testing.assert_array_equal(other["targets"][:, :m], val[:, start + 1 : start + m + 1])
        assert (float(batch["slowness"]), float(other["slowness"])) == (0.3, 0.0)
        after = int(batch["position"])
        assert after == (0 if position + n == train.shape[1] - 1 else position + n)
        position = after
    assert BPTT in lengths and BPTT // 2 in lengths


def test_an_epoch_is_the_text_in_windows_of_mean_length():
    made = search()
    columns = len(text().train) // BATCH
    assert made.steps_per_epoch == int(np.ceil((columns - 1) / (0.95 * BPTT + 0.05 * (BPTT // 2))))


def window(made, first: int, length: int, hidden, bptt: int = BPTT, slowness: float = 0.0):
    """Words `first` to `first + length` of the training text as a batch of `bptt` columns, by NumPy."""
    columns = text().train[: len(text().train) // BATCH * BATCH].reshape(BATCH, -1)
    return {
        "tokens": jnp.asarray(columns[:, first : first + bptt]),
        "targets": jnp.asarray(columns[:, first + 1 : first + bptt + 1]),
        "hidden": hidden,
        "length": jnp.int32(length),
        "position": jnp.int32(first + length),
        "slowness": jnp.asarray(slowness),
        "key": jax.random.key(0),
        "relax_key": jax.random.key(1),
        "batch_stats": made.objective.supernet.initial_statistics(),
        "step": jnp.int32(0),
    }


@cache
def problem():
    made = search(dropout=False)
    state = made.init(jax.random.key(0))
    p = made.method.op_weights(SPACE, state.alphas, jax.random.key(0), made.objective.clock(jnp.int32(0)))
    return made, state.weights * 10, p, jax.jit(partial(made.network_loss, train=True))


def test_a_state_carried_over_two_windows_is_one_long_window():
    made, w, p, loss = problem()
    start = jnp.full((BATCH, UNITS), 0.3)
    long, aux = loss(w, p, window(made, 3, 12, start, bptt=12))
    first, middle = loss(w, p, window(made, 3, 6, start))
    second, end = loss(w, p, window(made, 9, 6, middle["carried"]["hidden"]))
    np.testing.assert_allclose((first + second) / 2, long, rtol=1e-12)
    np.testing.assert_allclose(end["carried"]["hidden"], aux["carried"]["hidden"], rtol=1e-12)


def test_words_behind_the_end_of_a_window_do_not_count():
    made, w, p, loss = problem()
    start = jnp.full((BATCH, UNITS), 0.3)
    masked, exact = (window(made, 3, 3, start, bptt=bptt, slowness=0.7) for bptt in (BPTT, 3))
    (a, seen), (b, expected) = loss(w, p, masked), loss(w, p, exact)
    np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(seen["carried"]["hidden"], expected["carried"]["hidden"], rtol=1e-12)
    assert float(seen["accuracy"]) == pytest.approx(float(expected["accuracy"]))


def test_loss_and_penalty_are_those_of_the_outputs():
    made, w, p, loss = problem()
    batch = window(made, 2, BPTT, jnp.zeros((BATCH, UNITS)), slowness=0.7)
    variables = made.objective.supernet.tree(w, batch["batch_stats"])
    network, tokens = made.network, batch["tokens"].T
    outputs, _ = network.apply(variables, tokens, batch["hidden"], p["recurrent"], True, mutable=["batch_stats"])
    logits, raw = np.asarray(outputs.logits), np.asarray(outputs.raw)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nll = -np.mean(np.take_along_axis(log_p, np.asarray(batch["targets"]).T[..., None], -1))
    total, aux = loss(w, p, batch)
    np.testing.assert_allclose(aux["loss"], nll, rtol=1e-12)
    np.testing.assert_allclose(total, nll + 0.7 * np.mean((raw[1:] - raw[:-1]) ** 2), rtol=1e-12)
    apart, _ = loss(w, {"recurrent": list(p["recurrent"])}, batch)  # as the exact alpha-Hessian differentiates
    np.testing.assert_allclose(apart, total, rtol=1e-12)
    uniform, aux = loss(0 * w, p, batch)
    np.testing.assert_allclose(
        made.task.readings({"train_loss": float(uniform), "val_loss": 0.0})["train_perplexity"], WORDS
    )


def test_a_second_order_step_is_autodiff_through_the_clipped_step_of_its_window():
    """The virtual step has the learning rate of the window and the clip of the training gradient (DARTS code)."""
    made = search()
    state = at(made, 26)  # 5 words are left, so the rate is not 1
    batch, other = made.draw(state, made.arrays)
    rate = float(batch["rate"])
    assert rate < 1

    def stepped(alphas):
        g = jax.grad(lambda w: made.loss(w, alphas, batch)[0])(state.weights)
        norm = jnp.sqrt(jnp.sum(g**2))
        clipped = g * jnp.minimum(1.0, SGD.gradient_clip / (norm + 1e-6))
        return state.weights - SGD.learning_rate * rate * (clipped + SGD.weight_decay * state.weights), norm

    def val_loss(alphas):
        w, norm = stepped(alphas)
        return made.loss(w, alphas, other)[0], norm

    (value, norm), expected = jax.jit(jax.value_and_grad(val_loss, has_aux=True))(state.alphas)
    assert float(norm) > SGD.gradient_clip, "the step is clipped"
    kept: dict[str, Any] = {}

    class Spy:
        def __call__(self, grads, opt_state, alphas, *rest):
            kept.update(grads)
            return alphas, opt_state

    object.__setattr__(made.step.__self__, "update_alphas", Spy())
    after, metrics, given = jax.jit(lambda *a: (*made.step(*a), dict(kept)))(state, made.arrays)
    np.testing.assert_allclose(given["recurrent"], expected["recurrent"], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(after.weights, jax.jit(stepped)(state.alphas)[0], rtol=1e-12)
    assert float(metrics["train_loss"]) < float(made.loss(state.weights, state.alphas, batch)[0]), "without penalty"
    np.testing.assert_allclose(metrics["val_loss"], value)
    assert int(after.carried["train"]["position"]) == int(batch["position"])


def test_states_share_no_arrays_so_that_a_step_may_donate_them():
    made = search()
    leaves = [leaf for _ in range(2) for leaf in jax.tree.leaves(made.init(jax.random.key(0)).carried)]
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves) == 8


SEVERAL_LOOPS = {"darts_pt", "darts_ada", "r_darts", "stac_nas", "gold_nas", "cdarts"}
EDGES_OF_IMAGES = {"drnas_progressive", "pc_darts", "r_darts_dp", "p_darts"}
PATHS_OF_IMAGES = {"spos", "fairnas", "one_shot", "proxyless_nas", "proxyless_nas_reinforce"}


def test_methods_of_one_loop_without_parts_of_image_edges_search_text():
    served, refused = [], {}
    for name in methods.names():
        try:
            made = search(name)
        except UserError as error:
            refused[name] = str(error)
            continue
        shapes = jax.eval_shape(made.init, jax.random.key(0))
        after, _ = jax.eval_shape(made.step, shapes, made.arrays)
        assert jax.tree.structure(after) == jax.tree.structure(shapes)
        served.append(name)
    assert {name for name, said in refused.items() if "several loops" in said} == SEVERAL_LOOPS
    assert {name for name, said in refused.items() if "recurrent cells do not have" in said} == EDGES_OF_IMAGES
    assert {name for name, said in refused.items() if "paths of networks of images" in said} == PATHS_OF_IMAGES
    assert set(served) == set(methods.names()) - SEVERAL_LOOPS - EDGES_OF_IMAGES - PATHS_OF_IMAGES


def test_an_auxiliary_skip_is_more_weight_of_identity():
    made = search("darts_minus", dropout=False)
    state = made.init(jax.random.key(0))
    batch = window(made, 2, BPTT, jnp.zeros((BATCH, UNITS)))
    p = made.method.op_weights(SPACE, state.alphas, jax.random.key(0), made.objective.clock(jnp.int32(0)))
    plain = search(dropout=False)
    more = {"recurrent": p["recurrent"].at[:, RECURRENT_OPS.index("identity")].add(1.0)}  # β of the first epoch
    losses = [one.network_loss(10 * state.weights, q, batch)[0] for one, q in ((made, p), (plain, more), (plain, p))]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    assert abs(float(losses[0] - losses[2])) > 1e-6


def baseline_run(tmp_path, method, option):
    settings = replace(CONFIG.search, method=method, method_options=(option,), epochs=1)
    config = replace(CONFIG, search=settings, language_train=replace(TRAIN_CONFIG.language_train, epochs=1))
    folder = RunFolder.create(tmp_path, config)
    made: Any = SearchRun(config, SPACE, text(), folder, methods.configured(settings))  # pyright: ignore
    return run_search(made)[0], folder


def test_random_search_takes_the_trained_cell_of_lowest_perplexity(tmp_path):
    found, folder = baseline_run(tmp_path / "run", "random_search", "samples=2")
    samples = json.loads((folder.path / "samples.json").read_text())
    assert found.to_text() == min(samples, key=lambda sample: sample["val_perplexity"])["genotype"]
    for i, sample in enumerate(samples):
        result = json.loads((folder.path / f"sample_{i}" / "result.json").read_text())
        assert (result["genotype"], result["val_perplexity"]) == (sample["genotype"], sample["val_perplexity"])


def test_random_search_with_weight_sharing_scores_candidates_on_one_window(tmp_path):
    found, folder = baseline_run(tmp_path / "run", "rsps", "candidates=3")
    assert SPACE.encode(found) and folder.records("metrics")[-1]["val_perplexity"] > 1


def test_a_resumed_search_ends_equal_to_the_bit(tmp_path):
    config, method = CONFIG, methods.configured(CONFIG.search)

    class Stop(Exception):
        pass

    def hooks(stop):
        def at_end(end):
            if stop and end.epoch == 1:
                raise Stop
            return {}

        return lambda config, search: lambda own, folder, warn: (at_end,)

    def run(name, resume, stop):
        folder = RunFolder(tmp_path / name) if resume else RunFolder.create(tmp_path / name, config)
        asked = SearchRun(config, SPACE, text(), folder, method, resume, hooks=hooks(stop))  # pyright: ignore
        return run_search(asked)[1]

    whole = run("whole", False, False)
    with pytest.raises(Stop):
        run("broken", False, True)
    again = run("broken", True, False)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert jnp.array_equal(
            jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a,
            jax.random.key_data(b) if jnp.issubdtype(b.dtype, jax.dtypes.prng_key) else b,
        )
