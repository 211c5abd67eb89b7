"""Agreement of a table of latencies with whole networks: prediction against measurement (Cai et al. 2019, figure 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jdarts.analysis.ranking import spearman
from jdarts.errors import UserError
from jdarts.latency import ALONE, LatencyTable, Measuring, measure_network

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LatencyAgreement:
    """Latencies of the same networks in milliseconds, `predicted` from a table and `measured` as a whole."""

    predicted: np.ndarray
    measured: np.ndarray

    @property
    def rmse(self) -> float:
        """The root of the mean squared difference in milliseconds."""
        return float(np.sqrt(np.mean((self.predicted - self.measured) ** 2)))

    @property
    def bias(self) -> float:
        """The mean of prediction minus measurement in milliseconds."""
        return float(np.mean(self.predicted - self.measured))

    @property
    def spearman(self) -> float:
        """Spearman's ρ."""
        return spearman(self.predicted.tolist(), self.measured.tolist())

    def summary(self) -> str:
        """One line."""
        mean = float(np.mean(self.measured))
        return (
            f"{len(self.measured)} networks of {mean:.3g} ms in the mean: RMSE {self.rmse:.3g} ms, prediction minus "
            f"measurement {self.bias:+.3g} ms, Spearman ρ {self.spearman:.3f}"
        )

    def figure(self) -> "Figure":
        """A point for each network beside the line y = x."""
        from jdarts.analysis.figures import COLOURS, figure

        fig, (axis,) = figure(1, width=4.8, height=4.6)
        low, high = (f([*self.predicted, *self.measured]) for f in (min, max))
        margin = 0.05 * (high - low)
        ends = [low - margin, high + margin]
        axis.plot(ends, ends, color="#9aa3ad", lw=1, label="y = x")
        axis.plot(self.measured, self.predicted, "o", ms=4.5, mew=0, alpha=0.7, color=COLOURS[0])
        axis.set(xlabel="measured, whole network (ms)", ylabel="predicted, sum of its blocks (ms)")
        axis.set(xlim=ends, ylim=ends, aspect="equal")
        axis.set_title(f"RMSE {self.rmse:.3g} ms, bias {self.bias:+.3g} ms, Spearman ρ {self.spearman:.3f}")
        axis.legend(frameon=False)
        return fig


def measure_agreement(
    table: LatencyTable,
    architectures: Sequence[Any],
    measuring: Measuring = ALONE,
    *,
    classes: int = 1000,
    image_size: int | tuple[int, int] = 224,
    on_network: Callable[[int, float, float], None] = lambda done, predicted, measured: None,
) -> LatencyAgreement:
    """Measure mobile networks and predict them with a table of the same device and conditions.

    `on_network` receives the number of measured networks, and the prediction and the measurement of the last one.
    Raises `UserError` for fewer than two networks and for a block that the table lacks.
    """
    if len(architectures) < 2:
        raise UserError(f"the agreement over {len(architectures)} networks says nothing; use at least 2")
    place: dict[str, Any] = {"classes": classes, "image_size": image_size}
    predicted = [table.predict(architecture, **place) for architecture in architectures]
    measured = []
    for done, architecture in enumerate(architectures, start=1):
        measured.append(measure_network(architecture, measuring, **place))
        on_network(done, predicted[done - 1], measured[-1])
    return LatencyAgreement(np.array(predicted), np.array(measured))
