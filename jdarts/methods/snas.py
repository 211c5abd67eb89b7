"""SNAS (Xie et al., ICLR 2019, arXiv:1812.09926): soft Gumbel-softmax samples, one level, optionally a resource cost.

`Z = softmax((log softmax(α) + G) / λ)`, λ from 1 to 0.03 linearly over 150 epochs; weights and alphas move by the
training loss only. The code starts the alphas at 1 + 0.01 · N(0, 1); the 1 has no effect on a softmax. CIFAR-10 2.85 ±
0.02 %. DIFF: of the two released trainers one moves the alphas by Adam, one by SGD; this follows Adam.

With `resource` the loss gains `1.5e-3 · ln Σ_cells Σ_e Σ_o Z_eo · c_o`, where c_o is the cost of the op in that cell:
its parameters, its multiply–accumulates or the numbers that it reads and writes. `estimate="sample"` uses the Z of the
step and differentiates through it (reparameterisation); "expectation" uses softmax(α) instead: the cost is linear in Z,
so that is the expectation over the categorical choice without its noise. `channels`, `cells` and `size` (image side in
pixels) must be those of the search. The policy-gradient form of the paper is not included.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from jdarts import relaxation
from jdarts.config.options import Unless
from jdarts.config.ranges import Cells, NonNegative, Positive, PositiveInt
from jdarts.methods.method import Method
from jdarts.methods.published import ALL_IMAGES, on_cells, on_nasbench201
from jdarts.methods.registry import register
from jdarts.methods.resources import Resource, op_costs
from jdarts.schedules import ramp
from jdarts.spaces.space import Space

_WITH_COST = Unless("resource", "none")


@dataclass(frozen=True, kw_only=True)
class ResourceCost:
    """The cost of a relaxed network in the loss.

    Attributes:
      resource: the cost of an op; "none" leaves the term out.
      resource_weight: factor of the term.
      estimate: op weights in the term: those of the step, or `softmax(α)`.
      channels, cells, size: of the supernet, and the side of the images in pixels.
    """

    resource: Resource = "none"
    resource_weight: Annotated[NonNegative, _WITH_COST] = 1.5e-3
    estimate: Annotated[Literal["sample", "expectation"], _WITH_COST] = "sample"
    channels: Annotated[PositiveInt, _WITH_COST] = 16
    cells: Annotated[Cells, _WITH_COST] = 8
    size: Annotated[PositiveInt, _WITH_COST] = 32

    @property
    def sizes(self) -> dict[str, int]:
        """Channels, cells and image side, which must be those of the search."""
        return {"channels": self.channels, "cells": self.cells, "size": self.size}

    def log(self, p: dict[str, jax.Array], space: Space) -> jax.Array:
        """`ln Σ_cells Σ_e Σ_o p_eo · c_o` for op weights `p`; the sum is at least 1, where the logarithm is 0."""
        costs = op_costs(space, self.resource, **self.sizes)
        total = jnp.sum(jnp.stack([jnp.sum(p[name] * jnp.asarray(c, p[name].dtype)) for name, c in costs.items()]))
        return jnp.log(jnp.maximum(total, 1.0))


@register
def snas(
    *, temperature_start: Positive = 1.0, temperature_end: Positive = 0.03, cost: ResourceCost = ResourceCost()
) -> Method:
    """SNAS; `resource` adds the logarithm of the expected cost, times `resource_weight`, to the alphas' loss."""
    temperature = ramp(temperature_start, temperature_end)
    costs_nothing = cost.resource == "none"

    def relax(alphas, key, clock, space):
        del space
        return relaxation.gumbel_softmax(alphas, key, temperature(clock))

    def regularizer(alphas, key, clock, space):
        p = relax(alphas, key, clock, space) if cost.estimate == "sample" else relaxation.softmax(alphas)
        return cost.resource_weight * cost.log(p, space)

    return Method(
        name="snas",
        paper="Xie et al., ICLR 2019, arXiv:1812.09926",
        summary="soft Gumbel-softmax samples of falling temperature, single level; resource cost",
        relax=relax,
        derive_weights=relaxation.softmax,
        hypergradient="single_level",
        regularizer=None if costs_nothing else regularizer,
        options={} if costs_nothing else {"sizes": cost.sizes},
        published=(
            on_cells(
                "CIFAR-10 test error 2.85 ± 0.02 %, with drop-path of 0.3 while searching, which jdarts leaves out",
                {**ALL_IMAGES, "search.epochs": 150, "search.alpha_optimizer.gradient_clip": 10.0},
            ),
            on_nasbench201(
                "CIFAR-10 test accuracy 92.77 ± 0.83 % (as others report it, search on each data set)",
                {**ALL_IMAGES, "search.epochs": 150},
            ),
        ),
    )
