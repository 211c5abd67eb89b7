"""The exact Hessian of a loss by the alphas, `∂²L/∂α²`: a dense n × n matrix (224 × 224 for the DARTS space).

RobustDARTS monitors its largest eigenvalue (Zela et al. 2020, §3; the procedure is that of their code). The Hessian is
exact: automatic differentiation needs no step size. By default `jdarts.analysis.dense_hessian` computes it as one
program that `jdarts.staging` compiles in pieces. The plain form, for sharded batches and other compilers, computes
columns as Hessian-vector products, forward over reverse: `H v = jax.jvp(∇_α L, (α,), (v,))`. It linearises the gradient
once per batch and pushes a chunk of directions at a time through the linear map.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import kernels
from jdarts.analysis.compiling import compile_pieces
from jdarts.analysis.dense_hessian import hessian_of
from jdarts.analysis.directions import flatten, project_off, shift_directions, unit_directions
from jdarts.errors import DoesNotFit, UserError
from jdarts.hypergrad import Loss
from jdarts.hypergrad.checks import scalar_loss
from jdarts.hypergrad.study import Compile


@dataclass(frozen=True)
class AlphaHessian:
    """A Hessian by the alphas, averaged over batches; float64 NumPy arrays.

    Attributes:
      matrix: the symmetrised mean over the batches, plus the weight decay on the diagonal, `[n, n]`.
      eigenvalues: `[n]`, largest first; `eigenvectors[:, i]` belongs to `eigenvalues[i]`.
      errors: standard error over the batches of `v_iᵀ H v_i`, `[n]`; NaN for a single batch.
      gradient: mean gradient by the alphas (with the decay term), `[n]`.
      asymmetry: largest `|H − Hᵀ|` over the largest `|H|` before symmetrising; a rounding error, about 1e-7 in float32.
      batch_eigenvalues: largest eigenvalue of the Hessian of each batch, `[batches]`.
      shifts: the flat directions of the softmax, `[n, edges]`.
      weight_decay: λ on the diagonal.
    """

    matrix: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    errors: np.ndarray
    gradient: np.ndarray
    asymmetry: float
    batch_eigenvalues: np.ndarray
    shifts: np.ndarray
    weight_decay: float = 0.0

    @property
    def max_eigenvalue(self) -> float:
        """The dominant eigenvalue of RobustDARTS: the largest one, not the one of largest magnitude."""
        return float(self.eigenvalues[0])

    @property
    def shift_residual(self) -> float:
        """`max_e ‖(H − λI) s_e‖` over the shift directions: zero up to rounding for softmaxed alphas."""
        products = self.matrix @ self.shifts - self.weight_decay * self.shifts
        return float(np.linalg.norm(products, axis=0).max())

    def without_shifts(self) -> np.ndarray:
        """Eigenvalues `[n − edges]`, largest first, on the complement of the shift directions."""
        complement = np.linalg.svd(self.shifts, full_matrices=True)[0][:, self.shifts.shape[1] :]
        return np.linalg.eigvalsh(complement.T @ self.matrix @ complement)[::-1]

    def projected(self) -> np.ndarray:
        """The matrix with the shift directions projected off on both sides, `[n, n]`."""
        return project_off(self.matrix, self.shifts)


def directions_at_once(batch: Any) -> int:
    """Number of directions to push at once through a network of images `[N, H, W, ·]`, 1 to 56.

    On a CPU, arrays of so many directions are still in the cache when they are read again
    (`jdarts.kernels.Machine.cached_pixels`). On other devices, or without images, the number is 8.
    """
    pixels = max((np.prod(np.shape(x)[:3]) for x in jax.tree.leaves(batch) if np.ndim(x) == 4), default=0)
    cached = kernels.machine().cached_pixels
    if not pixels or cached is None:
        return 8
    return int(min(max(cached // pixels, 1), 56))


def linearized_gradient(loss: Loss, *, axis_name: str | None = None) -> tuple[Callable, Callable]:
    """`(start, push)` for the Hessian products of `loss` by the alphas; both are pure and can be compiled.

    `start(w, alphas, batch) -> (gradient [n], linear map)`; `push(linear map, directions [k, n]) -> products [k, n]`.
    Inside `shard_map` or `pmap`, `axis_name` names the axis over which the batch is split; loss, gradient and products
    are averaged over it. (Batch norm in the network needs the same name for the statistics of the whole batch.)
    """
    scalar = scalar_loss(loss)

    def mean(x):
        return x if axis_name is None else jax.lax.pmean(x, axis_name)

    def start(w, alphas, batch):
        vector, unflatten = flatten(alphas)
        gradient = jax.grad(lambda v: mean(scalar(w, unflatten(v), batch)[0]))
        return jax.linearize(lambda v: mean(gradient(v)), vector)

    def push(linear, directions):
        return jax.vmap(linear)(directions)

    return start, push


@functools.lru_cache(maxsize=16)
def _compiled_pair(loss: Loss, compile: Compile) -> tuple[Callable, Callable]:
    """Both functions, compiled; cached by loss, so that a trajectory of Hessians compiles once."""
    start, push = linearized_gradient(loss)
    return compile(start), compile(push)


def alpha_products(loss: Loss, *, axis_name: str | None = None) -> Callable:
    """`(w, alphas, batch, directions [k, n]) -> (gradient [n], products [k, n])` as one pure function."""
    start, push = linearized_gradient(loss, axis_name=axis_name)

    def products(w, alphas, batch, directions):
        gradient, linear = start(w, alphas, batch)
        return gradient, push(linear, directions)

    return products


def alpha_hessian(
    loss: Loss,
    w: Any,
    alphas: Any,
    batches: Sequence[Any],
    *,
    chunk: int | None = None,
    weight_decay: float = 0.0,
    compile: Compile | None = None,
) -> AlphaHessian:
    """The exact Hessian of the mean loss over `batches` by the alphas.

    Args:
      loss: `loss(w, alphas, batch) -> (scalar, aux)`. It chooses batch or running statistics for batch norm
        (`jdarts.analysis.live` builds both).
      batches: at least one batch; the spread over the batches gives the error bars.
      chunk: number of directions that go through the network at once; None: `directions_at_once` of the first batch. If
        memory does not suffice, one direction at a time is tried.
      weight_decay: λ of the alphas' optimiser. It is added to every eigenvalue, as in the RobustDARTS code.
      compile: None for `jdarts.staging`; or `jax.jit` or a similar function, with the loop over chunks in Python.

    Raises `UserError` without batches, for a chunk below 1, or for a non-finite Hessian.
    """
    batches = list(batches)
    chunk = _checked(batches, chunk)
    if compile in (None, compile_pieces):
        program = compiled_hessian(loss, chunk)
        return _summary([program(w, alphas, batch) for batch in batches], alphas, weight_decay)
    start, push = _compiled_pair(loss, compile)

    def columns(batch):
        gradient, linear = start(w, alphas, batch)
        return _dense(gradient, lambda directions: push(linear, directions), chunk)

    return _summary([columns(batch) for batch in batches], alphas, weight_decay)


def hessian_from_products(
    products: Callable,
    w: Any,
    alphas: Any,
    batches: Sequence[Any],
    *,
    chunk: int | None = None,
    weight_decay: float = 0.0,
) -> AlphaHessian:
    """The Hessian of `alpha_hessian` from a compiled function `(w, alphas, batch, directions) -> (gradient, products)`.

    Such functions are `jax.jit(alpha_products(loss))` and `sharded_products(loss, mesh)`. The other arguments and the
    errors are those of `alpha_hessian`.
    """
    batches = list(batches)
    chunk = _checked(batches, chunk)
    vector = flatten(alphas)[0]
    nothing = jnp.zeros((min(chunk, vector.size), vector.size), vector.dtype)

    def columns(batch):
        gradient = products(w, alphas, batch, nothing)[0]
        return _dense(gradient, lambda directions: products(w, alphas, batch, directions)[1], chunk)

    return _summary([columns(batch) for batch in batches], alphas, weight_decay)


def sharded_products(
    loss: Loss, mesh: jax.sharding.Mesh, *, data_axis: str = "data", compile: Compile = jax.jit
) -> Callable:
    """`alpha_products` of batches that are split over the axis `data_axis` of `mesh`, compiled.

    The leading axis of every array of a batch is split. `loss` must use this axis name where it needs the whole batch
    (in batch norm). Raises `UserError` if the mesh has no such axis.
    """
    if data_axis not in mesh.axis_names:
        raise UserError(f"the mesh has the axes {list(mesh.axis_names)}; it needs {data_axis!r}")
    spec = jax.sharding.PartitionSpec
    mapped = jax.shard_map(
        alpha_products(loss, axis_name=data_axis),
        mesh=mesh,
        in_specs=(spec(), spec(), spec(data_axis), spec()),
        out_specs=spec(),
    )
    return compile(mapped)


def bilevel_objective(train_loss: Loss, val_loss: Loss, optimizer: Any) -> Loss:
    """`J(α) = L_val(w − U(∇_w L_train(w, α)), α)`, the loss through one step of the optimiser of the weights.

    This is the objective of second-order DARTS (Liu et al. 2019, eq. 6). A batch of the returned loss is
    `(opt_state, train_batch, val_batch)`. The exact Hessian of the objective needs third derivatives of the training
    loss and about four times the work of the Hessian of `val_loss`:

        objective = bilevel_objective(train_loss, val_loss, optimizer)
        alpha_hessian(objective, w, alphas, [(opt_state, train_batch, val_batch)])
    """

    def objective(w, alphas, batch):
        state, train_batch, val_batch = batch
        gradient = jax.grad(lambda x: scalar_loss(train_loss)(x, alphas, train_batch)[0])(w)
        updates, _ = optimizer.update(gradient, state, w)
        moved = jax.tree.map(lambda x, u: x + u, w, updates)
        return val_loss(moved, alphas, val_batch)

    return objective


def summarize(matrices: np.ndarray, gradient: np.ndarray, alphas: Any, weight_decay: float = 0.0) -> AlphaHessian:
    """The `AlphaHessian` of one matrix per batch, `[batches, n, n]`, and a mean gradient `[n]`."""
    largest = np.abs(matrices).max()
    if not np.isfinite(largest):
        raise UserError("the Hessian is not finite; the weights or the loss overflow at this state")
    asymmetry = np.abs(matrices - matrices.swapaxes(1, 2)).max() / (largest or 1.0)
    matrices = (matrices + matrices.swapaxes(1, 2)) / 2 + weight_decay * np.eye(matrices.shape[-1])
    matrix = matrices.mean(0)
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    if len(matrices) > 1:
        each = np.einsum("ni,bnm,mi->bi", vectors, matrices, vectors)
        errors = each.std(0, ddof=1) / np.sqrt(len(matrices))
    else:
        errors = np.full(len(values), np.nan)
    return AlphaHessian(
        matrix=matrix,
        eigenvalues=values,
        eigenvectors=vectors,
        errors=errors,
        gradient=gradient,
        asymmetry=float(asymmetry),
        batch_eigenvalues=np.array([np.linalg.eigvalsh(m)[-1] for m in matrices]),
        shifts=shift_directions(alphas),
        weight_decay=weight_decay,
    )


@functools.lru_cache(maxsize=16)
def compiled_hessian(loss: Loss, chunk: int) -> Callable:
    """`(w, alphas, batch) -> (gradient [n], Hessian [n, n])`, compiled in pieces at its first call.

    Uses one direction at a time if memory does not suffice for `chunk`.
    """
    ways = [compile_pieces(functools.partial(hessian_of, loss, chunk=size)) for size in dict.fromkeys((chunk, 1))]

    def run(w, alphas, batch):
        while len(ways) > 1:
            try:
                return ways[0](w, alphas, batch)
            except DoesNotFit:
                del ways[0]
        return ways[0](w, alphas, batch)

    return run


def _checked(batches: Sequence[Any], chunk: int | None) -> int:
    """The number of directions at once; raises `UserError` for a number below 1 or without batches."""
    if not batches:
        raise UserError("a Hessian needs at least one batch")
    chunk = directions_at_once(batches[0]) if chunk is None else chunk
    if chunk < 1:
        raise UserError(f"chunk is {chunk}; push at least 1 direction at a time")
    return chunk


def _dense(gradient: jax.Array, push: Callable, chunk: int) -> tuple[jax.Array, np.ndarray]:
    """`(gradient, Hessian)`, the Hessian from `push(directions [chunk, n])` in float64."""
    n = gradient.size
    (units,) = unit_directions([jnp.zeros(n, gradient.dtype)], [np.arange(n)], chunk)
    rows = [np.asarray(push(directions), np.float64) for directions in units]
    return gradient, np.concatenate(rows)[:n].T


def _summary(found: Sequence[tuple[Any, Any]], alphas: Any, weight_decay: float) -> AlphaHessian:
    found = [(np.asarray(g, np.float64), np.asarray(h, np.float64)) for g, h in found]
    gradient = np.mean([g for g, _ in found], axis=0) + weight_decay * np.asarray(flatten(alphas)[0], np.float64)
    return summarize(np.stack([h for _, h in found]), gradient, alphas, weight_decay)
