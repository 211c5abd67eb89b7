"""ENAS (Pham et al., ICML 2018): shared weights and a controller are trained in turn (`jdarts.methods.enas`).

Both are steps of one loop: in every epoch first those of the shared weights, then those of the controller. All that
they change is in `EnasState`, and every draw is a function of its key and of the number of the step, so that an
interrupted search resumes bit for bit at any step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import staging
from jdarts.benchmarks import BenchmarkTable
from jdarts.config import SearchConfig
from jdarts.controllers import batch_entropy, samples
from jdarts.derivation import free_shares
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.methods import Method
from jdarts.runs.loop import Loop, run_loop
from jdarts.search.enas_step import WEIGHT_SUMS, EnasState, EnasStep, enas_step
from jdarts.search.estimate import tell_memory
from jdarts.search.found import append_result, genotype_record
from jdarts.search.hooks import EpochEnd, Hook, call_hooks
from jdarts.search.search import make_search
from jdarts.search.search_run import SearchRun
from jdarts.search.state import SearchState
from jdarts.spaces.decisions import Choices
from jdarts.spaces.space import Space

_PREFERENCE_SAMPLES = 256
_ATTEMPTS = 1_000
_NO_EFFECT = ("relax", "relax_weights", "perturb", "edge_normalisation", "regularizer", "post_update", "stop", "derive")
_SAMPLES, _PREFERENCE, _EPOCH_GENOTYPE, _GENOTYPE = (1_000_003 + k for k in range(4))
"""Numbers of the keys of all draws of architectures."""
_LEAST = 1e-6


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search; returns the best of `candidates` samples of the last controller, and the shared weights.

    `metrics.jsonl` has for every epoch the accuracies (of text, the perplexities), reward, baseline and entropy of the
    controller, and the share of skip connections in its samples: among the edges of the cells, in ENAS macro among all
    possible skips. The `alphas` of `genotypes.jsonl` are the logarithms of the probabilities with which the controller
    chooses each op; there are none in spaces without alphas. Raises `UserError` for settings that have no effect here.
    """
    check_settings(run.config.search, run.method)
    run = run.split()
    enas = EnasSearch.of(run)
    state = jax.jit(enas.step.init)(jax.random.key(run.config.seed))
    settings, optimizer = enas.step.settings, run.config.search.weight_optimizer
    run.reporter.message(
        f"an epoch: {enas.step.search.steps_per_epoch} steps of the shared weights, then {settings.controller_steps} "
        f"of the controller, with {settings.controller_samples} architectures each"
    )
    loop = Loop(
        "search",
        enas,
        run.loop_settings(enas.step.steps_per_epoch),
        on_epoch_end=EnasRecords.of(run, enas),
        suspects=(
            f"search.weight_optimizer.learning_rate {optimizer.learning_rate}, "
            f"gradient_clip {optimizer.gradient_clip}, "
            f"controller_learning_rate {settings.controller_learning_rate}"
        ),
        images=enas.step.images_per_epoch,
    )
    state = run_loop(loop, state, run.folder, reporter=run.reporter, resume=run.resume)
    genotype, accuracy = enas.best(state, settings.candidates, _GENOTYPE)
    told = enas.step.search.task.told(accuracy)
    run.reporter.message(f"the best of {settings.candidates} samples: {told} on its validation batch")
    append_result(run.folder, genotype)
    return genotype, state.shared


def check_settings(settings: SearchConfig, method: Method) -> None:
    """Raise `UserError` for settings and composed methods that need alphas."""
    for name in _NO_EFFECT:
        if getattr(method, name) is not None:
            raise UserError(f"{method.name}: {name} acts on alphas, which enas does not have; use method enas alone")
    if settings.hypergradient is not None:
        raise UserError(
            f"search.hypergradient is {settings.hypergradient!r}, but enas has no alphas; leave it out (null)"
        )
    for name, off in (("hessian_every", 0), ("alpha_step_moves_statistics", False)):
        if getattr(settings, name) != off:
            raise UserError(
                f"search.{name} is {getattr(settings, name)!r}, but enas has no alphas; use {str(off).lower()}"
            )


@dataclass(eq=False)
class EnasSearch:
    """The compiled steps of ENAS and their order; called with a state, it takes the next step.

    Attributes:
      step: the pure functions.
      space: the search space.
      train, accuracy, teach, count: the compiled functions of `EnasStep`.
      done: number of finished steps, read from the first state.
    """

    step: EnasStep
    space: Space
    train: Callable[..., Any]
    accuracy: Callable[..., Any]
    teach: Callable[..., Any]
    count: Callable[..., Any]
    done: int | None = None

    @classmethod
    def of(cls, run: SearchRun) -> "EnasSearch":
        """The search of a run; compiles it, with messages about memory."""
        found = make_search(run.config, run.space, run.search_data, method=run.method)
        step = enas_step(run.method.options["enas"], run.config.search, found, run.space)
        run.reporter.message("compiling the search steps …")
        state: Any = jax.eval_shape(step.init, jax.random.key(run.config.seed))
        path = run.space.one_hot(run.space.random_genotype(0))
        epochs, arrays = run.config.search.epochs, found.arrays
        train = staging.compile(step.train, state.shared, path, arrays, calls=epochs * found.steps_per_epoch)
        tell_memory(run.reporter, train, (state, arrays), run.config)
        rewards = epochs * step.settings.controller_steps * step.settings.controller_samples
        accuracy = staging.compile(step.accuracy, state.shared, path, arrays, jnp.int32(0), calls=rewards)
        return cls(step, run.space, train, accuracy, jax.jit(step.teach), jax.jit(step.counted))

    def __call__(self, state: Any) -> tuple[EnasState, dict[str, jax.Array]]:
        """The next step: of the shared weights, or of the controller."""
        self.done = int(state.step) if self.done is None else self.done
        epoch, inside = divmod(self.done, self.step.steps_per_epoch)
        controller_step = inside - self.step.search.steps_per_epoch
        draw = partial(self.sampled, state, jax.random.fold_in(state.shared.key, _SAMPLES), self.done)
        self.done += 1
        if controller_step < 0:
            shared, metrics = self.train(state.shared, self.path(draw(1)[0]), self.step.search.arrays)
            return self.count(state.replace(shared=shared), metrics), metrics
        settings = self.step.settings
        choices = draw(settings.controller_samples)
        first = (epoch * settings.controller_steps + controller_step) * settings.controller_samples
        accuracies = [self.score(state, each, first + k) for k, each in enumerate(choices)]
        return self.teach(state, jnp.array(choices, jnp.int32), jnp.stack(accuracies))

    def score(self, state: Any, choices: Choices, number: int) -> jax.Array:
        """The accuracy of an architecture on the validation batch of this number."""
        return self.accuracy(state.shared, self.path(choices), self.step.search.arrays, jnp.int32(number))

    def path(self, choices: Choices) -> Any:
        """The op weights that switch on the ops of an architecture."""
        return self.space.one_hot(self.space.decode(choices))

    def sampled(self, state: Any, key: jax.Array, number: int, count: int) -> list[Choices]:
        """The first `count` valid samples of the controller; `number` is one of many draws with this key."""
        key, valid = jax.random.fold_in(key, number), []
        for attempt in range(_ATTEMPTS):
            drawn = samples(self.step.controller, state.controller, jax.random.fold_in(key, attempt), count)
            tuples = (tuple(each) for each in np.asarray(drawn).tolist())
            valid += [choices for choices in tuples if self.space.is_valid(choices)]
            if len(valid) >= count:
                return valid[:count]
        raise UserError(f"space {self.space.name}: fewer than {count} of {_ATTEMPTS * count} samples are valid")

    def best(self, state: Any, count: int, key_number: int) -> tuple[Genotype, float]:
        """The best of `count` samples, each scored on a validation batch of its own, and its accuracy."""
        key = jax.random.fold_in(state.shared.key, key_number)
        choices = self.sampled(state, key, int(state.step), count)
        first = int(jax.random.randint(key, (), 0, 2**30))  # other batches than those of the rewards
        accuracies = np.array([self.score(state, each, first + k) for k, each in enumerate(choices)])
        best = int(np.argmax(accuracies))
        return self.space.decode(choices[best]), float(accuracies[best])

    def preference(self, state: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """The preference of the controller, from samples: logarithms of the probabilities of all ops, and statistics.

        The statistics are the entropy of the controller in nats, and the mean share of skip connections (of identities
        in recurrent cells) among the edges of a sample.
        """
        key = jax.random.fold_in(state.shared.key, _PREFERENCE)
        choices = self.sampled(state, key, int(state.step), _PREFERENCE_SAMPLES)
        genotypes = [self.space.decode(each) for each in choices]
        paths = [self.space.one_hot(genotype) for genotype in genotypes]
        used = {name: np.mean([np.asarray(path[name]) for path in paths], axis=0) for name in self.space.alpha_shapes}
        entropies = batch_entropy(self.step.controller, state.controller, jnp.array(choices, jnp.int32))
        statistics = {
            "controller_entropy": float(jnp.mean(entropies)),
            **free_shares(genotypes),
        }
        return {name: np.log(np.maximum(table, _LEAST)) for name, table in used.items()}, statistics


@dataclass(frozen=True)
class EnasRecords:
    """The record of an epoch; called with the state and the number of finished epochs."""

    run: SearchRun
    enas: EnasSearch
    hooks: tuple[Hook, ...]
    table: BenchmarkTable | None

    @classmethod
    def of(cls, run: SearchRun, enas: EnasSearch) -> "EnasRecords":
        """The records that the settings of `run` need."""
        hooks = run.hooks(run.config, enas.step.search)(run.config, run.folder, run.reporter.warning)
        return cls(run, enas, tuple(hooks), run.table)

    def __call__(self, state: EnasState, epoch: int) -> dict[str, Any]:
        """Append the genotype of the epoch to `genotypes.jsonl`; return the record for `metrics.jsonl`."""
        step = self.enas.step
        genotype, _ = self.enas.best(state, step.settings.epoch_candidates, _EPOCH_GENOTYPE)
        preference, statistics = self.enas.preference(state)
        alphas = {name: table.tolist() for name, table in preference.items()}
        self.run.folder.append("genotypes", genotype_record(int(state.step), epoch, genotype, alphas))
        record: dict[str, Any] = {
            name: float(state.sums[name]) / count
            for names, count in (
                (WEIGHT_SUMS, step.search.steps_per_epoch),
                (step.controller_sums, step.settings.controller_steps),
            )
            for name in names
        }
        record |= {**step.search.task.readings(record), "baseline": float(state.baseline), **statistics}
        tables = {name: jnp.asarray(table) for name, table in preference.items()}
        record |= call_hooks(self.hooks, EpochEnd(epoch, tables, lambda: state.shared, record))
        return record | (self.table.test_accuracies(genotype) if self.table else {})
