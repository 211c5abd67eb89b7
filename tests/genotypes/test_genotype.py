import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts.errors import UserError
from jdarts.genotypes import DARTS_OPS, NASBENCH201_OPS, OPS, Cell, Genotype, load, parse, published, read_json

PAIRS = tuple((("sep_conv_3x3", 0), ("skip_connect", 1)) for _ in range(4))
CELL = Cell(PAIRS, (2, 3, 4, 5))
EDGES = "('sep_conv_3x3', 0), ('skip_connect', 1)"
TEXT = f"Genotype(normal=[{EDGES}], normal_concat=[2], reduce=[{EDGES}], reduce_concat=[2])"


@st.composite
def cells(draw):
    nodes = []
    for target in range(2, draw(st.integers(3, 7))):
        edge = st.tuples(st.sampled_from(OPS), st.integers(0, target - 1))
        nodes.append(tuple(draw(st.lists(edge, max_size=3))))
    nodes[0] = nodes[0] or (("none", 1),)
    count = len(nodes)
    concat = draw(st.permutations(range(2, 2 + count)))[: draw(st.integers(1, count))]
    return Cell(tuple(nodes), (2, *(node for node in concat if node != 2)))


@pytest.mark.parametrize("name", published.names())
def test_published_genotypes_round_trip(name):
    genotype = published.get(name)
    assert parse(genotype.to_text()) == genotype
    assert read_json(genotype.to_json()) == genotype
    assert parse(genotype.to_json()) == genotype
    assert load(name) == genotype


@given(cells(), cells())
def test_random_genotypes_round_trip(normal, reduce):
    genotype = Genotype(normal, reduce)
    assert parse(genotype.to_text()) == genotype
    assert parse(genotype.to_json()) == genotype


@given(st.lists(st.sampled_from(NASBENCH201_OPS), min_size=6, max_size=6))
def test_random_arch_strings_round_trip(ops):
    arch = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*ops)
    genotype = parse(arch)
    assert genotype.reduce is None
    assert genotype.to_nasbench201() == genotype.to_text() == arch
    assert parse(genotype.to_json()) == genotype


FRAGMENTS = st.sampled_from(
    [
        *"()[]{},=|~+'\"#\n .0129",
        *("Genotype(", "normal=", "normal_concat=", "reduce=", "reduce_concat=", "range(2, 6)", "1" * 5000),
        *(
            "'none'",
            "('sep_conv_3x3', 0)",
            "|none~0|",
            "null",
            "NaN",
            "1e999",
            '"nodes":',
            "DARTS_V2",
            "\x00",
            "é",
        ),
    ]
)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(FRAGMENTS, max_size=40).map("".join)))
def test_garbage_is_a_user_error_of_one_line_or_a_genotype(text):
    for read in (parse, load, read_json):
        try:
            assert isinstance(read(text), Genotype)
        except UserError as error:
            assert "\n" not in str(error)


@settings(max_examples=300)
@given(st.sampled_from([TEXT, Genotype(CELL, CELL).to_json()]), st.data())
def test_a_damaged_text_is_a_user_error_of_one_line_or_a_genotype(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 5)))
    damaged = text[:start] + data.draw(FRAGMENTS) + text[end:]
    try:
        assert isinstance(parse(damaged), Genotype)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("opening", ["[", '{"normal":', '{"a":['])
def test_deep_nesting_is_a_user_error(opening):
    with pytest.raises(UserError):
        parse(opening * 100_000)


def test_free_notation_of_darts_text():
    text = """
        # from a log
        DARTS = Genotype(
            reduce_concat=range(2, 4),
            reduce=(["sep_conv_3x3", 0], ('skip_connect', 1,),  # first node
                    ('sep_conv_3x3', 0), ('skip_connect', 2),),
            normal=[('sep_conv_3x3',0),('skip_connect',1)], normal_concat=(2,),
        )"""
    nodes = ((("sep_conv_3x3", 0), ("skip_connect", 1)), (("sep_conv_3x3", 0), ("skip_connect", 2)))
    expected = Genotype(Cell(nodes[:1], (2,)), Cell(nodes, (2, 3)))
    assert parse(text.replace("# from a log", "")) == expected
    assert parse(f"01/31 12:00:00 PM genotype = {expected.to_text()}") == expected


def test_darts_fields_as_json():
    fields = {"normal": PAIRS[0], "normal_concat": [2], "reduce": PAIRS[0], "reduce_concat": [2]}
    assert parse(json.dumps(fields)) == parse(TEXT)


def test_absent_nodes_are_skipped():
    nodes = ((("none", 0),), (), (("skip_connect", 3), ("sep_conv_3x3", 1)), (("skip_connect", 3),), ())
    cell = Cell(nodes, (2, 3, 4, 5, 6))
    assert cell.present == (2, 4)
    assert cell.concat == (2, 4)
    assert cell.nodes == nodes[:-1]
    assert cell.live_nodes == ((("none", 0),), (), (("sep_conv_3x3", 1),), ())
    text = Genotype(cell, CELL).to_text()
    assert "('skip_connect', 3, 4)" in text  # triples for the sparse cell …
    assert "reduce=[('sep_conv_3x3', 0), " in text  # … and pairs for the other


A = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Genotype(normal=[('sep_conv_3x4', 0)",
            "line 1, column 19: unknown op 'sep_conv_3x4'; did you mean 'sep_co",
        ),
        ("Genotype(\n  normal=[(3, 0)", "line 2, column 12: found '3', expected an op in quotes"),
        (
            "Genotype(normal=[('none', 2)",
            "line 1, column 27: found source node 2 for node 2, expected one of 0 to 1",
        ),
        ("Genotype(normal=[('none' 0)", "line 1, column 26: found '0', expected ','"),
        ("Genotype(normal=[('none', 0)]", "line 1, column 29: found ']', expected another (op, source)"),
        ("Genotype(normal=[('none, 0)]", 'line 1, column 19: found "\'", expected an op in quotes'),
        ("Genotype(norml=[", "line 1, column 10: found 'norml', expected 'normal=' or 'normal_concat='"),
        ("Genotype(normal", "line 1, column 16: found the end of the text, expected '='"),
        (TEXT[:-1], "column 148: found the end of the text, expected ',' or ')'"),
        (TEXT + ";", "column 149: found ';', expected the end of the text"),
        (
            TEXT.replace("_concat=[2]", "_concat=[3]", 1),
            "column 76: found node 3 in a concat, expected an interm",
        ),
        (TEXT.replace("_concat=[2]", "_concat=[2, 2]", 1), "column 79: found node 2 twice in a concat"),
        (
            "Genotype(normal=[('none', 0, 2), ('none', 0)]",
            "line 1, column 34: (op, source) and (op, source, target) are mixed",
        ),
        (
            "Genotype(normal=[('none', 0, 1)]",
            "line 1, column 30: found target node 1, expected an intermediate node",
        ),
        (
            "Genotype(normal=[('none', 12345)",
            "line 1, column 27: found '12345', expected the number of the source",
        ),
        ("print(Genotype())", "line 1, column 1: found 'print', expected 'Genotype('"),
        (A.replace("~1", "~0"), "line 1, column 23: found source node 0, expected 1"),
        (A.replace("|none~1", "|nome~1", 1), "line 1, column 18: unknown op 'nome'; did you mean 'none'?"),
        (A.replace("|none~1", "|max_pool_3x3~1", 1), "line 1, column 18: unknown op 'max_pool_3x3'"),
        (A[:23], "line 1, column 24: found the end of the text, expected '|'"),
        (A[:24], "line 1, column 25: found the end of the text, expected '+' and the ops into node 3"),
        (A + "+", "line 1, column 48: found '+', expected the end of the text"),
        ("{", "JSON, line 1, column 2: found the end of the text, expected valid JSON"),
        ('{"normal": 1,\n}', "line 2, column 1: found '}', expected valid JSON"),
        ('{"normal": 1, "normal": 2}', "genotype JSON repeats a key"),
        ('{"normal": 1}', "genotype JSON lacks reduce"),
        ('{"normal": 1, "redoce": 1}', "unknown key of a genotype in JSON 'redoce'; did you mean 'reduce'?"),
        (
            '{"normal": 1, "reduce": null}',
            "genotype JSON, normal: found 1, expected an object with the keys nodes",
        ),
        (
            '{"normal": {"nodes": [[["none", true]]], "concat": [2]}, "reduce": null}',
            "contains True; expected a wh",
        ),
        ("[1]", "genotype JSON is [1]; expected an object"),
        ("DARTS_V3", "unknown genotype 'DARTS_V3'; did you mean 'DARTS_V"),
        ("", "cannot read '' as a genotype; expected Genotype(normal="),
        ("__import__('os')", "cannot read \"__import__('os')\" as a genotype"),
    ],
)
def test_malformed_text_says_where_and_what(text, message):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "concat", "message"),
    [
        (((("sep_conv_4x4", 0),),), (2,), "unknown op 'sep_conv_4x4'; did you mean 'sep_conv_"),
        (((("none", 2),),), (2,), "edge ('none', 2) enters node 2; its source must be one of 0 to 1"),
        (((("none", -1),),), (2,), "edge ('none', -1) enters node 2"),
        (((("none", 0.5),),), (2,), "contains 0.5; expected a whole number"),
        (((("none", 0, 2),),), (2,), "an edge into node 2 is ('none', 0, 2); expected (op, source)"),
        (("none",), (2,), "node 2 is 'none'; expected a tuple or list"),
        (PAIRS, (2, 6), "concat contains 6; the intermediate nodes of this cell are 2 to 5"),
        (PAIRS, (1, 2), "concat contains 1; the intermediate nodes"),
        (PAIRS, (2, 3, 2), "concat [2, 3, 2] repeats node 2"),
        (PAIRS, (), "the cell has no output"),
        (((),), (2,), "the cell has no output"),
    ],
)
def test_impossible_cells_are_refused(nodes, concat, message):
    with pytest.raises(UserError) as caught:
        Cell(nodes, concat)
    assert message in str(caught.value)


def test_impossible_genotypes_are_refused():
    with pytest.raises(UserError, match="need a reduce cell"):
        Genotype(CELL, None)
    one = parse(A).normal
    with pytest.raises(UserError, match="the reduce cell has 1 input nodes"):
        Genotype(CELL, one)
    with pytest.raises(UserError, match="one op from each of the nodes 0 to 1"):
        Genotype(Cell((one.nodes[0], one.nodes[0], one.nodes[2]), (3,), 1), None)
    with pytest.raises(UserError, match="unknown NAS-Bench-201 op 'noise'"):
        Genotype(Cell(((("noise", 0),), *one.nodes[1:]), (3,), 1), None)
    with pytest.raises(UserError, match="has no NAS-Bench-201 arch string"):
        Genotype(CELL, CELL).to_nasbench201()


def test_lists_are_accepted_and_genotypes_are_hashable():
    cell = Cell([[["sep_conv_3x3", 0], ["skip_connect", 1]]] * 4, range(2, 6))  # type: ignore[arg-type]
    assert cell == CELL
    assert len({Genotype(cell, cell), Genotype(CELL, CELL)}) == 1


def test_load_reads_files_of_every_notation(tmp_path):
    genotype = parse("FairDARTS_g")
    for content in (genotype.to_text(), genotype.to_json(), "FairDARTS_g\n"):
        path = tmp_path / "cell.txt"
        path.write_text(content)
        assert load(path) == load(str(path)) == genotype
    assert load(genotype.to_text()) == load(genotype.to_json()) == load(" FairDARTS_g ") == genotype


def test_load_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(UserError, match=r"cannot read genotype file .*missing\.json': No such file"):
        load(str(tmp_path / "missing.json"))
    with pytest.raises(UserError, match="cannot read genotype file"):
        load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        load(tmp_path / "binary")
    (tmp_path / "bad.txt").write_text("Genotype(normal=1)")
    with pytest.raises(UserError, match=r"bad\.txt': genotype, line 1, column 17: found '1'"):
        load(tmp_path / "bad.txt")
    (tmp_path / "large").write_text(" " * 1_000_001)
    with pytest.raises(UserError, match="is it the right file"):
        load(tmp_path / "large")


def test_op_lists_agree():
    assert {*DARTS_OPS, *NASBENCH201_OPS} < set(OPS)
    assert len(set(OPS)) == len(OPS)
