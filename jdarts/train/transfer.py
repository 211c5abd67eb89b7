"""A trained network as the start of a training, on other data or for another task.

The body (and the head, if task and classes are the same) takes the weights and batch statistics of the other run; all
else keeps its initial values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jdarts.errors import UserError
from jdarts.train.frozen import BACKBONE, HEADS


def check_sizes(run: str, stored: Mapping[str, Any], sizes: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise `UserError` if the network of a run has other sizes than that of the configuration.

    Args:
      run: its folder, for the message.
      stored: its sizes.
      sizes: those of the configuration.
      names: the ones that act on this kind of network.
    """
    wrong = {name: stored[name] for name in names if name in stored and stored[name] != sizes[name]}
    if wrong:
        there = ", ".join(f"{name} {value}" for name, value in wrong.items())
        here = ", ".join(f"{sizes[name]}" for name in wrong)
        options = " ".join(f"--train.{name} {value}" for name, value in wrong.items())
        raise UserError(f"the network of {run} has {there}, this training {here}; use {options}")


def transferred(
    weights: Any, batch_stats: Any, stored: Mapping[str, np.ndarray], *, keep_head: bool, tell: Callable[[str], None]
) -> tuple[Any, Any]:
    """Weights and batch statistics with the arrays of a trained network in place of those of the same name and shape.

    Args:
      weights, batch_stats: the initial ones, nested by module.
      stored: arrays by names such as `params/cell_0/…/kernel`. In a network with a backbone they belong there.
      keep_head: take the head, too.
      tell: receives one line for every module that keeps its initial values, and one for what is not used.

    Raises `UserError` if no array of the body fits.
    """
    prefix = f"{BACKBONE}/" if BACKBONE in weights else ""
    new = {"params": weights, "batch_stats": batch_stats}
    flat: dict[str, Any] = flatten_dict(new, sep="/")
    there = {_renamed(name, prefix): array for name, array in stored.items() if prefix == "" or not _is_head(name)}
    taken, reasons = {}, {}
    for name, leaf in flat.items():
        part = _part(name)
        if not keep_head and _is_head(name):
            reasons.setdefault(part, f"{part} is new")
        elif name not in there:
            reasons.setdefault(part, f"{part}: the other network has no {name}")
        elif there[name].shape != leaf.shape:
            reasons.setdefault(
                part, f"{part}: {name} has shape {list(there[name].shape)} there and {list(leaf.shape)} here"
            )
        else:
            taken[name] = jnp.asarray(there[name], leaf.dtype)
    if not any(not _is_head(name) for name in taken):
        raise UserError(
            "no array of the other network fits this one; train the same genotype with the same sizes "
            f"({'; '.join(list(reasons.values())[:2])})"
        )
    for reason in reasons.values():
        tell(f"not transferred: {reason}; initial values")
    unused = {_part(name) for name in there if name not in flat and not _is_head(name)}
    if unused:
        tell(f"not used of the other network: {', '.join(sorted(unused))}")
    kept: dict[str, Any] = unflatten_dict({**flat, **taken}, sep="/")
    return kept["params"], kept.get("batch_stats", batch_stats)


def _renamed(name: str, prefix: str) -> str:
    collection, _, rest = name.partition("/")
    return f"{collection}/{prefix}{rest}"


def _part(name: str) -> str:
    """The module of an array, `cell_3` of `params/backbone/cell_3/…`."""
    modules = name.split("/")[1:]
    return modules[1] if modules[0] == BACKBONE else modules[0]


def _is_head(name: str) -> bool:
    return name.split("/")[1] in HEADS
