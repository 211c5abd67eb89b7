"""The time between steps: from timelines with a known answer, and from a loop whose host is slow on purpose."""

import time

import jax
import jax.numpy as jnp
import pytest

from jdarts.bench.waiting import WatchedStep, waiting


def timeline(steps, length, between, after_epoch, per_epoch):
    called, finished, now = [], [], 0.0
    for i in range(steps):
        if i:
            now += after_epoch if i % per_epoch == 0 else between
        called.append(now)
        now += length
        finished.append(now)
    return called, finished


def test_a_loop_that_always_waits():
    called, finished = timeline(12, length=2.0, between=0.5, after_epoch=3.0, per_epoch=3)
    found = waiting(called, finished, loop_epoch=3, steps_per_epoch=10)
    assert found.step_seconds == pytest.approx(2.0)
    assert found.between_seconds == pytest.approx(0.5) and found.epoch_end_seconds == pytest.approx(3.0)
    assert found.fraction == pytest.approx((9 * 0.5 + 3) / (10 * 2 + 9 * 0.5 + 3))


def test_a_loop_that_calls_ahead_loses_nothing():
    finished = [float(i + 1) for i in range(9)]
    called = [0.0, *[f - 0.9 for f in finished[:-1]]]
    found = waiting(called, finished, loop_epoch=3, steps_per_epoch=100)
    assert found.fraction == 0 and found.step_seconds == pytest.approx(1.0)


def test_the_first_epoch_does_not_count():
    called, finished = timeline(9, length=1.0, between=0.0, after_epoch=0.0, per_epoch=3)
    late = [t + (100 if i >= 3 else 0) for i, t in enumerate(called)]
    found = waiting(late, [t + (100 if i >= 3 else 0) for i, t in enumerate(finished)], loop_epoch=3, steps_per_epoch=3)
    assert found.fraction == 0


def test_a_slow_host_is_seen():
    step = jax.jit(lambda x: (jnp.sin(x @ x), {"finite": jnp.sum(x)}))
    state = jnp.ones((50, 50))
    with WatchedStep(step) as watched:
        for _ in range(9):
            state, _ = watched(state)
            jax.block_until_ready(state)
            time.sleep(0.02)
    assert len(watched.called) == len(watched.finished) == 9
    found = waiting(watched.called, watched.finished, loop_epoch=3, steps_per_epoch=3)
    assert found.between_seconds > 0.01 and found.fraction > 0.1
