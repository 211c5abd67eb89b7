"""Accuracy of hypergradients on a real supernet: it is trained for some steps, then its gradients are studied."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jdarts import hypergrad, staging
from jdarts.bench.noise import noisy
from jdarts.config import Experiment
from jdarts.data import SearchData
from jdarts.hypergrad.study import NoiseKind, Study, difference_study, estimate, in_float64
from jdarts.optimizers import of_alphas, weight_sgd
from jdarts.search.search import make_search
from jdarts.search.state import SearchState
from jdarts.spaces.space import Space

NETWORKS: Mapping[str, dict[str, float]] = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "drop-path": {"drop_path": 0.2},
}
EPSILONS = tuple(10.0**k for k in range(-5, 2))  # six decades around DARTS' 0.01
WIDE_EPSILONS = tuple(10.0**k for k in range(-8, 2))  # at the smallest, no kink of ReLU or pooling is met


AlphaGradient = Callable[["Trained", Mapping[str, float]], Any]
"""`(point of a search, rates of noise) -> dL_val/dα` there."""


@dataclass(frozen=True)
class Trained:
    """A supernet in training and the functions to study it; `train_supernet` makes one.

    Attributes:
      loss: `(weight vector, alphas, batch) -> (scalar, aux)`; entries `dropout` and `drop_path` of the batch are the
        rates of its noise.
      optimizer: that of the weights.
      compile: compiles functions of the network with `jdarts.staging`.
      arguments: `(rates) -> an estimator's five arguments` at the state reached, with the next batches.
      state: the state reached.
      train_losses: the training loss of every step.
    """

    loss: hypergrad.Loss
    optimizer: optax.GradientTransformation
    compile: Callable[[Callable], Callable]
    arguments: Callable[[Mapping[str, float]], tuple[Any, Any, Any, Any, Any]]
    state: SearchState
    train_losses: list[float]

    def first_order(self, rates: Mapping[str, float]) -> Any:
        """The alpha gradient ∂_α L_val at the weights reached."""
        w, alphas, _, _, val_batch = self.arguments(rates)
        return self.compile(hypergrad.gradients(self.loss))(w, alphas, val_batch)[1][1]

    def exact(self, rates: Mapping[str, float]) -> Any:
        """The exact hypergradient through one step of the optimiser."""
        return estimate((self.loss, self.loss), self.optimizer, self.arguments(rates), compile=self.compile)

    def difference(self, rates: Mapping[str, float], *, epsilon: float = 0.01, noise: NoiseKind = "same") -> Any:
        """The hypergradient by the finite difference of DARTS, with the noise "same" or redrawn ("legacy")."""
        losses, given = (self.loss, self.loss), self.arguments(rates)
        return estimate(losses, self.optimizer, given, epsilon=epsilon, noise=noise, compile=self.compile)


@dataclass(frozen=True)
class Searcher:
    """Searches of one configuration that share their compiled functions; `searcher` makes one.

    Attributes:
      start: `seed -> the point at the start of a search`.
      advance: `(point, alpha gradient, rates) -> the next point`; the weights then move by the new alphas.
    """

    start: Callable[[int], Trained]
    advance: Callable[[Trained, Any, Mapping[str, float]], Trained]

    def search(
        self,
        *,
        steps: int,
        seed: int = 0,
        rates: Mapping[str, float] = NETWORKS["plain"],
        alpha_gradient: AlphaGradient = Trained.first_order,
        visit: Callable[[Trained], None] = lambda trained: None,
    ) -> Trained:
        """Search for `steps` steps with noise of these rates, and return the point reached.

        The alphas descend `alpha_gradient`, for example `Trained.exact`. `visit` receives every point on the way, the
        initial one first.
        """
        point = self.start(seed)
        visit(point)
        for _ in range(steps):
            point = self.advance(point, alpha_gradient(point, rates), rates)
            visit(point)
        return point


def train_supernet(config: Experiment, space: Space, data: SearchData, *, steps: int) -> Trained:
    """The point that a first-order search without noise reaches after `steps` steps."""
    return searcher(config, space, data).search(steps=steps, seed=config.seed)


def searcher(config: Experiment, space: Space, data: SearchData) -> Searcher:
    """Searches like those of `make_search`, with noise in the losses and an estimator that is chosen later.

    One compiled gradient and one compiled product serve all alpha gradients, the weights and the studies.
    """
    settings = config.search
    search = make_search(config, space, data)
    optimizer = weight_sgd(settings.weight_optimizer, settings.epochs, search.steps_per_epoch)
    alpha_optimizer = of_alphas(settings.alpha_optimizer)
    compile = compile_on_call()

    def loss(vector, alphas, batch):
        with noisy(batch["key"], dropout=batch["dropout"], drop_path=batch["drop_path"]):
            return search.loss(vector, alphas, {k: v for k, v in batch.items() if k not in ("dropout", "drop_path")})

    gradient, draw, init = compile(hypergrad.gradients(loss)), jax.jit(search.draw), jax.jit(search.init)

    @jax.jit
    def move_alphas(state, grads):
        updates, opt_state = alpha_optimizer.update(grads, state.alpha_opt_state, state.alphas)
        return state.replace(alphas=optax.apply_updates(state.alphas, updates), alpha_opt_state=opt_state)

    @jax.jit
    def move_weights(state, grads, batch_stats):
        updates, opt_state = optimizer.update(grads, state.weight_opt_state, state.weights)
        weights, step = state.weights + updates, state.step + 1
        return state.replace(step=step, weights=weights, batch_stats=batch_stats, weight_opt_state=opt_state)

    def arguments_at(state: SearchState, rates: Mapping[str, float]):
        batch, val_batch = draw(state, search.arrays)
        noise = {name: jnp.float32(rates.get(name, 0.0)) for name in ("dropout", "drop_path")}
        return state.weights, state.alphas, state.weight_opt_state, {**batch, **noise}, {**val_batch, **noise}

    def point(state, losses):
        return Trained(loss, optimizer, compile, partial(arguments_at, state), state, losses)

    def advance(reached: Trained, alpha_grads, rates) -> Trained:
        vector, _, _, batch, _ = reached.arguments(rates)
        state = move_alphas(reached.state, alpha_grads)
        (value, aux), (weight_grads, _) = gradient(vector, state.alphas, batch)
        state = move_weights(state, weight_grads, aux["batch_stats"])
        return point(state, [*reached.train_losses, float(value)])

    return Searcher(lambda seed: point(init(jax.random.key(seed)), []), advance)


def study_networks(
    trained: Trained, *, epsilons: Sequence[float] = EPSILONS, networks: Mapping[str, dict[str, float]] = NETWORKS
) -> dict[str, Study]:
    """The study of the finite difference at the point reached, with and without noise in the network.

    Redrawn noise is studied only for networks with noise.
    """
    return {
        name: difference_study(
            (trained.loss, trained.loss),
            trained.optimizer,
            trained.arguments(rates),
            epsilons=epsilons,
            noise=("same", "legacy") if any(rates.values()) else ("same",),
            compile=trained.compile,
        )
        for name, rates in networks.items()
    }


@dataclass(frozen=True)
class Precisions:
    """The study of one network in both precisions, each compared with the exact product in float64.

    Attributes:
      single: in float32, with the same noise and, for networks with noise, with redrawn noise.
      double: in float64 with the same noise. Its errors are not due to rounding. They decrease with the square of ε
        where the loss is smooth between the two points, but not where a kink of ReLU or max pooling lies between them.
    """

    single: Study
    double: Study

    @property
    def orders(self) -> list[float | None]:
        """The power of ε with which the float64 error changes from the previous ε to this one; None for the first."""
        errors = [deviation.relative_error for deviation in self.double.differences["same"]]
        steps = zip(self.double.epsilons, self.double.epsilons[1:], errors, errors[1:], strict=False)
        return [None, *(math.log(f / e) / math.log(b / a) if e and f else None for a, b, e, f in steps)]


def study_precisions(
    trained: Trained, *, epsilons: Sequence[float] = WIDE_EPSILONS, networks: Mapping[str, dict[str, float]] = NETWORKS
) -> dict[str, Precisions]:
    """The finite difference in float32 and in float64 at the point reached, for several ε in increasing order."""
    single = study_networks(trained, epsilons=epsilons, networks=networks)
    double = {}
    for name, rates in networks.items():
        arguments = trained.arguments(rates)
        with jax.enable_x64(True):
            double[name] = difference_study(
                (trained.loss, trained.loss),
                trained.optimizer,
                in_float64(arguments),
                epsilons=epsilons,
                noise=("same",),
                precise=False,
                compile=trained.compile,
            )
    return {name: Precisions(single[name], double[name]) for name in networks}


def compile_on_call() -> Callable[[Callable], Callable]:
    """A `jax.jit` that compiles as searches do (`jdarts.staging`): at the first call with arguments of some shapes."""
    programs: dict[Any, staging.Program] = {}

    def compile(function: Callable) -> Callable:
        def run(*arguments):
            leaves, structure = jax.tree.flatten(arguments)
            signature = (function, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
            if signature not in programs:
                programs[signature] = staging.compile(function, *arguments)
            return programs[signature](*arguments)

        return run

    return compile
