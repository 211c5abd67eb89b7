"""The Hessian by the alphas of a loss that is a chain of links (`jdarts.chain`): one link, or many.

Let `s_{c+1} = F_c(α, s_c)` be what link `c` hands on, the last of these values the loss, `λ_c = ∂loss/∂s_c`, and
`X_c = ds_c/dα`, the tangents of all alphas. Differentiating `dloss/dα = Σ_c λ_{c+1} ∂F_c/∂α` once more and collecting
what belongs to one link gives

    d²loss/dα² = Σ_c [I; X_c]ᵀ M_c [I; X_c],    M_c = ∂²⟨λ_{c+1}, F_c⟩ / ∂(α, s_c)².

A direction goes through a link once forward, which gives its X_{c+1}, and once backward, which gives its product with
M_c. A link's own forward and backward pass are done once for all directions.

With one link that is forward over reverse. With many, a few edges of one cell are alive at a time in place of all
cells, for the tangents X_c of all directions and their inner products: memory that does not grow with the depth. It is
less than that of the whole for deep networks alone (S0, batch 64, one direction at a time, alive at once: 8 cells 8.1
in place of 4.3 GB, 20 cells 8.3 in place of 12.2 GB). Either way the alphas of reduction cells, whose M_c is symmetric
with that of the others, leave the cells before the first of these alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.analysis.directions import flatten
from jdarts.chain import Link, links
from jdarts.hypergrad import Loss
from jdarts.hypergrad.checks import scalar_loss

# So many directions' products with M_c meet the tangents of all others at once: those are long arrays, read each time.
_TOGETHER = 56

CUT_HEAP = 1.8  # `jdarts.analysis.compiling.HEAP` with links: 2.42 GB alive took 4.11 GB, 9.49 GB took 16.8 GB


@dataclass(frozen=True, eq=False)
class RelaxedLoss:
    """A loss of alphas that acts through op weights alone: `loss(w, alphas, batch) -> (scalar, aux)`.

    Attributes:
      relax: `(alphas, batch) -> op_weights`.
      network: `(w, op_weights, batch) -> (scalar, aux)`.
      idle: for some entries of the op weights, NumPy masks, true where the network does not see one (that of `none`).
    """

    relax: Callable[[Any, Any], dict[str, jax.Array]]
    network: Loss
    idle: dict[str, np.ndarray]

    def __call__(self, w, alphas, batch):
        """The loss at these alphas."""
        return self.network(w, self.relax(alphas, batch), batch)


def hessian_of(
    loss: Loss, w: Any, alphas: Any, batch: Any, chunk: int, *, cut: bool = False
) -> tuple[jax.Array, jax.Array]:
    """`(gradient [n], Hessian [n, n])` of a loss by the alphas; traceable.

    `chunk` directions go through a link at once. With `cut` the loss is cut into links where its network is marked. A
    `RelaxedLoss` is taken along directions of op weights p, without those of `none`:
    `H = Jᵀ (∂²loss/∂p²) J + Σ_k ∂loss/∂p_k ∂²p_k/∂α²` with `J = ∂p/∂α`.
    """
    if not isinstance(loss, RelaxedLoss):
        return _chained(loss, w, alphas, batch, chunk, cut=cut)
    vector, unflatten = flatten(alphas)

    def relaxed(v):
        return flatten(loss.relax(unflatten(v), batch))[0]

    op_weights = loss.relax(alphas, batch)
    idle = {name: loss.idle.get(name, np.zeros(p.shape, bool)) for name, p in op_weights.items()}
    slope, inner = _chained(loss.network, w, op_weights, batch, chunk, cut=cut, idle=idle)
    jacobian = jax.jacfwd(relaxed)(vector)
    outer = jax.hessian(lambda v: relaxed(v) @ slope)(vector)
    return jacobian.T @ slope, jacobian.T @ inner @ jacobian + outer


def _chained(loss: Loss, w, alphas, batch, chunk: int, *, cut: bool, idle=None) -> tuple[jax.Array, jax.Array]:
    scalar = scalar_loss(loss)
    chain = links(lambda a, v, b: scalar(v, a, b)[0], alphas, w, batch, cut=cut)
    leaves, arguments = jax.tree.leaves(alphas), jax.tree.leaves((alphas, w, batch))
    count = len(leaves)
    masks = [np.zeros(leaf.shape, bool) for leaf in leaves] if idle is None else jax.tree.leaves(idle)
    active = [np.flatnonzero(~mask.reshape(-1)) for mask in masks]
    states = _forward(chain, arguments)
    adjoints, gradient = _backward(chain, arguments, states, count)
    directions = [_units(leaf, own, chunk) for leaf, own in zip(leaves, active, strict=True)]
    blocks = {(i, j): jnp.zeros((len(active[i]), len(active[j]))) for i in range(count) for j in range(i, count)}
    tangents: list[dict[int, jax.Array]] = [{} for _ in leaves]  # for each leaf's directions X_c, by place in s_c
    for link, state, adjoint in zip(chain, states, adjoints, strict=True):
        following: list[dict[int, jax.Array]] = []
        for i in range(count):
            passing = {k: tangents[i][p] for k, p in enumerate(link.passes) if p is not None and p in tangents[i]}
            made = {}
            linear = _linearize(link, i, arguments, state, adjoint, tangents)
            if linear is not None:
                products, made = _push(linear, i, directions[i], active, tangents)
                for j, product in products.items():
                    blocks[i, j] += product[: len(active[i])]
            following.append(passing | made)
        tangents = following
    rows = [[blocks[i, j] if i <= j else blocks[j, i].T for j in range(count)] for i in range(count)]
    sizes = np.cumsum([0, *(leaf.size for leaf in leaves)])
    places = np.concatenate([first + own for first, own in zip(sizes[:-1], active, strict=True)])
    flat = jnp.concatenate([x.reshape(-1) for x in gradient])
    return flat, jnp.zeros((sizes[-1], sizes[-1]), flat.dtype).at[np.ix_(places, places)].set(jnp.block(rows))


class _Linear(NamedTuple):
    """`run(tangent of a leaf, tangents of entering) -> (products with M_c, tangents of leaving)`, linear.

    Products are with the leaves `alphas` and with the values that enter at `moved`.
    """

    run: Callable
    entering: list[int]  # what of what enters moves with the leaf
    alphas: list[int]
    moved: list[int]
    leaving: list[int]  # what of what this link computes moves with the leaf


def _forward(chain: list[Link], arguments) -> list[list[jax.Array]]:
    """What enters every link."""
    states: list[list[jax.Array]] = [[]]
    for link in chain[:-1]:
        states.append(link(arguments, states[-1]))
    return states


def _backward(chain: list[Link], arguments, states, count: int) -> tuple[list[list[jax.Array]], list[jax.Array]]:
    """The adjoints of what leaves every link, and the gradient by the first `count` arguments."""
    alphas, rest = arguments[:count], arguments[count:]
    gradient = [jnp.zeros_like(leaf) for leaf in alphas]
    adjoints: list[list[jax.Array]] = []
    adjoint: list[jax.Array] = []
    for link, state in zip(reversed(chain), reversed(states), strict=True):
        leaving, pull = jax.vjp(lambda a, s, link=link: link([*a, *rest], s), alphas, state)
        adjoint = adjoint or [jnp.ones_like(leaving[0])]
        adjoints.append(adjoint)
        own, adjoint = pull(adjoint)
        gradient = [a + b for a, b in zip(gradient, own, strict=True)]
    return adjoints[::-1], gradient


def _linearize(link: Link, i: int, arguments, state, adjoint, tangents) -> _Linear | None:
    """What a link does to directions of leaf `i`; None if nothing. As M_c is symmetric, products are with the leaves
    from `i` on.
    """
    used = [k for k in range(len(state)) if link.uses[k]]
    entering = [k for k in used if k in tangents[i]]
    if not (link.reads[i] or entering):
        return None
    alphas = [j for j in range(i, len(tangents)) if link.reads[j]]
    moved = [k for k in used if any(k in own for own in tangents[i:])]
    leaving = [k for k, p in enumerate(link.passes) if p is None and i in link.depends[k]]

    def both(own, arriving):
        full, whole = list(arguments), list(state)
        full[i] = own
        for k, value in zip(entering, arriving, strict=True):
            whole[k] = value

        def run(own, arriving):
            for j, value in zip(alphas, own, strict=True):
                full[j] = value
            for k, value in zip(moved, arriving, strict=True):
                whole[k] = value
            return link(full, whole)

        made, pull = jax.vjp(run, [full[j] for j in alphas], [whole[k] for k in moved])
        return pull(adjoint), [made[k] for k in leaving]

    run = jax.linearize(both, arguments[i], [state[k] for k in entering])[1]
    return _Linear(run, entering, alphas, moved, leaving)


def _push(linear: _Linear, i: int, directions, active, tangents) -> tuple[dict[int, jax.Array], dict[int, jax.Array]]:
    """All directions of leaf `i` through a link: `({leaf: products with its directions}, their new tangents)`.

    `directions [groups, chunks, chunk, *leaf]`, tangents likewise.
    """
    rows = directions.shape[1] * directions.shape[2]

    def push_group(group):
        (by_alphas, by_state), made = lax.map(lambda own: jax.vmap(linear.run)(*own), group)
        products = {j: jnp.zeros((rows, len(active[j])), directions.dtype) for j in range(i, len(tangents))}
        for j, product in zip(linear.alphas, by_alphas, strict=True):
            products[j] += product.reshape(rows, -1)[:, active[j]]
        for k, product in zip(linear.moved, by_state, strict=True):
            for j in products:
                if k in tangents[j]:
                    others = tangents[j][k].reshape(-1, product[0, 0].size)
                    products[j] += _inner(product.reshape(rows, -1), others)[:, : len(active[j])]
        return products, made

    products, made = lax.map(push_group, (directions, [tangents[i][k] for k in linear.entering]))
    flat = {j: p.reshape(-1, p.shape[-1]) for j, p in products.items()}
    return flat, dict(zip(linear.leaving, made, strict=True))


def _inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner products of the rows of `a` with those of `b`."""
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())))


def _units(leaf: jax.Array, active: np.ndarray, chunk: int) -> jax.Array:
    """The unit directions of a leaf's active entries, `[groups, chunks, chunk, *leaf]`, filled up with few zeros."""
    count = max(len(active), 1)
    chunk = min(chunk, count)
    total, most = -(-count // chunk), max(1, _TOGETHER // chunk)
    chunks = min(range(most, most // 2, -1), key=lambda size: -(-total // size) * size)
    rows = -(-total // chunks) * chunks * chunk
    units = np.zeros((rows, leaf.size), leaf.dtype)
    units[np.arange(len(active)), active] = 1
    return jnp.asarray(units.reshape(-1, chunks, chunk, *leaf.shape))
