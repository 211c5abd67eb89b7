"""The estimators by the names that configurations use."""

from collections.abc import Mapping
from typing import Any

import optax

from jdarts.config import SearchConfig
from jdarts.errors import unknown
from jdarts.hypergrad.amended_darts import amended
from jdarts.hypergrad.central_difference import finite_difference
from jdarts.hypergrad.implicit import conjugate_gradient, neumann
from jdarts.hypergrad.one_step import first_order, single_level, unrolled
from jdarts.hypergrad.types import Estimator, Loss

ESTIMATORS = {
    "first_order": first_order,
    "single_level": single_level,
    "unrolled": unrolled,
    "finite_difference": finite_difference,
    "neumann": neumann,
    "conjugate_gradient": conjugate_gradient,
    "amended": amended,
}


def by_name(
    settings: SearchConfig,
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    options: Mapping[str, Any] | None = None,
) -> Estimator:
    """The estimator that a search configuration asks for.

    `hypergradient_terms` is the number of terms of the Neumann series, preconditioned by the optimiser, or the number
    of iterations of conjugate gradients. Conjugate gradients are damped by the coupled weight decay, which belongs to
    the training objective but not to the training loss. `options` are further options of the estimator, given by a
    search method.
    """
    name = settings.hypergradient or "unrolled"
    if name not in ESTIMATORS:
        raise unknown("hypergradient", name, ESTIMATORS)
    options = dict(options or {})
    if name == "unrolled":
        options["steps"] = settings.unroll_steps
    elif name == "neumann":
        options["terms"] = settings.hypergradient_terms
    elif name == "conjugate_gradient":
        options["iterations"] = settings.hypergradient_terms
        options["damping"] = settings.weight_optimizer.weight_decay
    return ESTIMATORS[name](train_loss, val_loss, optimizer, microbatches=settings.microbatches, **options)
