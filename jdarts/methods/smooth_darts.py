"""SmoothDARTS (Chen & Hsieh, ICML 2020, arXiv:2002.05283): weights that are good in a neighbourhood of the op weights.

Only the weight step is perturbed, in probability space: RS adds U(−ε, ε) to the softmax; ADV ascends the training loss
by 7 signed steps of 2ε/7 inside that box, with running averages in the batch norms, and is dropped if the loss did not
rise. Both project back to the simplex. The alphas never see the perturbation. ε grows with the epoch. Everything else
is DARTS; published with first order: CIFAR-10 2.67 ± 0.03 (RS), 2.61 ± 0.02 % (ADV). DIFF: the paper's ε starts at 0,
the code's at 0.03; this follows the code.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from jax import lax

from jdarts.config.ranges import NonNegative, Range
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells
from jdarts.methods.registry import register
from jdarts.schedules import ramp

PAPER = "Chen & Hsieh, ICML 2020, arXiv:2002.05283"


@register
def sdarts_rs(*, epsilon_start: NonNegative = 0.03, epsilon_end: NonNegative = 0.3) -> Method:
    """SmoothDARTS with random smoothing."""
    epsilon = ramp(epsilon_start, epsilon_end, reached="after")

    def perturb(p, key, clock, loss):
        del loss
        return project(uniform(p, key, epsilon(clock)))

    return Method(
        name="sdarts_rs",
        paper=PAPER,
        summary="uniform noise on the op weights of the weight step",
        hypergradient="first_order",
        perturb=perturb,
        published=(on_cells("CIFAR-10 test error 2.67 ± 0.03 %"),),
    )


@register
def sdarts_adv(
    *, epsilon_start: NonNegative = 0.03, epsilon_end: NonNegative = 0.3, steps: Annotated[int, Range(1, 1_000)] = 7
) -> Method:
    """SmoothDARTS with an adversary (projected gradient ascent in the ∞-norm)."""
    epsilon = ramp(epsilon_start, epsilon_end, reached="after")
    return Method(
        name="sdarts_adv",
        paper=PAPER,
        summary="worst-case op weights in the weight step",
        hypergradient="first_order",
        perturb=lambda p, key, clock, loss: attack(p, key, epsilon(clock), loss, steps),
        published=(on_cells("CIFAR-10 test error 2.61 ± 0.02 %"),),
    )


def attack(p, key, epsilon, loss, steps: int):
    """Op weights within ε of `p` with a higher `loss`, by gradient ascent; `p` itself if the ascent found none."""

    def ascend(_, q):
        grads = jax.grad(loss)(q)
        moved = jax.tree.map(lambda a, g: a + 2 * epsilon / steps * jnp.sign(g), q, grads)
        return project(jax.tree.map(lambda a, b: b + jnp.clip(a - b, -epsilon, epsilon), moved, p))

    q = lax.fori_loop(0, steps, ascend, project(uniform(p, key, epsilon)))
    worse = loss(q) > loss(p)
    return jax.tree.map(lambda a, b: jnp.where(worse, a, b), q, p)


def uniform(p, key, epsilon):
    """`p` with U(−ε, ε) added to every entry."""
    keys = jax.random.split(key, len(p))
    noise = {c: jax.random.uniform(k, p[c].shape, p[c].dtype, -1, 1) for c, k in zip(sorted(p), keys, strict=True)}
    return {c: a + epsilon * noise[c] for c, a in p.items()}


def project(q):
    """Clip `q` to [0, 1] and divide each row by its sum.

    A row without a positive entry becomes 1 where `q` itself, the perturbed row, is largest (the authors' code).
    """

    def one(a):
        clipped = jnp.clip(a, 0, 1)
        largest = jax.nn.one_hot(jnp.argmax(a, -1), a.shape[-1], dtype=a.dtype)
        kept = jnp.where(jnp.sum(clipped, -1, keepdims=True) > 0, clipped, largest)
        return kept / jnp.sum(kept, -1, keepdims=True)

    return {name: one(a) for name, a in q.items()}
