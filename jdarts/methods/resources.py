"""Cost of a relaxed architecture: the expectation of a resource over the op weights, summed over all cells.

Costs are those of the derived network's ops (`jdarts.networks.counting`): parameters, multiply–accumulates (called
FLOPs in the papers), and memory accesses, the numbers that an op reads and writes: its input, its output and its
weights (SNAS, Xie et al. 2019). `none` and skips at stride 1 cost no arithmetic. A skip still reads its input
and writes its output; `none` does neither.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import numpy as np

from jdarts.genotypes.mobile import MobileLayer
from jdarts.genotypes.one_shot import CELL_INPUTS, CHOICE_OPS
from jdarts.networks.counting import count_op
from jdarts.networks.mobile.size import layer_size
from jdarts.networks.one_shot.network import CellPlace, cell_places
from jdarts.networks.one_shot.supernet import OPS, inputs_of
from jdarts.networks.reductions import STEM_REDUCTION, reduction_cells
from jdarts.networks.wiring import OpTable
from jdarts.spaces import CellSpace, LayerChoices, OneShotSpace
from jdarts.spaces.space import Space

Resource = Literal["none", "parameters", "flops", "memory"]


def op_costs(space: Space, resource: Resource, *, channels: int, cells: int, size: int) -> dict[str, np.ndarray]:
    """The cost of each op on each edge, summed over the cells that share the alphas: `{cell type: [edges, ops]}`.

    Args:
      resource: "parameters", "flops" (multiply–accumulates of one image) or "memory" (numbers read and written).
      channels, cells: of the supernet, as in the configuration; for NAS-Bench-201 `cells` counts those of a stage.
      size: side of the images in pixels.
    """
    if isinstance(space, LayerChoices):
        return chain_costs(space, resource, size=size)[1]
    if isinstance(space, OneShotSpace):
        return _choice_costs(space, resource, cell_places(space.blocks, channels, cells, (size, size)))
    costs = {name: np.zeros(shape) for name, shape in space.alpha_shapes.items()}
    for cell_type, width, side in _cells(space, channels, cells, size):
        reduction = cell_type == "reduce"
        costs[cell_type] += _cell_costs(space.tables[cell_type], space.edges, resource, width, side, reduction)
    return costs


def chain_costs(
    space: LayerChoices, resource: Resource, *, size: int, classes: int = 1000
) -> tuple[float, dict[str, np.ndarray]]:
    """`(cost of the fixed layers and the classifier, {matrix: [layers, ops]})` of a chain of layers."""
    costs = {name: np.zeros(shape) for name, shape in space.alpha_shapes.items()}
    first, head = space.fixed_layers
    fixed, side, width = 0.0, size, 3
    for layer in first:
        cost, side, width = _of_layer(layer, width, side, resource), -(-side // layer.stride), layer.width
        fixed += cost
    for (name, row), layers in zip(space.rows, space.candidates, strict=True):
        costs[name][row] = [_of_layer(layer, width, side, resource) for layer in layers]
        side, width = -(-side // layers[0].stride), layers[0].width
    bias = classes if space.family_of_supernet.bias and resource == "parameters" else 0
    return fixed + _of_layer(head, width, side, resource) + head.width * classes + bias, costs


def _of_layer(layer: MobileLayer, width: int, side: int, resource: Resource) -> float:
    parameters, macs = layer_size(layer, width, (side, side))
    behind = -(-side // layer.stride)
    memory = width * side**2 + layer.width * behind**2 + parameters
    return {"parameters": parameters, "flops": macs, "memory": memory}[resource]


def _choice_costs(space: OneShotSpace, resource: Resource, places: Iterable[CellPlace]) -> dict[str, np.ndarray]:
    """The costs of the inputs and ops of choice blocks, summed over the cells."""
    costs = {name: np.zeros(shape) for name, shape in space.alpha_shapes.items()}
    for place in places:
        area, width = place.size[0] * place.size[1], place.channels

        def cost(inputs: int, parameters: int, macs: int, area: int = area, width: int = width) -> float:
            memory = (inputs + width) * area + parameters
            return {"parameters": parameters, "flops": macs, "memory": memory}[resource]

        costs[OPS] += [cost(width, *place.op(op)) for op in CHOICE_OPS]
        for block in range(space.blocks):
            weights = [place.projection(source) for source in range(CELL_INPUTS + block)]
            costs[inputs_of(block)] += [cost(each // width, each, each * area) for each in weights]
    return costs


def _cells(space: Space, channels: int, cells: int, size: int):
    """Cell type, channels, and side of the input in pixels of every cell."""
    if "cell" in space.tables:
        return [("cell", channels * 2**stage, size // 2**stage) for stage in range(3) for _ in range(cells)]
    found, width, side = [], channels, size // STEM_REDUCTION[space.stem if isinstance(space, CellSpace) else "cifar"]
    for i in range(cells):
        if i in reduction_cells(cells):
            width *= 2
            found.append(("reduce", width, side))
            side //= 2
        else:
            found.append(("normal", width, side))
    return found


@lru_cache(maxsize=64)
def _cell_costs(table: OpTable, edges, resource: Resource, width: int, side: int, reduction: bool) -> np.ndarray:
    inputs = min(target for _, target in edges)
    costs = np.zeros((len(table), len(table[0])))
    for row, ((source, _), ops) in enumerate(zip(edges, table, strict=True)):
        stride = 2 if reduction and source < inputs else 1
        output = side // 2 if reduction else side
        for column, op in enumerate(ops):
            parameters, macs = count_op(op, width, (output, output), stride)
            memory = 0 if op == "none" else width * ((output * stride) ** 2 + output**2) + parameters
            costs[row, column] = {"parameters": parameters, "flops": macs, "memory": memory}[resource]
    return costs
