"""A trained network as the start of a training, on other data or for another task.

The body takes the weights and batch statistics of the other run. So does the head if the task is the same; its parts
that belong to the classes (`TrainedTask.class_parts`) only if the classes are the same, too. All else keeps its initial
values.
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
    weights: Any, batch_stats: Any, stored: Mapping[str, np.ndarray], *, new: Sequence[str], tell: Callable[[str], None]
) -> tuple[Any, Any]:
    """Weights and batch statistics with the arrays of a trained network in place of those of the same name and shape.

    Args:
      weights, batch_stats: the initial ones, nested by module.
      stored: arrays by names such as `params/cell_0/…/kernel`, or `params/backbone/cell_0/…/kernel`. The body belongs
        into the backbone of a network that has one.
      new: modules that keep their initial values, such as `classifier` or `head/class_output`.
      tell: receives one line for every module that keeps its initial values, and one for what is not used.

    Raises `UserError` if no array of the body fits.
    """
    has_backbone = BACKBONE in weights
    flat: dict[str, Any] = flatten_dict({"params": weights, "batch_stats": batch_stats}, sep="/")
    there = {_here(name, has_backbone): array for name, array in stored.items()}
    taken, reasons = {}, {}
    for name, leaf in flat.items():
        part, module = _part(name), _module_of(name, new)
        if module is not None:
            reasons.setdefault(module, f"{module} is new")
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


def _here(name: str, has_backbone: bool) -> str:
    """The name of a stored array in this network."""
    if _is_head(name):
        return name
    collection, _, rest = name.partition("/")
    body = rest.removeprefix(f"{BACKBONE}/")
    return f"{collection}/{BACKBONE}/{body}" if has_backbone else f"{collection}/{body}"


def _part(name: str) -> str:
    """The module of an array, `cell_3` of `params/backbone/cell_3/…`."""
    modules = name.split("/")[1:]
    return modules[1] if modules[0] == BACKBONE else modules[0]


def _module_of(name: str, modules: Sequence[str]) -> str | None:
    """The one of the modules to which an array belongs."""
    _, _, rest = name.partition("/")
    return next((module for module in modules if rest.startswith(f"{module}/")), None)


def _is_head(name: str) -> bool:
    return name.split("/")[1] in HEADS
