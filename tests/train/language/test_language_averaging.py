"""NT-ASGD: averages and trigger, each against the authors' or PyTorch's rule written out."""

import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.train.language.averaging import PLAIN, averaged, no_losses, noted


def torch_asgd(start, gradients, rate, decay):
    """Weights and averages `ax` of PyTorch's ASGD with t0 = 0 and lambd = 0, as its documentation states the steps."""
    x, ax, eta, mu, lambd, t0, power = start.copy(), np.zeros_like(start), rate, 1.0, 0.0, 0.0, 0.75
    for step, gradient in enumerate(gradients, start=1):
        gradient = gradient + decay * x
        x = x * (1 - lambd * eta)
        x = x - eta * gradient
        ax = x.copy() if mu == 1 else ax + (x - ax) * mu
        eta = rate / (1 + lambd * rate * step) ** power
        mu = 1 / max(1, step - t0)
        yield x, ax


def test_averages_are_those_of_pytorch(x64):
    rng = np.random.default_rng(0)
    start, average = rng.normal(size=5), jnp.zeros(5)
    for steps, (x, ax) in enumerate(torch_asgd(start, rng.normal(size=(9, 5)), rate=0.3, decay=0.1)):
        average = averaged(average, jnp.asarray(x), jnp.int32(steps))
        np.testing.assert_allclose(average, ax, rtol=1e-14)
    weights = np.array(rng.normal(size=5))
    np.testing.assert_array_equal(averaged(average, jnp.asarray(weights), jnp.int32(PLAIN)), weights)


@pytest.mark.parametrize("nonmono", [1, 3, 5])
def test_averaging_begins_by_the_rule_of_the_authors(x64, nonmono):
    rng = np.random.default_rng(nonmono)
    trigger, losses, answers = no_losses(nonmono), [], []
    for loss in 5 / np.arange(1, 40) + 0.4 * rng.random(39):
        trigger, begins = noted(trigger, jnp.asarray(loss))
        wanted = len(losses) > nonmono and loss > min(losses[:-nonmono])
        assert bool(begins) == wanted
        losses.append(loss)
        answers.append(wanted)
    assert any(answers) and not all(answers)


def test_a_loss_that_is_not_a_number_begins_nothing_and_is_the_lowest_of_nothing(x64):
    trigger, begins = noted(no_losses(1), jnp.asarray(jnp.nan))
    assert not begins
    for loss, wanted in ((1.0, False), (0.9, False), (1.1, True)):
        trigger, begins = noted(trigger, jnp.asarray(loss))
        assert bool(begins) == wanted
