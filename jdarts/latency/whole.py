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
    **sizes: Any,
) -> float:
    """Milliseconds of the network that `jdarts train` trains, in evaluation mode.

    Args:
      sizes: `channels`, `cells`, `width_multiplier` and `stem`, as `derived_network` takes them. Of a network of cells
        there are by default 36 channels and 20 cells, in NAS-Bench-201 16 and 5 a stage.

    Raises `UserError` for an architecture without network and images that it cannot read.
    """
    one_cell = getattr(genotype, "reduce", genotype) is None
    defaults = {"channels": 16, "cells": 5} if one_cell else {"channels": 36, "cells": 20}
    sizes = {**defaults, **{name: size for name, size in sizes.items() if size is not None}}
    check_network(genotype, image_size=image_size, **sizes)
    module = derived_network(genotype, classes=classes, **sizes)
    return measuring.of_module(module, (*sides_of(image_size), 3), False)
