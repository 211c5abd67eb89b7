"""Search spaces by name: `get("darts_cnn")`, `names()`, `register(space)`."""

from jdarts.errors import UserError, unknown
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.darts_cnn import darts_cnn, darts_cnn_7
from jdarts.spaces.derived import DerivedNetwork, check_derived
from jdarts.spaces.nasbench201 import NASBench201Space, nasbench201
from jdarts.spaces.robust_darts import robust_s1, robust_s2, robust_s3, robust_s4
from jdarts.spaces.space import Space

__all__ = [
    "CellSpace",
    "DerivedNetwork",
    "NASBench201Space",
    "Space",
    "check_derived",
    "darts_cnn",
    "darts_cnn_7",
    "get",
    "names",
    "nasbench201",
    "register",
    "robust_s1",
    "robust_s2",
    "robust_s3",
    "robust_s4",
]

_SPACES: dict[str, Space] = {}


def register(space: Space) -> Space:
    """Make a space available to configurations under its name; raise `UserError` if the name is taken."""
    if space.name in _SPACES:
        raise UserError(f"a space named {space.name!r} is registered already; choose another name")
    _SPACES[space.name] = space
    return space


def get(name: str) -> Space:
    """The registered space of that name, or the one that a file defines; raise `UserError` if there is none.

    A name that ends in `.py` is a file with a module-level `space` (see `jdarts.spaces.user_file`); it is executed.
    """
    if name.endswith(".py"):
        from jdarts.spaces.user_file import load_space

        return load_space(name)
    if name not in _SPACES:
        raise unknown("space", name, _SPACES)
    return _SPACES[name]


def names() -> tuple[str, ...]:
    """The names of all registered spaces."""
    return tuple(_SPACES)


for _space in (darts_cnn, darts_cnn_7, robust_s1, robust_s2, robust_s3, robust_s4, nasbench201):
    register(_space)
