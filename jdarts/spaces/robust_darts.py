"""S1–S4, the spaces in which DARTS collapses (Zela et al. 2020, arXiv:1909.09656, and its code).

Same cells and networks as S0, with fewer candidates. S1 has a different pair of ops on each edge; the columns of the
alphas follow the order written here.
"""

from jdarts.networks.wiring import EDGES
from jdarts.spaces.cell_space import CellSpace

_SHORT = {
    "ID": "skip_connect",
    "M3": "max_pool_3x3",
    "A3": "avg_pool_3x3",
    "S3": "sep_conv_3x3",
    "D3": "dil_conv_3x3",
    "D5": "dil_conv_5x5",
}


def _table(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(_SHORT[op] for op in edge.split("/")) for edge in text.split())


# Edges in the order 0→2 1→2 | 0→3 1→3 2→3 | 0→4 1→4 2→4 3→4 | 0→5 1→5 2→5 3→5 4→5.
robust_s1 = CellSpace(
    "robust_s1",
    normal=_table("ID/D3 ID/D5 ID/D5 ID/S3 ID/D3 M3/ID ID/S3 ID/S3 ID/D3 ID/S3 M3/ID ID/D3 D3/D5 D3/D5"),
    reduce=_table("M3/A3 M3/D3 M3/A3 M3/A3 ID/D5 M3/A3 M3/S3 ID/D3 ID/D5 M3/A3 M3/A3 ID/D5 ID/D5 ID/D5"),
)


def _uniform(name: str, *ops: str) -> CellSpace:
    return CellSpace(name, normal=(ops,) * EDGES, reduce=(ops,) * EDGES)


robust_s2 = _uniform("robust_s2", "skip_connect", "sep_conv_3x3")
robust_s3 = _uniform("robust_s3", "none", "skip_connect", "sep_conv_3x3")
robust_s4 = _uniform("robust_s4", "noise", "sep_conv_3x3")
