"""Arguments beyond gradient, state and weights that an optimiser's `update` asks for.

Optax passes them by keyword. An estimator can pass the value of the training loss and its gradient. It cannot pass the
function of the weights that a line search needs: the step would depend on the alphas through that function, and no vjp
of the step contains this dependence.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import optax

from jdarts.errors import UserError

PASSED = ("value", "grad")


def refuse_what_no_estimator_can_pass(optimizer: Any) -> None:
    """Raise `UserError` unless an estimator can call `optimizer.update`, judging by the signatures inside it."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise UserError(f"the optimizer is {optimizer!r}; use an optax.GradientTransformation")
    for function in _functions(optimizer.update):
        name = _transformation(function)
        if name == "lookahead":
            raise UserError(
                "optax.lookahead keeps two sets of weights in LookaheadParams, and a loss takes one; use its "
                "fast_optimizer for the estimator (the derivative of one step does not contain the synchronisation)"
            )
        for argument in _required(function):
            if argument not in PASSED:
                raise UserError(
                    f"the transformation {name} needs the argument {argument!r}, which an estimator cannot give it "
                    f"(it passes {' and '.join(PASSED)} of the training loss); leave {name} out, for example by "
                    "linesearch=None, or use another optimizer"
                )


def _required(function: Callable) -> list[str]:
    """The keyword arguments that an `update(updates, state, ...)` requires; none for other functions."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []
    if len(parameters) < 2 or "state" not in parameters[1].name:
        return []
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def _transformation(function: Callable) -> str:
    """`scale_by_adam` for the function `update_fn` inside it."""
    return getattr(function, "__qualname__", repr(function)).split(".<locals>")[0]


def _functions(update: Callable) -> Iterator[Callable]:
    """`update` and the functions of optimisers that it closes over, at any depth."""
    seen: set[int] = set()
    waiting: list[Any] = [update]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, optax.GradientTransformation):
            waiting.append(item.update)
        elif isinstance(item, (tuple, list)):
            waiting.extend(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, partial):
            waiting.append(item.func)
        elif inspect.isfunction(item):
            yield item
            waiting.extend(_contents(item))
        elif inspect.ismethod(item):
            waiting.append(item.__func__)
            waiting.extend(vars(item.__self__).values() if hasattr(item.__self__, "__dict__") else ())


def _contents(function: Callable) -> list[Any]:
    """The objects that `function` closes over, and those it wraps."""
    cells = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # the name is not bound yet
            continue
    return [*cells, getattr(function, "__wrapped__", None)]
