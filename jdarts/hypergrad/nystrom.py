"""The Nyström approximation of the Hessian from k of its columns, as a solver and as a preconditioner."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from jdarts.errors import UserError
from jdarts.hypergrad.checks import check_count
from jdarts.hypergrad.linear_system import Solver, System
from jdarts.hypergrad.types import PyTree


@dataclass(frozen=True)
class Nystrom(Solver):
    """`(H_k + δI)⁻¹ v` with the Nyström approximation of rank k (Hataya and Yamada 2023, arXiv:2302.09726).

    With a random set K of k weights, the columns `C = H[:, K]` and `W = H[K, K]`:

        H_k = C W⁺ Cᵀ,      (H_k + δI)⁻¹ = I/δ − C (W + CᵀC/δ)⁻¹ Cᵀ / δ²     (Woodbury, if W has an inverse)

    The columns are k Hessian products, one after another; then every right-hand side costs 2k inner products. The
    memory is k vectors of the size of the weights. Here the inverse is computed from an orthonormal basis of C, which
    does not cancel where δ is small. It is exact for k = the number of weights, and for a Hessian of rank k if W has
    this rank. Unlike the error of an iteration, that of H_k does not shrink with more work on the same columns. H_k
    misses curvature outside K: there x is v/δ. So δ must not be small, and `aux.residual` tells the error.

    As the `preconditioner` of `ConjugateGradient`, the same object approximates the inverse, with negative eigenvalues
    of H_k as zero.

    Attributes:
      rank: k, at most the number of weights.
      seed: of the random K. If the training batch has an entry `key`, K is drawn from that key, differently for each
        batch; otherwise it is the same in all calls.

    Raises `UserError` unless the damping is above 0.
    """

    rank: int = 10
    seed: int = 0

    def __post_init__(self):
        check_count("rank", self.rank, 1)

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """`(H_k + δI)⁻¹ v`; from a `start`, that of its residual is added to it."""
        basis, eigenvalues = self._factors(system)
        if start is None:
            return _inverse(basis, eigenvalues, system, v)
        step = _inverse(basis, eigenvalues, system, system.residual(v, start))
        return jax.tree.map(lambda a, b: a + b, start, step)

    def __call__(self, system: System) -> Callable[[PyTree], PyTree]:
        """The preconditioner `r -> (H_k + δI)⁻¹ r`."""
        basis, eigenvalues = self._factors(system)
        return lambda r: _inverse(basis, jnp.maximum(eigenvalues, 0), system, r)

    def _factors(self, system: System) -> tuple[jax.Array, jax.Array]:
        """Orthonormal eigenvectors `[weights, k]` and eigenvalues `[k]` of H_k."""
        if not isinstance(system.damping, Tracer) and system.damping <= 0:
            raise UserError(
                "Nystrom needs a damping above 0, because H_k alone has no inverse; give implicit a damping"
            )
        flat, unravel = ravel_pytree(system.w)
        if self.rank > flat.size:
            raise UserError(f"rank is {self.rank}, but there are {flat.size} weights; use a smaller rank")
        key = jax.random.key(self.seed)
        if isinstance(system.batch, Mapping) and "key" in system.batch:
            key = jax.random.fold_in(system.batch["key"], self.seed)
        chosen = jax.random.choice(key, flat.size, (self.rank,), replace=False)

        def column(index):
            one = unravel(jnp.zeros_like(flat).at[index].set(1))
            return ravel_pytree(system.curvature(system.w, system.alphas, system.batch, one))[0]

        rows = jax.lax.map(column, chosen)  # Cᵀ, one product at a time: the memory of one pass
        inside = rows[:, chosen]
        q, r = jnp.linalg.qr(rows.T)
        # a larger cutoff than the default: an eigenvalue of W near rounding would amplify the rounding errors of C
        cutoff = float(jnp.finfo(flat.dtype).eps) ** 0.5
        within = r @ jnp.linalg.pinv((inside + inside.T) / 2, rtol=cutoff, hermitian=True) @ r.T
        eigenvalues, vectors = jnp.linalg.eigh((within + within.T) / 2)
        return q @ vectors, eigenvalues


def _inverse(basis: jax.Array, eigenvalues: jax.Array, system: System, v: PyTree) -> PyTree:
    flat, unravel = ravel_pytree(v)
    inside = basis.T @ flat
    correction = basis @ (inside / (eigenvalues + system.damping) - inside / system.damping)
    return unravel((flat / system.damping + correction).astype(flat.dtype))
