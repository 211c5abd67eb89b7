"""The latency of the whole network of an architecture."""

from typing import Any

from jdarts.latency.measure import ALONE, Measuring
from jdarts.networks.image_sizes import sides_of
from jdarts.networks.of_genotype import TrainedOnImages, check_network, derived_network


def measure_network(
    genotype: TrainedOnImages,
    measuring: Measuring = ALONE,
    *,
    classes: int = 10,
    image_size: int | tuple[int, int] = 32,
    channels: int | None = None,
    cells: int | None = None,
    width_multiplier: float = 1.0,
) -> float:
    """Milliseconds of the network that `jdarts train` trains, in evaluation mode.

    Args:
      channels, cells: of a network of cells; by default 36 and 20, in NAS-Bench-201 16 and 5 a stage.

    Raises `UserError` for an architecture without network and images that it cannot read.
    """
    one_cell = getattr(genotype, "reduce", genotype) is None
    sizes: dict[str, Any] = {
        "channels": channels or (16 if one_cell else 36),
        "cells": cells or (5 if one_cell else 20),
        "width_multiplier": width_multiplier,
    }
    check_network(genotype, image_size=image_size, **sizes)
    module = derived_network(genotype, classes=classes, **sizes)
    return measuring.of_module(module, (*sides_of(image_size), 3), False)
