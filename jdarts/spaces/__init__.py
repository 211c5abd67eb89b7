"""Search spaces by name: `get("darts_cnn")`, `names()`, `register(space)`."""

from jdarts.errors import UserError, unknown
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.darts_cnn import darts_cnn
from jdarts.spaces.derived import DerivedNetwork, check_derived
from jdarts.spaces.robust_darts import robust_s1, robust_s2, robust_s3, robust_s4

__all__ = [
    "CellSpace",
    "DerivedNetwork",
    "check_derived",
    "darts_cnn",
    "get",
    "names",
    "register",
    "robust_s1",
    "robust_s2",
    "robust_s3",
    "robust_s4",
]

_SPACES: dict[str, CellSpace] = {}


def register(space: CellSpace) -> CellSpace:
    """Make a space available to configurations under its name; raise `UserError` if the name is taken."""
    if space.name in _SPACES:
        raise UserError(f"a space named {space.name!r} is registered already; choose another name")
    _SPACES[space.name] = space
    return space


def get(name: str) -> CellSpace:
    """The registered space of that name; raise `UserError` naming the nearest one if there is none."""
    if name not in _SPACES:
        raise unknown("space", name, _SPACES)
    return _SPACES[name]


def names() -> tuple[str, ...]:
    """The names of all registered spaces."""
    return tuple(_SPACES)


for _space in (darts_cnn, robust_s1, robust_s2, robust_s3, robust_s4):
    register(_space)
