"""Results of trainings of images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainResult:
    """A trained classifier: its test accuracy (a fraction, evaluated once), size, and cost (auxiliary head excluded).

    `test_top5_accuracy` is the share of test images whose class has one of the five largest logits; None with at most
    five classes.
    """

    test_accuracy: float
    test_loss: float
    parameters: int
    macs: int
    test_top5_accuracy: float | None = None

    def record(self) -> dict[str, Any]:
        """The content of `result.json`, without the genotype."""
        return asdict(self)

    def describe(self) -> str:
        """The result in one line."""
        among = "" if self.test_top5_accuracy is None else f", top 5 {self.test_top5_accuracy:.2%}"
        return (
            f"test accuracy {self.test_accuracy:.2%}{among} (evaluated once, after the last epoch), "
            f"{self.parameters:,} parameters, {self.macs:,} MACs"
        )


@dataclass(frozen=True)
class TaskResult:
    """A trained network of another task: its metrics on the test images (evaluated once), size and cost."""

    test: Mapping[str, float]
    parameters: int
    macs: int

    def record(self) -> dict[str, Any]:
        """The content of `result.json`, without the genotype."""
        return {f"test_{name}": value for name, value in self.test.items()} | {
            "parameters": self.parameters,
            "macs": self.macs,
        }

    def describe(self) -> str:
        """The result in one line."""
        metrics = ", ".join(f"test {name} {value:.5g}" for name, value in self.test.items() if name != "loss")
        return f"{metrics} (evaluated once, after the last epoch), {self.parameters:,} parameters, {self.macs:,} MACs"
