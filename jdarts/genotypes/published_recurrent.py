"""Recurrent cells that papers and their repositories published, by name.

A line of the table is one cell, `name | activation@predecessor of each node | nodes of the output`; node 0 reads the
input. Token lists of ENAS are in the encoding of the release.
"""

from collections.abc import Mapping
from functools import cache

from jdarts.errors import unknown
from jdarts.genotypes.recurrent import RecurrentGenotype, enas_cell, enas_lm_cell

_CELLS = """
DARTS_RNN_V1 | relu@0 relu@1 tanh@2 relu@3 relu@4 identity@1 relu@5 relu@1 | 1,2,3,4,5,6,7,8
DARTS_RNN_V2 | sigmoid@0 relu@1 relu@1 identity@1 tanh@2 sigmoid@5 tanh@3 relu@5 | 1,2,3,4,5,6,7,8
ENAS_RNN | tanh@0 tanh@1 relu@1 tanh@3 tanh@3 relu@3 relu@4 relu@7 relu@8 relu@8 relu@8 | 2,5,6,9,10,11
SDARTS_random_ptb | sigmoid@0 sigmoid@1 identity@2 sigmoid@1 tanh@2 tanh@2 sigmoid@0 sigmoid@3 | 1,2,3,4,5,6,7,8
SDARTS_pgd_ptb | relu@0 relu@1 tanh@2 relu@3 identity@2 relu@1 tanh@2 relu@7 | 1,2,3,4,5,6,7,8
"""
ENAS_ARC = (0, 0, 0, 1, 1, 2, 1, 2, 0, 2, 0, 5, 1, 1, 0, 6, 1, 8, 1, 8, 1, 8, 1)
"""The released cell of ENAS (melodyguan/enas)."""
ENAS_LM_ARC = (0, 2, 1, 0, 2, 1, 2, 2, 4, 0, 5, 0, 3, 2, 6, 2)
"""The released cell of enas_lm (google-research)."""

_SOURCES = {
    "DARTS_RNN": "DARTS, second order (arXiv:1806.09055, figure 6); the same as DARTS_RNN_V2",
    "DARTS_RNN_V1": "DARTS, first order (repository)",
    "DARTS_RNN_V2": "DARTS, second order (repository)",
    "ENAS_RNN": "DARTS repository: translation of the cell in the ENAS paper (arXiv:1802.03268)",
    "ENAS_RNN_ARC": "ENAS repository: the arc of its final training",
    "ENAS_LM": "enas_lm repository: the arc of the corrected release",
    "SDARTS_random_ptb": "SmoothDARTS repository: SDARTS-RS",
    "SDARTS_pgd_ptb": "SmoothDARTS repository: SDARTS-ADV",
}


def names() -> tuple[str, ...]:
    """The names of all published recurrent cells."""
    return tuple(_SOURCES)


def find(name: str) -> RecurrentGenotype | None:
    """The published cell called `name` in upper or lower case, with `-` read as `_`; None if there is none."""
    known = {_plain(other): other for other in _SOURCES}
    found = known.get(_plain(name))
    return None if found is None else _cells()[found]


def source(name: str) -> str:
    """The place of publication. Raises `UserError` if there is no cell of that name."""
    if name not in _SOURCES:
        raise unknown("recurrent cell", name[:80], _SOURCES)
    return _SOURCES[name]


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_")


@cache
def _cells() -> Mapping[str, RecurrentGenotype]:
    found = {"ENAS_RNN_ARC": enas_cell(ENAS_ARC), "ENAS_LM": enas_lm_cell(ENAS_LM_ARC)}
    for line in _CELLS.strip().splitlines():
        name, nodes, concat = line.split(" | ")
        pairs = (node.split("@") for node in nodes.split())
        recurrent = tuple((activation, int(source)) for activation, source in pairs)
        found[name] = RecurrentGenotype(recurrent, tuple(map(int, concat.split(","))))
    return found | {"DARTS_RNN": found["DARTS_RNN_V2"]}
