"""From nodes to calls: operations between two pieces are grouped so that equal groups share one compiled program.

A group is made when a piece (or loop) needs it. It contains the operations that lead to the inputs of the piece, and
all operations that can be computed from their results at once. The operations that lead from the program's inputs to
pieces form one group, those that no piece needs another, after the last piece. Groups therefore do not depend on their
position in the network, and deep networks have no more distinct programs than shallow ones. Parts of a group that share
no values become separate programs. This leaves fewer distinct programs; each costs ten milliseconds at every start,
however small it is.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from jdarts.staging.equality import scalar
from jdarts.staging.trace import (
    Atom,
    Control,
    Fixed,
    Graph,
    Node,
    Op,
    Piece,
    Ref,
    Views,
    count_equations,
)


@dataclass(frozen=True, eq=False)
class Group:
    """Operations, or a piece, or a sequence of both: the content of one program."""

    ops: list[Op | Piece]
    inputs: list[Ref]
    outputs: list[Ref]

    def run(self, *arrays):
        """The outputs as arrays; traceable. JAX lowers each piece once."""
        known = dict(zip(self.inputs, arrays, strict=True))
        for op in self.ops:
            values = [atom.val if isinstance(atom, Fixed) else known[atom] for atom in op.inputs]
            known.update(zip(op.outputs, op.run(*values), strict=True))
        return [known[ref] for ref in self.outputs]

    def signature(self) -> Hashable:
        """A key that is equal for groups that compute the same."""
        numbers = {ref: i for i, ref in enumerate(self.inputs)}
        rows = []
        for op in self.ops:
            for ref in op.outputs:
                numbers[ref] = len(numbers)
            inputs = tuple(scalar(a) if isinstance(a, Fixed) else numbers[a] for a in op.inputs)
            rows.append((op.form, inputs, tuple(map(_shape, op.outputs))))
        return tuple(rows), tuple(map(_shape, self.inputs)), tuple(numbers[ref] for ref in self.outputs)


Call = Group | Control | Views


def schedule(graph: Graph, most_equations: int | None = None) -> list[Call]:
    """The calls that execute `graph`, in order; groups are joined up to about `most_equations`, if given."""
    calls = _calls(graph, _Scheduler(graph).batches())
    return calls if most_equations is None else _joined(calls, graph.outputs, most_equations)


class _Scheduler:
    def __init__(self, graph: Graph):
        self.nodes, self.outputs = graph.nodes, graph.outputs
        self.order = {node: i for i, node in enumerate(graph.nodes)}
        self.producer = {ref: node for node in graph.nodes for ref in node.outputs}
        self.sources = {
            node: list(dict.fromkeys(self.producer[a] for a in node.inputs if a in self.producer))
            for node in graph.nodes
        }
        self.consumers: dict[Node, list[Op]] = defaultdict(list)
        self.constants: set[Node] = set()  # recomputed in each group that needs them, not kept between calls
        fixed = {ref for ref in graph.inputs} | set(graph.constants)
        for node in graph.nodes:
            if isinstance(node, Op):
                for source in self.sources[node]:
                    self.consumers[source].append(node)
                if fixed.isdisjoint(node.inputs) and self.constants.issuperset(self.sources[node]):
                    self.constants.add(node)
        self.done: set[Node] = set()

    def batches(self) -> list[list[Node]]:
        """Groups of operations, and pieces and loops one by one, in order."""
        batches = [self.take(self.before_all_pieces())]
        for node in self.nodes:
            if not isinstance(node, Op):
                batches.append(self.take(self.with_consequences(self.missing(node))))
                batches.append([node])
                self.done.add(node)
        rest = {node for node in self.nodes if node not in self.done and node not in self.constants}
        rest |= {self.producer[ref] for ref in self.outputs if ref in self.producer} & self.constants
        batches.append(self.take(rest))
        return [batch for batch in batches if batch]

    def before_all_pieces(self) -> set[Node]:
        """Operations that lead from the program's inputs alone to pieces or loops."""
        found: set[Node] = set()
        for node in self.nodes:
            known = all(source in found or source in self.constants for source in self.sources[node])
            if known and isinstance(node, Op) and node not in self.constants:
                found.add(node)
        return found & self.missing(*(node for node in self.nodes if not isinstance(node, Op)))

    def missing(self, *nodes: Node) -> set[Node]:
        """The nodes that lead to the inputs of `nodes` and that no earlier batch contains."""
        found: set[Node] = set()
        waiting = [source for node in nodes for source in self.sources[node]]
        while waiting:
            source = waiting.pop()
            if source not in found and source not in self.done:
                found.add(source)
                waiting.extend(self.sources[source])
        return found

    def with_consequences(self, chosen: set[Node]) -> set[Node]:
        """`chosen` and all operations whose inputs are results of `chosen` or of earlier batches."""
        frontier = sorted(chosen - self.constants, key=self.order.__getitem__)
        while frontier:
            for op in self.consumers[frontier.pop()]:
                known = all(s in self.done or s in chosen or s in self.constants for s in self.sources[op])
                if known and op not in chosen and op not in self.done:
                    chosen.add(op)
                    frontier.append(op)
        return chosen

    def take(self, chosen: set[Node]) -> list[Node]:
        """`chosen` with the constants that it uses, in order; marks the operations as done."""
        self.done |= chosen - self.constants
        waiting = list(chosen)
        whole = set(chosen)
        while waiting:
            for source in self.sources[waiting.pop()]:
                if source in self.constants and source not in whole:
                    whole.add(source)
                    waiting.append(source)
        return sorted(whole, key=self.order.__getitem__)


def _calls(graph: Graph, batches: list[list[Node]]) -> list[Call]:
    """Groups with their inputs and outputs.

    A group outputs the values that a later call or the caller needs. A piece outputs all its values, so that equal
    pieces share one program.
    """
    needed: set[Ref] = {a for a in graph.outputs if isinstance(a, Ref)}
    calls: list[Call] = []
    for batch in reversed([part for each in batches for part in _apart(each)]):
        inputs, outputs = _boundary(batch, needed)
        first = batch[0]
        if isinstance(first, (Control, Views)):
            calls.append(first)
        elif outputs:
            all_of = first.outputs if isinstance(first, Piece) else outputs
            calls.append(Group([node for node in batch if isinstance(node, (Op, Piece))], inputs, all_of))
        else:
            continue
        needed.update(inputs)
    return calls[::-1]


def _apart(batch: list[Node]) -> list[list[Node]]:
    """The parts of a batch that share no values. Batches differ, but consist of the same few parts."""
    part_of: dict[Node, list[Node]] = {}
    made: dict[Atom, Node] = {}
    for node in batch:
        sources = [part_of[made[atom]] for atom in node.inputs if atom in made]
        part = max(sources, key=len, default=[])
        for other in {id(other): other for other in sources if other is not part}.values():
            part += other
            part_of.update(dict.fromkeys(other, part))
        part.append(node)
        part_of[node] = part
        made.update(dict.fromkeys(node.outputs, node))
    order = {node: i for i, node in enumerate(batch)}
    return [sorted(part, key=order.__getitem__) for part in {id(part): part for part in part_of.values()}.values()]


def _joined(calls: list[Call], outputs: Sequence[Atom], most_equations: int) -> list[Call]:
    """The calls with neighbouring groups joined into groups of about equal size; loops and branches stay in place."""
    sizes = [count_equations([op.eqn for op in call.ops]) if isinstance(call, Group) else 0 for call in calls]
    share = sum(sizes) / max(1, math.ceil(sum(sizes) / most_equations))
    parts: list[Call | list[Op | Piece]] = []
    joined, filled = None, 0.0
    for call, size in zip(calls, sizes, strict=True):
        if not isinstance(call, Group):
            parts.append(call)
            joined = None
            continue
        if joined is None or filled + size / 2 > share:
            joined, filled = [], 0.0
            parts.append(joined)
        joined += call.ops
        filled += size
    needed: set[Ref] = {a for a in outputs if isinstance(a, Ref)}
    result: list[Call] = []
    for part in reversed(parts):
        inputs, leaving = _boundary(part if isinstance(part, list) else [part], needed)
        result.append(Group(list(dict.fromkeys(part)), inputs, leaving) if isinstance(part, list) else part)
        needed.update(inputs)
    return result[::-1]


def _boundary(members: Sequence[Node | Group], needed: set[Ref]) -> tuple[list[Ref], list[Ref]]:
    """The outside values that `members` read, and the results of `members` that are `needed` outside."""
    made = [ref for member in members for ref in member.outputs]
    inside = set(made)
    read = dict.fromkeys(a for m in members for a in m.inputs if isinstance(a, Ref) and a not in inside)
    return list(read), [ref for ref in made if ref in needed]


def _shape(ref: Ref) -> tuple:
    return ref.aval.shape, ref.aval.dtype
