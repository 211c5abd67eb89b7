"""A controller that learns from the scores of its samples; `Reinforce` and `PPO` differ in the update.

Every `batch` evaluations, in the order of their completion, are one update. With several workers some of them were
proposed by a controller that is one update older.

The reward of an architecture is R(score) − w · log P(a), whose expectation is E[R] + w · H: the entropy H of the
controller, with weight w. DIFF: the released ENAS adds the entropies of the single softmaxes instead, which gives a
gradient of the entropy only through the choices before.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optuna.distributions import BaseDistribution

from jdarts.controllers import Controller, Params, batch_log_probability, controller_of, sampler
from jdarts.errors import UserError, unknown
from jdarts.spaces.decisions import Choices, DecisionSpace
from jdarts.strategies.history import Derived, Evaluation, History
from jdarts.strategies.strategy import Strategy, at_least, fraction

_ATTEMPTS = 10_000
_OF_THE_SPACE = ("options", "tables")


@dataclass(frozen=True)
class Learning:
    """The settings of the updates; hashable, so that compiled functions are shared.

    Attributes:
      batch: evaluations for each update.
      learning_rate, b1, b2, eps: of Adam; ENAS uses b1 = 0 and eps = 1e-3.
      baseline_decay: b ← decay · b + (1 − decay) · R, moved before it is used; 1 for no baseline.
      entropy_weight: w of the reward.

    Raises `UserError` for values that are not possible.
    """

    batch: int = 1
    learning_rate: float = 3.5e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    baseline_decay: float = 0.95
    entropy_weight: float = 1e-5

    def __post_init__(self):
        at_least("batch", self.batch, 1)
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate of the controller is {self.learning_rate!r}; use a number above 0")
        if fraction("baseline_decay", self.baseline_decay) == 0:
            raise UserError("baseline_decay is 0: every reward would be its own baseline; use a number above 0, or 1")

    def adam(self) -> optax.GradientTransformation:
        """The optimiser."""
        return optax.adam(self.learning_rate, b1=self.b1, b2=self.b2, eps=self.eps)


SETTINGS = (*Learning.__dataclass_fields__, *(f for f in Controller.__dataclass_fields__ if f not in _OF_THE_SPACE))
"""The names of all settings of a controller and its updates."""


class Learned(NamedTuple):
    """The state of a controller: parameters, optimiser, and the baseline as a sum of rewards and of weights."""

    params: Params
    optimizer: optax.OptState
    reward_sum: float = 0.0
    weight_sum: float = 0.0

    @property
    def baseline(self) -> float:
        """The exponential moving average of the rewards, without bias towards 0; 0 before the first."""
        return self.reward_sum / self.weight_sum if self.weight_sum else 0.0


Update = Callable[[Params, Any, jax.Array, jax.Array], tuple[Params, Any]]
"""`(params, optimizer state, choices [batch, T], advantages [batch])` to new parameters and optimiser state."""


class PolicyGradient(Strategy):
    """The base of the strategies with a controller.

    Args:
      space, seed: see `Strategy`.
      reward: R of a score; the score itself by default. Zoph & Le use the cube of the accuracy.
      settings: those of `Learning` and of `jdarts.controllers.Controller`, by name.
    """

    def __init__(
        self,
        space: DecisionSpace | Mapping[str, BaseDistribution],
        *,
        seed: int = 0,
        reward: Callable[[float], float] = float,
        **settings: Any,
    ):
        super().__init__(space, seed=seed)
        for name in settings:
            if name not in SETTINGS:
                raise unknown(f"option of {type(self).__name__}", name, SETTINGS)
        if settings.get("hidden", ...) is None:
            for name in ("layers", "scale"):
                if name in settings:
                    raise UserError(
                        f"option {name} of {type(self).__name__} has no effect where hidden is None: independent "
                        "softmaxes have no LSTM; leave it out"
                    )
        own = {name: settings.pop(name) for name in Learning.__dataclass_fields__ if name in settings}
        self.learning, self.reward = Learning(**own), reward
        self.controller = controller_of(self.space.decisions, **settings)
        self._learned = Derived[Learned](self._initial, self._advance, self.learning.batch)

    @abstractmethod
    def update(self) -> Update:
        """The compiled update."""

    def propose(self, history: History, number: int) -> Choices:
        """A sample of the controller after all updates, drawn again until it is valid."""
        rng, params = self.rng(number), self.learned(history).params
        for _ in range(_ATTEMPTS):
            uniforms = rng.random(len(self.controller.options), np.float32)
            choices = tuple(np.asarray(sampler(self.controller)(params, uniforms)).tolist())
            if self.space.is_valid(choices):
                return choices
        raise UserError(f"space {self.space.name}: none of {_ATTEMPTS} samples of the controller is valid")

    def learned(self, history: History) -> Learned:
        """The controller after all updates of this history."""
        return self._learned(history)

    def entropy(self, history: History, samples: int = 256) -> float:
        """The entropy of the controller in nats, from samples."""
        uniforms = np.random.default_rng(self.seed).random((samples, len(self.controller.options)), np.float32)
        params = self.learned(history).params
        choices = jax.vmap(lambda u: sampler(self.controller)(params, u))(uniforms)
        return float(-jnp.mean(batch_log_probability(self.controller, params, choices)))

    def _initial(self) -> Learned:
        params, state = _initial(self.controller, self.learning)(self.seed)
        return Learned(params, state)

    def _advance(self, learned: Learned, evaluations: list[Evaluation]) -> Learned:
        choices = np.array([evaluation.choices for evaluation in evaluations], np.int32)
        rewards = np.array([self.reward(evaluation.score) for evaluation in evaluations], np.float64)
        if self.learning.entropy_weight:
            rewards -= self.learning.entropy_weight * np.asarray(
                _scorer(self.controller)(learned.params, choices), np.float64
            )
        advantages = []
        for reward in rewards.tolist():
            decay = self.learning.baseline_decay
            learned = learned._replace(
                reward_sum=decay * learned.reward_sum + (1 - decay) * reward,
                weight_sum=decay * learned.weight_sum + (1 - decay),
            )
            advantages.append(reward - learned.baseline)
        params, state = self.update()(
            learned.params, learned.optimizer, jnp.asarray(choices), jnp.asarray(advantages, jnp.float32)
        )
        return learned._replace(params=params, optimizer=state)


@cache
def _scorer(controller: Controller) -> Callable[[Params, Any], jax.Array]:
    return jax.jit(lambda params, choices: batch_log_probability(controller, params, choices))


@cache
def _initial(controller: Controller, learning: Learning) -> Callable[[int], tuple[Params, Any]]:
    def init(seed):
        params = controller.init(jax.random.key(seed))
        return params, learning.adam().init(params)

    return jax.jit(init)
