"""Methods that search in stages, each with a fresh supernet on fewer candidates (`jdarts.search.drivers` runs them).

P-DARTS (Chen et al., ICCV 2019, arXiv:1904.12760): three stages of 25 epochs with 5, 11, 17 cells; 5, then 3 of 8 ops
survive on every edge. Alphas are frozen for the first 10 epochs of a stage; dropout on identity skips (0.1, 0.4, 0.7
for CIFAR-10); at most two skips in the normal cell. Adam 6e-4, alpha clip 5; CIFAR-10 2.50 %. DIFF: paper 0.0, README
0.1 in the first stage; this follows the README.

StacNAS (Li et al. 2019, arXiv:1909.11926): first one op of each group of similar ops, on 14 cells, then the ops inside
the winning group, on 20; single level, 80 epochs each, clip 3. Derivation by raw alphas. P-DARTS with DARTS-: compose,
with skip_limit=-1 and skip_dropout=0,0,0.
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
    """P-DARTS; `cells` and `skip_dropout` by stage; `skip_limit` is for the normal cell, -1 for no limit."""
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
    """StacNAS; `cells` by stage."""
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
