"""Differences between the supported versions of JAX, all in this module."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.extend import core


def varying_axes(x: Any) -> frozenset:
    """The mesh axes over which `x` varies, according to its type."""
    kind = jax.typeof(x)
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else getattr(kind, "vma", frozenset())


def mapped_axes() -> tuple:
    """The names of the axes that are mapped where this is traced: by `pmap`, `vmap` or `shard_map`."""
    return tuple(core.unsafe_get_axis_names_DO_NOT_USE())  # pyright: ignore[reportPrivateImportUsage]


def scan_arguments(params: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of constant and of carried arguments of a traced scan, from its parameters."""
    if "num_consts" in params:  # before 0.11
        return params["num_consts"], params["num_carry"]
    constants, carried, _ = params["ft_in"].unpack()
    return len(list(constants)), len(list(carried))
