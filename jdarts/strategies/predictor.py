"""Predictors of the score of an architecture from its choices: ensembles of LSTMs or MLPs (Liu et al. 2018, §3.4).

The constants of the paper's search are not public as a program; they are the defaults here and can all be changed.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax

from jdarts.errors import UserError, unknown
from jdarts.spaces.decisions import Decision
from jdarts.spaces.growth import Growth
from jdarts.strategies.strategy import at_least, fraction

KINDS = ("mlp", "lstm")
_CHUNK = 4_096  # architectures for each call of the compiled prediction
_PAD = 256  # numbers of examples are rounded up to a multiple, so that few programs are compiled


@dataclass(frozen=True)
class Predictor:
    """The settings of an ensemble; hashable, so that its compiled functions are shared.

    Attributes:
      kind: "lstm" reads one choice after another; "mlp" the mean of the embeddings of all choices of all blocks.
      members: networks, whose predictions are averaged.
      share: of the examples that each member is fitted to.
      embedding, hidden: width of the embeddings and of the hidden layers.
      first_rate, rate: learning rates of Adam in the first and in later fits.
      steps, batch: updates of a fit, and examples for each.
      bias: of the output before the sigmoid, at the start.

    Raises `UserError` for values that are not possible.
    """

    kind: str = "mlp"
    members: int = 5
    share: float = 0.8
    embedding: int = 100
    hidden: int = 100
    first_rate: float = 0.01
    rate: float = 0.002
    steps: int = 500
    batch: int = 32
    bias: float = 1.8

    def __post_init__(self):
        if self.kind not in KINDS:
            raise unknown("predictor", self.kind, KINDS)
        for name in ("members", "embedding", "hidden", "steps", "batch"):
            at_least(name, getattr(self, name), 1)
        if fraction("share", self.share) == 0:
            raise UserError("share is 0; each member of the predictor needs examples")
        for name in ("first_rate", "rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} of the predictor is {getattr(self, name)!r}; use a number above 0")


class Vocabulary:
    """The tokens of choices.

    Decisions of one group share their tokens, so that a new block is understood from earlier ones. Where the place of a
    decision has a meaning of its own, as in a chain of layers, each decision has tokens of its own in addition.
    """

    def __init__(self, decisions: tuple[Decision, ...], growth: Growth):
        self._growth = growth
        self._read = np.flatnonzero(growth.stage_of)
        offsets: dict[str, int] = {}
        self.size = 0
        read = [decisions[place] for place in self._read]
        for group in dict.fromkeys(decision.group for decision in read):
            offsets[group] = self.size
            self.size += max(decision.options for decision in read if decision.group == group)
        tables = [[offsets[decision.group] for decision in read]]
        if growth.counter is None:
            tables.append([])
            for decision in read:
                tables[1].append(self.size)
                self.size += decision.options
        self._tables = np.array(tables).T

    def tokens(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens `[architectures, places, 1 or 2]`, and the number of places in use of each architecture."""
        read = choices[:, self._read]
        tokens = read[:, :, None] + self._tables
        if self._growth.counter is None:
            return tokens.astype(np.int32), np.full(len(choices), len(self._read), np.int32)
        used = self._growth.stage_of[self._read] <= self._growth.levels(choices)[:, None]
        return np.where(used[:, :, None], tokens, 0).astype(np.int32), used.sum(axis=1).astype(np.int32)


class Fitted(NamedTuple):
    """The parameters of all members, with a leading axis, and the scores that are predicted as 0 and 1."""

    params: Any
    lowest: float
    highest: float


def fit(
    predictor: Predictor,
    vocabulary: Vocabulary,
    choices: np.ndarray,
    scores: np.ndarray,
    *,
    seed: int,
    before: Any = None,
) -> Fitted:
    """The ensemble after a fit by the mean absolute error; scores are mapped from their range to 0…1.

    Args:
      choices, scores: the examples, `[examples, decisions]` and `[examples]`.
      seed: of the start, of the examples of every member and of the batches.
      before: the ensemble of an earlier fit, to start from.
    """
    if not len(scores):
        raise UserError("the predictor has no example to be fitted to")
    lowest, highest = float(np.min(scores)), float(np.max(scores))
    targets = (scores - lowest) / (highest - lowest) if highest > lowest else np.full(len(scores), 0.5)
    tokens, lengths = vocabulary.tokens(choices)
    padding = -len(scores) % _PAD
    data = tuple(np.pad(part, [(0, padding)] + [(0, 0)] * (part.ndim - 1)) for part in (tokens, lengths, targets))
    keys = jax.random.split(jax.random.key(seed), predictor.members)
    shape = tokens.shape[1:]
    params = _initial(predictor, vocabulary.size, shape, keys) if before is None else before.params
    members = np.stack([_examples(predictor, len(scores), seed, member) for member in range(predictor.members)])
    members = np.pad(members, [(0, 0), (0, padding + len(scores) - members.shape[1])])
    count = max(1, round(predictor.share * len(scores)))
    rate = predictor.first_rate if before is None else predictor.rate
    fitted = _fit(predictor, vocabulary.size, params, keys, data, (members, jnp.int32(count)), jnp.float32(rate))
    return Fitted(fitted, lowest, highest)


def predict(predictor: Predictor, vocabulary: Vocabulary, fitted: Fitted, choices: np.ndarray) -> np.ndarray:
    """The mean predictions of the members for architectures `[architectures, decisions]`, in the unit of the scores."""
    found = []
    for start in range(0, len(choices), _CHUNK):
        part = choices[start : start + _CHUNK]
        padded = np.pad(part, [(0, (_PAD if len(choices) <= _PAD else _CHUNK) - len(part)), (0, 0)], mode="edge")
        found.append(
            np.asarray(_predict(predictor, vocabulary.size, fitted.params, *vocabulary.tokens(padded)))[: len(part)]
        )
    unit = np.concatenate(found) if found else np.zeros(0)
    return fitted.lowest + unit * (fitted.highest - fitted.lowest)


def _examples(predictor: Predictor, total: int, seed: int, member: int) -> np.ndarray:
    """The examples of a member: a random part of them."""
    count = max(1, round(predictor.share * total))
    return np.random.default_rng((seed, member)).permutation(total)[:count].astype(np.int32)


class _Network(nn.Module):
    """Logits `[batch]` of tokens `[batch, places, …]` of which the first `lengths` places are in use."""

    predictor: Predictor
    vocabulary: int

    @nn.compact
    def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        settings = self.predictor
        uniform = lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -0.1, 0.1)  # noqa: E731
        table = self.param("embeddings", uniform, (self.vocabulary, settings.embedding))
        embedded = jnp.sum(table[tokens], axis=-2)
        if settings.kind == "lstm":
            cell = nn.OptimizedLSTMCell(settings.hidden)
            (_, h), _ = nn.RNN(cell, return_carry=True)(embedded, seq_lengths=lengths)
        else:
            # Blocks have equally many choices: the mean over blocks of means over a block is the mean of all.
            used = (jnp.arange(tokens.shape[1]) < lengths[:, None])[:, :, None]
            h = jnp.sum(jnp.where(used, embedded, 0), axis=1) / jnp.maximum(lengths, 1)[:, None]
            for _ in range(2):
                h = nn.relu(nn.Dense(settings.hidden)(h))
        return nn.Dense(1, bias_init=nn.initializers.constant(settings.bias))(h)[:, 0]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _initial(predictor: Predictor, vocabulary: int, shape: tuple[int, ...], keys: jax.Array) -> Any:
    tokens, lengths = jnp.zeros((1, *shape), jnp.int32), jnp.ones(1, jnp.int32)
    return jax.vmap(lambda key: _Network(predictor, vocabulary).init(key, tokens, lengths))(keys)


@partial(jax.jit, static_argnums=(0, 1))
def _fit(predictor: Predictor, vocabulary: int, params: Any, keys: Any, data: Any, parts: Any, rate: jax.Array) -> Any:
    tokens, lengths, targets = data
    members, count = parts
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=rate)

    def fit_member(params, key, examples):
        def loss(p, rows):
            predicted = _unit(predictor, vocabulary, p, tokens[rows], lengths[rows])
            return jnp.mean(jnp.abs(predicted - targets[rows]))

        def step(carry, number):
            params, state = carry
            drawn = jax.random.randint(jax.random.fold_in(key, number), (predictor.batch,), 0, count)
            changes, state = optimizer.update(jax.grad(loss)(params, examples[drawn]), state, params)
            return (optax.apply_updates(params, changes), state), None

        return lax.scan(step, (params, optimizer.init(params)), jnp.arange(predictor.steps))[0][0]

    return jax.vmap(fit_member)(params, keys, members)


@partial(jax.jit, static_argnums=(0, 1))
def _predict(predictor: Predictor, vocabulary: int, params: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    return jnp.mean(jax.vmap(lambda p: _unit(predictor, vocabulary, p, tokens, lengths))(params), axis=0)


def _unit(predictor: Predictor, vocabulary: int, params: Any, *inputs: Any) -> jax.Array:
    """The prediction of one member, 0 to 1."""
    logits: Any = _Network(predictor, vocabulary).apply(params, *inputs)
    return jax.nn.sigmoid(logits)
