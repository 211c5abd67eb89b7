"""Random graphs against networkx and counts of edges; the notation of randomly wired networks."""

import networkx as nx
import numpy as np
import pytest

from jdarts.errors import UserError
from jdarts.genotypes import RandomlyWired, parse_architecture
from jdarts.genotypes.kinds import require_cells
from jdarts.genotypes.random_graphs import SETTINGS, random_wiring
from jdarts.genotypes.random_wiring import sinks

N = 32


def graph(wiring) -> nx.DiGraph:
    found = nx.DiGraph()
    found.add_nodes_from(range(len(wiring)))
    found.add_edges_from((source, node) for node, sources in enumerate(wiring) for source in sources)
    return found


@pytest.mark.parametrize(("generator", "parameters"), SETTINGS)
def test_edges_and_direction(generator, parameters):
    for seed in range(3):
        wiring = random_wiring(generator, parameters, N, (seed, 0))
        found = graph(wiring)
        assert nx.is_directed_acyclic_graph(found) and all(a < b for a, b in found.edges)
        assert set(sinks(wiring)) == {node for node, degree in found.out_degree if degree == 0}
        if generator == "ws":
            assert found.number_of_edges() == N * parameters[0] / 2
        elif generator == "ba":
            assert found.number_of_edges() == parameters[0] * (N - parameters[0])
        else:
            assert nx.is_connected(found.to_undirected())


@pytest.mark.parametrize("p", [0.2, 0.6])
def test_er_has_the_expected_number_of_edges(p):
    """496 pairs; a graph that is drawn again for a missing connection is rare at these probabilities."""
    counts = [graph(random_wiring("er", (p,), N, (seed, 1))).number_of_edges() for seed in range(100)]
    deviation = np.sqrt(496 * p * (1 - p) / 100)
    assert abs(np.mean(counts) - 496 * p) < 4 * deviation


def test_ws_without_moves_is_the_ring_of_networkx():
    ring = nx.watts_strogatz_graph(N, 6, 0.0)
    assert nx.utils.graphs_equal(graph(random_wiring("ws", (6, 0.0), N, (0, 0))).to_undirected(), ring)


@pytest.mark.parametrize(
    ("name", "parameters", "reference"),
    [
        ("ws", (4, 0.75), lambda seed: nx.watts_strogatz_graph(N, 4, 0.75, seed=seed)),
        ("ws", (8, 0.25), lambda seed: nx.watts_strogatz_graph(N, 8, 0.25, seed=seed)),
        ("ba", (3,), lambda seed: nx.barabasi_albert_graph(N, 3, seed=seed)),
        ("ba", (7,), lambda seed: nx.barabasi_albert_graph(N, 7, seed=seed)),
    ],
)
def test_degrees_are_distributed_as_in_networkx(name, parameters, reference):
    """Mean sorted degrees and clustering over 200 graphs of each implementation."""

    def measured(graphs):
        degrees = np.array([sorted(degree for _, degree in g.degree) for g in graphs], float)
        clustering = np.array([nx.average_clustering(g) for g in graphs])
        return degrees, clustering

    ours = measured([graph(random_wiring(name, parameters, N, (seed, 2))).to_undirected() for seed in range(200)])
    theirs = measured([reference(seed) for seed in range(200)])
    for one, other in zip(ours, theirs, strict=True):
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 200) + 1e-9
        assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4.5 * error)


def test_a_seed_is_one_graph_for_ever():
    """The notation has the seed alone, so that its graph may never change."""
    assert random_wiring("ws", (2, 0.5), 6, (0, 0)) == ((), (0,), (), (1,), (3,), (0, 2, 4))
    assert random_wiring("ba", (2,), 6, (0, 0)) == ((), (), (0, 1), (1, 2), (0, 3), (3, 4))
    assert random_wiring("er", (0.5,), 4, (0, 0)) == ((), (), (0, 1), (0,))
    first = RandomlyWired(seed=4)
    assert first.stages == RandomlyWired(seed=4).stages != RandomlyWired(seed=5).stages
    assert len({str(stage) for stage in first.stages}) == 3, "every stage has a graph of its own"


def test_notation():
    wired = RandomlyWired("ba", (5,), 16, 9, "conv", "regular")
    assert wired.to_text() == "random_wiring: ba(5) nodes=16 seed=9 operation=conv regime=regular"
    assert parse_architecture(f"2026-11-29 best: {wired.to_text()}\nend") == wired
    assert [len(stage) for stage in wired.stages] == [8, 16, 16, 16]
    assert parse_architecture("random_wiring: er(0.4)") == RandomlyWired("er", (0.4,))
    ops = [op for edges in wired.normal.nodes for op, _ in edges]
    assert set(ops) == {"conv_3x3"} and wired.normal.concat == tuple(node + 1 for node in sinks(wired.stages[0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random_wiring: ws(3,0.5)", "K is 3; use an even number of 2 to 31"),
        ("random_wiring: ws(4)", "ws has the parameters K, P; 1 numbers are given"),
        ("random_wiring: ws(4,1.5)", "the probability is 1.5"),
        ("random_wiring: ba(32)", "M is 32; use a whole number of 1 to 31"),
        ("random_wiring: er(0.001)", "none of 1000 graphs is connected"),
        ("random_wiring: wss(4,0.5)", "unknown generator of graphs 'wss'"),
        ("random_wiring: ws(4,x)", "'x' is no number"),
        ("random_wiring: ws(4,0.5) nodes=2", "nodes is 2; use a whole number of 4 to 512"),
        ("random_wiring: ws(4,0.5) seed=-1", "seed is '-1'; write a whole number"),
        ("random_wiring: ws(4,0.5) op=conv", "unknown word of a randomly wired network 'op'"),
        ("random_wiring: ws(4,0.5) operation=sep", "unknown operation"),
        ("random_wiring: ", "names no generator"),
    ],
)
def test_mistakes_in_a_text(text, message):
    with pytest.raises(UserError, match=message):
        parse_architecture(text)


def test_functions_of_cells_refuse_it():
    with pytest.raises(UserError, match="has stages and no cells"):
        require_cells(RandomlyWired())
