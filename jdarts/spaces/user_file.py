"""A search space of your own, in a file of a few lines: `--space.name path/to/space.py`.

The file defines `space`. `define_space` makes one of normal and reduction cells, DARTS' or with other nodes, edges and
candidates, and with your own ops (`jdarts.ops.user_module` states the requirements):

    from flax import linen as nn

    from jdarts.spaces import define_space


    class Ghost(nn.Module):
        channels: int
        stride: int = 1

        @nn.compact
        def __call__(self, x):
            return nn.Conv(self.channels, (3, 3), self.stride, feature_group_count=4, use_bias=False)(nn.relu(x))


    small = ("skip_connect", "ghost")
    pools = ("max_pool_3x3", "avg_pool_3x3")
    space = define_space(
        "mine",
        edges=[(0, 2), (1, 2), (1, 3), (2, 3)],  # nodes 0 and 1 are the inputs; every node from 2 on is in the output
        normal={(0, 2): small, (1, 2): small, (1, 3): ("ghost", "sep_conv_3x3"), (2, 3): small},
        reduce=pools,  # one list for all edges; without it the lists of normal
        ops={"ghost": Ghost},
    )

`configs/my_space.py` is a complete example. Such a space is searched, derived, retrained, counted and drawn as usual:

    jdarts search CONFIG --space my_space.py
    jdarts train  CONFIG --space my_space.py --genotype runs/NAME/genotype.txt
    jdarts count  runs/NAME/genotype.txt --space my_space.py
    jdarts draw   runs/NAME/genotype.txt --space my_space.py -o cells.svg

`space` may also be a `NASBench201Space`, one cell of six edges, with a subset of the benchmark's ops on each, or an
`EnasMacroSpace` or `EnasMicroSpace` of another size: `space = EnasMacroSpace("enas_macro_6", layers=6)`. `--method
NAME` applies the published settings for the kind of the space: those for DARTS cells, NAS-Bench-201 or ENAS. They are
for a space of its size, so that the numbers of channels, cells and epochs may be too large or too small for yours.

Reading the file runs it: only use files that you would run. Any mistake in the space is reported in one line before
anything compiles.
"""

from pathlib import Path

from jdarts.config import user_files
from jdarts.errors import UserError
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.enas_macro import EnasMacroSpace
from jdarts.spaces.enas_micro import EnasMicroSpace
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.space import ImageSpace


def load_space(path: str | Path) -> ImageSpace:
    """The `space` that the file at `path` defines; raises `UserError`, one line, for anything wrong with it."""
    path = Path(path)
    if not user_files.is_file(path):
        raise UserError(f"space.name is {str(path)!r}, but there is no such file")
    found = vars(user_files.run(path)).get("space")
    if not isinstance(found, (CellSpace, NASBench201Space, EnasMacroSpace, EnasMicroSpace)):
        raise UserError(
            f"{path} must define space, with define_space or as a NASBench201Space, EnasMacroSpace or EnasMicroSpace; "
            f"it has {type(found).__name__}"
        )
    return found
