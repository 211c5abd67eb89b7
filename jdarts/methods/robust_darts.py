"""RobustDARTS (Zela et al., ICLR 2020, arXiv:1909.09656): second-order DARTS, stopped early or regularised.

* `darts_es` measures the largest eigenvalue of the Hessian of the validation loss in the alphas, every second epoch, on
  the last alpha batch, with the alphas' weight decay added. The search stops when the local average has grown by a
  factor of 1.3 over 8 epochs. The result is the genotype from before the growth.
* `darts_ada` does not stop but goes back to that epoch and continues with ten times the weight decay, until the decay
  reaches 0.03.
* `r_darts_dp` adds drop-path on every edge and cutout, both growing linearly (needs data.search_cutout 16).
* `r_darts` is R-DARTS(L2) or R-DARTS(DP): four searches, with weight decays of 3, 9, 27, 81 · 10⁻⁴ or drop-path of 0,
  0.2, 0.4, 0.6 (0: also without cutout). Each found cell is trained for a while; the best by validation is the result.

DIFF: the paper says 0.75 and k = 5, the code 1.3 and windows of 5; this follows the code.

A dead network also has small eigenvalues: all of them equal the alphas' decay, whatever the accuracy. (The published
searches that died on SVHN kept an accuracy of 19.0 %, the share of the most frequent class.) Dead epochs cause a
warning, and their genotype is not returned.
"""

from typing import Annotated, Literal

from jdarts.config.ranges import Epochs, Fraction, NonNegative, Positive, PositiveInt, Range
from jdarts.errors import UserError
from jdarts.methods.method import Method
from jdarts.methods.published import on_cells
from jdarts.methods.registry import register
from jdarts.schedules import ramp
from jdarts.stopping import eigenvalue_growth

PAPER = "Zela et al., ICLR 2020, arXiv:1909.09656"
CUTOUT = {"data.search_cutout": 16}
L2_RESULT = "CIFAR-10 test error 2.78, 3.31, 2.51, 3.56 % on S1 to S4, 2.95 ± 0.21 % on S0 (S1 to S4 recalled)"
DP_RESULT = "CIFAR-10 test error 3.11, 3.48, 2.93, 3.58 % on S1 to S4, the best of four searches (recalled)"


@register
def darts_es(
    *,
    factor: Positive = 1.3,
    window: PositiveInt = 5,
    delta: PositiveInt = 4,
    every: PositiveInt = 2,
    start: Annotated[int, Range(0)] = 10,
) -> Method:
    """DARTS-ES, early stopping by the dominant eigenvalue; `every` and `start` are epochs, others measurements."""
    return Method(
        name="darts_es",
        paper=PAPER,
        summary="second-order DARTS, stopped when the curvature of the alphas' loss grows",
        hypergradient="unrolled",
        probes=("dominant_eigenvalue",),
        stop=eigenvalue_growth(factor=factor, window=window, delta=delta, every=every, start=start),
        options={"every": every},
        published=(on_cells("CIFAR-10 test error 3.01, 3.26, 2.74, 3.71 % on S1 to S4 (recalled)"),),
    )


@register
def darts_ada(
    *,
    factor: Positive = 1.3,
    window: PositiveInt = 5,
    delta: PositiveInt = 4,
    every: PositiveInt = 2,
    start: Annotated[int, Range(0)] = 10,
    multiply: Annotated[float, Range(above=1)] = 10.0,
    limit: Positive = 0.03,
) -> Method:
    """DARTS-ADA: when the stop rule triggers, go back to the earlier epoch with `multiply` times the weight decay."""
    return Method(
        name="darts_ada",
        paper=PAPER,
        summary="as darts_es, but rolls back and continues with stronger weight decay",
        hypergradient="unrolled",
        probes=("dominant_eigenvalue",),
        stop=eigenvalue_growth(factor=factor, window=window, delta=delta, every=every, start=start),
        driver="darts_ada",
        options={"every": every, "multiply": multiply, "limit": limit},
        published=(on_cells("CIFAR-10 test error 3.10, 3.35, 2.59, 4.84 % on S1 to S4 (recalled)"),),
    )


@register
def r_darts_dp(*, drop_path: Fraction = 0.2) -> Method:
    """One search of R-DARTS(DP); `drop_path` is the probability in the last epoch; 0 also switches cutout off."""
    return Method(
        name="r_darts_dp",
        paper=PAPER,
        summary="second-order DARTS with growing drop-path and cutout",
        hypergradient="unrolled",
        edge_values={"drop_path": ramp(0.0, drop_path)},
        cutout_probability=ramp(0.0, 1.0 * (drop_path > 0)),
        published=(on_cells(DP_RESULT, CUTOUT),),
    )


STRENGTHS = {"l2": (3e-4, 9e-4, 27e-4, 81e-4), "dp": (0.0, 0.2, 0.4, 0.6)}


@register
def r_darts(
    *,
    by: Literal["l2", "dp"] = "l2",
    strengths: tuple[NonNegative, ...] = (),
    train_epochs: Epochs = 100,
    val_fraction: Annotated[float, Range(above=0, below=1)] = 0.5,
) -> Method:
    """R-DARTS: one search for each of `strengths` (empty: the four published ones); the best by validation is kept.

    `strengths` are weight decays of the search (`by="l2"`) or drop-path probabilities ("dp"). Each found cell is
    trained for `train_epochs` epochs, otherwise as in `train`, and compared on the last `val_fraction` of the training
    images. Raises `UserError` for repeated strengths, and for drop-path probabilities from 1.
    """
    strengths = strengths or STRENGTHS[by]
    if len(set(strengths)) < len(strengths) or (by == "dp" and max(strengths) >= 1):
        raise UserError(f"strengths of r_darts is {strengths}; give different numbers (by=dp: below 1)")
    base = r_darts_dp(drop_path=max(strengths)) if by == "dp" else None
    return Method(
        name="r_darts",
        paper=PAPER,
        summary="four searches of different weight decay or drop-path, the best by validation after a short training",
        hypergradient="unrolled",
        edge_values=base.edge_values if base else {},
        cutout_probability=base.cutout_probability if base else None,
        driver="r_darts",
        options={"by": by, "strengths": strengths, "train_epochs": train_epochs, "val_fraction": val_fraction},
        published=(on_cells(DP_RESULT, CUTOUT) if by == "dp" else on_cells(L2_RESULT),),
    )
