"""The dense Hessian by the alphas as one traceable function, without work for parts that are zero or known by symmetry.

Directions are pushed through the linearised gradient in groups, each linearised by only its own alphas. For the DARTS
supernet a group consists of the edges that enter one node of one kind of cell: its directions do not affect the cells
before the first of this kind, nor the nodes before theirs in that cell. As the matrix is symmetric, each group is
multiplied only with itself and the later groups, so the reverse pass ends where the forward pass began.
`jdarts.staging` computes the common parts of groups, such as the forward pass, once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts import staging
from jdarts.analysis.directions import flatten, unit_directions
from jdarts.hypergrad import Loss
from jdarts.hypergrad.checks import scalar_loss
from jdarts.networks.wiring import rows_of


@dataclass(frozen=True, eq=False)
class RelaxedLoss:
    """A loss of alphas that acts only through op weights: `loss(w, alphas, batch) -> (scalar, aux)`.

    Attributes:
      relax: `(alphas, batch) -> op_weights`, a dictionary of arrays `[edges, ...]`.
      network: `(w, op_weights, batch) -> (scalar, aux)`; where programs are compiled by mixed edges, each entry of the
        op weights may be a list of its rows.
      idle: for some entries of the op weights, NumPy masks, true where the network does not see them (those of `none`).
      nodes: for some entries, the node that the edge of each row enters.
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

    `chunk` directions go through the network at once. For a `RelaxedLoss`, directions are those of op weights p,
    without those of `none`: `H = Jᵀ (∂²loss/∂p²) J + Σ_k ∂loss/∂p_k ∂²p_k/∂α²` with `J = ∂p/∂α`.
    """
    if not isinstance(loss, RelaxedLoss):
        parts, structure = jax.tree.flatten(alphas)
        active, groups = [np.arange(part.size) for part in parts], [[i] for i in range(len(parts))]
        return _by_groups(_of_arrays(loss, w, structure, batch), parts, active, groups, chunk)
    vector, unflatten = flatten(alphas)

    def relaxed(v):
        return flatten(loss.relax(unflatten(v), batch))[0]

    by_rows = staging.unit() == "edges"
    parts, active, groups, tree = [], [], [], {}
    for name, p in sorted(loss.relax(alphas, batch).items()):
        seen = ~loss.idle.get(name, np.zeros(p.shape, bool))
        rows, masks, nodes = [p], [seen], [0]
        if by_rows:
            rows, masks, nodes = rows_of(p), list(seen), loss.nodes.get(name, [0] * len(p))
        places = range(len(parts), len(parts) + len(rows))
        parts += rows
        active += [np.flatnonzero(mask) for mask in masks]
        by_node = [[i for i, node in zip(places, nodes, strict=True) if node == this] for this in sorted(set(nodes))]
        groups += _joined(by_node, [len(own) for own in active], 2 * chunk)
        tree[name] = rows if by_rows else p
    structure = jax.tree.structure(tree)
    slope, inner = _by_groups(_of_arrays(loss.network, w, structure, batch), parts, active, groups, chunk)
    jacobian = jax.jacfwd(relaxed)(vector)
    outer = jax.hessian(lambda v: relaxed(v) @ slope)(vector)
    return jacobian.T @ slope, jacobian.T @ inner @ jacobian + outer


def _of_arrays(loss: Loss, w, structure, batch) -> Callable[[list[jax.Array]], jax.Array]:
    scalar = scalar_loss(loss)
    return lambda arrays: scalar(w, jax.tree.unflatten(structure, arrays), batch)[0]


def _joined(groups: list[list[int]], counts: list[int], least: int) -> list[list[int]]:
    """Neighbours joined until each group but the last has `least` directions: few programs, few padded chunks."""
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
    """Gradient `[n]` and Hessian `[n, n]` by all `parts`, one after the other.

    Each part is in one group. Rows and columns outside the `active` entries (indices) of a part stay zero.
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
        if k == 0:  # all parts are reached
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
