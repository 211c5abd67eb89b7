"""Estimators inside a mapped axis give the value of one device, or refuse: jit, vmap, pmap, both kinds of shard_map."""

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from jdarts import hypergrad
from jdarts.errors import UserError

OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.1), optax.add_decayed_weights(0.03), optax.sgd(0.1, momentum=0.9))
W = jnp.array([0.3, -0.5])
ALPHAS = jnp.array([0.2, 0.7])


def loss(w, alphas, batch):
    """The mean over a batch of `x [n, 2]` and `y [n]`, without a collective."""
    errors = jnp.tanh(batch["x"] @ (w * jnp.exp(alphas))) - batch["y"]
    return jnp.mean(errors**2), {"mean": jnp.mean(errors), "count": errors.size}


def reduced(w, alphas, batch):
    value, aux = loss(w, alphas, batch)
    return jax.lax.pmean((value, {"mean": aux["mean"]}), "data")


def reducing_all(w, alphas, batch):
    """A loss as users may write it: the mean of equal weights is its own transpose, so gradients are means, too."""
    w, alphas = jax.lax.pmean((w, alphas), "data")
    return reduced(w, alphas, batch)


def unrolled(**options):
    return lambda *losses, **more: hypergrad.unrolled(*losses, OPTIMIZER, **options, **more)


BUILDERS = {
    "first_order": hypergrad.first_order,
    "single_level": hypergrad.single_level,
    "unrolled": unrolled(),
    "unrolled_parts": unrolled(microbatches=2),
    "unrolled_1_forward": unrolled(mode=hypergrad.Forward()),
    "unrolled_2": unrolled(steps=2),
    "unrolled_3_sqrt": unrolled(steps=3, mode=hypergrad.Reverse("sqrt")),
    "unrolled_3_forward": unrolled(steps=3, mode=hypergrad.Forward()),
    "finite_difference": lambda *losses, **more: hypergrad.finite_difference(*losses, OPTIMIZER, **more),
    "neumann": lambda *losses, **more: hypergrad.neumann(*losses, OPTIMIZER, point="unrolled", **more),
    "conjugate_gradient": lambda *losses, **more: hypergrad.conjugate_gradient(*losses, damping=1.0, **more),
    "amended": hypergrad.amended,
    "nystrom": lambda *losses, **more: hypergrad.implicit(
        *losses, solver=hypergrad.Nystrom(1, seed=1), damping=0.7, **more
    ),
    "lineax": lambda *losses, **more: hypergrad.implicit(
        *losses, solver=lineax.CG(rtol=1e-12, atol=1e-12, max_steps=2), damping=1.0, **more
    ),
    "amortised": lambda *losses, **more: second_call(hypergrad.amortised(*losses, **more)),
    "penalised": lambda *losses, **more: second_call(hypergrad.penalised(*losses, **more)),
}


def second_call(estimator):
    """The estimator with the memory that its first call returns."""

    def call(*arguments):
        return estimator(*arguments, estimator(*arguments)[1].memory)

    return call


def network(w, alphas, batch):
    return jnp.tanh(batch["x"] @ (w * jnp.exp(alphas)))


def gauss_newton(*losses, **more):
    """Implicit differentiation with the Gauss–Newton matrix of `loss`."""

    def criterion(outputs, batch):
        return jnp.mean((outputs - batch["y"]) ** 2)

    solver = hypergrad.GaussNewton(network, criterion, hypergrad.ConjugateGradient(2))
    return hypergrad.implicit(*losses, solver=solver, damping=0.1, **more)


def steps_of(name):
    return int(name.split("_")[1]) if name.startswith("unrolled_") and name != "unrolled_parts" else 1


def rows(seed):
    x, y = np.split(np.random.default_rng(seed).normal(size=(8, 3)), [2], axis=1)
    return {"x": x, "y": y[:, 0]}


# In the training batch, examples come first and steps second, so that one set of arguments serves any number of steps.
TRAIN = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *map(rows, range(3)))
ARGUMENTS = (W, ALPHAS, OPTIMIZER.init(W), TRAIN, rows(9))


def call(name, losses, arguments, **options):
    """The gradient and aux of the estimator of that name."""
    w, alphas, state, train, val = arguments
    steps = steps_of(name)
    batches = jax.tree.map(lambda a: a[:, 0] if steps == 1 else jnp.moveaxis(a, 1, 0)[:steps], train)
    return BUILDERS[name](*losses, **options)(w, alphas, state, batches, val)


def mapped(function, devices):
    """Each way to map `function` of ARGUMENTS over the axis `data` of that many devices."""
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:devices])
    specs = {"mesh": mesh, "in_specs": (P(), P(), P(), P("data"), P("data"))}

    def split(batch):
        return jax.tree.map(lambda a: a.reshape(devices, -1, *a.shape[1:]), batch)

    def on_parts(map):
        mapped = map(function, in_axes=(None, None, None, 0, 0), axis_name="data")
        return lambda w, alphas, state, train, val: mapped(w, alphas, state, split(train), split(val))

    return {
        "shard_map": jax.jit(jax.shard_map(lambda *a: function(*a), **specs, out_specs=P())),
        "shard_map_unchecked": jax.jit(
            jax.shard_map(
                lambda *a: jax.tree.map(lambda leaf: leaf[None], function(*a)),
                **specs,
                out_specs=P("data"),
                check_vma=False,
            )
        ),
        "vmap": jax.jit(on_parts(jax.vmap)),
        "pmap": on_parts(lambda f, **options: jax.pmap(f, **options, devices=jax.devices()[:devices])),
    }


def equal(got, expected, rtol=1e-12):
    """True if each replica's value in `got` is the expected one."""
    return np.allclose(got, np.broadcast_to(expected, np.shape(got)), rtol=rtol, atol=0)


@pytest.fixture(scope="module")
def expected():
    """Gradient, value and mean of one device, by name of the estimator."""
    return jax.jit(lambda *a: outcomes((loss, loss), a))(*ARGUMENTS)


def outcomes(losses, arguments, **options):
    found = {}
    for name in BUILDERS:
        grads, aux = call(name, losses, arguments, **options)
        found[name] = jnp.concatenate([grads, aux.val_loss[None], aux.val_aux["mean"][None]])
    return found


@pytest.mark.parametrize(("devices", "one"), [(2, loss), (4, reduced)])
def test_every_way_and_estimator_gives_the_value_of_one_device(devices, one, expected):
    ways = mapped(lambda *a: outcomes((one, one), a, axis_name="data"), devices)
    for way in ways if devices == 2 else ("shard_map", "pmap"):
        got = ways[way](*ARGUMENTS)
        wrong = {name: got[name] for name in BUILDERS if not equal(got[name], expected[name])}
        assert not wrong, (way, wrong)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_loss_that_reduces_is_refused_where_its_gradient_is_a_share(name):
    for way, run in mapped(lambda *a: call(name, (reduced, reduced), a)[0], 2).items():
        if way != "shard_map":  # there types tell JAX to reduce the gradient
            with pytest.raises(UserError, match=r"communicates over axis 'data'.* give the estimator axis_name='data'"):
                run(*ARGUMENTS)


def test_the_gauss_newton_matrix_is_that_of_the_whole_batch():
    w, alphas, state, train, val = ARGUMENTS
    arguments = (w, alphas, state, jax.tree.map(lambda a: a[:, 0], train), val)
    grads, aux = jax.jit(gauss_newton(loss, loss))(*arguments)
    assert aux.residual < 1e-12
    for way, run in mapped(lambda *a: gauss_newton(loss, loss, axis_name="data")(*a)[0], 2).items():
        assert equal(run(*arguments), grads), way


def test_a_loss_that_reduces_its_gradients_itself_is_accepted(expected):
    run = mapped(lambda *a: call("unrolled", (reducing_all, reducing_all), a)[0], 2)
    for way in ("pmap", "vmap"):
        assert equal(run[way](*ARGUMENTS), expected["unrolled"][:2]), way


def test_types_reduce_the_gradients_of_a_loss_that_reduces(expected):
    got = mapped(lambda *a: outcomes((reduced, reduced), a), 2)["shard_map"](*ARGUMENTS)
    assert all(equal(got[name], expected[name]) for name in BUILDERS), got


def test_a_loss_without_collectives_stays_that_of_a_replica():
    halves = [jax.tree.map(lambda a, i=i: a[4 * i : 4 * i + 4], ARGUMENTS[3:]) for i in range(2)]
    alone = jax.jit(lambda *a: call("unrolled", (loss, loss), a)[0])
    each = np.stack([alone(*ARGUMENTS[:3], *half) for half in halves])
    assert np.abs(each[0] - each[1]).max() > 1e-2
    for way, run in mapped(lambda *a: call("unrolled", (loss, loss), a)[0], 2).items():
        if way == "shard_map":  # there its gradient would be the sum over the replicas
            with pytest.raises(UserError, match="would be the sum over them; give the estimator axis_name='data'"):
                run(*ARGUMENTS)
        else:
            np.testing.assert_allclose(run(*ARGUMENTS), each, rtol=1e-12)


@pytest.mark.parametrize("check_vma", [True, False])
def test_two_axes_and_products(check_vma, expected):
    """A batch split over both axes of a mesh, for an estimator and for a building block."""
    mesh = jax.make_mesh((2, 2), ("a", "b"), (jax.sharding.AxisType.Auto,) * 2, devices=jax.devices()[:4])
    u, axes = jnp.array([1.0, -2.0]), ("a", "b")

    def function(*a):
        products = hypergrad.both_products(loss, axis_name=axes)(a[0], a[1], a[4], u)
        return call("unrolled", (loss, loss), a, axis_name=axes)[0], *products

    specs = (P(), P(), P(), P(axes), P(axes))
    got = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=check_vma))(*ARGUMENTS)
    gradient = jax.grad(lambda w, a: loss(w, a, ARGUMENTS[4])[0], (0, 1))
    matrices = jax.jit(jax.jacobian(gradient))(W, ALPHAS)
    for found, right in zip(got, (expected["unrolled"][:2], *(m @ u for m in matrices)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12)


def test_wrong_axes_are_refused():
    with pytest.raises(UserError, match="axis_name is 'rows', but no such axis is mapped here"):
        call("unrolled", (loss, loss), ARGUMENTS, axis_name="rows")
    with pytest.raises(UserError, match=r"axis_name is \['data'\]; use the name of a mapped axis"):
        call("first_order", (loss, loss), ARGUMENTS, axis_name=["data"])
    run = mapped(lambda *a: call("first_order", (loss, loss), (a[4]["x"][0], *a[1:]), axis_name="data")[0], 2)
    with pytest.raises(UserError, match="w differs between the replicas of axis 'data'"):
        run["shard_map"](*ARGUMENTS)


@pytest.mark.parametrize("control", ["scan", "cond"])
def test_collectives_inside_control_flow_are_seen(control):
    def inside(w, alphas, batch):
        def body(value):
            return jax.lax.pmean(value, "data")

        value, aux = loss(w, alphas, batch)
        if control == "scan":
            value = jax.lax.scan(lambda c, _: (body(c), None), value, length=2)[0]
        else:
            value = jax.lax.cond(w[0] > 0, body, body, value)
        return value, aux

    with pytest.raises(UserError, match="communicates over axis 'data'"):
        mapped(lambda *a: call("first_order", (inside, inside), a)[0], 2)["pmap"](*ARGUMENTS)
