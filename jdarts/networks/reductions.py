"""The cells of a network that halve the image."""

from collections.abc import Iterable
from typing import Literal

from jdarts.genotypes.stacked import reduction_cells
from jdarts.networks.image_sizes import check_halvings

__all__ = ["STEM_REDUCTION", "StemName", "check_reductions", "reduction_cells", "untrained_kind"]

StemName = Literal["cifar", "imagenet"]
"""The layers in front of the cells: one convolution that keeps the size, or three of stride 2."""

STEM_REDUCTION: dict[StemName, int] = {"cifar": 1, "imagenet": 8}
"""The factor by which a stem divides the sides of an image."""


def check_reductions(height: int, width: int, cells: int, what: str = "cells", stem: StemName = "cifar") -> None:
    """Raise `UserError` unless an image can be halved exactly by the stem and at every reduction cell of `cells`."""
    halvings = len(reduction_cells(cells))
    before = "" if stem == "cifar" else f"the {stem} stem and "
    problem = f"cannot pass {before}the {halvings} reduction cells of a network with {what} = {cells}"
    check_halvings(height, width, halvings + STEM_REDUCTION[stem].bit_length() - 1, problem)


def untrained_kind(cells: int, kinds: Iterable[str], name: str = "space.cells") -> str:
    """The reason, in words, that a network of so few cells searches no normal cell; empty if it does, or has none.

    One or two cells are all reduction cells, so that the normal cell's alphas stay what they were drawn as. `name` is
    the setting that says how many cells there are.
    """
    if cells >= 3 or "normal" not in kinds:
        return ""
    return f"{name} is {cells}, so all cells are reduction cells and no normal cell is searched; use at least 3"
