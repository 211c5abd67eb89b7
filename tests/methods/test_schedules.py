"""Schedules at their ends."""

import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import methods
from jdarts.errors import UserError
from jdarts.methods.staged import fading
from jdarts.schedules import Clock, clock_at, decay, ramp


def at(schedule, epoch, epochs=50):
    return float(schedule(Clock(jnp.float32(epoch), epochs)))


def test_the_clock_counts_finished_epochs():
    assert [float(clock_at(jnp.int32(s), 4, 9).epoch) for s in (0, 3, 4, 11)] == [0, 0, 1, 2]


def test_ramps_reach_their_end_when_they_say():
    assert at(ramp(10, 0.1), 0) == pytest.approx(10) and at(ramp(10, 0.1), 49) == pytest.approx(0.1, rel=1e-4)
    after = ramp(0.03, 0.3, reached="after")
    assert at(after, 0) == pytest.approx(0.03) and at(after, 49) == pytest.approx(0.03 + 0.27 * 49 / 50)


def test_decays_of_darts_minus():
    assert at(decay(1.0), 0) == 1 and at(decay(1.0), 49) == pytest.approx(0.02)
    assert at(decay(1.0, "cosine"), 25) == pytest.approx(0.5)
    assert at(decay(1.0, "slow_cosine"), 25) == pytest.approx(np.sqrt(0.5))
    steps = [at(decay(1.0, "step"), e) for e in (0, 12, 13, 24, 25, 37, 38, 49)]
    assert steps == [1, 1, 0.5, 0.5, 0.25, 0.25, 0, 0]


@pytest.mark.parametrize(("epochs", "shape"), [(150, "linear"), (200, "cosine")])
def test_late_decay_is_whole_until_the_last_50_epochs_and_falls_from_there(epochs, shape):
    values = [at(decay(1.0, shape, last_epochs=50), e, epochs) for e in range(epochs)]
    assert values[: epochs - 49] == [1.0] * (epochs - 49)
    assert np.all(np.diff(values[epochs - 50 :]) < 0) and values[-1] < 0.03


def test_dropout_of_p_darts():
    rate = fading(0.4, 10)
    assert at(rate, 0, 25) == pytest.approx(0.4 * 24 / 25)
    assert at(rate, 10, 25) == pytest.approx(0.4) and at(rate, 24, 25) == pytest.approx(0.4 * np.exp(-2.8))


def test_bad_options_are_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'darts_minus'"):
        methods.build("darts_mins")
    with pytest.raises(UserError, match="did you mean 'decay'"):
        methods.build("darts_minus", ("decy=linear",))
    with pytest.raises(UserError, match="beta of method darts_minus is 'much'; it must be float"):
        methods.build("darts_minus", ("beta=much",))
    with pytest.raises(UserError, match="linear, cosine, slow_cosine, step"):
        methods.build("darts_minus", ("decay=square",))
    with pytest.raises(UserError, match="write option=value"):
        methods.build("darts_minus", ("beta",))
