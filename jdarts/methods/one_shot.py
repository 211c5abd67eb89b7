"""One-Shot (Bender et al., ICML 2018, PMLR 80): path dropout trains a model with all paths; random cells are ranked.

The model adds up all inputs and all ops of every choice block. In training each of the k paths of a sum is dropped with
probability r^(1/k), so that all of them are with probability r, which rises linearly from 0 in the first epoch to
`dropout` in the last. A step has `ghost_batches` equal parts, each with a mask and batch statistics of its own: 1,024
images make 32 parts of 32. Weight decay (L2) acts on the paths that a part keeps.

At the end `candidates` random architectures are scored with the inherited weights, all other paths set to 0, and the
statistics of the images that they are scored on; the best is the result. `jdarts search --strategy random --estimator
inherited --supernet RUN` ranks as many as wanted, and `jdarts.analysis.correlation` compares such a ranking with that
of networks trained from scratch.

In a chain of layers (`--space mobile_s5`) the sums are those of the candidates of a layer.

The paper could not be read in full here. DIFF: r, the number of cells, the learning rate and the length of the search
are not known; `dropout` is jdarts' choice. The reductions between cells (`jdarts.networks.one_shot.network`) are, too.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from jdarts.config.ranges import PositiveInt, Range
from jdarts.derivation import best_of, random_genotypes
from jdarts.methods.method import Method
from jdarts.methods.paths import dropped_paths
from jdarts.methods.published import Published
from jdarts.methods.registry import register
from jdarts.relaxation import softmax
from jdarts.schedules import ramp


@register
def one_shot(
    *,
    dropout: Annotated[float, Range(0, below=1)] = 0.05,
    ghost_batches: PositiveInt = 1,
    candidates: PositiveInt = 100,
) -> Method:
    """One-Shot; `dropout` is r at the end of the search, `ghost_batches` the parts of a batch."""

    def derive(space, p, evaluate, key):
        if evaluate is None:
            return space.derive(p)
        return best_of(space, random_genotypes(space, candidates, key), evaluate)

    return Method(
        name="one_shot",
        paper="Bender et al., ICML 2018, PMLR 80",
        summary="path dropout trains a model with all paths; the best of many random cells with its weights wins",
        relax=lambda alphas, key, clock, space: jax.tree.map(jnp.ones_like, alphas),
        derive_weights=softmax,
        paths=dropped_paths(ramp(0.0, dropout), ghost_batches),
        hypergradient="first_order",  # never computed
        alphas_fixed=True,
        derive=derive,
        compares=True,
        batch_statistics=True,
        published=(
            Published(
                "one_shot",
                "CIFAR-10 accuracy 95.5 %, 2.7M parameters at 32 channels (recalled); batches of 1,024 in parts of 32",
                {"search.batch_size": 1024, "space.channels": 32},
                ("ghost_batches=32",),
            ),
        ),
    )
