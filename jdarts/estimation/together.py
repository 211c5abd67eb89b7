"""Several trainings of one genotype at the same time, as one vmapped program."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import staging
from jdarts.config import Experiment
from jdarts.estimation.children import ChildTask, Fidelity
from jdarts.train.numbers import as_arguments


class TrainingsTogether:
    """Trainings that differ in real numbers or in the seed; each has the result of a training on its own, to rounding.

    Args:
      task: images or text.
      genotype: the trained genotype.
      fidelity: the configuration, whose values of `numbers` and whose seed have no effect, and the data.
      numbers: dotted names of real numbers of a training.

    Raises `staging.NOT_A_NUMBER_YET` if the value of a number decides how the step is built.
    """

    def __init__(self, task: ChildTask, genotype: Any, fidelity: Fidelity, numbers: Sequence[str] = ()):
        self._child = task.children(genotype, fidelity, numbers)(fidelity.config)
        self._numbers, child = numbers, self._child

        def init(key: jax.Array, values: dict[str, jax.Array]) -> Any:
            return task.step_at(genotype, fidelity, values).init(key)

        def step(state: Any, examples: Any, values: dict[str, jax.Array]) -> Any:
            return task.step_at(genotype, fidelity, values).step(state, examples)

        options = staging.compiler_options(large=True, calls=child.epochs * child.steps_per_epoch)
        self._init = jax.jit(jax.vmap(init))
        self._step = jax.jit(jax.vmap(step, in_axes=(0, None, 0)), donate_argnums=0, compiler_options=options)

    def __call__(self, configs: Sequence[Experiment]) -> list[float | None]:
        """The validation results of the trainings of `configs`; None for a training that diverged."""
        keys = jnp.stack([jax.random.key(config.seed) for config in configs])
        values = _stacked([as_arguments(config, self._numbers) for config in configs])
        state, finite, child = self._init(keys, values), np.ones(len(configs), bool), self._child
        for _ in range(child.epochs):
            metrics: Any = {}
            for _ in range(child.steps_per_epoch):
                state, metrics = self._step(state, child.examples, values)
            finite &= np.asarray(metrics["finite"]).astype(bool)
            states = [child.end_epoch(_member(state, i)) for i in range(len(configs))]
            state = _stacked(states)
        found = [child.measured(_member(state, i)) if finite[i] else math.nan for i in range(len(configs))]
        return [value if math.isfinite(value) else None for value in found]


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _member(state: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], state)
