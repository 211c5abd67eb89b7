"""Parts of a network that a training leaves as they are.

A frozen part computes as in evaluation: its batch norms use their running averages, which do not move, and it drops
nothing. Its weights get no gradient and no step of the optimiser, weight decay included; they stay equal bit for bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jdarts.errors import UserError
from jdarts.ops.batch_norm import BatchNorm

HEADS = ("classifier", "auxiliary_head", "decoder", "neck", "head")
"""The modules of networks that belong to a task; all others are the body."""
BODY, STATISTICS = "body", "statistics"
BACKBONE = "backbone"
"""The module that holds the body of a network with a decoder or a detection head."""


class Frozen:
    """The parts that `train.frozen` names, in a network with these weights.

    Args:
      names: `body`; `statistics`, which makes all batch norms use their running averages while their scales and shifts
        still train; or modules such as stem_0, cell_3 and layer_7, also inside a backbone.
      weights: the parameters of the network, nested by module; shapes are enough.

    Raises `UserError` for the name of a part that the network does not have.
    """

    def __init__(self, names: Sequence[str], weights: Any):
        inner = {f"{name}": (BACKBONE, name) for name in weights.get(BACKBONE, {})}
        parts = {name: (name,) for name in weights} | inner
        self.statistics = STATISTICS in names
        self.paths: set[tuple[str, ...]] = set()
        for name in names:
            if name == BODY:
                self.paths |= {(part,) for part in weights if part not in HEADS}
            elif name in parts:
                self.paths.add(parts[name])
            elif name != STATISTICS:
                raise UserError(
                    f"train.frozen has {name!r}; choose from: {', '.join((BODY, STATISTICS, *sorted(parts)))}"
                )
        if weights and all(self._holds(path) for path in flatten_dict(weights)):
            raise UserError(f"train.frozen is {', '.join(names)}, which leaves nothing to train; freeze less")

    def _holds(self, path: tuple[str, ...]) -> bool:
        return any(path[: len(part)] == part for part in self.paths)

    def split(self, weights: Any) -> tuple[Any, Any]:
        """`(trained, frozen)` weights, both nested."""
        if not self.paths:
            return weights, {}
        flat = flatten_dict(weights)
        still = {path: leaf for path, leaf in flat.items() if self._holds(path)}
        moving = {path: leaf for path, leaf in flat.items() if path not in still}
        return unflatten_dict(moving), unflatten_dict(still)

    def joined(self, trained: Any, frozen: Any) -> Any:
        """The weights of which `split` made two parts."""
        if not self.paths:
            return trained
        return unflatten_dict({**flatten_dict(trained), **flatten_dict(frozen)})

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the frozen modules of a network that is applied compute as in evaluation."""

        def call(following, args, kwargs, context):
            module = context.module
            still = module.path in self.paths or (self.statistics and isinstance(module, BatchNorm))
            if still and context.method_name == "__call__":
                return following(*_in_evaluation(args), **kwargs)
            return following(*args, **kwargs)

        if not self.paths and not self.statistics:
            yield
            return
        with nn.intercept_methods(call):
            yield


def _in_evaluation(args: tuple) -> tuple:
    """The arguments of a call with `train` False; behind it stands the probability of drop-path, if anything."""
    for i, argument in enumerate(args):
        if argument is True:
            return (*args[:i], False, *(None for _ in args[i + 1 :]))
    return args
