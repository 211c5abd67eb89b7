"""Estimators with a memory: a value that passes from one call to the next, such as the solution of a linear system.

Such an estimator is called like any other; without a memory it starts afresh. To carry the memory, pass the last one:

    grads, aux = estimator(w, alphas, opt_state, train_batch, val_batch)                 # starts from init(w, alphas)
    grads, aux = estimator(w, alphas, opt_state, train_batch, val_batch, aux.memory)     # continues

A search keeps the memory in `SearchState.hypergradient_memory`, so that checkpoints hold it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jdarts.hypergrad.types import Aux, Estimator, PyTree


@dataclass(frozen=True)
class WithMemory:
    """An estimator that carries a memory.

    Attributes:
      init: `(w, alphas) -> memory`, a pytree of arrays whose structure, shapes and dtypes never change.
      estimate: `(w, alphas, opt_state, train_batch, val_batch, memory) -> (grads, aux)`; `aux.memory` is the memory of
        the next call.
      batches: the number of training batches that `train_batch` stacks (`stack_batches`); 1 is one batch, not stacked.
    """

    init: Callable[[PyTree, PyTree], PyTree]
    estimate: Callable[..., tuple[PyTree, Aux]]
    batches: int = 1

    def __call__(
        self, w: PyTree, alphas: PyTree, opt_state: PyTree, train_batch: PyTree, val_batch: PyTree, memory=None
    ) -> tuple[PyTree, Aux]:
        """`(grads, aux)`; a memory of None is that of `init`."""
        memory = self.init(w, alphas) if memory is None else memory
        return self.estimate(w, alphas, opt_state, train_batch, val_batch, memory)


def batches_of(estimator: Estimator) -> int:
    """The number of training batches that an estimator takes, stacked; 1 for one batch that is not stacked.

    It is the attribute `batches` of the estimator, if there is one.
    """
    return getattr(estimator, "batches", 1)


def like(estimator: Estimator, wrapped: Callable[..., tuple[PyTree, Aux]]) -> Estimator:
    """`wrapped`, which calls `estimator`, with the memory and the number of batches of that estimator."""
    if isinstance(estimator, WithMemory):
        return replace(estimator, estimate=wrapped)

    def same(*arguments):
        return wrapped(*arguments)

    return with_batches(same, batches_of(estimator))


def with_batches(estimator: Estimator, batches: int) -> Estimator:
    """`estimator` itself, which takes that number of stacked training batches."""
    estimator.batches = batches  # pyright: ignore[reportFunctionMemberAccess]
    return estimator
