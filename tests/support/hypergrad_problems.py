"""Small bilevel problems and an independent oracle for the hypergradient tests."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = (4, 5, 3)  # of the MLP: inputs, hidden layers, outputs
RATE = 0.05

CHAINS = {
    "sgd": lambda: optax.sgd(RATE),
    "momentum": lambda: optax.sgd(RATE, momentum=0.9),
    "nesterov": lambda: optax.sgd(RATE, momentum=0.9, nesterov=True),
    "decay": lambda: optax.chain(optax.add_decayed_weights(0.03), optax.sgd(RATE, momentum=0.9)),
    "clip_active": lambda: optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(RATE, momentum=0.9)),
    "clip_inactive": lambda: optax.chain(optax.clip_by_global_norm(50.0), optax.sgd(RATE, momentum=0.9)),
    "adam": lambda: optax.adam(RATE),
    "adamw": lambda: optax.adamw(RATE, weight_decay=0.02),
    "schedule": lambda: optax.sgd(optax.cosine_decay_schedule(RATE, 20), momentum=0.9),
    "darts": lambda: optax.chain(
        optax.clip_by_global_norm(0.2),
        optax.add_decayed_weights(0.03),
        optax.trace(0.9),
        optax.scale_by_learning_rate(optax.cosine_decay_schedule(RATE, 20)),
    ),
}


def mlp_loss(w, alphas, batch):
    """Hidden layers whose activations are mixtures weighted by alphas, and a penalty weighted by them."""
    h = batch["x"]
    for layer, mix in zip(w["layers"], alphas["mix"], strict=True):
        z = h @ layer["kernel"] + layer["bias"]
        p = jax.nn.softmax(mix)
        h = p[0] * jnp.tanh(z) + p[1] * jax.nn.sigmoid(z) + p[2] * jnp.sin(z)
        if "key" in batch:
            h = h * jax.random.bernoulli(batch["key"], 0.7, h.shape) / 0.7
    logits = h @ w["head"]
    penalty = jnp.mean(w["head"] ** 2) * jnp.exp(alphas["penalty"])
    error = jnp.mean(jnp.sum((logits - batch["y"]) ** 2, axis=-1))
    return error + penalty, {"mean": jnp.mean(logits), "count": jnp.int32(len(h))}


def mlp_problem(seed=0, *, n=8, dtype=np.float64, dropout=False, sizes=SIZES):
    """`(w, alphas, batch maker)` for `mlp_loss`; `make(i)` is batch number i."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    layers = [{"kernel": normal(a, b) / np.sqrt(a), "bias": 0.1 * normal(b)} for a, b in pairwise(sizes[:-1])]
    w = {"layers": layers, "head": normal(*sizes[-2:]) / np.sqrt(sizes[-2])}
    alphas = {"mix": [0.3 * normal(3) for _ in layers], "penalty": 0.1 * normal() - 2}

    def make(i):
        batch_rng = np.random.default_rng([seed, i])
        x, y = (jnp.asarray(batch_rng.normal(size=(n, size)), dtype) for size in (sizes[0], sizes[-1]))
        return {"x": x, "y": y, **({"key": jax.random.key(1000 + i)} if dropout else {})}

    return w, alphas, make


def warm_state(optimizer, w, alphas, batches, loss=mlp_loss):
    """Weights and optimiser state after a step on each batch: momenta and counters are not zero."""

    @jax.jit
    def step(w, state, batch):
        g = jax.grad(lambda w_: loss(w_, alphas, batch)[0])(w)
        updates, state = optimizer.update(g, state, w)
        return optax.apply_updates(w, updates), state

    state = optimizer.init(w)
    for batch in batches:
        w, state = step(w, state, batch)
    return w, state


def objective(train_loss, val_loss, optimizer, w, opt_state, batches, val_batch):
    """`J(α)`: the validation loss after a training step on each batch, all in one differentiable function."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

    def hyper(alphas):
        def step(carry, batch):
            g = jax.grad(lambda x: train_loss(x, alphas, batch)[0])(carry[0])
            updates, state = optimizer.update(g, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        (end, _), _ = jax.lax.scan(step, (w, opt_state), stacked)
        return val_loss(end, alphas, val_batch)[0]

    return hyper


def error(got, expected):
    """Relative error in Euclidean norm over all leaves."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (got, expected))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def quadratic(seed=0, size=6, alphas=3):
    """A quadratic training loss with known Hessian and its closed-form hypergradient at the optimum.

    `L_train = ½ wᵀ A w − wᵀ B α`, so `w* = A⁻¹ B α`; `L_val = ½ ‖w − c‖² + ½ ‖α‖²`.
    Returns `(train_loss, val_loss, w*, α, A, exact gradient, first-order gradient)`.
    """
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(size, size)))[0]
    a = q @ np.diag(np.linspace(0.5, 2.0, size)) @ q.T
    b, c, alpha = rng.normal(size=(size, alphas)), rng.normal(size=size), rng.normal(size=alphas)
    w = np.linalg.solve(a, b @ alpha)

    def train_loss(w, alphas, batch):
        return 0.5 * w @ a @ w - w @ b @ alphas + 0 * jnp.sum(batch), None

    def val_loss(w, alphas, batch):
        return 0.5 * jnp.sum((w - c) ** 2) + 0.5 * jnp.sum(alphas**2) + 0 * jnp.sum(batch), None

    exact = alpha + b.T @ np.linalg.solve(a, w - c)
    return train_loss, val_loss, jnp.asarray(w), jnp.asarray(alpha), a, exact, alpha


def ridge(seed=0, n=12, size=4):
    """Ridge regression with a strength `exp(α_i)` for each weight; closed form from the normal equations.

    Returns `(train_loss, val_loss, w*, α, train batch, val batch, exact gradient)`.
    """
    rng = np.random.default_rng(seed)
    x, y, xv, yv = (rng.normal(size=shape) for shape in ((n, size), (n,), (n, size), (n,)))
    alpha = 0.3 * rng.normal(size=size)

    def train_loss(w, alphas, batch):
        return jnp.mean((batch["x"] @ w - batch["y"]) ** 2) + jnp.sum(jnp.exp(alphas) * w**2), None

    def val_loss(w, alphas, batch):
        del alphas
        return jnp.mean((batch["x"] @ w - batch["y"]) ** 2), None

    curvature = 2 * x.T @ x / n + 2 * np.diag(np.exp(alpha))
    w = np.linalg.solve(curvature, 2 * x.T @ y / n)
    v = 2 * xv.T @ (xv @ w - yv) / n
    exact = -2 * np.exp(alpha) * w * np.linalg.solve(curvature, v)
    batches = [{"x": jnp.asarray(a), "y": jnp.asarray(b)} for a, b in ((x, y), (xv, yv))]
    return train_loss, val_loss, jnp.asarray(w), jnp.asarray(alpha), *batches, exact
