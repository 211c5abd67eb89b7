"""Cell spaces of the user, from short descriptions: `define_space`."""

from collections.abc import Mapping, Sequence
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import OPS
from jdarts.networks.wiring import Edges, OpTable
from jdarts.ops.user_module import checked
from jdarts.spaces.cell_space import CellSpace

Candidates = Sequence[str] | Sequence[Sequence[str]] | Mapping[tuple[int, int], Sequence[str]]


def define_space(
    name: str,
    *,
    normal: Candidates,
    reduce: Candidates | None = None,
    nodes: int | None = None,
    edges: Sequence[tuple[int, int]] | None = None,
    ops: Mapping[str, Any] | None = None,
) -> CellSpace:
    """A space of DARTS-like cells with your own candidates, nodes or edges.

    Args:
      normal, reduce: the candidates: one list for all edges, a list for each edge in the order of `edges`, or
        `{(source, target): list}`. All lists of a cell have the same length. `reduce` None means as in `normal`.
      nodes: number of intermediate nodes; by default that in `edges`, otherwise 4.
      edges: `(source, target)`; by default every node feeds all later ones. Nodes 0 and 1 are the outputs of the two
        previous cells, 2, 3, … the intermediate nodes.
      ops: your own candidates by name: Flax modules or functions (`jdarts.ops.user_module` states the requirements),
        tried here on abstract images.

    Raises `UserError`, one line, for any mistake in them.

    Example::

        define_space("mine", nodes=3, normal=("none", "skip_connect", "ghost"), ops={"ghost": Ghost})
    """
    where = f"space {name}"
    if nodes is not None and (isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1):
        raise UserError(f"{where}: nodes is {nodes!r}; it must be a whole number of at least 1")
    if edges is None:
        last = 2 + (4 if nodes is None else nodes)
        wired: Edges = tuple((source, target) for target in range(2, last) for source in range(target))
    else:
        wired = _ordered(edges, where)
        if nodes is not None and {target for _, target in wired} != set(range(2, 2 + nodes)):
            found = sorted({target for _, target in wired})
            raise UserError(f"{where}: nodes is {nodes}, so edges must enter 2 to {1 + nodes}; they enter {found}")
    given = list(edges) if edges is not None else list(wired)
    tables = {
        cell_type: _table(candidates, wired, given, f"{where}, {cell_type}")
        for cell_type, candidates in (("normal", normal), ("reduce", normal if reduce is None else reduce))
    }
    own = []
    for op, make in (ops or {}).items():
        if not isinstance(op, str) or not op.isidentifier() or len(op) > 60 or op.startswith("auxiliary"):
            raise UserError(f"{where}: {op!r} cannot name an op; use letters, digits and _ (not auxiliary…)")
        if op in OPS:
            raise UserError(f"{where}: op {op!r} is one of jdarts' own names; choose another")
        used = {1 for ops_ in tables["normal"] if op in ops_}
        used |= {
            2 if source < 2 else 1 for (source, _), ops_ in zip(wired, tables["reduce"], strict=True) if op in ops_
        }
        strides = tuple(sorted(used))
        if not strides:
            raise UserError(f"{where}: op {op!r} is not a candidate of any edge; list it in normal or reduce")
        try:
            own.append(checked(op, make, strides))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return CellSpace(name, tables["normal"], tables["reduce"], wired, tuple(own))


def _ordered(edges: Any, where: str) -> Edges:
    if not isinstance(edges, Sequence) or isinstance(edges, str):
        raise UserError(f"{where}: edges is {edges!r}; give a list of (source, target)")
    for edge in edges:
        whole = isinstance(edge, Sequence) and len(edge) == 2 and all(type(node) is int for node in edge)
        if not whole:
            raise UserError(f"{where}: edges has {edge!r}; an edge is (source, target), two node numbers")
    return tuple(sorted(((s, t) for s, t in edges), key=lambda edge: edge[::-1]))


def _table(candidates: Any, edges: Edges, given: list, where: str) -> OpTable:
    """The candidates of every edge, in the order of `edges`; a list of lists is in the order of `given`."""
    if isinstance(candidates, Mapping):
        wrong = [edge for edge in candidates if edge not in edges]
        missing = [edge for edge in edges if edge not in candidates]
        if wrong or missing:
            told = f"{wrong[0]}, which is not an edge" if wrong else f"no list for the edge {missing[0]}"
            raise UserError(f"{where} has {told}; give one list for each of {', '.join(map(str, edges))}")
        return tuple(_ops(candidates[edge], where) for edge in edges)
    if not isinstance(candidates, Sequence) or isinstance(candidates, str) or not candidates:
        raise UserError(f"{where} is {candidates!r}; give a list of op names, or one for every edge")
    if all(isinstance(op, str) for op in candidates):
        return (_ops(candidates, where),) * len(edges)
    if len(candidates) != len(given):
        raise UserError(f"{where} has {len(candidates)} lists for {len(given)} edges; give one for each edge, or one")
    by_edge = dict(zip(map(tuple, given), candidates, strict=True))
    return tuple(_ops(by_edge[edge], where) for edge in edges)


def _ops(ops: Any, where: str) -> tuple[str, ...]:
    if not isinstance(ops, Sequence) or isinstance(ops, str) or not all(isinstance(op, str) for op in ops):
        raise UserError(f"{where} has the candidates {ops!r}; give a list of op names")
    if set(ops) == {"none"}:
        raise UserError(f"{where} has an edge whose only candidate is none; leave the edge out instead")
    for i, op in enumerate(ops):
        if op in ops[:i]:
            raise UserError(f"{where} lists {op} twice on one edge; name each candidate once")
    return tuple(ops)
