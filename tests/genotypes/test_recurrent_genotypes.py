"""Recurrent cells: notations, published cells, token lists of ENAS, mistakes."""

import dataclasses

import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import RecurrentGenotype, load, parse, published_recurrent
from jdarts.genotypes.recurrent import enas_cell, enas_lm_cell, enas_lm_tokens, enas_tokens
from jdarts.networks.of_genotype import check_network, derived_network
from jdarts.spaces.decisions import uniform

V2_TEXT = (
    "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2), ('sigmoid', 5), "
    "('tanh', 3), ('relu', 5)], concat=range(1, 9))"
)


@pytest.mark.parametrize("name", published_recurrent.names())
def test_published_cells_survive_text_and_json(name, tmp_path):
    genotype = parse(name.lower().replace("_", "-"))
    assert genotype == load(name) == parse(genotype.to_text()) == parse(genotype.to_json())
    (tmp_path / "cell.txt").write_text(f"{name} = {genotype.to_text()}  # a cell\n")
    assert load(tmp_path / "cell.txt") == load(f"{tmp_path / 'cell.txt'}:{name}") == genotype
    assert published_recurrent.source(name)


def test_the_cell_of_figure_6():
    genotype = parse("DARTS_RNN")
    assert genotype.to_text() == V2_TEXT
    assert genotype == parse("DARTS_RNN_V2") != parse("DARTS_RNN_V1")
    assert len(genotype.recurrent) == 8, "8 derived nodes"
    assert genotype.normal.nodes[5] == (("sigmoid", 5),) and genotype.normal.inputs == 1
    assert genotype.reduce is None


@pytest.mark.parametrize(
    "text",
    [
        "2018-06-24 genotype = Genotype(recurrent = [['sigmoid', 0], ('relu', np.int64(1)),], concat = [1, 2])",
        "Genotype(concat=[*range(1, 3)], recurrent=(('sigmoid', 0), ('relu', 1)))",
        '{"recurrent": [["sigmoid", 0], ["relu", 1]], "concat": [1, 2]}',
        'step 3 {"concat": [1, 2], "first": "tanh", "recurrent": [["sigmoid", 0], ["relu", 1]]}',
    ],
)
def test_other_spellings(text):
    assert parse(text) == RecurrentGenotype((("sigmoid", 0), ("relu", 1)), (1, 2))


def test_a_first_node_without_tanh_is_written_and_read():
    genotype = RecurrentGenotype((("tanh", 0), ("relu", 0)), (2, 1), first="relu")
    assert genotype.to_text() == "Genotype(recurrent=[('tanh', 0), ('relu', 0)], concat=[2, 1], first='relu')"
    assert parse(genotype.to_text()) == parse(genotype.to_json()) == genotype
    assert dataclasses.replace(genotype, first="tanh").normal != genotype.normal


def test_token_lists_of_enas():
    """The translations by hand follow the numbers of the functions in the releases."""
    assert parse("enas: 1 0 2  1 3  0 0") == RecurrentGenotype(
        (("identity", 0), ("sigmoid", 1), ("tanh", 0)), (2, 3), first="relu"
    )
    assert parse("ENAS_LM: 0,2, 1,3") == RecurrentGenotype((("sigmoid", 0), ("identity", 1)), (1, 2))
    rng = np.random.default_rng(0)
    for space, read, write in (
        (spaces.enas_rnn, enas_cell, enas_tokens),
        (spaces.enas_lm_rnn, enas_lm_cell, enas_lm_tokens),
    ):
        genotype = space.decode(uniform(space, rng))
        tokens = write(genotype)
        assert read(tokens) == genotype
        start = 1 if space is spaces.enas_rnn else 0
        assert (*tokens[:start], *tokens[start + 1 :]) == space.encode(genotype), "node 1 reads node 0"
    assert len(enas_tokens(parse("ENAS_RNN_ARC"))) == 23 and len(enas_lm_tokens(parse("ENAS_LM"))) == 16
    assert parse("ENAS_RNN").concat == parse("ENAS_RNN").loose_ends, "the translation of the DARTS authors"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Genotype(recurrent=[('none', 0)], concat=[1])", "line 1, column 22: unknown op 'none'; choose from"),
        ("Genotype(recurrent=[('tanh', 1)], concat=[1])", "column 30: found node 1, expected an earlier one: 0 to 0"),
        ("Genotype(recurrent=[('tanh', 0)], concat=[2])", "concat contains 2; the nodes of this cell are 0 to 1"),
        ("Genotype(recurrent=[('tanh', 0)], concat=[1, 1])", "name at least one node, and each once"),
        ("Genotype(recurrent=[], concat=[0])", "0 nodes; it needs at least one"),
        ("Genotype(recurrent=[('tanh', 0)])", r"found '\)', expected 'concat='"),
        ("Genotype(recurrent=[('tanh', 0)], normal=[])", "found 'normal', expected 'concat=' or 'first='"),
        ("Genotype(recurrent=[('tanh', 0)], concat=[1], first='none')", "unknown op 'none'"),
        ('{"recurrent": [["tanh", 0]]}', "lacks concat"),
        ('{"recurrent": [["tanh", 0, 1]], "concat": [1]}', "node 1 is .* expected \\(activation, predecessor\\)"),
        ('{"recurrent": [["tanh", 1]], "concat": [1]}', "node 1 reads node 1"),
        ('{"recurrent": [["tan", 0]], "concat": [1]}', "unknown activation of node 1 'tan'; did you mean 'tanh'"),
        ('{"recurrent": [["tanh", 0]], "concat": [1], "frist": 0}', "unknown key .* 'frist'; did you mean 'first'"),
        ('{"recurrent": [["tanh", 0]], "concat": [1], "first": 0}', "unknown activation of node 0 '0'"),
        ("enas: 0 0", "the token list has 2 numbers; ENAS has the function of node 0"),
        ("enas: 0 1 0", "node 1 reads node 1"),
        ("enas: 0 0 4", "the function of node 1 is 4; functions are 0 to 3"),
        ("enas_lm: 0 0 0", "the token list has 3 numbers"),
        ("enas: 0 0 x", "whole numbers; found 'x'"),
        ("DARTS_RN", "did you mean 'DARTS_RNN'"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def test_outputs_that_token_lists_cannot_say():
    with pytest.raises(UserError, match=r"mean of the nodes \[1, 2, 3, 4, 5, 6, 7, 8\]; in ENAS .* loose ends, \[4, 6"):
        enas_tokens(parse("DARTS_RNN"))
    with pytest.raises(UserError, match="the output is the mean of all nodes but node 0"):
        enas_lm_tokens(parse("ENAS_RNN"))
    with pytest.raises(UserError, match="no NAS-Bench-201 arch string"):
        parse("DARTS_RNN").to_nasbench201()


def test_networks_of_images_refuse_recurrent_cells():
    genotype = parse("DARTS_RNN")
    sizes = {"channels": 4, "cells": 3}
    for build in (
        lambda: derived_network(genotype, **sizes, classes=2),
        lambda: check_network(genotype, **sizes, image_size=8),
        lambda: spaces.check_derived(genotype, **sizes, image_size=8),
        lambda: spaces.nasbench201.encode(genotype),
    ):
        with pytest.raises(UserError, match="a recurrent cell makes a language model"):
            build()
