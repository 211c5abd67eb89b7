"""Checks of the kind of a genotype, for functions that need cells of images."""

from typing import Any

from jdarts.genotypes.enas import refuse_macro
from jdarts.genotypes.one_shot import refuse_one_shot
from jdarts.genotypes.random_wiring import refuse_wired
from jdarts.genotypes.recurrent import refuse_recurrent


def require_cells(genotype: Any) -> None:
    """Raise `UserError` if `genotype` is not one of cells: recurrent, of ENAS macro, One-Shot or randomly wired."""
    refuse_recurrent(genotype)
    refuse_macro(genotype)
    refuse_one_shot(genotype)
    refuse_wired(genotype)
