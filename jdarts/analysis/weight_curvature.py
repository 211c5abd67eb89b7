"""Curvature of a loss by the weights, `∂²L/∂w²`, by matrix-vector products, since the matrix is too large to store.

Lanczos gives the ends of the spectrum, stochastic Lanczos quadrature its density, and Hutchinson's estimator the trace
(Ghorbani et al. 2019; Yao et al. 2020). On accelerators, the Lanczos of matfree runs as one compiled loop
(`pip install "jdarts[analysis]"`).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jdarts import kernels
from jdarts.errors import UserError
from jdarts.hypergrad import Loss, hvp
from jdarts.hypergrad.checks import scalar_loss


class Spectrum(NamedTuple):
    """A spectral density estimate; float64.

    Attributes:
      nodes, weights: Ritz values `[probes, steps]`, and the share of the spectrum of each (rows sum to 1).
      largest, smallest: extreme Ritz values over all probes.
    """

    nodes: np.ndarray
    weights: np.ndarray
    largest: float
    smallest: float

    def density(self, grid: np.ndarray, width: float) -> np.ndarray:
        """Density at `grid [m]`, a sum of Gaussians of standard deviation `width` at the nodes; its integral is 1."""
        z = (np.asarray(grid)[:, None] - self.nodes.reshape(-1)) / width
        kernel = np.exp(-0.5 * z * z) / (width * np.sqrt(2 * np.pi))
        return kernel @ self.weights.reshape(-1) / len(self.nodes)


class Trace(NamedTuple):
    """Hutchinson's estimate of a trace and its standard error over the probes."""

    mean: float
    error: float


def weight_product(loss: Loss, w: Any, alphas: Any, batch: Any, *, compile: Callable = jax.jit) -> Callable:
    """`v [p] -> ∇²_w L · v [p]` over the flattened weights, at fixed alphas and batch; in the dtype of the weights."""
    vector, unflatten = ravel_pytree(w)

    def product(v, vector, alphas, batch):
        return hvp(lambda x: scalar_loss(loss)(unflatten(x), alphas, batch)[0], vector, v)

    compiled = compile(product)
    return lambda v: compiled(jnp.asarray(v, vector.dtype), vector, alphas, batch)


def lanczos(
    product: Callable, start: jax.Array, steps: int, *, loop: Literal["auto", "matfree", "python"] = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values `[steps]`, ascending, and their squared first components, from `start [p]`.

    Every vector is reorthogonalised against all earlier ones. `loop="matfree"` runs all steps as one compiled loop,
    "python" calls one product per step. "auto" takes the faster one (`kernels.Machine.loops`).

    Raises `UserError` for a wrong number of steps, for a start of norm zero, or if matfree is needed and missing.
    """
    size = start.shape[0]
    if not 1 <= steps <= size:
        raise UserError(f"Lanczos steps is {steps} for {size} weights; use 1 to {size}")
    if not float(jnp.linalg.norm(start)) > 0:
        raise UserError("the start vector of Lanczos has norm zero; give another vector")
    if loop == "matfree" or (loop == "auto" and kernels.machine().loops == "compiled"):
        decompose = _matfree().tridiag_sym(steps, reortho="full", materialize=True)
        tridiagonal = np.asarray(decompose(product, start).J_small, np.float64)
    else:
        tridiagonal = _tridiagonal(product, start, steps)
    values, vectors = np.linalg.eigh(tridiagonal)
    return values, vectors[0] ** 2


def _tridiagonal(product: Callable, start: jax.Array, steps: int) -> np.ndarray:
    """The `steps × steps` tridiagonal matrix of the Lanczos recursion; every new vector is orthogonalised twice."""
    basis = [np.asarray(start, np.float64) / np.linalg.norm(np.asarray(start, np.float64))]
    matrix = np.zeros((steps, steps))
    for i in range(steps):
        image = np.asarray(product(jnp.asarray(basis[i], start.dtype)), np.float64)
        matrix[i, i] = basis[i] @ image
        if i + 1 == steps:
            break
        found = np.stack(basis)
        for _ in range(2):
            image = image - found.T @ (found @ image)
        length = np.linalg.norm(image)
        if length < 1e-12 * max(1.0, np.abs(matrix).max()):  # the Krylov space is exhausted
            return matrix[: i + 1, : i + 1]
        matrix[i, i + 1] = matrix[i + 1, i] = length
        basis.append(image / length)
    return matrix


def weight_spectrum(
    product: Callable, size: int, key: jax.Array, *, steps: int = 30, probes: int = 4, dtype=float
) -> Spectrum:
    """Stochastic Lanczos quadrature: the spectral density of the `size` × `size` matrix behind `product`.

    `dtype` is the dtype of the probes; `float` is float32, or float64 under `jax_enable_x64`.
    """
    if probes < 1:
        raise UserError(f"probes is {probes}; use at least 1")
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    for i, k in enumerate(jax.random.split(key, probes)):
        values, shares = lanczos(product, jax.random.normal(k, (size,), dtype), steps)
        nodes[i], nodes[i, : len(values)], weights[i, : len(values)] = values[-1], values, shares
    return Spectrum(nodes, weights, float(nodes.max()), float(nodes.min()))


def hutchinson_trace(product: Callable, size: int, key: jax.Array, *, probes: int = 16, dtype=float) -> Trace:
    """The mean of `zᵀ H z` over random signs z of `dtype`, an unbiased estimate of the trace."""
    if probes < 2:
        raise UserError(f"probes is {probes}; use at least 2, for an error bar")
    signs = (jax.random.rademacher(k, (size,), dtype) for k in jax.random.split(key, probes))
    values = np.array([float(jnp.vdot(z, product(z))) for z in signs])
    return Trace(float(values.mean()), float(values.std(ddof=1) / np.sqrt(probes)))


def _matfree():
    try:
        from matfree import decomp
    except ImportError:
        raise UserError('Lanczos needs the package matfree; install it with pip install "jdarts[analysis]"') from None
    return decomp
