"""Random graphs of random wiring (Xie et al. 2019, arXiv:1904.01569, §3.2), as directed acyclic graphs.

A graph of N nodes is given by the sources of each node, all of smaller number: the undirected edges point from the
smaller to the larger number. Draws use uniform numbers in [0, 1) of NumPy's PCG64 alone, so that a seed denotes the
same graph in every version.

    ER(P)      each pair of nodes is an edge with probability P; drawn again until the graph is connected
    BA(M)      M nodes without edges; each further node is joined to M earlier ones, with probability proportional to
               their degrees (the first to all M): M(N − M) edges
    WS(K, P)   a ring, each node joined to K/2 neighbours on both sides; clockwise, each edge to the i-th next
               neighbour, i = 1 … K/2, is moved with probability P to another node: N K/2 edges
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdarts.errors import UserError, unknown

Wiring = tuple[tuple[int, ...], ...]
"""The sources of each node, in order."""
_ATTEMPTS = 1_000


@dataclass(frozen=True)
class GraphGenerator:
    """A family of graphs: the names of its parameters, the check and the draw, both of `(parameters, nodes)`."""

    parameters: tuple[str, ...]
    check: Callable[[tuple[float, ...], int], str]
    draw: Callable[[tuple[float, ...], int, Any], set[tuple[int, int]]]


def random_wiring(generator: str, parameters: tuple[float, ...], nodes: int, seed: tuple[int, ...]) -> Wiring:
    """The graph that a seed denotes; raises `UserError` for wrong parameters (`check_generator`)."""
    check_generator(generator, parameters, nodes)
    edges = GENERATORS[generator].draw(parameters, nodes, np.random.Generator(np.random.PCG64(seed)))
    return tuple(tuple(sorted(i for i, j in edges if j == node)) for node in range(nodes))


def check_generator(generator: str, parameters: tuple[float, ...], nodes: int) -> None:
    """Raise `UserError` unless the generator exists and can draw a graph of so many nodes."""
    if generator not in GENERATORS:
        raise unknown("generator of graphs", generator, GENERATORS)
    names = GENERATORS[generator].parameters
    if len(parameters) != len(names):
        raise UserError(f"{generator} has the parameters {', '.join(names)}; {len(parameters)} numbers are given")
    if wrong := GENERATORS[generator].check(parameters, nodes):
        raise UserError(f"{generator} of {nodes} nodes: {wrong}")


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _erdos_renyi(parameters: tuple[float, ...], nodes: int, rng: Any) -> set[tuple[int, int]]:
    for _ in range(_ATTEMPTS):
        edges = {(i, j) for j in range(nodes) for i in range(j) if rng.random() < parameters[0]}
        if connected(edges, nodes):
            return edges
    raise UserError(
        f"er({parameters[0]:g}) of {nodes} nodes: none of {_ATTEMPTS} graphs is connected; use a larger probability"
    )


def _barabasi_albert(parameters: tuple[float, ...], nodes: int, rng: Any) -> set[tuple[int, int]]:
    m = int(parameters[0])
    edges = {(i, m) for i in range(m)}
    ends = [*range(m), *[m] * m]  # every node as often as its degree
    for node in range(m + 1, nodes):
        chosen: set[int] = set()
        while len(chosen) < m:
            chosen.add(ends[int(rng.random() * len(ends))])
        edges |= {(i, node) for i in chosen}
        ends += [*sorted(chosen), *[node] * m]
    return edges


def _watts_strogatz(parameters: tuple[float, ...], nodes: int, rng: Any) -> set[tuple[int, int]]:
    half, probability = int(parameters[0]) // 2, parameters[1]
    edges = {_pair(i, (i + step) % nodes) for i in range(nodes) for step in range(1, half + 1)}
    for step in range(1, half + 1):
        for node in range(nodes):
            if rng.random() >= probability:
                continue
            free = [other for other in range(nodes) if other != node and _pair(node, other) not in edges]
            if free:
                edges.remove(_pair(node, (node + step) % nodes))
                edges.add(_pair(node, free[int(rng.random() * len(free))]))
    return edges


def connected(edges: set[tuple[int, int]], nodes: int) -> bool:
    """True if every node can be reached from node 0, in either direction of the edges."""
    reached, rest = {0}, [0]
    while rest:
        node = rest.pop()
        found = {b if a == node else a for a, b in edges if node in (a, b)} - reached
        reached |= found
        rest += found
    return len(reached) == nodes


def _probability(value: float) -> str:
    return "" if 0 <= value <= 1 else f"the probability is {value:g}; use a number of 0 to 1"


def _check_er(parameters: tuple[float, ...], nodes: int) -> str:
    del nodes
    return _probability(parameters[0])


def _check_ba(parameters: tuple[float, ...], nodes: int) -> str:
    m = parameters[0]
    whole = m == int(m) and 1 <= m < nodes
    return "" if whole else f"M is {m:g}; use a whole number of 1 to {nodes - 1}"


def _check_ws(parameters: tuple[float, ...], nodes: int) -> str:
    k = parameters[0]
    if k != int(k) or k % 2 or not 2 <= k < nodes:
        return f"K is {k:g}; use an even number of 2 to {nodes - 1}"
    return _probability(parameters[1])


GENERATORS = {
    "er": GraphGenerator(("P",), _check_er, _erdos_renyi),
    "ba": GraphGenerator(("M",), _check_ba, _barabasi_albert),
    "ws": GraphGenerator(("K", "P"), _check_ws, _watts_strogatz),
}
"""The three families."""

SETTINGS: tuple[tuple[str, tuple[float, ...]], ...] = (
    *(("er", (p,)) for p in (0.2, 0.4, 0.6, 0.8)),
    *(("ba", (float(m),)) for m in (1, 2, 3, 5, 7)),
    *(("ws", (float(k), p)) for k in (2, 4, 6, 8) for p in (0.0, 0.25, 0.5, 0.75, 1.0)),
)
"""The settings of the paper's figure 3; those of WS are recalled."""
