"""Gradient correlation and operator gradients: the causes of the alphas' preferences (Single-DARTS, Hou et al. 2021).

By eq. 8 of the paper, the last weight step on batch A changes the alpha gradient of a learnable op on batch B by −η
times `C(A, B) = ⟨∇_θ L(B), ∇_θ L(A)⟩`, where θ are the weights of the op. With A and B from different halves (bilevel),
C is about zero on average. With A = B (single level) it is ‖∇_θ L‖² ≥ 0, and learnable ops gain. The formula is
reconstructed from the text of the paper. Results contain the inner product and the cosine.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jdarts.analysis.directions import flatten
from jdarts.errors import UserError
from jdarts.hypergrad import Loss
from jdarts.hypergrad.checks import scalar_loss


class Correlation(NamedTuple):
    """`⟨∇_θ L(A), ∇_θ L(B)⟩` of one group of weights: the raw inner product, the cosine and the two norms."""

    raw: float
    cosine: float
    norm_a: float
    norm_b: float


def weight_gradient(loss: Loss, *, compile: Callable = jax.jit) -> Callable:
    """`(w, alphas, batch) -> ∇_w L`, compiled, for `gradient_correlation`; one function serves many states."""
    scalar = scalar_loss(loss)
    return compile(lambda w, alphas, batch: jax.grad(lambda x: scalar(x, alphas, batch)[0])(w))


def gradient_correlation(gradient: Callable, w: Any, alphas: Any, batch_a: Any, batch_b: Any, groups: Mapping):
    """Correlation of the gradients on two batches at the same weights, by group.

    Args:
      gradient: `(w, alphas, batch) -> ∇_w L`, see `weight_gradient`.
      groups: name → function that selects the arrays of the group in a gradient, see `op_groups`.

    Returns `{name: Correlation}`. The cosine is NaN where a gradient is zero.
    """
    a = gradient(w, alphas, batch_a)
    b = a if batch_b is batch_a else gradient(w, alphas, batch_b)
    return {name: correlate(pick(a), pick(b)) for name, pick in groups.items()}


def correlate(a: Any, b: Any) -> Correlation:
    """`Correlation` of two pytrees of arrays, summed in float64."""
    left, right = (np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in jax.tree.leaves(t)]) for t in (a, b))
    raw, norms = float(left @ right), (float(np.linalg.norm(left)), float(np.linalg.norm(right)))
    return Correlation(raw, raw / (norms[0] * norms[1]) if min(norms) > 0 else float("nan"), *norms)


def op_groups(weights: Mapping, *, cells: Iterable[str] | None = None) -> dict[str, Callable]:
    """Groups of a supernet's weights by op kind: `{"sep_conv_3x3": tree -> its arrays, …}`.

    `weights` is the tree of weights (`LiveSearch.tree`), whose modules are called `cell_I/from_SOURCE_OP`, or
    `layer_I/choice_K` in a chain of layers, where the ops of a row have no names there: the groups are the numbers of
    the choices. `cells` limits the groups, e.g. `["cell_7"]` for the last cell as in the paper.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for cell, modules in weights.items():
        if cells is not None and cell not in set(cells):
            continue
        for module in modules:
            if cell.startswith("cell_") and module.startswith("from_"):
                kinds.setdefault(module.split("_", 2)[2], []).append((cell, module))
            elif cell.startswith("layer_") and module.startswith("choice_"):
                kinds.setdefault(module, []).append((cell, module))
    if not kinds:
        raise UserError(
            "these weights have no ops of a cell supernet (modules cell_I/from_SOURCE_OP), nor of a chain of layers "
            "(layer_I/choice_K)"
        )

    def picker(paths):
        return lambda tree: [tree[cell][module] for cell, module in paths]

    return {op: picker(paths) for op, paths in sorted(kinds.items())}


def last_cell(weights: Mapping) -> str:
    """The name of the last cell of a supernet with these weights, or of the last layer with choices of a chain."""

    def number(name: str) -> int:
        return int(name.partition("_")[2])

    cells = [name for name in weights if name.startswith("cell_")]
    layers = [name for name in weights if name.startswith("layer_") and any("choice" in part for part in weights[name])]
    return max(cells or layers, key=number)


def operator_gradients(loss: Loss, w: Any, op_weights: Mapping, batch: Any, tables: Mapping, *, compile=jax.jit):
    """Mean `∂L/∂p` of each op over its edges. A negative mean says that a larger op weight lowers the loss.

    `loss` takes op weights `p` instead of alphas; `tables` is `CellSpace.tables`. Returns `{cell: {op: mean}}`.
    """
    vector, unflatten = flatten(op_weights)
    slope = compile(jax.grad(lambda v, w, batch: scalar_loss(loss)(w, unflatten(v), batch)[0]))
    grads = unflatten(slope(vector, w, batch))
    found: dict[str, dict[str, float]] = {}
    for cell, table in tables.items():
        values: dict[str, list[float]] = {}
        for edge, ops in enumerate(table):
            for column, op in enumerate(ops):
                values.setdefault(op, []).append(float(grads[cell][edge, column]))
        found[cell] = {op: float(np.mean(v)) for op, v in values.items()}
    return found
