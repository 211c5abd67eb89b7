"""The task of text: a recurrent network predicts the next word (Liu et al. 2019, §3.1 and code).

The training text and the validation text are each cut into `batch_size` columns, which are read from front to back in
windows of `bptt` words. The hidden state goes from one window to the next, without a gradient; the two streams have
their own. Some windows of the training text are half as long; their step has a learning rate smaller in proportion.
The window of the alphas starts where the training window starts, modulo the length of the shorter text.

The examples of a batch are `tokens` and `targets` `[batch, bptt]`; `length`, the number of words that count;
`hidden` `[batch, units]`; `position`, the start of the next window; `rate`, the factor of the learning rate; and
`slowness`, the weight of the penalty of changes of the hidden state: that of the settings for the weights, 0 for the
alphas.

Where this differs from the DARTS code: windows of all lengths are computed at full length and masked, so that one
program serves all; an epoch is as many steps as the text needs on average, and the stream starts again, with a hidden
state of zeros, whenever the text ends.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jdarts.config import Experiment
from jdarts.config.swept import is_off
from jdarts.data.text import TextData, columns
from jdarts.devices.replicas import Share, averaging_gradients, gathered, pmean
from jdarts.errors import UserError
from jdarts.genotypes.recurrent import RECURRENT_OPS
from jdarts.losses import largest, next_word_losses, perplexity, slowness_penalty
from jdarts.methods import Method
from jdarts.networks.edges import PLAIN
from jdarts.optimizers import weight_sgd
from jdarts.search.objective import Batch, LossAux, Objective
from jdarts.search.state import SearchState
from jdarts.search.task import Arrays, Asked
from jdarts.search.vectors import vector_network
from jdarts.spaces.recurrent import RecurrentSpace

SHORT_WINDOWS = 0.05  # share of the training windows that have half the length (DARTS code)


_DRIVERS = (None, "enas", "random_search")
"""The drivers of the methods that search text."""


class LengthRate(NamedTuple):
    """State of `scale_by_rate`."""

    rate: jax.Array


def scale_by_rate() -> optax.GradientTransformation:
    """Multiply updates by the number in its state, which the search sets before every step.

    Weight decay and clipping come before it, so SGD without momentum takes the step of a learning rate `rate` times as
    large. A virtual step of the hypergradient reads the same state.
    """

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda u: u * state.rate.astype(u.dtype), updates), state

    return optax.GradientTransformation(lambda params: LengthRate(jnp.ones(())), update)


@dataclass(frozen=True, eq=False)
class LanguageObjective(Objective):
    """The cross-entropy of the next word, in nats, and the slowness penalty.

    Attributes:
      auxiliary: the column of the op weights to which the auxiliary skip of the edges is added.
    """

    auxiliary: int = -1

    def network_loss(
        self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = True
    ) -> tuple[jax.Array, LossAux]:
        """`(cross-entropy + slowness penalty, aux)`; `aux["loss"]` is the cross-entropy alone."""
        w = averaging_gradients(w, self.axis_name)
        op_weights = averaging_gradients(op_weights, self.axis_name, whole=False)
        outputs, changed = self.supernet.network.apply(
            self.supernet.packed(w, batch["batch_stats"]),
            batch["tokens"].T,
            batch["hidden"],
            self._network_input(op_weights, batch["step"]),
            train,
            mutable=["batch_stats"],
            rngs={"dropout": batch["key"]},
        )
        counted = jnp.arange(batch["tokens"].shape[1]) < batch["length"]
        loss, accuracy = _next_word(outputs.logits, batch["targets"].T, counted)
        total = loss + batch["slowness"] * slowness_penalty(outputs.raw, counted)
        hidden = lax.dynamic_index_in_dim(outputs.states, batch["length"] - 1, keepdims=False)
        running = self.supernet.statistics(changed.get("batch_stats", {}))
        means = {"loss": loss, "accuracy": accuracy, "batch_stats": running}
        total, means = pmean((total, means), self.axis_name)
        return total, {**means, "carried": self._carried(hidden, batch["position"])}

    def score(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool = False) -> jax.Array:
        """The inverse of the perplexity of one candidate with shared weights, without dropout.

        The hidden state starts at zeros; `tokens` and `targets` are all counted. In training mode batch norm uses the
        statistics of the batch.
        """
        hidden = jnp.zeros((len(batch["tokens"]), self.supernet.network.units), w.dtype)
        loss, _ = self.read(w, op_weights, {**batch, "hidden": hidden}, train)
        return jnp.exp(-pmean(loss, self.axis_name))

    def read(self, w: jax.Array, op_weights: Any, batch: Batch, train: bool) -> tuple[jax.Array, jax.Array]:
        """The mean cross-entropy of one candidate on a window, without dropout, and the hidden state behind it.

        `tokens`, `targets`, `hidden` and `batch_stats` of the batch are read; all words count.
        """
        outputs, _ = _without_dropout(self.supernet.network).apply(
            self.supernet.packed(w, batch["batch_stats"]),
            batch["tokens"].T,
            batch["hidden"],
            self._network_input(op_weights, batch["step"]),
            train,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )
        loss, _ = _next_word(outputs.logits, batch["targets"].T, jnp.ones(batch["tokens"].shape[1], bool))
        return loss, outputs.hidden

    def _network_input(self, op_weights: Any, step: jax.Array) -> jax.Array:
        """The op weights, as the network reads them; an auxiliary skip of weight β is β more of identity (DARTS-)."""
        p = cast(RecurrentSpace, self.space).network_input(op_weights)
        skip = self.edge_values(step).get("auxiliary_skip")
        return p if skip is None else p.at[:, self.auxiliary].add(skip.astype(p.dtype))

    def _carried(self, hidden: jax.Array, position: jax.Array) -> dict[str, jax.Array]:
        """The start of the next window of the stream, for the global batch; zeros if the text starts again."""
        hidden = lax.stop_gradient(jnp.where(position == 0, 0, hidden))
        return {"hidden": gathered(hidden, self.axis_name), "position": position}


def _without_dropout(network: Any) -> Any:
    """The network with all probabilities of dropout at 0."""
    names = ("embedding", "input", "x", "hidden", "output")
    return network.clone(**{f"dropout_{name}": 0.0 for name in names})


def _next_word(logits: jax.Array, targets: jax.Array, counted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy and accuracy of `logits [time, batch, words]` over the `counted` time steps."""
    words = jnp.sum(counted) * targets.shape[1]
    right = jnp.sum((largest(logits) == targets) & counted[:, None])
    return next_word_losses(logits, targets, counted) / words, right / words


@dataclass(frozen=True, eq=False)
class TextBatches:
    """The windows of text of a search.

    Attributes:
      bptt: words in a whole window.
      lengths: words of each column of the training text and of the validation text.
      steps_per_epoch: windows in which the training text is read once, on average.
      slowness: weight of the slowness penalty.
      share: this replica's part of the columns.
    """

    bptt: int
    lengths: tuple[int, int]
    steps_per_epoch: int
    slowness: float
    share: Share
    one_at_a_time: str = "a window of text needs the hidden state of the window before it"

    def draw(self, state: SearchState, arrays: Arrays) -> tuple[Batch, Batch]:
        """`(train_batch, alpha_batch)` of the step that `state` is about to take.

        Args:
          arrays: `train_tokens` and `val_tokens`, `[batch, words]` (`LanguageTask.arrays`).
        """
        _, step_key = jax.random.split(state.key)
        keys = jax.random.split(jax.random.fold_in(step_key, state.step), 3)
        start = state.carried["train"]["position"]
        short = jax.random.bernoulli(keys[0], SHORT_WINDOWS)
        train_batch = self._window(0, start, jnp.where(short, self.bptt // 2, self.bptt), keys[1], state, arrays)
        val_batch = self._window(1, start % (self.lengths[1] - 1), jnp.int32(self.bptt), keys[2], state, arrays)
        return train_batch, val_batch

    def validation(self, state: SearchState, arrays: Arrays) -> Batch:
        """A whole window at a random place of the validation text, for `LanguageObjective.score`."""
        start_key, key = jax.random.split(jax.random.fold_in(state.key, state.step))
        start = jax.random.randint(start_key, (), 0, self.lengths[1] - self.bptt)
        return self._window(1, start, jnp.int32(self.bptt), key, state, arrays)

    def look_ahead(self, state: SearchState, arrays: Arrays, steps: int) -> Batch:
        """Not possible; `one_at_a_time` says why, and no estimator that needs it is built."""
        raise NotImplementedError(self.one_at_a_time)

    def _window(
        self, split: int, start: jax.Array, length: jax.Array, key: jax.Array, state: SearchState, arrays: Arrays
    ) -> Batch:
        """The window of at most `length` words from column position `start` on."""
        name, words = ("train", "val")[split], self.lengths[split]
        length = jnp.minimum(length, words - 1 - start)
        after = start + length
        window = lax.dynamic_slice_in_dim(arrays[f"{name}_tokens"], start, self.bptt + 1, axis=1)
        carried = state.carried[name]
        return {
            "tokens": self.share.of(window[:, :-1]),
            "targets": self.share.of(window[:, 1:]),
            "hidden": self.share.of(carried["hidden"]),
            "length": length,
            "position": jnp.where(after >= words - 1, 0, after),
            "rate": jnp.asarray(length, jnp.result_type(float)) / self.bptt,
            "slowness": jnp.asarray(self.slowness if split == 0 else 0.0),
            "key": key,
            "relax_key": jax.random.fold_in(key, 0),
            "batch_stats": state.batch_stats,
            "step": state.step,
        }


class LanguageTask:
    """The parts of a search on text (`jdarts.search.task.SearchTask`)."""

    score_name = "inverse_perplexity"

    def check(self, config: Experiment, space: Any, method: Method, data: Any) -> None:
        """Raise `UserError` if a setting or a part of the method has no meaning for recurrent cells."""
        del data
        if method.paths is not None:
            raise UserError(f"method {method.name} trains paths of networks of images; use e.g. rsps on text")
        # An auxiliary identity is more weight of the activation identity; all activations are computed, sampled or not.
        edge = replace(method.edge, sampled=False)
        if edge.auxiliary_skip == "identity":
            edge = replace(edge, auxiliary_skip="none")
        others = set(method.edge_values) - {"auxiliary_skip"}
        if edge != PLAIN or others or method.edge_normalisation:
            raise UserError(
                f"method {method.name} changes edges in a way that recurrent cells do not have (partial channels, "
                "drop-path, edge weights); use a method without these parts"
            )
        if method.driver not in _DRIVERS:
            raise UserError(
                f"method {method.name} runs several loops with networks of images; use a method of one loop, enas or "
                "random_search"
            )
        if not space.alpha_shapes and method.driver is None:
            raise UserError(
                f"space {space.name} has no alphas, which method {method.name} needs; use --method enas, or a strategy "
                "(--strategy)"
            )
        if method.cutout_probability is not None:
            raise UserError(f"method {method.name} masks parts of images, which text does not have")
        settings = config.search
        for name, value, usual in (
            ("microbatches", settings.microbatches, 1),
            ("activations", settings.activations, "float32"),
            ("remat", settings.remat, False),
            ("alpha_step_moves_statistics", settings.alpha_step_moves_statistics, False),
        ):
            if value != usual:
                raise UserError(f"search.{name} is {value}, but a search on text supports only {usual}")
        if not is_off(settings.weight_optimizer.momentum):
            raise UserError(
                f"search.weight_optimizer.momentum is {settings.weight_optimizer.momentum}; a search on text scales "
                "the learning rate with the length of each window, which is defined for momentum 0"
            )

    def steps_per_epoch(self, config: Experiment, data: TextData) -> int:
        """Windows in which the training text is read once, on average; `UserError` if the text is too short."""
        bptt = config.language_search.bptt
        words = min(self._lengths(config, data))
        if words < bptt + 1:
            raise UserError(
                f"the shorter text has {words} words in each of search.batch_size = {config.search.batch_size} "
                f"columns, but a window of language_search.bptt = {bptt} words needs {bptt + 1}; make one of them "
                "smaller"
            )
        mean = (1 - SHORT_WINDOWS) * bptt + SHORT_WINDOWS * (bptt // 2)
        return math.ceil((self._lengths(config, data)[0] - 1) / mean)

    def objective(self, asked: Asked) -> LanguageObjective:
        """The loss of the space's supernet."""
        sizes, space = asked.config.language_search, asked.space
        network = space.supernet(
            vocabulary=len(asked.data.vocabulary),
            embedding=sizes.units,
            units=sizes.units,
            axis_name=asked.axis_name,
            **sizes.dropouts(),
        )
        tokens = jnp.zeros((2, 2), jnp.int32)
        read = jax.eval_shape(lambda: space.network_input(space.init_alphas(jax.random.key(0))))
        vectors = vector_network(network, tokens, network.initial_hidden(2), read, False)
        return LanguageObjective(
            vectors, asked.method, space, asked.clock, asked.axis_name, auxiliary=RECURRENT_OPS.index("identity")
        )

    def batches(self, asked: Asked) -> TextBatches:
        """Windows of text."""
        config = asked.config
        return TextBatches(
            config.language_search.bptt,
            self._lengths(config, asked.data),
            asked.steps_per_epoch,
            config.language_search.slowness,
            Share(asked.axis_name),
        )

    def weight_optimizer(
        self,
        config: Any,
        epochs: int,
        steps_per_epoch: int,
        *,
        clip: bool = True,
        schedule: optax.Schedule | None = None,
    ) -> optax.GradientTransformation:
        """SGD whose learning rate is scaled by the length of the window."""
        return optax.chain(weight_sgd(config, epochs, steps_per_epoch, clip=clip, schedule=schedule), scale_by_rate())

    def enter(self, state: Any, batch: Batch) -> Any:
        """The state with the learning rate of the training window."""
        sgd, rate = state.weight_opt_state
        return state.replace(weight_opt_state=(sgd, LengthRate(batch["rate"].astype(rate.rate.dtype))))

    def carried(self, config: Experiment) -> dict[str, Any]:
        """Both streams at the start of their text, with hidden states of zeros."""
        shape = (config.search.batch_size, config.language_search.units)
        return {split: {"hidden": jnp.zeros(shape), "position": jnp.zeros((), jnp.int32)} for split in ("train", "val")}

    def arrays(self, config: Experiment, data: TextData) -> Arrays:
        """`train_tokens` and `val_tokens`, `[batch, words + bptt]` int32; the last `bptt` words are padding."""
        batch, pad = config.search.batch_size, config.language_search.bptt
        texts = {"train": data.train, "val": data.valid}
        return {f"{name}_tokens": jnp.asarray(columns(text, batch, pad=pad).T) for name, text in texts.items()}

    def scored(self, config: Experiment, arrays: Arrays, key: jax.Array) -> tuple[jax.Array, ...]:
        """A window of the validation text, drawn by `key`: `tokens` and `targets` `[batch, bptt]`."""
        windows = list(self.held_out(config, arrays))
        return windows[int(jax.random.randint(key, (), 0, len(windows)))]

    def held_out(self, config: Experiment, arrays: Arrays) -> Iterator[tuple[jax.Array, ...]]:
        """All whole windows of the validation text."""
        text, bptt = arrays["val_tokens"], config.language_search.bptt
        for first in range(0, text.shape[1] - 2 * bptt, bptt):
            yield text[:, first : first + bptt], text[:, first + 1 : first + bptt + 1]

    def as_batch(self, data: TextData, *examples: jax.Array) -> Batch:
        """A window as a batch."""
        del data
        tokens, targets = examples
        return {"tokens": tokens, "targets": targets}

    def readings(self, record: dict[str, float]) -> dict[str, float]:
        """Perplexities: the exponentials of the mean losses of the epoch.

        Where an epoch has scores in place of a validation loss, the inverse of their mean.
        """
        found = {
            f"{split}_perplexity": perplexity(record[f"{split}_loss"])
            for split in ("train", "val")
            if f"{split}_loss" in record
        }
        mean = record.get(f"val_{self.score_name}", 0.0)
        return found | ({"val_perplexity": 1 / mean} if mean > 0 else {})

    def told(self, score: float) -> str:
        """The perplexity."""
        return f"perplexity {1 / score:.2f}" if score > 0 else "a perplexity too large to compute"

    def _lengths(self, config: Experiment, data: TextData) -> tuple[int, int]:
        """Words in each column of the training text and of the validation text."""
        batch = config.search.batch_size
        return len(data.train) // batch, len(data.valid) // batch


LANGUAGE_TASK = LanguageTask()
