"""Analyses of a search: exact curvature, landscapes, correlations and gaps, for any run folder or live state.

They use pure functions `loss(w, alphas, batch) -> (scalar, aux)` on any pytrees. `open_run(folder)` and
`live(config, state)` make such functions, and batches, from a search:

    from jdarts import analysis

    run = analysis.open_run("runs/darts_cifar10")
    hessian = analysis.alpha_hessian(run.loss(train=True), run.w, run.alphas, run.batches(4))
    hessian.eigenvalues, hessian.errors           # 224 numbers, largest first, and their standard errors

| question | function |
|---|---|
| How curved is the loss by the alphas? | `alpha_hessian`, also of a `bilevel_objective` (through one weight step) |
| How curved is it by the weights? | `weight_product` with `lanczos`, `weight_spectrum`, `hutchinson_trace` |
| What does the loss look like around the alphas? | `landscape` on a `Grid` along `random_directions`, … |
| Which ops does the alpha gradient favour? | `gradient_correlation`, `operator_gradients` |
| What is lost by discretising? | `discretisation_gap` |
| Does the supernet rank architectures correctly? | `kendall`, `spearman`, `rank_correlation` |
| Do two performance estimators agree on the ranking? | `correlate_estimators`, and its `figure()` |
| Is the search collapsing? | `indicators`, `monitor` |
| Which alpha-Hessians are published? | `published_hessians` (1,742 matrices of RobustDARTS) |
"""

from jdarts.analysis import indicators, published_hessians
from jdarts.analysis.alpha_hessian import (
    AlphaHessian,
    alpha_hessian,
    alpha_products,
    bilevel_objective,
    hessian_from_products,
    sharded_products,
)
from jdarts.analysis.compiling import compile_pieces
from jdarts.analysis.correlation import (
    Correlation,
    correlate,
    gradient_correlation,
    op_groups,
    operator_gradients,
    weight_gradient,
)
from jdarts.analysis.directions import shift_directions
from jdarts.analysis.discretisation import discretisation_gap
from jdarts.analysis.estimators import EstimatorCorrelation, correlate_estimators
from jdarts.analysis.landscape import (
    Grid,
    Landscape,
    eigen_directions,
    gradient_directions,
    landscape,
    random_directions,
)
from jdarts.analysis.live import LiveSearch, live
from jdarts.analysis.ranking import kendall, rank_correlation, spearman
from jdarts.analysis.run_folders import open_epochs, open_run
from jdarts.analysis.weight_curvature import (
    Spectrum,
    Trace,
    hutchinson_trace,
    lanczos,
    weight_product,
    weight_spectrum,
)

__all__ = [
    "AlphaHessian",
    "Correlation",
    "EstimatorCorrelation",
    "Grid",
    "Landscape",
    "LiveSearch",
    "Spectrum",
    "Trace",
    "alpha_hessian",
    "alpha_products",
    "bilevel_objective",
    "compile_pieces",
    "correlate",
    "correlate_estimators",
    "discretisation_gap",
    "eigen_directions",
    "gradient_correlation",
    "gradient_directions",
    "hessian_from_products",
    "hutchinson_trace",
    "indicators",
    "kendall",
    "lanczos",
    "landscape",
    "live",
    "op_groups",
    "open_epochs",
    "open_run",
    "operator_gradients",
    "published_hessians",
    "random_directions",
    "rank_correlation",
    "sharded_products",
    "shift_directions",
    "spearman",
    "weight_gradient",
    "weight_product",
    "weight_spectrum",
]
