"""Losses with custom derivative rules: the estimators that accept them, and the conditions for exactness."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.hypergrad_problems import error, objective

from jdarts import hypergrad
from jdarts.errors import UserError

pytestmark = pytest.mark.usefixtures("x64")

OPTIMIZER = optax.sgd(0.1, momentum=0.9)
BUILDERS = {
    "unrolled": hypergrad.unrolled,
    "unrolled_1_forward": lambda *a: hypergrad.unrolled(*a, mode=hypergrad.Forward()),
    "unrolled_2": lambda *a: hypergrad.unrolled(*a, steps=2),
    "unrolled_2_sqrt": lambda *a: hypergrad.unrolled(*a, steps=2, mode=hypergrad.Reverse("sqrt")),
    "unrolled_2_forward": lambda *a: hypergrad.unrolled(*a, steps=2, mode=hypergrad.Forward()),
    "finite_difference": hypergrad.finite_difference,
    "neumann": hypergrad.neumann,
    "conjugate_gradient": lambda *a: hypergrad.conjugate_gradient(*a, iterations=2, damping=1.0),
    "amended": hypergrad.amended,
}


def with_rule(forward, slope, *, value=jnp.tanh):
    """`value` as a function with a `custom_vjp`: `forward` in its rule, `slope(x)` as the derivative."""
    function = jax.custom_vjp(value)
    function.defvjp(lambda x: (forward(x), x), lambda x, t: (t * slope(x),))
    return function


def looped(x):
    """tanh in a while loop, which has no reverse-mode derivative."""
    return jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, jnp.tanh(c[1])), (0, x))[1]


def called_back(x):
    return jax.pure_callback(np.tanh, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")


SIMPLE = with_rule(jnp.tanh, lambda x: 1 - jnp.tanh(x) ** 2)
RULES = {
    "simple": SIMPLE,
    "nested": with_rule(SIMPLE, lambda x: 1 - SIMPLE(x) ** 2),
    "looped": with_rule(looped, lambda x: 1 - looped(x) ** 2),
}
OPAQUE = with_rule(called_back, lambda x: 1 - called_back(x) ** 2, value=called_back)


def make_loss(act, of_alphas=None):
    """`act` of only the weights, of weights and alphas, and (unless given otherwise) of only the alphas."""
    of_alphas = of_alphas or act

    def loss(w, alphas, batch):
        hidden = act(batch["x"] @ w["in"])
        outputs = act(hidden * jax.nn.softmax(alphas)) @ w["out"]
        return jnp.mean((outputs - batch["y"]) ** 2) + jnp.sum(of_alphas(alphas) ** 2) * jnp.mean(w["out"] ** 2), None

    return loss


def arguments(name, optimizer=OPTIMIZER):
    rng = np.random.default_rng(0)
    w = {"in": jnp.asarray(rng.normal(size=(4, 3))), "out": jnp.asarray(rng.normal(size=3))}
    batches = [{"x": jnp.asarray(rng.normal(size=(5, 4))), "y": jnp.asarray(rng.normal(size=5))} for _ in range(3)]
    train = hypergrad.stack_batches(batches[:2]) if "_2" in name else batches[0]
    return w, jnp.asarray(rng.normal(size=3)), optimizer.init(w), train, batches[2]


@pytest.fixture(scope="module")
def expected():
    """The gradients by every estimator with JAX's own derivative of tanh."""
    with jax.enable_x64(True):
        plain = make_loss(jnp.tanh)
        return {name: jax.jit(build(plain, plain, OPTIMIZER))(*arguments(name))[0] for name, build in BUILDERS.items()}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", BUILDERS)
def test_a_custom_rule_that_is_the_gradient_changes_nothing(name, rule, expected):
    loss = make_loss(RULES[rule])
    run = jax.jit(BUILDERS[name](loss, loss, OPTIMIZER))
    if rule == "nested" and name.endswith("forward"):
        with pytest.raises(UserError, match=r"twice: .*custom_vjp.*; mode=Reverse\(\) may be able to") as caught:
            run(*arguments(name))
        assert "\n" not in str(caught.value)
    else:
        assert error(run(*arguments(name))[0], expected[name]) < 1e-12


@pytest.mark.parametrize("name", BUILDERS)
def test_a_loss_without_second_derivative_is_refused_in_one_line(name, expected):
    loss = make_loss(OPAQUE)
    run = jax.jit(BUILDERS[name](loss, loss, OPTIMIZER))
    if name == "finite_difference":
        assert error(run(*arguments(name))[0], expected[name]) < 1e-12
        return
    able = r"mode=Reverse\(\)" if name.endswith("forward") else "first_order, single_level and finite_diff"
    with pytest.raises(UserError, match=f"the loss 'loss' cannot be differentiated twice: .*Pure callbacks.*; {able}"):
        run(*arguments(name))


def test_first_order_needs_one_derivative():
    loss, plain = make_loss(OPAQUE), make_loss(jnp.tanh)
    for build in (hypergrad.first_order, hypergrad.single_level):
        got, expected = (jax.jit(build(one, one))(*arguments("unrolled"))[0] for one in (loss, plain))
        assert error(got, expected) < 1e-12


def test_a_loss_without_derivative_is_refused_in_one_line():
    loss = make_loss(called_back)
    for name in ("unrolled", "finite_difference"):
        with pytest.raises(UserError, match="the loss 'loss' cannot be differentiated: ValueError: Pure callbacks"):
            BUILDERS[name](loss, loss, OPTIMIZER)(*arguments(name))


def test_flags_in_a_batch_stay_flags():
    def loss(w, alphas, batch):
        value, aux = make_loss(jnp.tanh)(w, alphas, batch)
        return (value if batch["train"] and batch["kind"] == "plain" else 0 * value), aux

    w, alphas, state, *batches = arguments("unrolled")
    marked = [{**batch, "train": True, "kind": "plain"} for batch in batches]
    got = hypergrad.unrolled(loss, loss, OPTIMIZER)(w, alphas, state, *marked)[0]
    plain = make_loss(jnp.tanh)
    assert error(got, hypergrad.unrolled(plain, plain, OPTIMIZER)(w, alphas, state, *batches)[0]) < 1e-12


STRAIGHT = with_rule(jnp.tanh, jnp.ones_like)  # the derivative of the identity (Bengio et al. 2013), not of tanh


@pytest.mark.parametrize("steps", [1, 2])
def test_reverse_mode_presumes_that_mixed_derivatives_commute(steps):
    """A rule that is not the gradient makes them differ: forward mode is right, reverse mode is not."""
    loss, name = make_loss(STRAIGHT, of_alphas=jnp.tanh), "unrolled" if steps == 1 else "unrolled_2"
    w, alphas, state, train, val = inputs = arguments(name)
    batches = [train] if steps == 1 else [jax.tree.map(lambda a, i=i: a[i], train) for i in range(2)]
    right = jax.jit(jax.grad(objective(loss, loss, OPTIMIZER, w, state, batches, val)))(alphas)
    reverse, forward = (
        jax.jit(hypergrad.unrolled(loss, loss, OPTIMIZER, steps=steps, mode=mode))(*inputs)[0]
        for mode in (hypergrad.Reverse(), hypergrad.Forward())
    )
    assert error(forward, right) < 1e-12
    assert error(reverse, right) > 1e-3


@pytest.mark.parametrize("optimizer", [optax.sign_sgd(0.05), optax.lion(0.05)], ids=["sign_sgd", "lion"])
@pytest.mark.parametrize("steps", [1, 2])
def test_sign_optimizers_leave_the_direct_term_alone(optimizer, steps):
    loss, name = make_loss(jnp.tanh), "unrolled" if steps == 1 else "unrolled_2"
    w, alphas, state, train, val = inputs = arguments(name, optimizer)
    for i in range(steps):
        batch = train if steps == 1 else jax.tree.map(lambda a, i=i: a[i], train)
        updates, state = optimizer.update(jax.grad(lambda w, batch=batch: loss(w, alphas, batch)[0])(w), state, w)
        w = optax.apply_updates(w, updates)
    direct = jax.grad(lambda a: loss(w, a, val)[0])(alphas)
    grads, _ = jax.jit(hypergrad.unrolled(loss, loss, optimizer, steps=steps))(*inputs)
    np.testing.assert_allclose(grads, direct, rtol=1e-12)
