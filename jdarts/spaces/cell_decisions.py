"""The decisions of DARTS-like cells: two different inputs for every node, and an op for each of them.

A node with more than two entering edges has four decisions, `normal.4.input_1`, `normal.4.input_2`, `normal.4.op_1` and
`normal.4.op_2`; node numbers are those of the genotype. A node with one or two edges keeps them all and has decisions
for the ops only, as in the derivation (Liu et al. 2019, §2.4). The options are

* `input_1`: the k sources of the node, in ascending order;
* `input_2`: the first k−1 sources; the one that is `input_1` already stands for the last source. The two inputs always
  differ, and another `input_1` leaves the source of `input_2` as it is, unless the two collide;
* `op_1`, `op_2`: the candidates of the chosen edge in the order of its list, without `none`.

Every architecture with such a node has two tuples, one for each order of the inputs. In the canonical one the first
source is less than the second.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Edge, Genotype
from jdarts.networks.wiring import Edges, OpTable
from jdarts.spaces.decisions import Choices, Decision, in_range, labelled


@dataclass(frozen=True)
class NodeDecisions:
    """The decisions of one node.

    Attributes:
      cell_type: the cell, as in `normal`.
      target: the number of the node.
      candidates: for each source, in ascending order, its ops without `none`.
    """

    cell_type: str
    target: int
    candidates: Mapping[int, tuple[str, ...]]

    @cached_property
    def inputs(self) -> int:
        """The number of edges that the node keeps."""
        return min(2, len(self.candidates))

    @cached_property
    def op_options(self) -> list[int]:
        """For each input the largest number of ops that it can choose from."""
        counts = [len(ops) for ops in self.candidates.values()]
        return counts if self.wired else [max(counts)] * 2

    @property
    def wired(self) -> bool:
        """True if the inputs are fixed."""
        return len(self.candidates) <= 2

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Up to four decisions; those with a single option are left out."""
        sources, prefix = list(self.candidates), f"{self.cell_type}.{self.target}"
        options: list[tuple[str, list]] = [] if self.wired else [("input_1", sources), ("input_2", sources[:-1])]
        for i, widest in enumerate(self.op_options):
            ops = list(self.candidates.values())[i : i + 1] if self.wired else list(self.candidates.values())
            options.append((f"op_{i + 1}", [_either(ops, option) for option in range(widest)]))
        return tuple(
            labelled(f"{prefix}.{name}", f"{self.cell_type}/{name[:-2]}", values)
            for name, values in options
            if len(values) > 1
        )

    @property
    def size(self) -> int:
        """The number of different nodes: over all sets of inputs, the sum of the products of the numbers of ops."""
        counts = [len(ops) for ops in self.candidates.values()]
        return sum(math.prod(chosen) for chosen in itertools.combinations(counts, self.inputs))

    def edges(self, choices: Sequence[int]) -> tuple[Edge, ...] | None:
        """The edges by source, or None if an op is chosen that is not a candidate of its edge.

        `choices` are those of this node's decisions.
        """
        rest, sources = iter(choices), list(self.candidates)
        if not self.wired:
            first, second = next(rest), next(rest)
            sources = [sources[first], sources[second if second != first else -1]]
        edges = []
        for source, options in zip(sources, self.op_options, strict=True):
            op = next(rest) if options > 1 else 0
            if op >= len(self.candidates[source]):
                return None
            edges.append((self.candidates[source][op], source))
        return tuple(sorted(edges, key=lambda edge: edge[1]))

    def choices(self, edges: Sequence[Edge]) -> Choices:
        """The canonical choices of a node with these edges; raises `UserError` if it is none of this space."""
        where = f"node {self.target} of the {self.cell_type} cell"
        ordered = sorted(edges, key=lambda edge: edge[1])
        sources = [source for _, source in ordered]
        if len(edges) != self.inputs or len(set(sources)) != self.inputs:
            raise UserError(f"{where} has inputs from {sources}; in this space it has {self.inputs}, all different")
        for op, source in ordered:
            if op not in self.candidates.get(source, ()):
                known = ", ".join(self.candidates.get(source, ())) or "no such edge"
                raise UserError(f"{where}: {op} is not a candidate on edge {source}→{self.target}; it has {known}")
        found, all_sources = [], list(self.candidates)
        if not self.wired:
            first, second = (all_sources.index(source) for source in sources)
            found += [first, second if second < len(all_sources) - 1 else first]
        for (op, source), options in zip(ordered, self.op_options, strict=True):
            if options > 1:
                found.append(self.candidates[source].index(op))
        return tuple(found)


@dataclass(frozen=True)
class CellDecisions:
    """The decisions of all nodes of all cells of a space, node by node."""

    space: str
    nodes: tuple[NodeDecisions, ...]

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions of all nodes, in the order of the choices."""
        return tuple(decision for node in self.nodes for decision in node.decisions)

    @property
    def size(self) -> int:
        """The number of different architectures."""
        return math.prod(node.size for node in self.nodes)

    def edges(self, choices: Sequence[int]) -> list[tuple[Edge, ...]] | None:
        """The edges of every node, or None if the choices are not valid."""
        if not in_range(self.decisions, choices):
            return None
        found, start = [], 0
        for node in self.nodes:
            end = start + len(node.decisions)
            edges = node.edges(choices[start:end])
            if edges is None:
                return None
            found.append(edges)
            start = end
        return found

    def genotype(self, edges: Sequence[tuple[Edge, ...]]) -> Genotype:
        """The genotype whose nodes have these edges; all nodes are concatenated."""
        cells: dict[str, dict[int, tuple[Edge, ...]]] = {}
        for node, entering in zip(self.nodes, edges, strict=True):
            cells.setdefault(node.cell_type, {})[node.target] = entering
        return Genotype(**{name: Cell(tuple(nodes.values()), tuple(nodes)) for name, nodes in cells.items()})

    def choices(self, genotype: Genotype) -> Choices:
        """The canonical choices of a genotype; raises `UserError` if it is none of this space."""
        found: list[int] = []
        for cell_type in dict.fromkeys(node.cell_type for node in self.nodes):
            targets = [node.target for node in self.nodes if node.cell_type == cell_type]
            cell = genotype.cells.get(cell_type)
            if cell is None or cell.inputs != 2 or len(cell.nodes) != len(targets) or set(cell.concat) != set(targets):
                raise UserError(
                    f"the {cell_type} cell of the genotype does not belong to space {self.space}, whose cells have 2 "
                    f"inputs and the nodes {targets}, all of them in the output"
                )
            for node, edges in zip((n for n in self.nodes if n.cell_type == cell_type), cell.nodes, strict=True):
                found += node.choices(edges)
        return tuple(found)


def cell_decisions(space: str, tables: Mapping[str, OpTable], edges: Edges) -> CellDecisions:
    """The decisions of a space of cells; raises `UserError` if a node has no candidate besides `none`."""
    nodes = []
    for cell_type, table in tables.items():
        entering: dict[int, dict[int, tuple[str, ...]]] = {}
        for (source, target), ops in zip(edges, table, strict=True):
            candidates = tuple(op for op in ops if op != "none")
            entering.setdefault(target, {})
            if candidates:
                entering[target][source] = candidates
        for target, candidates in entering.items():
            if not candidates:
                raise UserError(f"space {space}: node {target} of the {cell_type} cell has no candidate but none")
            nodes.append(NodeDecisions(cell_type, target, candidates))
    return CellDecisions(space, tuple(nodes))


def _either(candidates: Sequence[tuple[str, ...]], option: int) -> str:
    """The names that an option has on these edges."""
    return "/".join(dict.fromkeys(ops[option] for ops in candidates if option < len(ops)))
