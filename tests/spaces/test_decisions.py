"""Architectures as tuples of choices: encode and decode, what uniform choices reach, sizes of spaces, mistakes."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, OneShotGenotype, RecurrentGenotype, parse
from jdarts.genotypes.macro import MacroNetwork
from jdarts.spaces.decisions import Decision, all_canonical, checked_choices, combinations, is_canonical, uniform
from jdarts.spaces.mnasnet import read as read_mnasnet

ALL = tuple(spaces.get_decisions(name) for name in (*spaces.names(), *spaces.LANGUAGE, *spaces.DECISIONS_ONLY))
UNEVEN = spaces.define_space(
    "uneven",
    edges=[(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)],
    normal={
        (0, 2): ("none", "skip_connect", "sep_conv_3x3"),
        (1, 2): ("skip_connect", "sep_conv_3x3", "sep_conv_5x5"),
        (0, 3): ("none", "skip_connect", "sep_conv_3x3"),
        (1, 3): ("max_pool_3x3", "none", "sep_conv_3x3"),
        (2, 3): ("skip_connect", "sep_conv_3x3", "sep_conv_5x5"),
    },
    reduce=("max_pool_3x3",),
)
"""A space with two ops on some edges and three on others, and a reduction cell with one op."""
FEW_OPS = spaces.NASBench201Space("few_ops", (("none", "skip_connect"),) * 6)
UNEVEN_SIZE = (2 * 3) * (2 * 2 + 2 * 3 + 2 * 3) * 1 * 3
"""Ops of node 2; of node 3 with the inputs {0,1}, {0,2}, {1,2}; then the reduction cell, which decides inputs only."""


def in_order(genotype: Genotype) -> Genotype:
    """The same genotype, with the edges of every node in the order of their sources."""
    own = isinstance(genotype, RecurrentGenotype | OneShotGenotype)  # one edge a node; inputs in order
    if own or not isinstance(genotype, Genotype):  # or a chain
        return genotype
    cells = {
        name: Cell(tuple(tuple(sorted(edges, key=lambda e: e[1])) for edges in cell.nodes), cell.concat, cell.inputs)
        for name, cell in genotype.cells.items()
    }
    return Genotype(**{"reduce": None} | cells)


@pytest.mark.parametrize("space", [*ALL, UNEVEN], ids=lambda space: space.name)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_encode_and_decode_are_inverse(space, seed):
    rng = np.random.default_rng(seed)
    architecture = space.decode(uniform(space, rng))
    canonical = space.encode(architecture)
    assert is_canonical(space, canonical)
    assert space.decode(canonical) == architecture
    if getattr(space, "alpha_shapes", None):
        genotype = space.random_genotype(seed)
        assert space.decode(space.encode(genotype)) == in_order(genotype)
    if hasattr(space, "one_hot"):
        assert space.one_hot(space.decode(canonical)), "every op is a candidate of its edge"


def test_the_order_of_two_inputs_does_not_matter():
    space = spaces.darts_cnn
    genotype = parse("DARTS_V1")
    swapped = Genotype(*(Cell(tuple(e[::-1] for e in cell.nodes), cell.concat) for cell in genotype.cells.values()))
    assert swapped != genotype
    assert space.encode(swapped) == space.encode(genotype)
    node_3 = [i for i, d in enumerate(space.decisions) if d.name.startswith("normal.3.")]
    assert [space.decisions[i].name for i in node_3] == [
        f"normal.3.{d}" for d in ("input_1", "input_2", "op_1", "op_2")
    ]
    choices = list(space.encode(genotype))
    first, second, op_1, op_2 = (choices[i] for i in node_3)
    sources = [source for _, source in in_order(genotype).normal.nodes[1]]
    assert (first, second) == (sources[0], sources[1]) == (0, 1), "the first node with three edges reads both inputs"
    for i, choice in zip(node_3, (second, first, op_2, op_1), strict=True):
        choices[i] = choice
    assert space.decode(choices) == in_order(genotype)
    assert not is_canonical(space, choices)


@pytest.mark.parametrize("space", [UNEVEN, FEW_OPS], ids=lambda space: space.name)
def test_uniform_choices_reach_every_architecture_equally(space):
    """The frequencies are those of a uniform draw (chi-squared test)."""
    rng = np.random.default_rng(0)
    everything = set(all_canonical(space))
    assert len(everything) == space.size
    draws = 40 * space.size
    seen = Counter(space.encode(space.decode(uniform(space, rng))) for _ in range(draws))
    assert set(seen) == everything
    chi_squared = sum((count - 40) ** 2 / 40 for count in seen.values())
    freedom = space.size - 1
    assert abs(chi_squared - freedom) < 4 * math.sqrt(2 * freedom)


def test_sizes_are_the_published_ones():
    assert spaces.darts_cnn.size == 1_037_664_180**2
    assert spaces.darts_cnn_7.size == 1_037_664_180**2, "none is never derived"
    for space in (spaces.robust_s1, spaces.robust_s2, spaces.robust_s3, spaces.robust_s4):
        assert space.size == 46_080**2
    assert spaces.nasbench201.size == 15_625 == combinations(spaces.nasbench201.decisions)
    assert spaces.nasbench_macro.size == 6_561
    assert spaces.mnasnet.size == 36**6 * 48 == combinations(spaces.mnasnet.decisions)
    assert UNEVEN.size == UNEVEN_SIZE


def test_networks_of_benchmarks_are_checked_and_read():
    text = "r1_k3_e6 r2_k5_e4 r3_k3_e6_se r3_k5_e6 r2_k5_e6 r4_k3_e1 r2_k3_e1_se"
    network = read_mnasnet(text)
    assert network.to_text() == text
    assert spaces.mnasnet.encode(network)[:12] == (2, 0, 0, 0, 1, 1, 1, 0, 2, 0, 2, 1)
    assert spaces.nasbench_macro.encode(MacroNetwork("22212220")) == (2, 2, 2, 1, 2, 2, 2, 0)
    for wrong in (
        lambda: read_mnasnet("r1_k3"),
        lambda: read_mnasnet(text.replace("r3", "r4", 1)),
        lambda: read_mnasnet(text + " r1_k3_e6"),
        lambda: MacroNetwork("2221222"),
        lambda: MacroNetwork("22212223"),
        lambda: spaces.nasbench_macro.encode("22212220"),
        lambda: spaces.get_decisions("nasbench_makro"),
    ):
        with pytest.raises(UserError, match=r"expected|use one of|has 7 blocks|did you mean"):
            wrong()


def test_every_tuple_of_a_darts_space_is_valid_and_each_architecture_has_as_many():
    assert combinations(spaces.darts_cnn.decisions) == spaces.darts_cnn.size * 2**6, "three nodes a cell have an order"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((0,) * 5, "there are 5 choices; space nasbench201 has 6 decisions"),
        ((0, 0, 5, 0, 0, 0), "decision edge_1_2 of space nasbench201 is 5; choose a whole number of 0 to 4"),
        ((0, 0, -1, 0, 0, 0), "is -1"),
        ((0, 0, True, 0, 0, 0), "is True"),
        ((0, 0, 1.0, 0, 0, 0), "is 1.0"),
        ("000000", "choices is '000000'"),
    ],
)
def test_choices_out_of_range_are_told(choices, message):
    with pytest.raises(UserError, match=message):
        spaces.nasbench201.decode(choices)


def test_an_op_that_the_chosen_edge_lacks_is_not_valid():
    names = [decision.name for decision in UNEVEN.decisions]
    choices = [0] * len(names)
    choices[names.index("normal.3.op_1")] = 2  # the edge 0→3 has two ops without none
    assert not UNEVEN.is_valid(choices)
    with pytest.raises(UserError, match="describe no architecture of space uneven"):
        checked_choices(UNEVEN, choices)
    choices[names.index("normal.3.input_1")] = 2  # the edge 2→3 has three
    assert UNEVEN.decode(choices).normal.nodes[1] == (("skip_connect", 0), ("sep_conv_5x5", 2))


@pytest.mark.parametrize(
    ("space", "text", "message"),
    [
        (spaces.darts_cnn, "NASNet", "normal cell of the genotype does not belong to space darts_cnn"),
        (spaces.darts_cnn, "FairDARTS_b", r"node 3 of the normal cell has inputs from \[1\]; in this space it has 2"),
        (spaces.robust_s2, "DARTS_V2", "node 5 of the normal cell: dil_conv_3x3 is not a candidate on edge 2→5"),
        (spaces.nasbench201, "DARTS_V2", "space nasbench201 has one cell"),
        (spaces.darts_cnn, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "normal cell of the genotype"),
    ],
)
def test_genotypes_of_other_spaces_are_refused(space, text, message):
    with pytest.raises(UserError, match=message):
        space.encode(parse(text))


@pytest.mark.parametrize(("options", "group"), [(1, "cell/op"), (3, "op"), (3, "/op"), (3, "cell/")])
def test_a_decision_has_options_and_a_group(options, group):
    with pytest.raises(UserError, match="decision d has"):
        Decision("d", options, group)
    decision = Decision("d", 3, "normal/op")
    assert (decision.part, decision.kind, decision.labels) == ("normal", "op", ("0", "1", "2"))
    with pytest.raises(UserError, match="3 options and 2 labels"):
        Decision("d", 3, "normal/op", ("no", "yes"))


@pytest.mark.parametrize(
    ("space", "option", "named"),
    [
        ("nasbench201", {"edge_1_3": "nor_conv_3x3"}, "|none~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"),
        ("nasbench_macro", {"layer_7": "mb_k5_e6"}, "00000002"),
        ("enas_macro", {"layer_1.op": "conv_5x5", "layer_2.skip_0": "yes"}, "0 2 0 0 1 0"),
        ("enas_rnn", {"node_3.op": "sigmoid", "node_3.input": "2"}, "('sigmoid', 2), ("),
        ("mnasnet", {"block_1.kernel": "5", "block_1.squeeze_excite": "True"}, "k5_e"),
        ("nas_chain", {"layer_2.filters": "48", "layer_2.skip_0": "yes"}, "48"),
    ],
)
def test_labels_name_what_the_network_then_has(space, option, named):
    found = spaces.get_decisions(space)
    choices = []
    for decision in found.decisions:
        assert len(set(decision.labels)) == decision.options, decision
        choices.append(decision.labels.index(option[decision.name]) if decision.name in option else 0)
    assert named in found.decode(choices).to_text()


@pytest.mark.parametrize("space", [spaces.darts_cnn, spaces.get("robust_s1"), UNEVEN, spaces.get_decisions("nasnet")])
def test_labels_of_cells_name_their_edges(space):
    """Every op of a random architecture is the label of the choice made; inputs are those of the wiring."""
    for seed in range(20):
        choices = space.encode(space.decode(uniform(space, np.random.default_rng(seed))))
        chosen = {d.name: d.labels[choice] for d, choice in zip(space.decisions, choices, strict=True)}
        for cell_type, cell in space.decode(choices).cells.items():
            for target, edges in enumerate(cell.nodes, start=cell.inputs):
                for i, (op, source) in enumerate(edges, start=1):
                    where = f"{cell_type}.{target}"
                    assert op in chosen.get(f"{where}.op_{i}", op).split("/")
                    if i == 1:
                        assert chosen.get(f"{where}.input_1", str(source)) == str(source)
