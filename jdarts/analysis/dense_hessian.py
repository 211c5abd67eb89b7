"""The dense Hessian by the alphas as one traceable function. It skips parts that are zero or known by symmetry.

The alphas are divided into groups. For each group, the gradient is linearised by the alphas of the group, and their
directions are pushed through the linear map. For the DARTS supernet, a group consists of the edges that enter one node
of one kind of cell. Its directions change nothing in the cells before the first cell of this kind, and in that cell
nothing in earlier nodes. The matrix is symmetric, so the gradient is needed only by the alphas of the same and of later
groups; the reverse pass therefore ends at the place where the forward tangents start. `jdarts.staging` computes the
common parts of the groups, such as the forward pass, once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.analysis.directions import flatten, unit_directions
from jdarts.hypergrad import Loss
from jdarts.hypergrad.checks import scalar_loss
from jdarts.networks import fast


@dataclass(frozen=True, eq=False)
class RelaxedLoss:
    """A loss that depends on the alphas only through op weights: `loss(w, alphas, batch) -> (scalar, aux)`.

    Attributes:
      relax: `(alphas, batch) -> op_weights`, a dictionary of arrays `[edges, ...]`.
      network: `(w, op_weights, batch) -> (scalar, aux)`. It receives every entry of the op weights as the supernet's
        form reads it: an array, or a list of its rows.
      idle: NumPy masks by entry of the op weights, true for op weights that the network ignores (those of `none`). An
        entry without a mask has none.
      nodes: by entry, the node that the edge of each row enters.
    """

    relax: Callable[[Any, Any], dict[str, jax.Array]]
    network: Loss
    idle: Mapping[str, np.ndarray] = field(default_factory=dict)
    nodes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __call__(self, w, alphas, batch):
        """The loss at these alphas."""
        return self.network(w, self.relax(alphas, batch), batch)


def hessian_of(loss: Loss, w: Any, alphas: Any, batch: Any, chunk: int) -> tuple[jax.Array, jax.Array]:
    """`(gradient [n], Hessian [n, n])` of a loss by the alphas; traceable.

    `chunk` directions go through the network at once. For a `RelaxedLoss`, the directions are op weights p that are not
    idle, and `H = Jᵀ (∂²loss/∂p²) J + Σ_k ∂loss/∂p_k ∂²p_k/∂α²` with `J = ∂p/∂α`.
    """
    if not isinstance(loss, RelaxedLoss):
        parts, structure = jax.tree.flatten(alphas)
        active, groups = [np.arange(part.size) for part in parts], [[i] for i in range(len(parts))]
        return _by_groups(_of_arrays(loss, w, structure, batch), parts, active, groups, chunk)
    vector, unflatten = flatten(alphas)

    def relaxed(v):
        return flatten(loss.relax(unflatten(v), batch))[0]

    as_read = fast.form(axis_name=None, remat=False).op_weights
    parts, active, groups, tree = [], [], [], {}
    for name, p in sorted(loss.relax(alphas, batch).items()):
        seen = ~loss.idle.get(name, np.zeros(p.shape, bool))
        tree[name] = as_read(p)
        rows, masks, nodes = [p], [seen], [0]
        if isinstance(tree[name], list):
            rows, masks, nodes = tree[name], list(seen), loss.nodes.get(name, [0] * len(p))
        places = range(len(parts), len(parts) + len(rows))
        parts += rows
        active += [np.flatnonzero(mask) for mask in masks]
        by_node = [[i for i, node in zip(places, nodes, strict=True) if node == this] for this in sorted(set(nodes))]
        groups += _joined(by_node, [len(own) for own in active], 2 * chunk)
    structure = jax.tree.structure(tree)
    slope, inner = _by_groups(_of_arrays(loss.network, w, structure, batch), parts, active, groups, chunk)
    jacobian = jax.jacfwd(relaxed)(vector)
    outer = jax.hessian(lambda v: relaxed(v) @ slope)(vector)
    return jacobian.T @ slope, jacobian.T @ inner @ jacobian + outer


def _of_arrays(loss: Loss, w, structure, batch) -> Callable[[list[jax.Array]], jax.Array]:
    scalar = scalar_loss(loss)
    return lambda arrays: scalar(w, jax.tree.unflatten(structure, arrays), batch)[0]


def _joined(groups: list[list[int]], counts: list[int], least: int) -> list[list[int]]:
    """`groups` with neighbours joined until each, except the last, has at least `least` directions.

    This keeps the number of programs and of padded chunks small. `counts`: number of directions of each part.
    """
    joined: list[list[int]] = []
    filled = least
    for group in groups:
        if filled >= least:
            joined.append([])
            filled = 0
        joined[-1] += group
        filled += sum(counts[i] for i in group)
    return joined


def _by_groups(
    function: Callable[[list[jax.Array]], jax.Array],
    parts: list[jax.Array],
    active: list[np.ndarray],
    groups: list[list[int]],
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    """Gradient `[n]` and Hessian `[n, n]` by the concatenation of all `parts`.

    Each part is in one group. `active` has the indices of the entries of each part that get rows and columns; the
    others stay zero.
    """
    starts = np.cumsum([0, *(part.size for part in parts)])
    slopes: dict[int, jax.Array] = {}
    matrix = jnp.zeros((starts[-1], starts[-1]), jnp.result_type(*parts))
    for k, own in enumerate(groups):
        reached = list(chain(*groups[k:]))

        def slope(values, own=own, reached=reached):
            moved = _replaced(parts, own, values)
            return jax.grad(lambda arrays: function(_replaced(moved, reached, arrays)))([moved[i] for i in reached])

        found, linear = jax.linearize(slope, [parts[i] for i in own])
        if k == 0:  # the first group reaches all parts
            slopes = dict(zip(reached, found, strict=True))
        rows = np.concatenate([starts[i] + active[i] for i in own])
        columns = np.concatenate([starts[i] + active[i] for i in reached])
        products = lax.map(jax.vmap(linear), unit_directions([parts[i] for i in own], [active[i] for i in own], chunk))
        flat = [p.reshape(-1, parts[i].size)[: len(rows), active[i]] for i, p in zip(reached, products, strict=True)]
        block = jnp.concatenate(flat, axis=1)
        matrix = matrix.at[np.ix_(columns, rows)].set(block.T).at[np.ix_(rows, columns)].set(block)
    return jnp.concatenate([slopes[i].reshape(-1) for i in range(len(parts))]), matrix


def _replaced(parts: Sequence[jax.Array], places: Sequence[int], values: Sequence[jax.Array]) -> list[jax.Array]:
    """`parts` with `values` at `places`."""
    replaced = list(parts)
    for i, value in zip(places, values, strict=True):
        replaced[i] = value
    return replaced
