"""Fast forms of the supernets, behind one door: `form` and `cell_nasbench201` choose the one that suits the platform.

* `by_edge`: on a CPU every mixed edge is a unit of compilation (`jdarts.staging`) on its own.
* `by_cell`: elsewhere, and in programs that are compiled whole, the edges of a node are computed together; on an
  accelerator a cell is the unit.
* `nasbench201`: the cell of NAS-Bench-201, whose edges share one call of each op.
* `pieces`: the units of compilation; `packing`: variables as vectors; `ops`, `layers`: modules of all forms.

Each is a subclass of the wiring in `jdarts.networks.cells` and equals the plain form (`jdarts.networks.plain`) in
values, statistics and derivatives; `tests/networks/test_fast_forms.py` holds them to it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jdarts import staging
from jdarts.networks.fast.by_cell import CellByCell
from jdarts.networks.fast.by_edge import CellByEdge
from jdarts.networks.fast.layers import ImageNetStem, Stem
from jdarts.networks.fast.nasbench201 import CellByNode
from jdarts.networks.fast.packing import BODY, stacked_edges
from jdarts.networks.wiring import rows_of

__all__ = ["BODY", "Form", "cell_nasbench201", "form", "stacked_edges"]


class Form(NamedTuple):
    """The parts of a supernet in one form.

    Attributes:
      stems: the modules of the first layers, by their number of channels, by the name of the stem.
      cell: the module of a cell, by the fields of `jdarts.networks.cells.SearchCell`.
      op_weights: brings an array of op weights, or a list of its rows, to what the cells take.
    """

    stems: Mapping[str, Callable[..., nn.Module]]
    cell: Callable[..., nn.Module]
    op_weights: Callable[[Any], Any] = jnp.asarray


def form(axis_name: str | None, remat: bool) -> Form:
    """The form of a DARTS supernet that suits the platform and the unit of compilation."""
    by_edge = staging.unit() == "edges"
    cell: Any = CellByEdge if by_edge else CellByCell
    if remat:
        cell = nn.remat(cell, static_argnums=(4,))  # argument 4 is `train`
    rows = rows_of if by_edge else jnp.asarray  # by edge, one array a row, shared by all cells
    stems = {"cifar": partial(Stem, axis_name=axis_name), "imagenet": partial(ImageNetStem, axis_name=axis_name)}
    return Form(stems, partial(cell, axis_name=axis_name), rows)


def cell_nasbench201(axis_name: str | None, remat: bool) -> Callable[..., nn.Module]:
    """The module of a cell of NAS-Bench-201, by the fields of `jdarts.networks.cells.SearchCell201`."""
    cell: Any = nn.remat(CellByNode, static_argnums=(3,)) if remat else CellByNode  # argument 3 is `train`
    return partial(cell, axis_name=axis_name)
