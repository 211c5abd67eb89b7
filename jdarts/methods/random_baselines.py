"""Baselines without alphas: random search with weight sharing (Li & Talwalkar 2019, arXiv:1902.07638), random search.

RSPS: every step trains one uniformly random op an edge; at the end random architectures are scored on one validation
batch with the shared weights, and the best is returned (100 on NAS-Bench-201, 250 epochs: 87.66 ± 1.69 in the later
release). DIFF: on S0 the original samples two edges a node and re-evaluates the best 10 of 1,000; here one op on each
of the 14 edges trains the weights, while candidates have two edges a node.

Random search draws cells and uses no shared weights: with a benchmark table it returns the cell with the best 12-epoch
validation accuracy of the table. Otherwise each cell is trained from scratch, and the best on validation data is
returned: by accuracy on images, by perplexity on text.
"""

from jdarts import relaxation
from jdarts.config.ranges import CandidateCount
from jdarts.derivation import best_of, random_genotypes
from jdarts.methods.method import Method
from jdarts.methods.published import NESTEROV, on_nasbench201
from jdarts.methods.registry import register

PAPER = "Li & Talwalkar, UAI 2019, arXiv:1902.07638"

TWELVE_EPOCHS = {
    "train.epochs": 12,
    "train.batch_size": 256,
    "train.channels": 16,
    "train.cells": 5,
    "train.auxiliary_weight": 0.0,
    "train.drop_path": 0.0,
    "train.val_fraction": 0.5,
}
"""Each random cell is trained for 12 epochs on half of the images, and compared on the other half."""


@register
def rsps(*, candidates: CandidateCount = 100) -> Method:
    """Random search with weight sharing; `candidates` random architectures are scored at the end."""

    def derive(space, p, evaluate, key):
        if evaluate is None:
            return space.derive(p)
        return best_of(space, random_genotypes(space, candidates, key), evaluate)

    return Method(
        name="rsps",
        paper=PAPER,
        summary="random search with weight sharing: random paths train the weights, the best random cell wins",
        relax_weights=lambda alphas, key, clock, space: relaxation.uniform_one_hot(alphas, key),
        alphas_fixed=True,
        derive=derive,
        compares=True,
        published=(
            on_nasbench201(
                "CIFAR-10 test accuracy 87.66 ± 1.69 % (arXiv:2001.00326, later release)",
                {**NESTEROV, "search.epochs": 250},
            ),
        ),
    )


@register
def random_search(*, samples: CandidateCount = 24) -> Method:
    """Random search over `samples` cells, without a supernet."""
    return Method(
        name="random_search",
        paper=PAPER,
        summary="random cells, each trained by itself, or looked up in a benchmark table",
        alphas_fixed=True,
        driver="random_search",
        options={"samples": samples},
        published=(
            on_nasbench201(
                "CIFAR-10 test accuracy 93.70 ± 0.36 % (arXiv:2001.00326, recalled)", TWELVE_EPOCHS, ("samples=100",)
            ),
        ),
    )
