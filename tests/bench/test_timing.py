"""Interleaving, medians and ratios, with runs whose length is known."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.bench import timing
from jdarts.bench.ceilings import measure_ceilings
from jdarts.bench.timing import Stepper, calls_for, interleave, ratio, seconds_of, spread


def test_spread_is_median_and_quartiles():
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    s = spread(values)
    assert (s.low, s.median, s.high, s.count) == (2.0, 3.0, 4.0, 5)
    assert spread([7.0]).median == spread([7.0]).low == 7.0
    assert s.scaled(10).high == 40.0


def test_ratios_are_those_of_neighbours_not_of_medians():
    drifting = [1.0, 2.0, 8.0]  # the machine slows down; the second always takes half as long again
    assert ratio([1.5 * x for x in drifting], drifting) == spread([1.5, 1.5, 1.5])
    with pytest.raises(ValueError):
        ratio([1.0], [1.0, 2.0])


def test_rounds_alternate_and_turn_their_order(monkeypatch):
    monkeypatch.setattr(timing, "SHORT", 0.0)
    order, rounds = [], []
    runs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    seconds = interleave(runs, 3, on_round=rounds.append)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert rounds == [1, 2, 3] and {len(s) for s in seconds.values()} == {3}


def test_short_runs_are_timed_several_at_once():
    assert calls_for(1.0) == 1 and calls_for(timing.SHORT / 4) == 4
    count = []

    def run():
        count.append(1)
        time.sleep(0.002)

    per_call = seconds_of(run, 5)
    assert len(count) == 5 and 0.002 <= per_call < 0.2


def test_seconds_cover_the_computation_not_only_its_call():
    x = jnp.ones((600, 600))
    work = jax.jit(lambda x: jax.lax.fori_loop(0, 40, lambda _, y: jnp.sin(y @ x), x)).lower(x).compile()
    jax.block_until_ready(work(x))
    started = time.perf_counter()
    np.asarray(work(x))
    whole = time.perf_counter() - started
    assert seconds_of(lambda: work(x)) > whole / 4


def test_a_stepper_goes_on_where_it_was():
    stepper = Stepper(lambda state, by: (state + by, {"seen": state}), 1, 10)
    assert stepper() == (11, {"seen": 1}) and stepper() == (21, {"seen": 11})


def test_ceilings_are_operations_and_bytes_over_seconds(monkeypatch):
    monkeypatch.setattr("jdarts.bench.ceilings.seconds_of", lambda run: (run(), 0.5)[1])
    found = measure_ceilings(size=64, copy_bytes=4096, repetitions=2, dtypes=("float32", "bfloat16"))
    assert found.flops_per_second == {"float32": 2 * 64**3 / 0.5, "bfloat16": 2 * 64**3 / 0.5}
    assert found.bytes_per_second == 2 * 4096 / 0.5
    assert found.fastest == 2 * 64**3 / 0.5


def test_ceilings_are_measured():
    found = measure_ceilings(size=256, copy_bytes=2**20, repetitions=2)
    assert 1e6 < found.flops_per_second["float32"] < 1e16
    assert 1e6 < found.bytes_per_second < 1e14
