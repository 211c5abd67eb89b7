"""Hypergradient estimators of the user's own, by the names that configurations and methods use.

They are registered here, below the configuration, because a configuration may hold the function itself.
"""

from collections.abc import Callable
from typing import Any

from jdarts.config.user_files import source_file
from jdarts.errors import UserError

OWN: dict[str, Callable[..., Any]] = {}
"""The registered functions by name."""


def register(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Make `factory` available to `search.hypergradient` and `Method.hypergradient` under its function's name.

    A file that is executed again replaces its own functions. Raises `UserError` if the function has no name, or if
    another file has registered that name.
    """
    name = getattr(factory, "__name__", "<none>")
    if not name.isidentifier():
        raise UserError(f"the hypergradient {factory!r} has no name; define it with def")
    if name in OWN and source_file(OWN[name]) != source_file(factory):
        raise UserError(
            f"a hypergradient named {name!r} is already registered, by {source_file(OWN[name])}; choose another name "
            f"for that of {source_file(factory)}"
        )
    OWN[name] = factory
    return factory


def name_of(hypergradient: Any) -> Any:
    """The name of a hypergradient that is given as a function, which is registered; anything else is returned as is."""
    return register(hypergradient).__name__ if callable(hypergradient) else hypergradient
