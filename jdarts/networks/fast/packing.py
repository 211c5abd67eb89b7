"""All arrays of a network's variables as one vector, the arrays of each edge side by side.

A supernet has hundreds of weight arrays. Optimisers, checkpoints and the programs around a step want one; a mixed edge
wants its own part of it in one piece. A packing fixes the order.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import lax

from jdarts import staging
from jdarts.networks.wiring import Edges, OpTable
from jdarts.ops.candidates import has_weights
from jdarts.ops.initializers import draw_rows, initial_statistic
from jdarts.staging import Unit

Path = tuple[str, ...]

BODY = "body"  # the packed variables of a cell behind its preprocessing


def edge_name(source: int, target: int) -> str:
    """The name under which the packed weights of an edge stand among the variables of its cell."""
    return f"edge_{source}_{target}"


def stacked_edges(path: Path, table: OpTable, reduction: bool, edges: Edges) -> list[Path] | None:
    """The edges over which the variable at `path` inside a cell is stacked, None if it is not."""
    if len(path) < 2 or not path[0].startswith("from_"):
        return None
    number, _, op = path[0].removeprefix("from_").partition("_")
    source = int(number)
    if not has_weights(op, 2 if reduction and source < 2 else 1):
        return None
    return [(edge_name(source, t),) for k, (s, t) in enumerate(edges) if s == source and op in table[k]]


class Packing:
    """A bijection between trees of float arrays that look like `like` and vectors.

    Args:
      like: nested dicts of arrays or `jax.ShapeDtypeStruct`s.
      edges_of: for the path of an array stacked over edges the paths of these edges, `[len(array)]`; None for others.
        Arrays of one edge become one block, in the order of their paths; every other array is a block of its own.
      body_of: for the path of an array or edge the path of the cell's body that it is part of, None for others. The
        blocks of a body follow each other.
    """

    def __init__(
        self,
        like: Any,
        edges_of: Callable[[Path], Sequence[Path] | None] = lambda path: None,
        body_of: Callable[[Path], Path | None] = lambda path: None,
    ):
        self.shapes = {path: tuple(leaf.shape) for path, leaf in sorted(traverse_util.flatten_dict(like).items())}
        leaves = jax.tree.leaves(like)
        self.dtype = jnp.result_type(*(leaf.dtype for leaf in leaves)) if leaves else jnp.result_type(float)
        self._blocks: dict[Path, list[tuple[Path, int | None]]] = {}
        for path in self.shapes:
            edges = edges_of(path)
            if edges is None:
                self._blocks[path] = [(path, None)]
            else:
                for row, edge in enumerate(edges):
                    self._blocks.setdefault(edge, []).append((path, row))
        self._sizes = {name: sum(self._size(*part) for part in parts) for name, parts in self._blocks.items()}
        self.size = sum(self._sizes.values())
        self._bodies: dict[Path, int] = {}
        for name, size in self._sizes.items():
            body = body_of(name) or name
            if body in self._bodies and body != next(reversed(self._bodies)):
                raise ValueError(f"the blocks of {body} do not follow each other")
            self._bodies[body] = self._bodies.get(body, 0) + size

    def ravel(self, tree: Any) -> jax.Array:
        """A plain tree as a vector `[size]`."""
        leaves: Any = traverse_util.flatten_dict(tree)
        parts = [leaves[path] if row is None else leaves[path][row] for path, row in self._parts()]
        return self._joined(parts)

    def unravel(self, vector: jax.Array) -> Any:
        """The inverse of `ravel`."""
        if not self.size:
            return {}
        pieces = lax.split(vector, [self._size(*part) for part in self._parts()])
        rows: dict[Path, dict[int, jax.Array]] = {}
        for (path, row), piece in zip(self._parts(), pieces, strict=True):
            rows.setdefault(path, {})[row or 0] = piece
        leaves = {}
        for path, shape in self.shapes.items():  # the blocks of edges need not come in the order of their rows
            in_order = [rows[path][row] for row in sorted(rows[path])]
            leaves[path] = lax.reshape(lax.concatenate(in_order, 0), shape)
        return traverse_util.unflatten_dict(leaves)

    def pack(self, vector: jax.Array, unit: Unit | None = None) -> Any:
        """The arrays as a network wants them that is compiled by `unit`, by default `jdarts.staging.unit()`.

        "whole": a plain tree. "edges", "cells": the block of each edge, or of each body, as a vector under its path.
        """
        unit = unit or staging.unit()
        if unit == "whole" or not self.size:
            return self.unravel(vector)
        sizes = self._named(unit)
        pieces = lax.split(vector, list(sizes.values()))
        leaves = {
            name: lax.reshape(piece, self.shapes.get(name, piece.shape))
            for name, piece in zip(sizes, pieces, strict=True)
        }
        return traverse_util.unflatten_dict(leaves)

    def unpack(self, tree: Any, unit: Unit | None = None) -> jax.Array:
        """The inverse of `pack`: a vector `[size]`."""
        unit = unit or staging.unit()
        if unit == "whole":
            return self.ravel(tree)
        leaves: Any = traverse_util.flatten_dict(tree)
        return self._joined([leaves[name] for name in self._named(unit)])

    def parts(self) -> list[tuple[Path, tuple[int, ...]]]:
        """Paths and shapes of what makes up the vector, in order; a path stacked over edges occurs once an edge."""
        return [(path, self._shape(path, row)) for path, row in self._parts()]

    def row_shape(self, path: Path) -> tuple[int, ...]:
        """The shape of one row of the array at `path`, stacked over edges."""
        return self.shapes[path][1:]

    def _joined(self, parts: list[jax.Array]) -> jax.Array:
        """One vector of all parts; ops of a user's own may have arrays of other types than the rest."""
        if not parts:
            return jnp.zeros(0, self.dtype)
        dtype = jnp.result_type(*parts)
        return lax.concatenate([lax.reshape(part, (part.size,)).astype(dtype) for part in parts], 0)

    def _named(self, unit: Unit) -> dict[Path, int]:
        return self._bodies if unit == "cells" else self._sizes

    def _parts(self) -> list[tuple[Path, int | None]]:
        return [part for parts in self._blocks.values() for part in parts]

    def _shape(self, path: Path, row: int | None) -> tuple[int, ...]:
        return self.shapes[path] if row is None else self.shapes[path][1:]

    def _size(self, path: Path, row: int | None) -> int:
        return math.prod(self._shape(path, row))


def init_vector(key: jax.Array, packing: Packing, ranges: Any) -> jax.Array:
    """Initial weights `[size]` for parameters with these ranges (`jdarts.ops.initializers.abstract_network`)."""
    flat: Any = traverse_util.flatten_dict(ranges)

    def spread(name):
        values = {path: np.asarray(getattr(flat[path], name), packing.dtype) for path, _ in packing.parts()}
        parts = [np.broadcast_to(values[path], shape) for path, shape in packing.parts()]
        return np.concatenate([part.reshape(-1) for part in parts])

    centre, half_width = spread("centre"), spread("half_width")
    vector = jnp.asarray(centre) + half_width * jax.random.uniform(key, (packing.size,), packing.dtype, -1.0, 1.0)
    wanted, places, first = [], [], 0
    for path, shape in packing.parts():
        size = math.prod(shape)
        if flat[path].draw is not None:
            rows = size // math.prod(packing.row_shape(path))
            wanted.append((flat[path].draw, rows))
            places.append(np.arange(first, first + size))
        first += size
    if not wanted:
        return vector
    rows = [row.reshape(-1) for row in draw_rows(jax.random.fold_in(key, 1), wanted)]
    return vector.at[np.concatenate(places)].set(jnp.concatenate(rows).astype(packing.dtype))


def initial_statistics_vector(packing: Packing) -> jax.Array:
    """The running statistics of batch norm at their start, `[size]`."""
    parts = [np.full(math.prod(shape), initial_statistic(path[-1])) for path, shape in packing.parts()]
    return jnp.asarray(np.concatenate([np.zeros(0), *parts]), packing.dtype)
