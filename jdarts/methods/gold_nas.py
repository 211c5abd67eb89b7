"""GOLD-NAS (Bi et al. 2020, arXiv:2007.03331): one-level, gradual pruning of a supernet that ends as the result.

Every op on every edge has a coefficient σ(α), in each cell its own (`space.shared` false). Weights and alphas descend,
at once and on all training images,

    L = CE + λ · Σ ln(1 + n · ρ) · (1 + μ · M),        ρ = σ(α) / Σ_node σ(α),

where the sum is over the surviving ops, n is the number of those that enter the node, and M the op's multiply–
accumulates in millions. After every epoch all ops with ρ ≤ η_min are pruned for good, and the n₀ weakest ones as far as
ρ ≤ η_max. Then λ follows: if n₀ ops or more were pruned, λ ← λ / c₀ and Δλ ← λ₀; otherwise Δλ ← c₀ Δλ and λ ← λ + Δλ.
What survives is the architecture, with any number of ops on an edge and of edges into a node; nothing is derived or
trained between. Whenever nothing was pruned for more than three rounds, the genotype is one of the front, so that one
search gives networks of many sizes (`front.json`, `jdarts report`).

The authors released no code; formulas and settings are those of an unofficial one (sunsmarterjie/GOLD_NAS). DIFF: it
also has an auxiliary head and AutoAugment in the search, which this search has not. Its cutout is `--data.search_cutout
16`; the settings leave it out, because it blanks small images. It searches without a limit of epochs until the network
has less than 240 M FLOPs, of which it counts 166 M outside the ops. Here the stem, the preprocessing and the classifier
have 163.6 M, the ops of S-GOLD 613.5 M, and `stop_share` is the share of the latter that may stay: 0.12 are 74 M. It
lists a genotype when the next op is pruned after a quiet time; here the one of the quiet time is listed. Its results,
2.85 to 2.53 % on CIFAR-10 with 1.6 to 3.7 M parameters, are not verified.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import relaxation
from jdarts.config.ranges import Fraction, NonNegative, Positive, PositiveInt
from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype
from jdarts.methods.method import Method
from jdarts.methods.published import ALL_IMAGES, on_cells
from jdarts.methods.registry import register
from jdarts.spaces import CellSpace, PerCellSpace
from jdarts.spaces.space import Space
from jdarts.spaces.weight_checks import finite_weights

PRUNED = -1e4
"""The alpha of a pruned op: its sigmoid, and the derivative of it, are 0."""

SETTINGS = {
    **ALL_IMAGES,
    "space.name": "gold_nas",
    "space.shared": False,
    "space.channels": 36,
    "space.cells": 14,
    "search.epochs": 200,
    "search.batch_size": 96,
    "search.weight_optimizer.learning_rate": 0.01,
    "search.weight_optimizer.learning_rate_min": 0.01,
    "search.alpha_optimizer.kind": "sgd",
    "search.alpha_optimizer.learning_rate": 1.0,
    "search.alpha_optimizer.b1": 0.5,
    "search.alpha_optimizer.momentum": 0.9,
    "search.alpha_optimizer.weight_decay": 0.0,
    "train.cells": 14,
}


@dataclass(frozen=True)
class Pruning:
    """The settings of the pruning and of the weight of its regulariser, with the paper's names.

    Attributes:
      eta_min, eta_max: shares ρ below which an op is pruned always, and if it is among the `n0` weakest.
      n0: ops that are pruned in a round, if their shares allow it.
      lambda0, c0: the first step of λ, and the factor of its steps.
      mu: weight of an op's multiply–accumulates, in millions.
      stable_rounds: rounds without pruning after which a genotype is one of the front.
      stop_share: the search ends when the surviving ops have less than this share of the multiply–accumulates of all.
    """

    eta_min: Fraction = 0.01
    eta_max: Fraction = 0.05
    n0: PositiveInt = 4
    lambda0: Positive = 1e-5
    c0: Positive = 2.0
    mu: NonNegative = 0.0
    stable_rounds: PositiveInt = 3
    stop_share: Fraction = 0.12


@register
def gold_nas(*, pruning: Pruning = Pruning()) -> Method:
    """GOLD-NAS; its options are the fields of `Pruning`."""
    if pruning.eta_min > pruning.eta_max:
        raise UserError(f"eta_min is {pruning.eta_min} and eta_max {pruning.eta_max}; eta_min must not be larger")
    if pruning.c0 <= 1:
        raise UserError(f"c0 is {pruning.c0}; it must be above 1, so that the weight of the regulariser grows")

    def stop(records, space):
        del space
        return int(records[-1]["epoch"]) if records[-1]["ops_share"] < pruning.stop_share else None

    return Method(
        name="gold_nas",
        paper="Bi et al., 2020, arXiv:2007.03331",
        summary="one level: sigmoid coefficients in every cell, gradually pruned under a resource weight",
        relax=lambda alphas, key, clock, space: relaxation.sigmoid(alphas),
        derive_weights=relaxation.sigmoid,
        init_alphas=_initial,
        hypergradient="single_level",
        post_update=_stay_pruned,
        derive=lambda space, p, evaluate, key: surviving(space, p),
        stop=stop,
        check=lambda space: _check(space, pruning),
        driver="gold_nas",
        options={"pruning": pruning},
        published=(on_cells("CIFAR-10 test error 2.53 % with 3.7 M parameters (not verified)", SETTINGS),),
    )


def shares(p: Any, targets: Sequence[int]) -> jax.Array:
    """ρ `[edges, ops]`: the coefficients divided by their sum over the edges that enter the same node (§3.3)."""
    nodes = jnp.asarray(targets) - min(targets)
    sums = jax.ops.segment_sum(jnp.sum(p, -1), nodes, max(targets) - min(targets) + 1)
    return p / sums[nodes][:, None]


def resource_loss(space: Space, alphas: Any, costs: Any, pruning: Pruning) -> jax.Array:
    """Σ ln(1 + n ρ)(1 + μ M) over the surviving ops; `costs` are multiply–accumulates `{cell: [edges, ops]}`."""
    targets = [target for _, target in space.edges]
    nodes = jnp.asarray(targets) - min(targets)
    total = jnp.zeros(())
    for name, p in relaxation.sigmoid(alphas).items():
        rho = shares(p, targets)
        alive = rho > pruning.eta_min
        entering = jax.ops.segment_sum(jnp.sum(alive, -1), nodes, max(targets) - min(targets) + 1)
        terms = jnp.log1p(entering[nodes][:, None] * rho) * (1 + pruning.mu * jnp.asarray(costs[name]) / 1e6)
        total = total + jnp.sum(jnp.where(alive, terms, 0.0))
    return total


def weighted(method: Method, weight: Any, costs: Any) -> Method:
    """`method` with λ = `weight` in front of the regulariser, beside those of methods that it was composed with."""
    pruning, other = method.options["pruning"], method.regularizer

    def regularizer(alphas, key, clock, space):
        more = 0.0 if other is None else other(alphas, key, clock, space)
        return weight * resource_loss(space, alphas, costs, pruning) + more

    return replace(method, regularizer=regularizer)


def pruned(space: Space, alphas: Any, pruning: Pruning) -> tuple[dict[str, np.ndarray], int]:
    """One round: `(alphas, number of ops pruned)`. The last op that enters a node stays, as its ρ is 1."""
    targets = [target for _, target in space.edges]
    kept = {name: np.array(alphas[name]) for name in space.alpha_shapes}
    before = sum(int(np.sum(alive(a))) for a in kept.values())
    for _ in range(pruning.n0):
        for a in kept.values():
            a[_shares_of(a, targets) <= pruning.eta_min] = PRUNED
        left = {name: np.where(alive(a), _shares_of(a, targets), np.inf) for name, a in kept.items()}
        weakest = min(left, key=lambda name: left[name].min())
        if left[weakest].min() > pruning.eta_max:
            break
        kept[weakest][np.unravel_index(np.argmin(left[weakest]), left[weakest].shape)] = PRUNED
    after = sum(int(np.sum(alive(a))) for a in kept.values())
    return {name: np.asarray(alphas[name]) for name in alphas} | kept, before - after


def next_weight(weight: float, increment: float, count: int, pruning: Pruning) -> tuple[float, float]:
    """`(λ, Δλ)` after a round that pruned `count` ops."""
    if count >= pruning.n0:
        return weight / pruning.c0, pruning.lambda0
    return weight + pruning.c0 * increment, pruning.c0 * increment


def alive(alphas: Any) -> Any:
    """True for every op that is not pruned."""
    return alphas > PRUNED / 2


def surviving(space: Space, p: Any) -> Genotype:
    """The genotype with every op whose coefficient is not 0; raises `UserError` for spaces other than DARTS cells."""
    weights = finite_weights(space, p)
    if isinstance(space, PerCellSpace):
        return space.by_cell(weights, surviving)
    assert isinstance(space, CellSpace)
    cells = {}
    for kind, table in space.tables.items():
        nodes = tuple(
            tuple(
                (op, source)
                for source, row in rows.items()
                for op, weight in zip(table[row], weights[kind][row], strict=True)
                if weight > 0
            )
            for rows in space.entering.values()
        )
        cells[kind] = Cell(nodes=nodes, concat=tuple(space.entering))
    return Genotype(**cells)


def _shares_of(alphas: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    return np.asarray(shares(np.asarray(relaxation.sigmoid({"": jnp.asarray(alphas)})[""]), targets))


def _initial(space: Space, key: jax.Array, scale: float) -> dict[str, jax.Array]:
    """Zero for every op; `none` is no op and pruned from the start."""
    del key, scale
    return {
        name: jnp.array([[PRUNED if op == "none" else 0.0 for op in ops] for ops in table])
        for name, table in space.tables.items()
    }


def _stay_pruned(old, new, key, clock, space):
    """A pruned alpha stays so: changes by momentum and weight decay are undone."""
    del key, clock, space
    return {name: jnp.where(alive(a), new[name], PRUNED) for name, a in old.items()}


def _check(space: Space, pruning: Pruning) -> None:
    if isinstance(space, CellSpace) or (isinstance(space, PerCellSpace) and not space.one_input):
        targets = [target for _, target in space.edges]
        most = max(map(targets.count, targets)) * max(ops for _, ops in space.alpha_shapes.values())
        if pruning.eta_min * most < 1:
            return
        raise UserError(
            f"eta_min is {pruning.eta_min}, but {most} ops enter a node of space {space.name}: equal shares would "
            f"all be pruned at once; use less than {1 / most:.3g}"
        )
    raise UserError(
        f"gold_nas keeps any number of ops on an edge, but networks of space {space.name} have one; use a space of "
        "DARTS cells, such as gold_nas"
    )
