"""A training of a derived network as compiled functions: on one device, or on all devices of a placement."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jdarts import staging
from jdarts.config import Experiment
from jdarts.config.swept import with_values
from jdarts.data import SearchData, TrainingData
from jdarts.data.dataset import Images
from jdarts.data.evaluation import evaluation_batches
from jdarts.data.policies import policy_of
from jdarts.data.streaming import BatchShare, StreamSplit
from jdarts.devices import processes
from jdarts.devices.advance import Advance, resident, streamed
from jdarts.devices.placement import (
    Placement,
    compile_step,
    compile_sums,
    connect_processes,
    gather_rows,
    lay_out,
)
from jdarts.networks.of_genotype import TrainedOnImages
from jdarts.train.numbers import as_arguments
from jdarts.train.step import TrainArrays, TrainingSplit, TrainState, TrainStep, train_step

Totals = dict[str, Any]
"""Sums of a task over images, float64 numbers or arrays."""


class EvaluableTraining(Protocol):
    """A training that adds up its results over images."""

    @property
    def pure(self) -> TrainStep:
        """The functions of one replica."""
        ...

    def totals(self, state: TrainState, images: Any, batch_size: int) -> Totals:
        """The sums of `TrainStep.totals` over all of `images`."""
        ...


@dataclass(frozen=True)
class Training:
    """A training on one device; `make_training` builds it.

    Attributes:
      init: `(key) -> TrainState`; compiles next to nothing unless it is jitted.
      step: `(state, arrays) -> (state, metrics)`; donates the state.
      logits: `(state, images) -> [N, classes]` of uint8 images in evaluation mode.
      sums: `(state, rows) -> sums`, those of `TrainStep.totals` over the rows of `jdarts.data.evaluation`.
      arrays: training images (uint8) and labels on the device.
      steps_per_epoch: whole batches in an epoch.
      pure: the functions that the others compile.
    """

    init: Callable[[jax.Array], TrainState]
    step: Callable[[TrainState, TrainArrays], tuple[TrainState, dict[str, jax.Array]]]
    logits: Callable[[TrainState, jax.Array], jax.Array]
    sums: Callable[[TrainState, TrainArrays], dict[str, jax.Array]]
    arrays: TrainArrays
    steps_per_epoch: int
    pure: TrainStep

    def totals(self, state: TrainState, images: Images, batch_size: int) -> Totals:
        """The sums of `TrainStep.totals` over all of `images`."""
        batches = evaluation_batches(images, BatchShare(batch_size=batch_size, section="train"))
        return self.pure.task.added(
            self.sums(state, {name: rows[0] for name, rows in batch.items()}) for batch in batches
        )


def make_training(config: Experiment, genotype: TrainedOnImages, data: TrainingData | SearchData) -> Training:
    """The training of `genotype` on the images of `data.train`, on one device."""
    return make_trainings(config, genotype, data)(config)


def make_trainings(
    config: Experiment, genotype: TrainedOnImages, data: TrainingData | SearchData, numbers: Sequence[str] = ()
) -> Callable[[Experiment], Training]:
    """`configuration -> training` for configurations that differ in the hyper-parameters `numbers` or in the seed.

    They share one compiled step, which takes the numbers as arguments. `numbers` are dotted names of real numbers of
    `config.train`. Raises `staging.NOT_A_NUMBER_YET` if the value of one decides how the step is built.
    """
    pure = train_step(config, genotype, data)
    options = staging.compiler_options(large=True, calls=config.train.epochs * pure.steps_per_epoch)
    arrays = {name: jnp.asarray(array) for name, array in _arrays(data).items()}

    def at(values: dict[str, jax.Array]) -> TrainStep:
        return train_step(with_values(config, values), genotype, data) if values else pure

    def step_at(state: TrainState, arrays: TrainArrays, values: dict[str, jax.Array]):
        return at(values).step(state, arrays)

    step = jax.jit(step_at, donate_argnums=0, compiler_options=options)
    logits, totals = (jax.jit(function, compiler_options=options) for function in (pure.logits, pure.totals))

    def training(own: Experiment) -> Training:
        values = as_arguments(own, numbers)
        return Training(
            pure.init,
            lambda state, arrays: step(state, arrays, values),
            logits,
            totals,
            arrays,
            pure.steps_per_epoch,
            pure,
        )

    if numbers:
        jax.eval_shape(
            lambda key, values: step_at(at(values).init(key), arrays, values),
            jax.random.key(0),
            as_arguments(config, numbers),
        )
    return training


class PlacedTraining:
    """A training on the devices of a placement.

    Attributes:
      init: `(start) -> state`.
      step: `state -> (state, metrics)`, on the next batch.
      pure: the functions of one replica.

    Args:
      data: images in memory or streamed images.
    """

    def __init__(self, config: Experiment, genotype: TrainedOnImages, data: TrainingSplit, placement: Placement):
        connect_processes(placement)
        settings, self._config, self._placement = config.train, config, placement
        self.pure: TrainStep = train_step(config, genotype, data, axis_name=placement.axis_name)
        batches = resident(_arrays(data), placement) if not self.pure.streamed else self._streamed(data)
        step = compile_step(
            lambda state, arrays, _: self.pure.step(state, arrays),
            placement,
            streamed=settings.microbatches if self.pure.streamed else 0,
            calls=settings.epochs * self.pure.steps_per_epoch,
        )
        self.step = Advance(step, batches, check_every=config.devices.check_replicas_every)
        self._sums = compile_sums(self.pure.totals, placement)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.pure.steps_per_epoch

    def init(self, start: Callable[[TrainState], TrainState] = lambda state: state) -> TrainState:
        """The state before the first step, on all devices; `start` changes the random one."""
        return lay_out(start(self.pure.init(jax.random.key(self._config.seed))), self._placement)

    def totals(self, state: TrainState, images: Images | StreamSplit, batch_size: int) -> Totals:
        """The sums of `TrainStep.totals` over all of `images`, each of which is counted once."""
        data, share = self._config.data, self._share(microbatches=1, batch_size=batch_size)

        def gathered() -> Iterator[Any]:
            sides = {"size": data.streamed_side, "resize": data.resize}
            for rows in evaluation_batches(images, share, threads=data.read_threads, **sides):
                yield gather_rows(rows, self._placement, batch_size=batch_size)

        return self.pure.task.added(self._sums(state, rows) for rows in gathered())

    def _streamed(self, data: Any):
        settings = self._config.train
        share = self._share(microbatches=settings.microbatches, batch_size=settings.batch_size)
        options = {"size": self._config.data.streamed_side, "threads": self._config.data.read_threads}
        policy = policy_of(settings.policy, settings.policy_ops, settings.policy_magnitude)
        stream = data.train.stream(share, seed=self._config.seed, policy=policy, **options)
        sizes = {"batch_size": settings.batch_size, "microbatches": settings.microbatches}
        return streamed({"": stream}, self._placement, **sizes)

    def _share(self, **sizes: int) -> BatchShare:
        return BatchShare(process=jax.process_index(), processes=processes.count(), section="train", **sizes)


def evaluate(
    training: EvaluableTraining, state: TrainState, images: Images | StreamSplit, batch_size: int
) -> dict[str, float]:
    """The metrics of the task on all of `images`, in batches of one shape (the last one padded).

    Of a classification `accuracy`, mean cross-entropy `loss`, and `top5_accuracy` of more than five classes.
    """
    totals, pure = training.totals(state, images, batch_size), training.pure
    return pure.task.figures(totals, images, pure.scale)


def _arrays(data: Any) -> TrainArrays:
    return {"images": data.train.images, "labels": data.train.labels}
