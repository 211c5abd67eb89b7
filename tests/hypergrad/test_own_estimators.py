"""Estimators of the user's own: functions and registered names in configurations and methods, and their mistakes."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest

from jdarts import hypergrad
from jdarts.config import SearchConfig, own_estimators
from jdarts.config.experiment import Experiment
from jdarts.config.files import from_json, to_json
from jdarts.errors import UserError
from jdarts.methods import Method

W, ALPHAS, OPTIMIZER = jnp.ones(3), {"a": jnp.arange(3.0)}, optax.sgd(0.1)
ARGUMENTS = (W, ALPHAS, OPTIMIZER.init(W), jnp.ones(2), jnp.ones(2))


def loss(w, alphas, batch):
    return jnp.sum(w**2 * alphas["a"]) * jnp.mean(batch), None


def scaled(train_loss, val_loss, optimizer, *, factor: float = 2.0):
    """The first-order gradient times a factor."""
    first = hypergrad.first_order(train_loss, val_loss)

    def estimator(*arguments):
        grads, aux = first(*arguments)
        return jax.tree.map(lambda g: factor * g, grads), aux

    return estimator


def test_a_configuration_takes_a_function_or_its_registered_name():
    by_function = SearchConfig(hypergradient=scaled)  # pyright: ignore[reportArgumentType]
    assert by_function.hypergradient == "scaled"
    config = Experiment(search=by_function)
    assert from_json(to_json(config)) == config, "a run's file holds the name"
    own_estimators.OWN.clear()
    assert hypergrad.register(scaled) is scaled
    for settings, factor in (
        (SearchConfig(hypergradient="scaled"), 2.0),
        (SearchConfig(hypergradient="scaled", hypergradient_options=("factor=-3",)), -3.0),
    ):
        grads, aux = hypergrad.by_name(settings, loss, loss, OPTIMIZER)(*ARGUMENTS)
        assert jnp.allclose(grads["a"], factor)
        assert float(aux.val_loss) == 3


def test_a_method_takes_a_function():
    method = Method("mine", "", "", hypergradient=scaled, hypergradient_options={"factor": 5.0})
    assert method.hypergradient == "scaled"
    settings = SearchConfig(hypergradient=method.hypergradient)
    options = method.hypergradient_options
    assert jnp.allclose(hypergrad.by_name(settings, loss, loss, OPTIMIZER, options=options)(*ARGUMENTS)[0]["a"], 5)


def test_memory_and_batches_pass_through():
    def counting(train_loss, val_loss, optimizer):
        first = hypergrad.first_order(train_loss, val_loss)

        def estimate(w, alphas, opt_state, train_batch, val_batch, count):
            grads, aux = first(w, alphas, opt_state, train_batch, val_batch)
            return grads, aux._replace(memory=count + 1)

        return hypergrad.WithMemory(lambda w, alphas: jnp.zeros(()), estimate, batches=3)

    estimator = hypergrad.by_name(SearchConfig(hypergradient=counting), loss, loss, OPTIMIZER)  # pyright: ignore[reportArgumentType]
    assert hypergrad.batches_of(estimator) == 3
    assert hypergrad.batches_of(hypergrad.unrolled(loss, loss, OPTIMIZER, steps=4)) == 4
    _, aux = estimator(*ARGUMENTS)
    assert float(estimator(*ARGUMENTS, aux.memory)[1].memory) == 2


def no_aux(train_loss, val_loss, optimizer):
    return lambda *arguments: arguments[1]


def wrong_shape(train_loss, val_loss, optimizer):
    return lambda *arguments: ({"a": jnp.zeros(2)}, hypergrad.Aux(jnp.zeros(()), None))


def nothing(train_loss, val_loss, optimizer):
    return None


def too_few(train_loss):
    return None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hypergradient": no_aux}, r"no_aux must return \(grads, jdarts.hypergrad.Aux\), not dict"),
        ({"hypergradient": wrong_shape}, r"wrong_shape returned grads \{'a': \(\(2,\), .*they must be like the alphas"),
        ({"hypergradient": nothing}, "nothing returned NoneType; it must return an estimator"),
        ({"hypergradient": too_few}, r"too_few cannot be called with \(train_loss, val_loss, optimizer\): too many"),
        ({"hypergradient": scaled, "microbatches": 2}, "scaled does not take microbatches; use 1"),
        ({"hypergradient": scaled, "hypergradient_options": ("factor=x",)}, "factor of hypergradient scaled is 'x'"),
        ({"hypergradient": scaled, "hypergradient_options": ("factr=1",)}, "'factr'; did you mean 'factor'"),
        ({"hypergradient": scaled, "hypergradient_options": ("factor",)}, "has 'factor'; write option=value"),
        ({"hypergradient": "unrolled", "hypergradient_options": ("steps=2",)}, "search.unroll_steps sets steps"),
        ({"hypergradient": "finite_difference", "hypergradient_options": ("epsilon=-1",)}, "epsilon is -1"),
        ({"hypergradient": "single_level", "hypergradient_options": ("a=1",)}, "single_level has no options"),
    ],
)
def test_mistakes_are_told_in_one_line(settings, message):
    with pytest.raises(UserError, match=message) as caught:
        hypergrad.by_name(SearchConfig(**settings), loss, loss, OPTIMIZER)(*ARGUMENTS)
    assert "\n" not in str(caught.value)


def test_names_are_not_taken_twice():
    with pytest.raises(UserError, match="unrolled is an estimator of jdarts; choose another name"):
        hypergrad.register(hypergrad.unrolled)
    with pytest.raises(UserError, match="has no name; define it with def"):
        hypergrad.register(partial(scaled, factor=3.0))
    elsewhere: dict = {}
    exec(compile("def scaled(train_loss, val_loss, optimizer): pass", "elsewhere.py", "exec"), elsewhere)
    hypergrad.register(scaled)
    with pytest.raises(UserError, match=r"'scaled' is already registered, by .*test_own_estimators.py; .*elsewhere.py"):
        hypergrad.register(elsewhere["scaled"])
