"""Methods that search in stages (drivers in `jdarts.search.drivers`): each has a fresh supernet with fewer candidates.

P-DARTS (Chen et al., ICCV 2019, arXiv:1904.12760): three stages of 25 epochs, with 5, 11 and 17 cells. Every edge keeps
5 of its 8 ops after the first stage and 3 after the second. The alphas are frozen for the first 10 epochs of a stage.
Identity skips have dropout (0.1, 0.4, 0.7 by stage for CIFAR-10), and the normal cell keeps at most two skips. The
alphas' Adam has learning rate 6e-4 and gradient clip 5. CIFAR-10 test error 2.50 %. DIFF: the dropout of the first
stage is 0.0 in the paper and 0.1 in the README; this follows the README.

StacNAS (Li et al. 2019, arXiv:1909.11926): two single-level stages of 80 epochs, gradient clip 3. The candidates of the
first, with 14 cells, are one op of each group of similar ops; those of the second, with 20 cells, are the ops of the
group that won. Genotypes are derived from the raw alphas.

To combine P-DARTS with DARTS-, compose them with skip_limit=-1 and skip_dropout=0,0,0.
"""

from typing import Annotated

import jax.numpy as jnp

from jdarts.config.ranges import Cells, CountOrOff, Fraction, Range
from jdarts.errors import UserError
from jdarts.methods.method import Method
from jdarts.methods.published import ALL_IMAGES, on_cells
from jdarts.methods.registry import register

P_DARTS = {
    "search.epochs": 25,
    "search.batch_size": 96,
    "search.weight_optimizer.learning_rate_min": 0.0,
    "search.alpha_optimizer.learning_rate": 6e-4,
    "search.alpha_optimizer.gradient_clip": 5.0,
}
"""The epochs are those of one stage, as in `STAC_NAS`."""
STAC_NAS = {
    **ALL_IMAGES,
    "space.cells": 14,
    "search.epochs": 80,
    "search.weight_optimizer.gradient_clip": 3.0,
}


@register
def p_darts(
    *,
    cells: tuple[Cells, ...] = (5, 11, 17),
    skip_dropout: tuple[Fraction, ...] = (0.1, 0.4, 0.7),
    frozen: CountOrOff = 10,
    skip_limit: Annotated[int, Range(-1, note="-1 is no limit")] = 2,
) -> Method:
    """P-DARTS; `cells` and `skip_dropout` by stage; `skip_limit` is for the normal cell, -1 for no limit.

    Raises `UserError` unless both have three values.
    """
    if len(cells) != 3 or len(skip_dropout) != 3:
        raise UserError(f"p_darts has three stages; cells is {cells} and skip_dropout is {skip_dropout}")
    return Method(
        name="p_darts",
        paper="Chen et al., ICCV 2019, arXiv:1904.12760",
        summary="three stages of growing depth and fewer candidates; dropout on skips, at most two of them",
        hypergradient="first_order",
        edge_values={"skip_dropout": fading(skip_dropout[0], frozen)},
        alpha_start=frozen,
        driver="p_darts",
        options={"cells": cells, "skip_dropout": skip_dropout, "frozen": frozen, "skip_limit": skip_limit},
        published=(on_cells("CIFAR-10 test error 2.50 %", P_DARTS),),
    )


@register
def stac_nas(*, cells: tuple[Cells, ...] = (14, 20)) -> Method:
    """StacNAS; `cells` by stage. Raises `UserError` unless there are two."""
    if len(cells) != 2:
        raise UserError(f"stac_nas has two stages; cells is {cells}")
    return Method(
        name="stac_nas",
        paper="Li et al., 2019, arXiv:1909.11926",
        summary="two stages: a group of similar ops first, then the op inside it; single level",
        derive_weights=lambda alphas: dict(alphas),
        hypergradient="single_level",
        driver="stac_nas",
        options={"cells": cells},
        published=(on_cells("CIFAR-10 test error 2.33 to 2.48 % (recalled)", STAC_NAS),),
    )


def fading(rate: float, frozen: int):
    """P-DARTS' dropout rate: `rate · (E − e − 1) / E` while the alphas are frozen, then `rate · exp(−0.2 (e −
    frozen))`.
    """

    def value(clock):
        e = clock.epoch
        return rate * jnp.where(e < frozen, (clock.epochs - e - 1) / clock.epochs, jnp.exp(-0.2 * (e - frozen)))

    return value
