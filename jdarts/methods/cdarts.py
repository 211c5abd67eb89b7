"""CDARTS (Yu et al. 2022, arXiv:2006.10724): a search network and an evaluation network that teach each other.

The search network S mixes all ops by softmax(α), the evaluation network E has those of the present genotype and more
cells. Both have a classifier behind each third of their cells. S is trained alone first; then, in every epoch,

1. the genotype is derived from the alphas, E takes its weights of every cell, edge and op from a pool, and is trained
   alone for one pass over the validation split;
2. step by step, E, its heads and α descend on a validation batch

       J = (CE(S) + CE(E)) / b + b · T² · Inter(em(S), em(E)) + c · r(e) · Σ |α of ops without weights|,

   and S descends on a training batch. em concatenates the logits of the three classifiers, weighted by a learned
   softmax. Inter is the smooth L1 distance, or the Kullback–Leibler divergence at temperature T. r falls from 1 to 0.

Settings and formulas are those of the authors' code (researchmm/CDARTS); b and T are its `loss_alpha` and `loss_T`. It
counts the last sum three times in DARTS cells, once for each group of cells, and so does this file; in NAS-Bench-201 it
is the mean of |α| of `none`. DIFF: its heads have convolutions, here they are linear. E is the weight-sharing network
with the op weights of the genotype switched on, which is its pool and compiles once; its batch norms have no scale and
shift, and a weight that is not on the path neither moves nor decays. Pretraining is counted in epochs of two passes.
Edge normalisation (`use_beta`) is off, and nothing of the ImageNet search has been run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp

from jdarts.config.ranges import NonNegative, Positive, PositiveInt, Range
from jdarts.errors import UserError
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells, on_nasbench201
from jdarts.methods.registry import register
from jdarts.ops.candidates import has_weights
from jdarts.relaxation import Alphas
from jdarts.spaces import CellSpace, NASBench201Space
from jdarts.spaces.space import Space

GROUPS = 3
"""Groups of cells, each with a classifier at its end."""

CHANGES = {
    "search.epochs": 31,
    "search.weight_optimizer.learning_rate": 0.08,
    "search.weight_optimizer.learning_rate_min": 0.08,
    "search.alpha_optimizer.weight_decay": 0.0,
}


@dataclass(frozen=True)
class Cyclic:
    """The settings of the two networks and of their joint loss.

    Attributes:
      evaluation_cells: cells of the evaluation network; of NAS-Bench-201, of each stage.
      pretrain: epochs, of two passes each, in which the search network is trained alone.
      balance, temperature: b and T of the joint loss.
      interaction: the distance between the outputs of the networks.
      penalty: c, the weight of the alphas of ops without weights; 0 is off.
      penalty_ratio: the share of the epochs behind the pretraining after which r is 0.
    """

    evaluation_cells: PositiveInt = 20
    pretrain: Annotated[int, Range(0, 10_000)] = 1
    balance: Positive = 1.0
    temperature: Positive = 2.0
    interaction: Literal["smooth_l1", "kl"] = "smooth_l1"
    penalty: NonNegative = 5.0
    penalty_ratio: Annotated[float, Range(above=0, most=1)] = 0.667


@register
def cdarts(*, cyclic: Cyclic = Cyclic()) -> Method:
    """CDARTS; its options are the fields of `Cyclic`."""
    return Method(
        name="cdarts",
        paper="Yu et al., TPAMI 2022, arXiv:2006.10724",
        summary="softmax relaxation, taught by an evaluation network of the present genotype, and teaching it",
        hypergradient="first_order",
        check=_check,
        driver="cdarts",
        options={"cyclic": cyclic},
        published=(
            on_cells("CIFAR-10 test error 2.48 ± 0.04 %", CHANGES),
            on_nasbench201(
                "CIFAR-10 test accuracy 94.02 ± 0.31 %",
                {**CHANGES, "search.epochs": 50},
                ("evaluation_cells=5", "pretrain=0"),
            ),
        ),
    )


def ensemble(logits: Sequence[jax.Array], mixture: jax.Array) -> jax.Array:
    """em: `[3·N, classes]`, the logits of the classifiers, each times its share of softmax(`mixture`) `[3]`."""
    shares = jax.nn.softmax(mixture)
    return jnp.concatenate([shares[i] * each for i, each in enumerate(logits)])


def interaction(search: jax.Array, evaluation: jax.Array, kind: str, temperature: float) -> jax.Array:
    """Inter(em(S), em(E)), a scalar: the mean smooth L1 distance, or KL(softmax(E / T) ‖ softmax(S / T)) an image."""
    if kind == "smooth_l1":
        distance = jnp.abs(search - evaluation)
        return jnp.mean(jnp.where(distance < 1, distance**2 / 2, distance - 0.5))
    log_s, log_e = (jax.nn.log_softmax(each / temperature) for each in (search, evaluation))
    return jnp.mean(jnp.sum(jnp.exp(log_e) * (log_e - log_s), -1))


def joint_loss(losses: Sequence[jax.Array], distance: jax.Array, cyclic: Cyclic) -> jax.Array:
    """J without the penalty, from the cross-entropies of both networks and the distance of their outputs."""
    return sum(losses, jnp.zeros(())) / cyclic.balance + cyclic.balance * cyclic.temperature**2 * distance


def penalty(space: Space, alphas: Alphas) -> jax.Array:
    """Σ |α| of the ops without weights besides `none`, three times; in NAS-Bench-201 the mean |α| of `none`."""
    total = jnp.zeros(())
    for name, table in space.tables.items():
        if isinstance(space, NASBench201Space):
            chosen = jnp.array([[op == "none" for op in ops] for ops in table])
            total = total + jnp.sum(jnp.abs(alphas[name]) * chosen) / jnp.maximum(jnp.sum(chosen), 1)
        else:
            chosen = jnp.array([[op != "none" and not has_weights(op, 1) for op in ops] for ops in table])
            total = total + GROUPS * jnp.sum(jnp.abs(alphas[name]) * chosen)
    return total


def strength(epoch: Any, epochs: int, cyclic: Cyclic) -> jax.Array:
    """r(e): 1 at the end of the pretraining, falling linearly to 0 after `penalty_ratio` of the other epochs."""
    span = max((epochs - cyclic.pretrain) * cyclic.penalty_ratio, 1e-9)
    return jnp.clip(1 - (epoch - cyclic.pretrain) / span, 0.0, 1.0)


def _check(space: Space) -> None:
    if not isinstance(space, CellSpace | NASBench201Space):
        raise UserError(
            "cdarts needs alphas that all cells share, since its two networks differ in their number of cells; space "
            f"{space.name} has others: use DARTS cells or nasbench201 with space.shared true"
        )
