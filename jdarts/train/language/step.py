"""The pure functions of a training of a language model: initial state, step, end of an epoch, evaluation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import lax
from jax.sharding import NamedSharding

from jdarts import staging
from jdarts.config import Experiment
from jdarts.config.language import LanguageTrainConfig
from jdarts.config.swept import is_off, with_values
from jdarts.data.text import TextData, columns
from jdarts.devices.placement import Placement, compile_step, connect_processes, lay_out, replicate
from jdarts.devices.replicas import Share, averaging_gradients, gathered, pmean
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.losses import activation_penalty, next_word_losses, slowness_penalty
from jdarts.networks.recurrent import RecurrentModel
from jdarts.networks.recurrent.language_model import LanguageModel
from jdarts.optimizers import clipping
from jdarts.train.language.averaging import PLAIN, Trigger, averaged, no_losses, noted
from jdarts.train.language.windows import Windows, window
from jdarts.train.numbers import as_arguments

EXPLOSION = 5.0
"""A loss has exploded if it is not finite, or above this many times that of a uniform model."""


@struct.dataclass
class Best:
    """The weights with the lowest validation loss so far.

    Attributes:
      loss: the loss, infinite before the first epoch.
      weights: the averaged ones; before the first epoch, the initial ones.
      averaged_steps: as in `LanguageTrainState`, when they were evaluated.
    """

    loss: jax.Array
    weights: Any
    averaged_steps: jax.Array


@struct.dataclass
class LanguageTrainState:
    """The state of a training after `step` steps; everything needed to resume bit for bit.

    Attributes:
      step: number of steps.
      weights: parameters of the model.
      average: the weights that are evaluated; equal to `weights` before averaging begins.
      averaged_steps: steps since averaging began; `averaging.PLAIN` before.
      hidden: hidden state at the start of the next window, `[batch, units]`.
      position: the start of the next window in the columns of the text.
      key: of all random numbers.
      sums: of the epoch: loss (times words), words of a column, rollbacks.
      rollbacks: of the whole run.
      best: the weights to which a rollback returns.
      trigger: the validation losses that decide when averaging begins.
    """

    step: jax.Array
    weights: Any
    average: Any
    averaged_steps: jax.Array
    hidden: jax.Array
    position: jax.Array
    key: jax.Array
    sums: dict[str, jax.Array]
    rollbacks: jax.Array
    best: Best
    trigger: Trigger


@dataclass(frozen=True)
class LanguageTraining:
    """The pure functions of one training; `make_language_training` builds it.

    Attributes:
      init: `(key) -> LanguageTrainState`.
      step: `(state, text) -> (state, metrics)`.
      end_epoch: `(state, validation loss) -> state`.
      losses: `(weights, tokens, targets, counted, hidden) -> (sum of losses, hidden)` in evaluation mode.
      text: the training text on the device, `[words, batch]`.
      windows: of the training text.
      options: for the compilation of `step`.
      pure: the functions that the others compile.
    """

    init: Callable[[jax.Array], LanguageTrainState]
    step: Callable[[LanguageTrainState, jax.Array], tuple[LanguageTrainState, dict[str, jax.Array]]]
    end_epoch: Callable[[LanguageTrainState, Any], LanguageTrainState]
    losses: Callable[..., tuple[jax.Array, jax.Array]]
    text: jax.Array
    windows: Windows
    options: dict[str, Any] | None
    pure: "LanguageStep"

    @property
    def model(self) -> LanguageModel:
        """The network."""
        return self.pure.model


def make_language_training(
    config: Experiment, model: LanguageModel, data: TextData, placement: Placement | None = None
) -> LanguageTraining:
    """Build the functions of a training from its configuration, its network and the training text.

    The devices of `placement` share the columns of the text; None is one device. Every device evaluates the whole.
    """
    settings = config.language_train
    windows = _windows(settings, data)
    axis_name = None if placement is None else placement.axis_name
    protocol = LanguageStep(settings, model.clone(axis_name=axis_name), windows, Share(axis_name))
    calls = settings.epochs * windows.steps_per_epoch
    logits = 4 * settings.batch_size * windows.sizes[-1] * model.vocabulary  # bytes; written some six times in a step
    options = staging.compiler_options(calls=calls, written=6 * logits)
    init = jax.jit(protocol.init)  # so that no two leaves share a buffer, which `step` could not donate
    step: Any = jax.jit(protocol.step, donate_argnums=0, compiler_options=options)
    end_epoch = jax.jit(protocol.end_epoch)
    text = windows.padded(data.train, settings.batch_size)
    if placement is not None and axis_name is not None:
        connect_processes(placement)
        shared = compile_step(lambda state, text, _: protocol.step(state, text), placement, calls=calls)
        init, step = partial(_laid_out, init, placement), lambda state, text: shared(state, text, {})
        end_epoch = jax.jit(protocol.end_epoch, out_shardings=NamedSharding(placement.mesh, placement.state_spec))
        text = replicate(text, placement)
    return LanguageTraining(
        init,
        step,
        end_epoch,
        jax.jit(protocol.losses, compiler_options=options),
        text,
        windows,
        options,
        protocol,
    )


def language_step(config: Experiment, genotype: RecurrentGenotype, data: TextData) -> "LanguageStep":
    """The functions of a training on one device, not compiled; numbers of `config.language_train` may be traced."""
    settings = config.language_train
    model = language_model(settings, genotype, len(data.vocabulary))
    return LanguageStep(settings, model, _windows(settings, data), Share(None))


def make_language_trainings(
    config: Experiment, genotype: RecurrentGenotype, data: TextData, numbers: Sequence[str] = ()
) -> Callable[[Experiment], LanguageTraining]:
    """`configuration -> training` for configurations that differ in the hyper-parameters `numbers` or in the seed.

    As `jdarts.train.make_trainings`; `numbers` are dotted names of real numbers of `config.language_train`.
    """
    model = language_model(config.language_train, genotype, len(data.vocabulary))
    base = make_language_training(config, model, data)
    if not numbers:
        return lambda own: base

    def at(values: dict[str, jax.Array]) -> LanguageStep:
        return language_step(with_values(config, values), genotype, data)

    def step_at(state: LanguageTrainState, text: jax.Array, values: dict[str, jax.Array]):
        return at(values).step(state, text)

    step = jax.jit(step_at, donate_argnums=0, compiler_options=base.options)

    def training(own: Experiment) -> LanguageTraining:
        values = as_arguments(own, numbers)
        return replace(base, step=lambda state, text: step(state, text, values))

    jax.eval_shape(
        lambda key, values: step_at(at(values).init(key), base.text, values),
        jax.random.key(0),
        as_arguments(config, numbers),
    )
    return training


def _windows(settings: LanguageTrainConfig, data: TextData) -> Windows:
    return Windows(settings.bptt, len(data.train) // settings.batch_size)


def _laid_out(init: Callable[[jax.Array], LanguageTrainState], placement: Placement, key: jax.Array):
    return lay_out(init(key), placement)


def language_model(settings: LanguageTrainConfig, genotype: RecurrentGenotype, vocabulary: int) -> RecurrentModel:
    """The network: word vectors as large as the hidden state, tied with the decoder."""
    return RecurrentModel(
        genotype=genotype,
        vocabulary=vocabulary,
        embedding=settings.units,
        units=settings.units,
        **settings.dropouts(),
    )


@dataclass(frozen=True, eq=False)
class LanguageStep:
    """The functions of `LanguageTraining`, not compiled."""

    settings: LanguageTrainConfig
    model: LanguageModel
    windows: Windows
    share: Share

    def init(self, key: jax.Array) -> LanguageTrainState:
        """The state before the first step."""
        weight_key, run_key = jax.random.split(key)
        hidden = self.model.initial_hidden(self.settings.batch_size)
        weights = self.model.init(weight_key, jnp.zeros((2, 1), jnp.int32), hidden[:1], False)["params"]
        plain = jnp.full((), PLAIN, jnp.int32)
        return LanguageTrainState(
            step=jnp.zeros((), jnp.int32),
            weights=weights,
            average=weights,
            averaged_steps=plain,
            hidden=hidden,
            position=jnp.zeros((), jnp.int32),
            key=run_key,
            sums=_no_sums(),
            rollbacks=jnp.zeros((), jnp.int32),
            best=Best(jnp.full((), jnp.inf, hidden.dtype), weights, plain),
            trigger=no_losses(self.settings.nonmono),
        )

    def loss(self, weights, tokens, targets, length, hidden, key):
        """`(loss with penalties, (mean cross-entropy, hidden state))` of the first `length` words of a window.

        Each replica reads its columns; the results are those of all columns.
        """
        axis_name = self.share.axis_name
        weights = averaging_gradients(weights, axis_name)
        tokens, targets, hidden = self.share.of(tokens.T).T, self.share.of(targets.T).T, self.share.of(hidden)
        outputs: Any = self.model.apply({"params": weights}, tokens, hidden, True, rngs={"dropout": key})
        counted = jnp.arange(len(tokens)) < length
        loss = next_word_losses(outputs.logits, targets, counted) / (length * tokens.shape[1])
        settings, total = self.settings, loss
        if not is_off(settings.activation):
            total += settings.activation * activation_penalty(outputs.dropped, counted)
        if not is_off(settings.slowness):
            total += settings.slowness * slowness_penalty(outputs.raw, counted)
        carried = lax.dynamic_index_in_dim(outputs.states, length - 1, keepdims=False)
        total, loss = pmean((total, loss), axis_name)
        return total, (loss, gathered(lax.stop_gradient(carried), axis_name))

    def step(self, state: LanguageTrainState, text: jax.Array) -> tuple[LanguageTrainState, dict[str, jax.Array]]:
        """`(state, metrics)` after the next window of `text [words, batch]`."""
        length_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        length = self.windows.length(length_key, state.position)
        gradient, loss, hidden = self._gradient(state, text, length, dropout_key)
        exploded = self._has_exploded(loss, gradient)
        moved = self._moved(state, gradient, length)
        average = averaged(state.average, moved, state.averaged_steps)
        best, steps = state.best, state.averaged_steps

        def unless_exploded(usual, otherwise):
            return jax.tree.map(lambda u, o: jnp.where(exploded, o, u), usual, otherwise)

        fresh = state.step % self.windows.steps_per_epoch == 0
        now = {"loss": jnp.where(exploded, 0, loss * length), "words": jnp.where(exploded, 0, length)}
        now["rollbacks"] = exploded
        sums = jax.tree.map(lambda new, old: jnp.where(fresh, 0, old) + new.astype(old.dtype), now, state.sums)
        position = self.windows.after(state.position, length)
        state = LanguageTrainState(
            step=state.step + 1,
            weights=unless_exploded(moved, best.weights),
            average=unless_exploded(average, best.weights),
            averaged_steps=jnp.where(exploded, best.averaged_steps, jnp.where(steps < 0, PLAIN, steps + 1)),
            hidden=jnp.where(exploded | (position == 0), 0, hidden),
            position=position,
            key=state.key,
            sums=sums,
            rollbacks=state.rollbacks + exploded,
            best=best,
            trigger=state.trigger,
        )
        loss = sums["loss"] / jnp.maximum(sums["words"], 1)
        return state, {"train_loss": loss, "finite": state.rollbacks <= self.settings.rollbacks}

    def end_epoch(self, state: LanguageTrainState, loss: Any) -> LanguageTrainState:
        """The state after an epoch whose validation loss is `loss`: best weights, and the start of averaging."""
        loss = jnp.asarray(loss, state.best.loss.dtype)
        trigger, begins = noted(state.trigger, loss)
        steps = jnp.where((state.averaged_steps == PLAIN) & begins, 0, state.averaged_steps)
        now = Best(loss, state.average, state.averaged_steps)
        best = jax.tree.map(lambda new, old: jnp.where(loss < state.best.loss, new, old), now, state.best)
        return replace(state, averaged_steps=steps, best=best, trigger=trigger)

    def losses(self, weights, tokens, targets, counted, hidden):
        """`(sum of the losses, state)` of a window in evaluation mode."""
        outputs: Any = self.model.apply({"params": weights}, tokens, hidden, False)
        return next_word_losses(outputs.logits, targets, counted), outputs.hidden

    def _gradient(self, state: LanguageTrainState, text: jax.Array, length: jax.Array, key: jax.Array):
        """`(gradient, mean cross-entropy, hidden state)`, computed at the first of the sizes that is long enough."""

        def at(size: int):
            def branch(weights, hidden):
                tokens, targets = window(text, state.position, size)
                gradient, (loss, carried) = jax.grad(self.loss, has_aux=True)(
                    weights, tokens, targets, length, hidden, key
                )
                return gradient, loss, carried

            return branch

        sizes = self.windows.sizes
        index = jnp.searchsorted(jnp.asarray(sizes), length)
        return lax.switch(index, [at(size) for size in sizes], state.weights, state.hidden)

    def _has_exploded(self, loss: jax.Array, gradient: Any) -> jax.Array:
        limit = EXPLOSION * math.log(max(self.model.vocabulary, 2))
        return ~(jnp.isfinite(optax.tree.norm(gradient, squared=True)) & (loss <= limit))

    def _moved(self, state: LanguageTrainState, gradient: Any, length: jax.Array) -> Any:
        """The weights after the step of SGD: clipping, weight decay, and the learning rate of the window's length."""
        settings = self.settings
        for clip in clipping(settings.gradient_clip):
            gradient, _ = clip.update(gradient, clip.init(state.weights))
        rate = settings.learning_rate * (length.astype(jnp.result_type(float)) / settings.bptt)

        def move(w, g):
            return w - rate.astype(w.dtype) * (g + settings.weight_decay * w)

        return jax.tree.map(move, state.weights, gradient)


def _no_sums() -> dict[str, jax.Array]:
    return {"loss": jnp.zeros(()), "words": jnp.zeros((), jnp.int32), "rollbacks": jnp.zeros((), jnp.int32)}


def evaluate(training: LanguageTraining, weights: Any, text: np.ndarray, batch: int) -> float:
    """Mean cross-entropy in nats of the next word, without dropout, over the whole text in `batch` columns.

    The hidden state starts at zero and is carried to the end. The words that are left after cutting the text into
    columns of equal length are not read, and the first word of each column is not predicted.
    """
    whole, size = columns(text, batch), training.windows.bptt
    last = len(whole) - 1
    padded = np.pad(whole, ((0, size), (0, 0)))
    hidden, sums = np.asarray(training.model.initial_hidden(batch)), []
    for start in range(0, last, size):
        tokens, targets = padded[start : start + size], padded[start + 1 : start + size + 1]
        counted = np.arange(start, start + size) < last
        total, hidden = training.losses(weights, tokens, targets, counted, hidden)
        sums.append(total)
    return float(np.sum(np.asarray(sums, np.float64))) / (last * batch)
