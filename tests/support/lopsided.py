"""A space in which some tuples of choices are no architecture: its edges have different numbers of candidates."""

from jdarts import spaces
from jdarts.spaces.cell_space import CellSpace


def lopsided() -> CellSpace:
    """Node 3 chooses two of three edges; one of them has three candidates, the others two."""
    return spaces.define_space(
        "lopsided",
        edges=[(0, 2), (0, 3), (1, 3), (2, 3)],
        normal={
            (0, 2): ("none", "skip_connect", "sep_conv_3x3"),
            (0, 3): ("none", "skip_connect", "sep_conv_3x3"),
            (1, 3): ("max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3"),
            (2, 3): ("none", "skip_connect", "sep_conv_3x3"),
        },
    )
