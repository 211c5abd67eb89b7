"""Bad input is refused with one clear error, before a loss is traced unless the loss itself is at fault."""

import jax
import jax.numpy as jnp
import optax
import pytest

from jdarts import hypergrad
from jdarts.config import SearchConfig
from jdarts.errors import UserError

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9))
W, ALPHAS = jnp.ones(3), {"a": jnp.ones(3)}
STATE = OPTIMIZER.init(W)
BATCH = {"x": jnp.ones((4, 3))}


def loss(w, alphas, batch):
    return jnp.mean(batch["x"] @ (w * alphas["a"])), None


def untraceable(w, alphas, batch):
    raise AssertionError("the loss was traced")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: hypergrad.unrolled(loss, loss, OPTIMIZER, steps=0), "steps is 0; use a whole number, 1 or more"),
        (lambda: hypergrad.unrolled(loss, loss, OPTIMIZER, steps=1.5), "steps is 1.5"),
        (lambda: hypergrad.unrolled(loss, loss, OPTIMIZER, mode="up"), "mode is 'up'; use jdarts.hypergrad.Reverse()"),
        (lambda: hypergrad.unrolled(loss, loss, OPTIMIZER, mode=hypergrad.Reverse("none")), "checkpoint is 'none'"),
        (lambda: hypergrad.unrolled(loss, loss, OPTIMIZER, mode=hypergrad.Forward(0)), "chunk is 0"),
        (lambda: hypergrad.unrolled(loss, loss, OPTIMIZER, steps=2, mode=hypergrad.Reverse(last=3)), "only 2 steps"),
        (lambda: hypergrad.first_order(loss, loss, microbatches=0), "microbatches is 0"),
        (lambda: hypergrad.finite_difference(loss, loss, OPTIMIZER, epsilon=-0.01), "epsilon is -0.01; use a positive"),
        (lambda: hypergrad.finite_difference(loss, loss, OPTIMIZER, epsilon=0), "epsilon is 0; use a positive number"),
        (lambda: hypergrad.finite_difference(loss, loss, OPTIMIZER, noise="new"), "noise is 'new'"),
        (lambda: hypergrad.neumann(loss, loss, OPTIMIZER, terms=-1), "terms is -1; use a whole number, 0 or more"),
        (lambda: hypergrad.neumann(loss, loss, None), "neumann needs an optimizer; without one, use implicit(solver="),
        (lambda: hypergrad.implicit(loss, loss, damping=-1.0), "damping is -1.0; use a number, 0 or more"),
        (lambda: hypergrad.implicit(loss, loss, solver="cg"), "solver is 'cg'; use Neumann(terms, step_size), Conj"),
        (lambda: hypergrad.implicit(loss, loss, solver=hypergrad.Neumann), "use Neumann(terms, step_size)"),
        (lambda: hypergrad.Neumann(3, 0.0), "step_size is 0.0; use a positive number"),
        (lambda: hypergrad.ConjugateGradient(tolerance=-1), "tolerance is -1; use a number, 0 or more"),
        (lambda: hypergrad.conjugate_gradient(loss, loss, iterations=-2), "iterations is -2"),
        (lambda: hypergrad.amended(loss, loss, coefficient=float("nan")), "coefficient is nan"),
        (lambda: hypergrad.stack_batches([]), "no batches to stack"),
        (lambda: hypergrad.stack_batches([BATCH, {"y": 1}]), "different structure"),
    ],
)
def test_options(build, message):
    with pytest.raises(UserError) as caught:
        build()
    assert message in str(caught.value)


LONGER = OPTIMIZER.init(jnp.ones(4))


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({}, (W, {}, STATE, BATCH, BATCH), "alphas is {}; it holds no arrays"),
        ({}, (W, {"a": jnp.ones(3, int)}, STATE, BATCH, BATCH), "alphas['a'] is int32[3]; it must be a floating-point"),
        ({}, (W, {"a": "soft"}, STATE, BATCH, BATCH), "alphas['a'] is str; it must be a floating-point array"),
        ({}, (jnp.arange(3), ALPHAS, STATE, BATCH, BATCH), "w is int32[3]; it must be a floating-point array"),
        ({}, (W, ALPHAS, LONGER, BATCH, BATCH), "has shape (4,) where (3,) is needed; pass the state"),
        ({}, (W, ALPHAS, STATE[1:], BATCH, BATCH), "opt_state does not fit w"),
        ({}, (W, ALPHAS, optax.adam(0.1).init(W), BATCH, BATCH), "opt_state does not fit w"),
        ({}, (W, ALPHAS, STATE, BATCH, {"images": BATCH["x"]}), "['x'] is missing"),
        ({}, (W, ALPHAS, STATE, {**BATCH, "y": jnp.ones(4)}, BATCH), "['y'] is missing"),
        ({"microbatches": 3}, (W, ALPHAS, STATE, BATCH, BATCH), "microbatches is 3, but train_batch has 4 examples"),
        ({"steps": 3}, (W, ALPHAS, STATE, BATCH, BATCH), "train_batch['x'] has shape (4, 3); 3 steps need 3"),
    ],
)
def test_arguments_are_refused_before_the_loss_is_traced(options, arguments, message):
    estimator = hypergrad.unrolled(untraceable, untraceable, OPTIMIZER, **options)
    for call in (estimator, jax.jit(estimator)):
        if call is not estimator and "str" in message:
            continue
        with pytest.raises(UserError) as caught:
            call(*arguments)
        assert message in str(caught.value)


def test_arrays_of_different_length_cannot_be_split():
    batch = {"x": jnp.ones((4, 3)), "y": jnp.ones(2)}
    with pytest.raises(UserError, match="differ in leading length"):
        hypergrad.first_order(untraceable, untraceable, microbatches=2)(W, ALPHAS, None, BATCH, batch)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: (x, None), "'bad' returned float32[4] as its value; return one real scalar"),
        (lambda x: (jnp.int32(1), None), "returned int32 scalar as its value"),
        (lambda x: jnp.sum(x), "returned float32 scalar; return (scalar, aux)"),
        (lambda x: {}["a"], "the loss 'bad' cannot use its arguments: KeyError: 'a'; alphas are {'a': float32[3]}"),
    ],
)
@pytest.mark.parametrize("name", sorted(hypergrad.ESTIMATORS))
def test_losses(name, result, message):
    def bad(w, alphas, batch):
        return result(batch["x"] @ (w * alphas["a"]))

    with pytest.raises(UserError) as caught:
        hypergrad.ESTIMATORS[name](bad, bad, OPTIMIZER)(W, ALPHAS, STATE, BATCH, BATCH)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", sorted(hypergrad.ESTIMATORS))
def test_settings_choose_the_estimator(name):
    settings = SearchConfig(hypergradient=name, hypergradient_terms=2, microbatches=2)
    cg = {"solver": hypergrad.ConjugateGradient(2), "damping": 3e-4}
    options = {
        "neumann": {"terms": 2},
        "conjugate_gradient": {"iterations": 2, "damping": 3e-4},
        **{"implicit": cg, "warm_started": cg, "amortised": {"damping": 3e-4}},
    }
    expected = hypergrad.ESTIMATORS[name](loss, loss, OPTIMIZER, **options.get(name, {}))
    grads, _ = hypergrad.by_name(settings, loss, loss, OPTIMIZER)(W, ALPHAS, STATE, BATCH, BATCH)
    assert jnp.allclose(grads["a"], expected(W, ALPHAS, STATE, BATCH, BATCH)[0]["a"], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unroll_steps": 0}, "search.unroll_steps is 0; it must be 1 to 1,000"),
        ({"unroll_steps": 2, "hypergradient": "neumann"}, "only unrolled looks more than one step ahead"),
        ({"hypergradient_terms": -1}, "search.hypergradient_terms is -1"),
        ({"microbatches": 0}, "search.microbatches is 0"),
        ({"microbatches": 3}, "search.microbatches is 3 with batch_size 64; use a number that divides it"),
        ({"microbatches": 64}, "search.microbatches is 64 with batch_size 64"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(UserError) as caught:
        SearchConfig(**options)
    assert message in str(caught.value)
