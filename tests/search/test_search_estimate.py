"""Messages of a search before it starts, and its refusals to start."""

import dataclasses
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from jdarts.config import Experiment, SearchConfig, SpaceConfig
from jdarts.config.files import override
from jdarts.devices.memory import Available
from jdarts.errors import UserError
from jdarts.search.estimate import Need, advice, announce_pace, check_memory, format_seconds, memory_need

CONFIG = Experiment(search=SearchConfig(batch_size=64), space=SpaceConfig(channels=16, cells=8))
GB = 10**9


def free(gigabytes):
    return Available(int(gigabytes * GB), "of this machine's memory")


def test_what_fits_is_told_in_one_line():
    line = check_memory(Need(3 * GB, GB), free(10), CONFIG)
    assert "4 GB" in line and "10 GB" in line and "\n" not in line and "tight" not in line
    assert "tight" in check_memory(Need(9 * GB, 0), free(10), CONFIG)
    assert "4 GB" in check_memory(Need(3 * GB, GB), None, CONFIG), "nobody knows: told, not refused"
    check_memory(Need(10 * GB, 0), free(10), CONFIG)


def test_what_does_not_fit_is_refused_with_ways_out_that_are_real_options():
    with pytest.raises(UserError) as refusal:
        check_memory(Need(20 * GB, 0), free(6), CONFIG)
    text = str(refusal.value)
    assert "20 GB" in text and "6 GB" in text and "\n" not in text
    options = re.findall(r"search\.(batch_size|microbatches) (\d+)", text)
    assert [name for name, _ in options] == ["batch_size", "microbatches"]
    for name, value in options:
        changed = override(CONFIG, [f"--search.{name}", value])
        at_once = changed.search.batch_size / changed.search.microbatches
        assert 20 * GB * at_once / 64 <= 6 * GB, "memory in proportion to the images at once must fit"
    assert "space.channels" in text and "space.cells" in text and "first_order" in text
    assert "search.remat true" in text and "pc_darts" in text


def test_advice_offers_only_what_is_left():
    smallest = dataclasses.replace(
        CONFIG,
        search=SearchConfig(batch_size=2, hypergradient="first_order", remat=True, method="gdas"),
        space=SpaceConfig(channels=2, cells=1),
    )
    assert advice(smallest, 0.5) == "use a machine with more memory"
    split = dataclasses.replace(CONFIG, search=SearchConfig(batch_size=64, microbatches=8))
    assert re.search(r"microbatches (\d+)", advice(split, 0.4))[1] == "32", "2 of 8 fit at once"  # type: ignore[index]
    assert "batch_size" not in advice(CONFIG, 0.01)


def test_the_need_is_what_is_not_held_yet():
    x = jnp.zeros((100,), jnp.float32)
    program = SimpleNamespace(peak_bytes=5000)
    assert memory_need(program, x, {"y": x}) == Need(5000, 0)
    assert memory_need(program, jax.eval_shape(lambda: x), x) == Need(5000, 400)


def test_the_pace_is_told_once_and_changes_nothing():
    now = [0.0]
    lengths = iter([100.0, 2.0, 4.0, 50.0, 50.0])

    def step(state):
        now[0] += next(lengths)
        return state + 1

    said = []
    timed = announce_pace(step, said.append, steps_per_epoch=100, epochs=50, clock=lambda: now[0])
    states = [0]
    for _ in range(5):
        states.append(timed(states[-1]))
        assert len(said) == (len(states) > 3)
    assert states == [0, 1, 2, 3, 4, 5]
    assert said == ["time: 3 s per step, about 5 min 0 s per epoch (100 steps), 4 h 10 min for 50 epochs"]


def test_the_pace_waits_for_the_device():
    said = []
    x = jnp.ones((400, 400))
    step = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda _, y: jnp.sin(y @ y), x))
    timed = announce_pace(step, said.append, steps_per_epoch=1, epochs=1)
    expected = step(step(step(x)))
    assert jnp.array_equal(timed(timed(timed(x))), expected) and len(said) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0012, "1.2 ms"),
        (0.34, "0.34 s"),
        (12.3, "12 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 0 min"),
        (18600, "5 h 10 min"),
        (302_400, "3.5 days"),
    ],
)
def test_seconds_for_people(seconds, text):
    assert format_seconds(seconds) == text


def test_a_search_that_cannot_fit_is_refused_before_its_first_step(tmp_path, monkeypatch):
    from jdarts.config import DataConfig
    from jdarts.pipeline import run_search_only
    from jdarts.runs.reporter import SilentReporter
    from jdarts.search import estimate

    config = Experiment(
        name="large",
        data=DataConfig(source="synthetic:8x8x1:4:160", crop_padding=1),
        space=SpaceConfig(name="robust_s3", channels=2, cells=1),
        search=SearchConfig(epochs=1, batch_size=8, hypergradient="first_order"),
    )
    monkeypatch.setattr(estimate, "available", lambda: Available(100_000, "of this machine's memory"))
    monkeypatch.setattr("jdarts.search.single_loop.run_loop", None)
    with pytest.raises(UserError, match=r"needs .* of memory, but 100 kB of this machine's memory are available; try"):
        run_search_only(config, (), tmp_path / "run", resume=False, reporter=SilentReporter())
