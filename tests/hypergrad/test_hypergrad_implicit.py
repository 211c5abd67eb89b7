"""Implicit estimators against closed forms, and Neumann's series between first order, unrolling and the optimum."""

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optax
import pytest
from support.hypergrad_problems import CHAINS, error, mlp_loss, mlp_problem, quadratic, ridge, warm_state

from jdarts import hypergrad

pytestmark = pytest.mark.usefixtures("x64")
DUMMY = jnp.zeros(2)


TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def jacobi(system):
    """The inverse of the diagonal of H, from products."""
    eye = jnp.eye(len(system.w))
    diagonal = jnp.diagonal(jax.vmap(system.multiply)(eye))
    return lambda r: r / diagonal


SOLVERS = {
    "neumann": lambda: hypergrad.Neumann(400, 0.9),
    "cg": lambda: hypergrad.ConjugateGradient(6),
    "preconditioned cg": lambda: hypergrad.ConjugateGradient(6, preconditioner=jacobi),
    "lineax cg": lambda: lineax.CG(**TIGHT),
    "lineax gmres": lambda: lineax.GMRES(**TIGHT),
    "lineax bicgstab": lambda: hypergrad.Lineax(lineax.BiCGStab(**TIGHT), preconditioner=jacobi),
    "lineax lu": lineax.LU,
    "own function": lambda: lambda multiply, v: jax.scipy.sparse.linalg.gmres(multiply, v, tol=1e-13)[0],
}


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_equals_the_closed_forms(name):
    """A quadratic with several seeds in one vmapped program, and ridge regression, with and without a damping."""
    solver = SOLVERS[name]()
    train_loss, val_loss, w, alpha, a, exact, first = quadratic()
    grads, aux = jax.jit(hypergrad.implicit(train_loss, val_loss, solver=solver))(w, alpha, None, DUMMY, DUMMY)
    assert error(grads, exact) < 1e-11 and aux.residual < 1e-11

    b, v = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha), w - 2.0
    many = jnp.stack([w, v])
    damped = hypergrad.implicit(train_loss, val_loss, solver=solver, damping=0.1)
    several, aux = jax.jit(jax.vmap(damped, (0, None, None, None, None)))(many, alpha, None, DUMMY, DUMMY)
    for one, each in zip(several, many, strict=True):
        slope = jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(each)
        expected = first + b.T @ np.linalg.solve(a + 0.1 * np.eye(6), slope)
        assert error(one, expected) < 1e-10

    if name == "neumann":
        solver = hypergrad.Neumann(2000, 0.1)
    train_loss, val_loss, w, alpha, train_batch, val_batch, exact = ridge()
    estimator = hypergrad.implicit(train_loss, val_loss, solver=solver, microbatches=2)
    grads, aux = jax.jit(estimator)(w, alpha, None, train_batch, val_batch)
    assert error(grads, exact) < 1e-10 and aux.residual < 1e-10


def test_neumann_with_an_optimizer_equals_the_closed_form():
    train_loss, val_loss, w, alpha, _, exact, _ = quadratic()
    estimator = hypergrad.neumann(train_loss, val_loss, optax.sgd(0.9), terms=400)
    grads, aux = jax.jit(estimator)(w, alpha, optax.sgd(0.9).init(w), DUMMY, DUMMY)
    assert error(grads, exact) < 1e-11 and aux.residual < 1e-11


def test_a_good_preconditioner_saves_iterations():
    """Curvatures 1 to 10,000 along the axes: Jacobi is the inverse, and one iteration is exact."""
    curvature = jnp.logspace(0, 4, 5)

    def train_loss(w, alphas, batch):
        return 0.5 * jnp.sum(curvature * w**2) - w @ alphas, None

    def val_loss(w, alphas, batch):
        return jnp.sum(w), None

    for preconditioner, exact in ((jacobi, True), (None, False)):
        solver = hypergrad.ConjugateGradient(1, preconditioner=preconditioner)
        estimator = hypergrad.implicit(train_loss, val_loss, solver=solver)
        grads, _ = jax.jit(estimator)(jnp.ones(5), jnp.ones(5), None, DUMMY, DUMMY)
        assert (error(grads, 1 / curvature) < 1e-12) == exact


@pytest.mark.parametrize("microbatches", [1, 2])
def test_gauss_newton_products_in_place_of_the_hessian(microbatches):
    """Against the dense matrix `Jᵀ (∇²ℓ) J` of a network whose Hessian is indefinite."""
    rng = np.random.default_rng(0)
    batches = [{"x": jnp.asarray(rng.normal(size=(8, 3))), "y": jnp.asarray(rng.normal(size=(8, 2)))} for _ in range(2)]
    w = {"in": jnp.asarray(rng.normal(size=(3, 4))), "out": jnp.asarray(rng.normal(size=(4, 2)))}
    alphas = jnp.asarray(rng.normal(size=4))

    def network(w, alphas, batch):
        return jnp.tanh(batch["x"] @ w["in"]) * jax.nn.softmax(alphas) @ w["out"]

    def criterion(outputs, batch):
        return jnp.mean(jax.nn.logsumexp(outputs, axis=-1) + 0.5 * jnp.sum((outputs - batch["y"]) ** 2, axis=-1))

    def loss(w, alphas, batch):
        return criterion(network(w, alphas, batch), batch), None

    flat, unravel = jax.flatten_util.ravel_pytree(w)
    jacobian = jax.jacobian(lambda w: network(unravel(w), alphas, batches[0]).ravel())(flat)
    outputs = network(w, alphas, batches[0])
    inside = jax.hessian(lambda o: criterion(o.reshape(8, 2), batches[0]))(outputs.ravel())
    matrix = jacobian.T @ inside @ jacobian + 0.1 * np.eye(flat.size)
    hessian = jax.hessian(lambda w: loss(unravel(w), alphas, batches[0])[0])(flat)
    assert np.linalg.eigvalsh(hessian)[0] < -0.01 < 0 < np.linalg.eigvalsh(matrix)[0]
    v = jax.grad(lambda w: loss(unravel(w), alphas, batches[1])[0])(flat)
    mixed = jax.jacobian(jax.grad(lambda w, a: loss(unravel(w), a, batches[0])[0]), 1)(flat, alphas)
    expected = jax.grad(lambda a: loss(w, a, batches[1])[0])(alphas) - mixed.T @ np.linalg.solve(matrix, v)

    solver = hypergrad.GaussNewton(network, criterion, hypergrad.ConjugateGradient(40))
    estimator = hypergrad.implicit(loss, loss, solver=solver, damping=0.1, microbatches=microbatches)
    grads, aux = jax.jit(estimator)(w, alphas, None, *batches)
    assert error(grads, expected) < 1e-9 and aux.residual < 1e-9


@pytest.mark.parametrize("terms", [0, 1, 3])
def test_a_truncated_series_and_its_residual(terms):
    """iDARTS' formula with K = terms − 1 written out with the matrix of the quadratic, damping included."""
    train_loss, val_loss, w, alpha, a, _, first = quadratic()
    gamma, delta = 0.3, 0.2
    h = a + delta * np.eye(len(a))
    v = np.asarray(jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))
    x = gamma * sum((np.linalg.matrix_power(np.eye(len(a)) - gamma * h, k) @ v for k in range(terms)), np.zeros(len(a)))
    b = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha)  # [weights, alphas]
    estimator = hypergrad.implicit(train_loss, val_loss, solver=hypergrad.Neumann(terms, gamma), damping=delta)
    grads, aux = estimator(w, alpha, None, DUMMY, DUMMY)
    np.testing.assert_allclose(grads, first + b.T @ x, rtol=1e-12)
    np.testing.assert_allclose(aux.residual, np.linalg.norm(v - h @ x) / np.linalg.norm(v), rtol=1e-12)


@pytest.mark.parametrize("iterations", [0, 2])
def test_truncated_cg_reports_its_residual(iterations):
    train_loss, val_loss, w, alpha, a, _, first = quadratic()
    estimator = hypergrad.conjugate_gradient(train_loss, val_loss, iterations=iterations, damping=0.1)
    grads, aux = estimator(w, alpha, None, DUMMY, DUMMY)
    if iterations == 0:
        np.testing.assert_allclose(grads, first)
        assert aux.residual == 1
    else:
        h = a + 0.1 * np.eye(len(a))
        v = np.asarray(jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))
        krylov = np.stack([v, h @ v], axis=1)
        x = krylov @ np.linalg.solve(krylov.T @ h @ krylov, krylov.T @ v)  # CG minimises the energy over this space
        b = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha)
        np.testing.assert_allclose(grads, first + b.T @ x, rtol=1e-10)
        np.testing.assert_allclose(aux.residual, np.linalg.norm(v - h @ x) / np.linalg.norm(v), rtol=1e-10)


def logistic(dtype=np.float64, train_scale=1.0, val_scale=1.0):
    """Logistic regression from a cold start, w = 0, with one input that is always 0; alphas scale the inputs.

    Returns `(train_loss, val_loss, w, alphas, v, H, mixed)`: gradient, Hessian and mixed derivative [weights, alphas]
    by the closed forms at w = 0, where every probability is 1/2 and alphas move no logit.
    """
    rng = np.random.default_rng(0)
    x, xv = rng.normal(size=(2, 30, 5)) * np.array([1, 2, 0.3, 0, 1])
    y, yv = (rng.random(size=(2, 30)) < 0.5).astype(float)
    alpha = 0.3 * rng.normal(size=5)

    def loss(scale, inputs, labels, moved):
        def value(w, alphas, batch):
            del batch
            logits = jnp.asarray(inputs, dtype) @ (jnp.exp(alphas) * w if moved else w)
            signs = jnp.asarray(1 - 2 * labels, dtype)
            return jnp.asarray(scale, dtype) * jnp.mean(jax.nn.softplus(signs * logits)), None

        return value

    scaled = x * np.exp(alpha)
    v = val_scale * xv.T @ (0.5 - yv) / 30
    hessian = train_scale * scaled.T @ scaled / 30 / 4
    mixed = train_scale * np.diag(scaled.T @ (0.5 - y) / 30)  # ∂/∂α_j of exp(α_j) x_j (1/2 − y)
    losses = loss(train_scale, x, y, True), loss(val_scale, xv, yv, False)
    return *losses, jnp.zeros(5, dtype), jnp.asarray(alpha, dtype), v, hessian, mixed


@pytest.mark.parametrize("iterations", [1, 2, 3, 4, 5, 9])
def test_every_iterate_of_cg_from_a_cold_start(iterations):
    """Against conjugate gradients written out in NumPy, and a dense solve at the end; H is singular."""
    train_loss, val_loss, w, alpha, v, h, mixed = logistic()
    x, r, p = np.zeros(5), v, v
    for _ in range(min(iterations, 4)):  # 4 inputs have curvature
        length = r @ r / (p @ h @ p)
        x, new = x + length * p, r - length * h @ p
        r, p = new, new + (new @ new) / (r @ r) * p
    estimator = hypergrad.conjugate_gradient(train_loss, val_loss, iterations=iterations)
    grads, aux = jax.jit(estimator)(w, alpha, None, DUMMY, DUMMY)
    np.testing.assert_allclose(grads, -mixed.T @ x, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(aux.residual, np.linalg.norm(v - h @ x) / np.linalg.norm(v), rtol=1e-8, atol=1e-12)
    if iterations >= 4:
        np.testing.assert_allclose(grads, -mixed.T @ np.linalg.lstsq(h, v, rcond=1e-12)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("train_scale", "val_scale"), [(1.0, 1e25), (1.0, 1e-30), (1e25, 1e25), (1e-12, 1.0), (1e-12, 1e-30)]
)
def test_cg_in_float32_where_squares_leave_the_range(train_scale, val_scale):
    train_loss, val_loss, w, alpha, v, h, mixed = logistic(np.float32, train_scale, val_scale)
    estimator = hypergrad.conjugate_gradient(train_loss, val_loss, iterations=4)
    grads, aux = jax.jit(estimator)(w, alpha, None, DUMMY, DUMMY)
    expected = -mixed.T @ np.linalg.lstsq(h, v, rcond=1e-12)[0]
    assert np.linalg.norm(grads - expected) < 1e-3 * np.linalg.norm(expected) and aux.residual < 1e-3


@pytest.mark.parametrize(("train_scale", "val_scale"), [(1e-44, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_cg_without_curvature_or_gradient_is_first_order(train_scale, val_scale):
    train_loss, val_loss, w, alpha, *_ = logistic(np.float32, train_scale, val_scale)
    grads, aux = jax.jit(hypergrad.conjugate_gradient(train_loss, val_loss))(w, alpha, None, DUMMY, DUMMY)
    assert not np.any(grads) and aux.residual == (1 if val_scale else 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("iterations", [1, 2, 50])
def test_cg_ends_where_curvature_is_rounding(dtype, iterations):
    """H = Q diag(1, 0) Qᵀ for many rotations Q; by hand, in the coordinates of Q.

    v = (1, 1): one step of length vᵀv / vᵀHv = 2, and the next direction, (0, 2), has no curvature but rounding errors
    of either sign. v = (1, 0), in the range of H: x is H⁺v = v, and further directions are rounding errors.
    """
    angles = np.linspace(0, 3, 40)
    q = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]).transpose(2, 0, 1)
    estimator = hypergrad.conjugate_gradient(
        lambda w, alphas, batch: (0.5 * (w @ batch["q"][:, 0]) ** 2 + w @ alphas, None),
        lambda w, alphas, batch: (w @ batch["q"] @ batch["v"], None),
        iterations=iterations,
    )
    for v, x in (((1, 1), (2, 2)), ((1, 0), (1, 0))):
        batch = {"q": jnp.asarray(q, dtype), "v": jnp.broadcast_to(jnp.asarray(v, dtype), (40, 2))}
        w = jnp.zeros(2, dtype)
        grads, aux = jax.jit(jax.vmap(estimator, in_axes=(None, None, None, 0, 0)))(w, w, None, batch, batch)
        np.testing.assert_allclose(grads, -q @ np.array(x), rtol=0, atol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(aux.residual, np.linalg.norm(np.array(v) - [x[0], 0]) / np.linalg.norm(v), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cg_of_pixels_that_are_black_in_training_only_is_finite(dtype):
    """Weights that move only the validation loss, without damping: many iterations gave NaN."""
    rng = np.random.default_rng(0)
    x, xv, y = rng.normal(size=(16, 5)), rng.normal(size=(16, 5)), rng.integers(0, 2, 16)
    x[:, 1:] = 0
    train, val = ({"x": jnp.asarray(images, dtype), "y": jnp.asarray(y, dtype)} for images in (x, xv))

    def loss(w, alphas, batch):
        z = batch["x"] @ (w["k"] * jnp.exp(alphas)) + w["b"]
        return jnp.mean(jax.nn.softplus(z) - batch["y"] * z), None

    w = {"k": jnp.asarray(rng.normal(size=5), dtype), "b": jnp.asarray(0.1, dtype)}
    estimator = hypergrad.conjugate_gradient(loss, loss, iterations=50)
    grads, aux = jax.jit(estimator)(w, jnp.zeros(5, dtype), None, train, val)
    assert np.isfinite(grads).all() and np.isfinite(aux.residual)


def test_cg_stops_at_negative_curvature():
    def train_loss(w, alphas, batch):
        return 0.5 * (w[0] ** 2 - w[1] ** 2) + w @ alphas, None

    def val_loss(w, alphas, batch):
        return w @ jnp.array([2.0, 1.0]), None

    w = alpha = jnp.ones(2)
    grads, aux = hypergrad.conjugate_gradient(train_loss, val_loss, iterations=5)(w, alpha, None, DUMMY, DUMMY)
    # v = (2, 1) bends by 4 − 1 > 0: one step of length 5/3. The next direction is v-conjugate and bends by less than 0.
    np.testing.assert_allclose(grads, -5 / 3 * np.array([2.0, 1.0]), rtol=1e-12)
    assert 0 < aux.residual < 2 and bool(jnp.isfinite(aux.residual))


def test_amended_puts_eta_h_for_the_inverse():
    train_loss, val_loss, w, alpha, a, _, first = quadratic()
    v = np.asarray(jax.grad(lambda w: val_loss(w, alpha, DUMMY)[0])(w))
    b = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(w))(alpha)
    grads, aux = hypergrad.amended(train_loss, val_loss, coefficient=0.3)(w, alpha, None, DUMMY, DUMMY)
    np.testing.assert_allclose(grads, first + 0.3 * b.T @ a @ v, rtol=1e-12)
    np.testing.assert_allclose(aux.val_loss, val_loss(w, alpha, DUMMY)[0])
    grads, _ = hypergrad.amended(train_loss, val_loss, coefficient=0)(w, alpha, None, DUMMY, DUMMY)
    np.testing.assert_allclose(grads, first, rtol=1e-12)


@pytest.mark.parametrize("chain", ["darts", "adamw"])
def test_one_term_at_the_unrolled_weights_is_the_unrolled_gradient(chain):
    w, alphas, make = mlp_problem()
    optimizer = CHAINS[chain]()
    w, state = warm_state(optimizer, w, alphas, [make(10)])
    arguments = (w, alphas, state, make(0), make(1))
    exact = jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))(*arguments)[0]
    series = hypergrad.neumann(mlp_loss, mlp_loss, optimizer, terms=1, point="unrolled")
    assert error(jax.jit(series)(*arguments)[0], exact) < 1e-12
    none = jax.jit(hypergrad.neumann(mlp_loss, mlp_loss, optimizer, terms=0))(*arguments)[0]
    assert error(none, jax.jit(hypergrad.first_order(mlp_loss, mlp_loss))(*arguments)[0]) < 1e-14


def test_terms_are_steps_that_stand_still():
    """On a quadratic, k steps of decayed SGD from the optimum of loss plus decay do not move: both must agree."""
    train_loss, val_loss, _, alpha, a, _, _ = quadratic()
    delta = 0.2
    optimizer = optax.chain(optax.add_decayed_weights(delta), optax.sgd(0.3))
    b = -jax.jacobian(lambda al: jax.grad(lambda w: train_loss(w, al, DUMMY)[0])(jnp.zeros(len(a))))(alpha)
    w = jnp.linalg.solve(a + delta * np.eye(len(a)), b @ alpha)
    state = optimizer.init(w)
    series, _ = hypergrad.neumann(train_loss, val_loss, optimizer, terms=4)(w, alpha, state, DUMMY, DUMMY)
    steps = hypergrad.unrolled(train_loss, val_loss, optimizer, steps=4)
    np.testing.assert_allclose(series, steps(w, alpha, state, jnp.zeros((4, 2)), DUMMY)[0], rtol=1e-12)


def test_products_on_explicit_matrices():
    w, alphas, make = mlp_problem()
    vector, unravel = jax.flatten_util.ravel_pytree(w)
    flat_alphas, unravel_alphas = jax.flatten_util.ravel_pytree(alphas)

    def f(w, a):
        return mlp_loss(unravel(w), unravel_alphas(a), make(0))[0]

    u = jnp.asarray(np.random.default_rng(0).normal(size=vector.size))
    hessian = jax.jit(jax.hessian(f))(vector, flat_alphas)
    mixed = jax.jit(jax.jacobian(jax.grad(f, argnums=1)))(vector, flat_alphas)
    np.testing.assert_allclose(hypergrad.hvp(lambda w: f(w, flat_alphas), vector, u), hessian @ u, rtol=1e-9)
    np.testing.assert_allclose(hypergrad.mixed_hvp(f, vector, flat_alphas, u), mixed @ u, rtol=1e-9)
    by_w, by_alphas = jax.jit(hypergrad.both_products(mlp_loss))(w, alphas, make(0), unravel(u))
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(by_w)[0], hessian @ u, rtol=1e-9)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(by_alphas)[0], mixed @ u, rtol=1e-9)

    def network(w):
        return jnp.tanh(make(0)["x"] @ w.reshape(4, 5))

    def loss(outputs):
        return jnp.sum(jax.nn.logsumexp(outputs, axis=-1))

    x, v = vector[:20], u[:20]
    jacobian = jax.jacobian(network)(x).reshape(-1, 20)
    inside = jax.hessian(lambda y: loss(y.reshape(-1, 5)))(network(x).reshape(-1))
    expected = jacobian.T @ inside @ jacobian @ v
    np.testing.assert_allclose(hypergrad.gauss_newton_vp(network, loss, x, v), expected, rtol=1e-9)
