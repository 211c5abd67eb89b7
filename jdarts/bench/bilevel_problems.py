"""Small bilevel problems on the data sets of scikit-learn, whose value function can be computed exactly.

The problems are those of the bilevel benchmark of benchopt (Dagréou et al. 2022) in kind: a penalty for each feature of
ridge and of logistic regression, and a weight for each training example, some of which have wrong labels. With few
weights and a strongly convex training loss, Newton's method gives the exact `w*(α)`, and the dense system gives the
gradient of `h(α) = L_val(w*(α), α)`. Neither uses the estimators of `jdarts.hypergrad`.

All arrays are float64: make and use a problem where x64 is enabled. Both losses contain a small quadratic term that
keeps the optimum finite.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.hypergrad import Loss

_NEWTON_STEPS, _NEWTON_STEPS_NEAR = 9, 4
_PULL = 1e-2  # of the alphas towards zero, in the validation loss


@dataclass(frozen=True)
class BilevelProblem:
    """A bilevel problem with its start and step sizes.

    Attributes:
      description: in words.
      train_loss, val_loss: `loss(w, alphas, batch) -> (scalar, None)`, means over a batch `{"x", "y", "index"}`.
      w, alphas: vectors, the start.
      train, val: the whole training and validation data, as batches.
      inner_step: step size of gradient descent on the weights, below 2 / (largest eigenvalue of the Hessian).
      outer_step: step size of Adam on the alphas.
    """

    description: str
    train_loss: Loss
    val_loss: Loss
    w: jax.Array
    alphas: jax.Array
    train: dict[str, jax.Array]
    val: dict[str, jax.Array]
    inner_step: float
    outer_step: float

    def solve(self, alphas: jax.Array, near: jax.Array | None = None) -> jax.Array:
        """`w*(alphas)`, by Newton's method from the start, or by fewer steps from weights `near` it."""

        def objective(w):
            return self.train_loss(w, alphas, self.train)[0]

        def step(w, _):
            return w - jnp.linalg.solve(jax.hessian(objective)(w), jax.grad(objective)(w)), None

        start, steps = (self.w, _NEWTON_STEPS) if near is None else (near, _NEWTON_STEPS_NEAR)
        return jax.lax.scan(step, start, length=steps)[0]

    @functools.cached_property
    def value_and_gradient(self) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
        """`alphas -> (h, dh/dα)`, by the implicit function theorem with dense matrices."""

        def dense(alphas):
            w = self.solve(alphas)
            value, (v, d) = jax.value_and_grad(lambda w, a: self.val_loss(w, a, self.val)[0], (0, 1))(w, alphas)
            slope = jax.grad(lambda w, a: self.train_loss(w, a, self.train)[0])
            hessian, mixed = jax.jacfwd(slope)(w, alphas), jax.jacrev(slope, 1)(w, alphas)
            return value, d - mixed.T @ jnp.linalg.solve(hessian, v)

        return jax.jit(dense)

    @functools.cached_property
    def values(self) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """`(w [n, …], alphas [n, …]) -> h [n]`, for weights near the optimum."""

        def value(point):
            w, alphas = point
            return self.val_loss(self.solve(alphas, near=w), alphas, self.val)[0]

        return jax.jit(lambda w, alphas: jax.lax.map(value, (w, alphas)))

    def optimum(self) -> tuple[np.ndarray, float]:
        """`(alphas, h)` at the local optimum that L-BFGS of SciPy finds from the start with the exact gradient."""
        from scipy.optimize import minimize

        def function(alphas):
            value, gradient = self.value_and_gradient(jnp.asarray(alphas))
            return float(value), np.asarray(gradient)

        options = {"maxiter": 2000, "maxfun": 4000, "gtol": 1e-8, "ftol": 1e-14}
        found = minimize(function, np.asarray(self.alphas), jac=True, method="L-BFGS-B", options=options)
        return found.x, float(found.fun)


def make_ridge() -> BilevelProblem:
    """Ridge regression on scikit-learn's diabetes data, 442 patients: a penalty exp(α_i) for each of 10 features."""
    from sklearn.datasets import load_diabetes

    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    train, val = _halves(_standard(x), _standard(y))

    def error(w, batch):
        return 0.5 * jnp.mean((batch["x"] @ w - batch["y"]) ** 2)

    return BilevelProblem(
        "ridge regression, a penalty for each of 10 features (diabetes)",
        *_selection(error),
        w=jnp.zeros(10),
        alphas=jnp.zeros(10),
        train=train,
        val=val,
        inner_step=0.2,
        outer_step=0.3,
    )


def make_logistic() -> BilevelProblem:
    """Logistic regression on scikit-learn's breast cancer data, 569 patients: a penalty for each of 30 features."""
    from sklearn.datasets import load_breast_cancer

    x, y = map(np.asarray, load_breast_cancer(return_X_y=True))
    train, val = _halves(_standard(x), 2.0 * y - 1)

    def error(w, batch):
        return jnp.mean(jax.nn.softplus(-batch["y"] * (batch["x"] @ w)))

    return BilevelProblem(
        "logistic regression, a penalty for each of 30 features (breast cancer)",
        *_selection(error),
        w=jnp.zeros(30),
        alphas=jnp.zeros(30),
        train=train,
        val=val,
        inner_step=0.5,
        outer_step=0.3,
    )


def make_cleaning() -> BilevelProblem:
    """Data cleaning on scikit-learn's digits 0 to 4, 16 principal components: a weight for each of 200 examples.

    40 % of the training labels are replaced by random ones. The weight of example i in the training loss is the
    sigmoid of α_i; the validation data are clean.
    """
    from sklearn.datasets import load_digits

    x, y = map(np.asarray, load_digits(n_class=5, return_X_y=True))
    x = x - x.mean(axis=0)
    x = x @ np.linalg.svd(x, full_matrices=False)[2][:16].T
    x = np.c_[x / x[:, 0].std(), np.ones(len(x))]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))[:500]
    train, val = _batch(x[order[:200]], y[order[:200]]), _batch(x[order[200:]], y[order[200:]])
    wrong = rng.random(200) < 0.4
    train["y"] = jnp.asarray(np.where(wrong, rng.integers(0, 5, 200), y[order[:200]]))

    def entropies(w, batch):
        scores = jax.nn.log_softmax(batch["x"] @ w.reshape(-1, 5))
        return -jnp.take_along_axis(scores, batch["y"][:, None], axis=1)[:, 0]

    def train_loss(w, alphas, batch):
        weights = jax.nn.sigmoid(alphas[batch["index"]])
        return jnp.mean(weights * entropies(w, batch)) + 0.5 * 1e-2 * jnp.sum(w**2), None

    def val_loss(w, alphas, batch):
        return jnp.mean(entropies(w, batch)) + 0.5 * _PULL * jnp.mean(alphas**2), None

    return BilevelProblem(
        "data cleaning, a weight for each of 200 training examples (digits 0 to 4)",
        train_loss,
        val_loss,
        w=jnp.zeros(17 * 5),
        alphas=jnp.zeros(200),
        train=train,
        val=val,
        inner_step=5.0,
        outer_step=0.3,
    )


PROBLEMS: dict[str, Callable[[], BilevelProblem]] = {
    "ridge": make_ridge,
    "logistic": make_logistic,
    "cleaning": make_cleaning,
}


def _selection(error: Callable[[Any, Any], jax.Array]) -> tuple[Loss, Loss]:
    """The two losses of a problem with a penalty `½ exp(α_i) w_i²` for each feature."""

    def train_loss(w, alphas, batch):
        return error(w, batch) + 0.5 * jnp.sum(jnp.exp(alphas) * w**2), None

    def val_loss(w, alphas, batch):
        return error(w, batch) + 0.5 * _PULL * jnp.mean(alphas**2), None

    return train_loss, val_loss


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def _halves(x: np.ndarray, y: np.ndarray) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    order = np.random.default_rng(0).permutation(len(x))
    half = len(x) // 2
    return _batch(x[order[:half]], y[order[:half]]), _batch(x[order[half : 2 * half]], y[order[half : 2 * half]])


def _batch(x: np.ndarray, y: np.ndarray) -> dict[str, jax.Array]:
    return {"x": jnp.asarray(x), "y": jnp.asarray(y), "index": jnp.arange(len(x))}
