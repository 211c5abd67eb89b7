"""A search space of your own, in a file of a few lines: `--space.name path/to/space.py`.

The file defines `space`, a `CellSpace` (DARTS cells: two inputs, four nodes, 14 edges, two cell types) or a
`NASBench201Space` (one cell of six edges) with its own candidates on each edge:

    from jdarts.spaces import CellSpace

    small = ("none", "skip_connect", "sep_conv_3x3")
    pools = ("none", "max_pool_3x3", "avg_pool_3x3")
    space = CellSpace("mine", normal=(small,) * 14, reduce=(pools,) * 14)

Reading it runs it: only use files that you would run. Whatever is wrong with the space is said before anything
compiles.
"""

import runpy
from pathlib import Path

from jdarts.errors import UserError
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.space import Space


def load_space(path: str | Path) -> Space:
    """The `space` that the file at `path` defines; raises `UserError`, one line, for anything wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"space.name is {str(path)!r}, but there is no such file")
    try:
        found = runpy.run_path(str(path)).get("space")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    if not isinstance(found, (CellSpace, NASBench201Space)):
        raise UserError(f"{path} must define space, a CellSpace or a NASBench201Space; it has {type(found).__name__}")
    return found
