"""PC-DARTS (Xu et al., ICLR 2020, arXiv:1907.05737): partial channels and edge normalisation.

1/K of the channels pass through the ops, the others bypass them, then a channel shuffle follows. A softmax over the
edges of a node weights the edges and enters the derivation as a factor. CIFAR-10: K = 4, 50 epochs, batch 256, SGD 0.1
→ 0, Adam 6e-4, alphas frozen for the first 15 epochs; first order; 2.57 ± 0.07 %. ImageNet: K = 2, frozen for 35, Adam
6e-3, alpha clip 5.
"""

from jdarts.config.ranges import CountOrOff, PositiveInt
from jdarts.methods.method import Method
from jdarts.methods.published import NESTEROV, on_cells, on_nasbench201
from jdarts.methods.registry import register
from jdarts.networks.edges import EdgeSettings

SETTINGS = {
    "search.batch_size": 256,
    "search.weight_optimizer.learning_rate": 0.1,
    "search.weight_optimizer.learning_rate_min": 0.0,
    "search.alpha_optimizer.learning_rate": 6e-4,
}


@register
def pc_darts(*, parts: PositiveInt = 4, alpha_start: CountOrOff = 15) -> Method:
    """PC-DARTS; `parts` is K, `alpha_start` the first epoch in which the alphas move."""
    return Method(
        name="pc_darts",
        paper="Xu et al., ICLR 2020, arXiv:1907.05737",
        summary="a quarter of the channels pass through the ops; softmax over the edges of a node",
        hypergradient="first_order",
        edge=EdgeSettings(partial_channels=parts),
        edge_normalisation=True,
        alpha_start=alpha_start or None,
        published=(
            on_cells("CIFAR-10 test error 2.57 ± 0.07 %", SETTINGS),
            on_nasbench201("CIFAR-10 test accuracy 93.41 ± 0.30 % (β-DARTS, arXiv:2203.01665)", NESTEROV),
        ),
    )
