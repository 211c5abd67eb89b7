"""Every optimiser of optax: reverse mode, forward mode and autodiff through the step give one hypergradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from support.hypergrad_problems import error
from support.optax_aliases import ALIASES

from jdarts import hypergrad
from jdarts.errors import UserError

pytestmark = pytest.mark.usefixtures("x64")
MODES = {"reverse": hypergrad.Reverse(), "forward": hypergrad.Forward()}
COMMON = ("adam", "adaptive_grad_clip", "lamb", "MultiSteps", "polyak_sgd")


def loss(w, alphas, batch):
    """A layer of three units, weighted by alphas in value and strength."""
    p = jax.nn.softmax(alphas["mix"])
    z = batch["x"] @ w["kernel"] + w["bias"]
    error = jnp.mean((p[0] * jnp.tanh(z) + p[1] * jnp.sin(z) + p[2] * z - batch["y"]) ** 2)
    return error + jnp.exp(alphas["shift"]) * jnp.mean(jnp.cos(w["bias"] + 1)), None


def arguments(optimizer, *, dead: bool, real_steps: int):
    """The five arguments with batches for two steps; if `dead`, one input and all biases are zero."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5, 3))
    x[..., 1] *= not dead
    w = {"kernel": jnp.asarray(rng.normal(size=(4, 3))), "bias": jnp.asarray(rng.normal(size=3) * (not dead))}
    alphas = {"mix": jnp.asarray(rng.normal(size=3)), "shift": jnp.asarray(-1.0)}
    batches = [{"x": jnp.asarray(a), "y": jnp.asarray(b)} for a, b in zip(x, y, strict=True)]
    w, state = settling(optimizer)((w, jax.jit(optimizer.init)(w)), real_steps, alphas, batches[2])
    return w, alphas, state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches[:2]), batches[2]


def real_step(optimizer, w, state, alphas, batch):
    value, g = jax.value_and_grad(lambda w: loss(w, alphas, batch)[0])(w)
    updates, state = optax.with_extra_args_support(optimizer).update(g, state, w, value=value, grad=g)
    return optax.apply_updates(w, updates), state


@functools.lru_cache(maxsize=1)
def settling(optimizer):
    """The compiled `(weights, state), number of real steps, alphas, batch -> (weights, state)`."""

    def settled(carry, steps, alphas, batch):
        return jax.lax.fori_loop(0, steps, lambda _, carry: real_step(optimizer, *carry, alphas, batch), carry)

    return jax.jit(settled)


def by_differences(optimizer, w, alphas, state, batches, val_batch):
    """The hypergradient of one step by central differences of its objective, of fourth order."""
    first = jax.tree.map(lambda leaf: leaf[0], batches)
    vector, unravel = jax.flatten_util.ravel_pytree(alphas)
    value = jax.jit(lambda a: loss(real_step(optimizer, w, state, unravel(a), first)[0], unravel(a), val_batch)[0])
    h = 1e-3
    slopes = [
        (8 * (value(vector + h * e) - value(vector - h * e)) - value(vector + 2 * h * e) + value(vector - 2 * h * e))
        / (12 * h)
        for e in np.eye(vector.size)
    ]
    return unravel(jnp.stack(slopes))


def every_way(optimizer):
    """A compiled function of the arguments: `{(steps, way): hypergradient}`."""

    def through_the_step(w, alphas, state, batch, val_batch):
        def hyper(alphas):
            return loss(real_step(optimizer, w, state, alphas, batch)[0], alphas, val_batch)[0]

        return jax.grad(hyper)(alphas)

    def all_ways(w, alphas, state, batches, val_batch):
        first = jax.tree.map(lambda leaf: leaf[0], batches)
        found = {(1, "autodiff"): through_the_step(w, alphas, state, first, val_batch)}
        for steps, mode in ((1, "reverse"), (2, "reverse"), (2, "forward")):
            estimator = hypergrad.unrolled(loss, loss, optimizer, steps=steps, mode=MODES[mode])
            found[steps, mode] = estimator(w, alphas, state, first if steps == 1 else batches, val_batch)[0]
        return found

    return jax.jit(all_ways)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in COMMON else pytest.mark.slow) for name in sorted(ALIASES)]
)
def test_reverse_forward_and_autodiff_agree(name):
    optimizer = ALIASES[name]()
    compiled = every_way(optimizer)
    for dead, real_steps in ((False, 3), (True, 3), (True, 0)):
        given = arguments(optimizer, dead=dead, real_steps=real_steps)
        found = compiled(*given)
        case = (name, dead, real_steps)
        assert error(found[2, "reverse"], found[2, "forward"]) < 1e-8, (case, found)
        if np.isfinite(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found[1, "autodiff"])])).all():
            assert error(found[1, "reverse"], found[1, "autodiff"]) < 1e-8, (case, found)
        elif not dead:  # radam takes the root of a negative number on the branch that it does not choose
            assert error(found[1, "reverse"], by_differences(optimizer, *given)) < 1e-7, (case, found)
        else:
            found.pop((1, "autodiff"))
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)), (case, found)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optax.lbfgs(), "scale_by_zoom_linesearch needs the argument 'value_fn'"),
        (lambda: optax.chain(optax.clip(1.0), optax.masked(optax.lbfgs(), True)), "needs the argument 'value_fn'"),
        (lambda: optax.lookahead(optax.sgd(0.1), 2, 0.5), "optax.lookahead keeps two sets of weights"),
        (lambda: optax.sgd, "use an optax.GradientTransformation"),
    ],
)
@pytest.mark.parametrize("name", ["unrolled", "finite_difference", "neumann"])
def test_an_optimizer_that_wants_more_is_refused_when_the_estimator_is_built(name, make, words):
    with pytest.raises(UserError) as caught:
        hypergrad.ESTIMATORS[name](loss, loss, make())
    assert words in str(caught.value)


def test_an_optimizer_that_fails_at_its_step_is_refused_before_a_loss_is_traced():
    def untouched(w, alphas, batch):
        raise AssertionError("traced")

    optimizer = contrib.sophia(0.1)
    w, alphas, _, _, batch = arguments(optax.sgd(0.1), dead=False, real_steps=0)
    with pytest.raises(UserError, match="the optimizer cannot take a step: ValueError: obj_fn must be provided"):
        hypergrad.unrolled(untouched, untouched, optimizer)(w, alphas, optimizer.init(w), batch, batch)


def flat(tree):
    return np.concatenate([np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(tree)])


def halved(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.dtype == float else leaf, tree)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_weights_of_half_precision(dtype):
    """w' is rounded to the dtype of w, whose adjoint has that dtype, whatever the moments are kept in."""
    optimizer = optax.adam(0.01, eps=0.1, eps_root=1e-4, mu_dtype=jnp.float32)
    w, alphas, state, batches, batch = arguments(optimizer, dead=True, real_steps=0)
    exact = {
        1: flat(jax.jit(hypergrad.unrolled(loss, loss, optimizer))(w, alphas, state, batch, batch)[0]),
        2: flat(jax.jit(hypergrad.unrolled(loss, loss, optimizer, steps=2))(w, alphas, state, batches, batch)[0]),
    }
    w, alphas, batches, batch = halved((w, alphas, batches, batch), dtype)
    state = optimizer.init(w)
    for name in ("unrolled", "finite_difference", "neumann"):
        grads, _ = jax.jit(hypergrad.ESTIMATORS[name](loss, loss, optimizer))(w, alphas, state, batch, batch)
        assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype(dtype)}
        if name == "unrolled":
            np.testing.assert_allclose(flat(grads), exact[1], rtol=0.05, atol=0.05 * np.linalg.norm(exact[1]))
    for mode in (*MODES.values(), hypergrad.Reverse("sqrt")):
        grads, _ = jax.jit(hypergrad.unrolled(loss, loss, optimizer, steps=2, mode=mode))(
            w, alphas, state, batches, batch
        )
        np.testing.assert_allclose(flat(grads), exact[2], rtol=0.05, atol=0.05 * np.linalg.norm(exact[2]))


def test_a_second_moment_that_underflows_is_said_with_its_remedy():
    """float16 rounds ν = 0.001 g² to zero for g below 7e-3, while the first moment is not zero."""
    optimizer = optax.chain(optax.clip_by_global_norm(1e-3), optax.adam(0.01, eps=0.1, mu_dtype=jnp.float32))
    w, alphas, _, _, batch = halved(arguments(optimizer, dead=True, real_steps=0), jnp.float16)
    with pytest.raises(UserError, match=r"of scale_by_adam is infinite .* a larger eps_root"):
        hypergrad.unrolled(loss, loss, optimizer)(w, alphas, optimizer.init(w), batch, batch)


def test_a_state_whose_dtype_changes_at_the_first_step_can_be_carried():
    optimizer = optax.chain(optax.scale_by_distance_over_gradients(), optax.sgd(0.1))
    w, alphas, _, batches, batch = arguments(optimizer, dead=False, real_steps=0)
    w, alphas, batches, batch = halved((w, alphas, batches, batch), jnp.bfloat16)
    estimator = jax.jit(hypergrad.unrolled(loss, loss, optimizer, steps=2))
    assert np.isfinite(flat(estimator(w, alphas, optimizer.init(w), batches, batch)[0])).all()


def test_the_state_of_weights_of_another_dtype_is_refused():
    optimizer = optax.adam(0.1)
    w, alphas, state, _, batch = arguments(optimizer, dead=False, real_steps=1)
    with pytest.raises(UserError, match=r"\.mu\['bias'\] is float64 where bfloat16 is needed"):
        hypergrad.unrolled(loss, loss, optimizer)(halved(w, jnp.bfloat16), alphas, state, batch, batch)
