"""One loop of search steps: from a `SearchRun` to a genotype, with records, checkpoints and resume."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jdarts import staging
from jdarts.benchmarks import BenchmarkTable
from jdarts.config.swept import with_values
from jdarts.data.streaming import StreamedData
from jdarts.derivation import dominant_ops, free_edges
from jdarts.devices import processes
from jdarts.devices.placement import Placement
from jdarts.genotypes import Genotype, parse_result
from jdarts.relaxation import entropy, softmax
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Loop, run_loop
from jdarts.search.estimate import announce_pace, tell_memory
from jdarts.search.found import append_result, genotype_record, write_front
from jdarts.search.hooks import EpochEnd, Hook, call_hooks
from jdarts.search.placed import place_search
from jdarts.search.probes import alpha_spectrum
from jdarts.search.scoring import held_out, scorer
from jdarts.search.search import Search, make_search
from jdarts.search.search_run import SearchRun
from jdarts.search.state import METRICS, SearchState
from jdarts.search.streams import last_arrays
from jdarts.spaces import LayerChoices
from jdarts.stopping import curvature_is_gone

Measure = Callable[[SearchState], dict[str, Any]]


@dataclass(frozen=True)
class LoopOutcome:
    """The result of one loop.

    Attributes:
      genotype: the result; a stop rule may choose the genotype of an earlier epoch.
      search, state: the functions and the last state.
      stopped_at: the epoch whose genotype a stop rule returned; None if the search ran to its end.
    """

    genotype: Genotype
    search: Search
    state: SearchState
    stopped_at: int | None


@dataclass(frozen=True)
class Compiled:
    """A search with its compiled functions.

    Attributes:
      search: the pure functions, on one device.
      init: `(key) -> state`.
      step: `(state, arrays) -> (state, metrics)`; if images are streamed, `step` reads them and ignores `arrays`.
    """

    search: Search
    init: Callable[..., Any]
    step: Callable[..., Any]


def run_single_loop(
    run: SearchRun,
    *,
    title: str = "search",
    compiled: Compiled | None = None,
    start: Callable[[Search, SearchState], SearchState] | None = None,
) -> LoopOutcome:
    """Search in one loop; `run.method.driver` is ignored.

    Drivers that continue a search pass `compiled`, the result of `compile_search` for the same run, and `start`, a
    function that replaces the initial state.
    """
    run = run.split()
    settings, method = run.config.search, run.method
    compiled = compiled or _compiled(run)
    search = compiled.search
    state = compiled.init(jax.random.key(run.config.seed))
    if start is not None:
        state = start(search, state)
    stop = StopRule(run)
    resident = {} if isinstance(run.data, StreamedData) else search.arrays
    optimizer = settings.weight_optimizer
    loop = Loop(
        title,
        announce_pace(
            lambda s: compiled.step(s, resident),
            run.reporter.message,
            steps_per_epoch=search.steps_per_epoch,
            epochs=settings.epochs,
        ),
        run.loop_settings(search.steps_per_epoch),
        on_epoch_end=EpochRecords.of(run, search),
        suspects=(
            f"search.weight_optimizer.learning_rate {optimizer.learning_rate}, "
            f"gradient_clip {optimizer.gradient_clip}, "
            f"search.alpha_optimizer.learning_rate {settings.alpha_optimizer.learning_rate}"
        ),
        stop_after=stop,
        images=search.images_per_step * search.steps_per_epoch,
    )
    state = run_loop(loop, state, run.folder, reporter=run.reporter, resume=run.resume)
    if stop.found:
        return _stopped(run, title, search, state, stop.found[-1])
    key = jax.random.fold_in(jax.random.key(run.config.seed), settings.epochs)
    evaluate = None if isinstance(run.data, StreamedData) else scorer(search, on_one_device(state), key)
    genotype = method.genotype(run.space, state.alphas, evaluate, key)
    if method.compares and evaluate is not None:
        append_result(run.folder, genotype)
        write_front(run.folder, evaluate)
    return LoopOutcome(genotype, search, state, None)


def _stopped(run: SearchRun, title: str, search: Search, state: SearchState, epoch: int) -> LoopOutcome:
    """The outcome of a search that a stop rule ended, with the genotype of `epoch`."""
    last = int(state.step) // search.steps_per_epoch
    run.reporter.message(f"{title}: stopped after epoch {last}; the result is the genotype of epoch {epoch}")
    text = next(record["genotype"] for record in records(run.folder) if record["epoch"] == epoch)
    return LoopOutcome(parse_result(text), search, state, epoch)


class StopRule:
    """The stop rule of a run's method, called after every epoch.

    `found` is empty until the rule stops the search, then holds the epoch whose genotype is the result.
    """

    def __init__(self, run: SearchRun):
        self._run = run
        self.found: list[int] = []

    def __call__(self, epoch: int) -> bool:
        """True if the search ends after this epoch."""
        del epoch
        rule = self._run.method.stop
        if rule is None:
            return False
        finished = records(self._run.folder)
        if not finished:
            return False
        found = processes.first_decides(lambda: rule(finished, self._run.space))
        if found is not None:
            self.found.append(found)
        return found is not None


@dataclass(frozen=True)
class EpochRecords:
    """The record of a search at the end of an epoch; called with the state and the number of finished epochs.

    Attributes:
      hooks: called last; see `jdarts.search.hooks`.
      eigenvalues: measures the curvature that some stop rules need, every `measured_every` epochs.
      table: a benchmark's table, in which the genotype is looked up.
    """

    run: SearchRun
    search: Search
    hooks: Sequence[Hook]
    eigenvalues: Measure | None
    measured_every: int
    table: BenchmarkTable | None

    @classmethod
    def of(cls, run: SearchRun, search: Search) -> "EpochRecords":
        """The records that the settings and the method of `run` need."""
        hooks_of = run.hooks(run.config, search)
        return cls(
            run,
            search,
            (*held_out(search, run.method), *hooks_of(run.config, run.folder, run.reporter.warning)),
            _eigenvalues(run, search) if "dominant_eigenvalue" in run.method.probes else None,
            run.method.options.get("every", 1),
            run.table,
        )

    def __call__(self, state: SearchState, epoch: int) -> dict[str, Any]:
        """Append the genotype of the epoch to `genotypes.jsonl`; return the record for `metrics.jsonl`."""
        space = self.run.space
        genotype = self.run.method.genotype(space, state.alphas)
        alphas = {name: jax.device_get(a).tolist() for name, a in state.alphas.items()}
        self.run.folder.append("genotypes", genotype_record(int(state.step), epoch, genotype, alphas))
        record: dict[str, Any] = {name: float(state.sums[name]) / self.search.steps_per_epoch for name in METRICS}
        record |= self.search.task.readings(record)
        record["alpha_entropy"] = float(entropy(softmax({c: state.alphas[c] for c in space.alpha_shapes})))
        record |= free_edges(genotype)
        least = self.run.method.options.get("dominant_above")
        if least is not None and isinstance(space, LayerChoices):
            p = self.run.method.deterministic_weights(space, state.alphas)
            record["dominant_ops"] = dominant_ops(space, p, least)
        if self.eigenvalues is not None and (epoch - 1) % self.measured_every == 0:
            record |= self.eigenvalues(on_one_device(state))
        record |= call_hooks(self.hooks, EpochEnd(epoch, state.alphas, lambda: on_one_device(state), record))
        return record | (self.table.test_accuracies(genotype) if self.table else {})


def _eigenvalues(run: SearchRun, search: Search) -> Measure:
    decay = run.config.search.alpha_optimizer.weight_decay
    spectrum, arrays_of = alpha_spectrum(search, shift=decay), last_arrays(run.config, search)

    def measure(state: SearchState) -> dict[str, Any]:
        eigenvalues = spectrum(state, arrays_of(state))
        return {
            "dominant_eigenvalue": float(eigenvalues[-1]),
            "alive": not curvature_is_gone(eigenvalues, weight_decay=decay),
        }

    return measure


def records(run: RunFolder) -> list[dict[str, Any]]:
    """The records of the finished epochs of a search, metrics and genotypes merged, oldest first."""
    genotypes = {record["epoch"]: record for record in run.records("genotypes")}
    return [{**genotypes.get(record["epoch"], {}), **record} for record in run.records("metrics")]


def on_one_device(state: SearchState) -> SearchState:
    """`state` on one device of this process, for measurements that are not part of the step."""
    if len(state.step.sharding.device_set) == 1:
        return state
    return jax.device_put(jax.device_get(state))


def compile_placed(run: SearchRun, placement: Placement) -> Compiled:
    """The search with its `init` and `step` on the devices of `placement`; `search` is for one device."""
    placed = place_search(run.config, run.space, run.search_data, placement, method=run.method)
    return Compiled(placed.search, lambda key: placed.init(), lambda state, arrays: placed.step(state))


def compile_search(run: SearchRun) -> Compiled:
    """The search with its `init` and `step`, compiled in pieces (`jdarts.staging`)."""
    search = make_search(run.config, run.space, run.search_data, method=run.method)
    shapes = jax.eval_shape(search.init, jax.random.key(run.config.seed))
    steps = run.config.search.epochs * search.steps_per_epoch
    step = staging.compile(search.step, shapes, search.arrays, donate_argnums=(0,), calls=steps)
    return Compiled(search, jax.jit(search.init), step)


def compile_with_numbers(run: SearchRun, names: Sequence[str]) -> Callable[[SearchRun, Mapping[str, float]], Compiled]:
    """The step of `run`, compiled with hyper-parameters as arguments, for searches that differ in them or in the seed.

    Args:
      run: a search; its values of `names` have no effect.
      names: hyper-parameters as in `jdarts.search.members`.

    Returns `(run, values) -> Compiled` for such searches. Raises `UserError` if the memory does not suffice, and
    `staging.NOT_A_NUMBER_YET` if a value decides how the step is built.
    """
    init, step, arguments = _with_numbers(run, names)
    calls = run.config.search.epochs * make_search(run.config, run.space, run.search_data).steps_per_epoch
    program = staging.compile(step, *arguments, donate_argnums=(0,), calls=calls)
    tell_memory(run.reporter, program, arguments, run.config)

    def compiled(own: SearchRun, values: Mapping[str, float]) -> Compiled:
        given = {name: jnp.asarray(values[name], jnp.result_type(float)) for name in names}
        search = make_search(own.config, own.space, own.search_data, method=own.method)
        return Compiled(search, lambda key: init(key, given), lambda state, arrays: program(state, arrays, given))

    return compiled


def trace_with_numbers(run: SearchRun, names: Sequence[str]) -> None:
    """Raise `staging.NOT_A_NUMBER_YET` if `compile_with_numbers` would; compiles nothing."""
    _, step, arguments = _with_numbers(run, names)
    jax.eval_shape(step, *arguments)


def _with_numbers(run: SearchRun, names: Sequence[str]) -> tuple[Callable[..., Any], Callable[..., Any], tuple]:
    """`init(key, values)`, `step(state, arrays, values)`, and the shapes of the arguments of `step`."""

    def search_of(values: Mapping[str, Any]) -> Search:
        return make_search(with_values(run.config, values), run.space, run.search_data)

    numbers = {name: jax.ShapeDtypeStruct((), jnp.result_type(float)) for name in names}
    init = jax.jit(lambda key, values: search_of(values).init(key))
    state = jax.eval_shape(init, jax.random.key(run.config.seed), numbers)
    arrays = make_search(run.config, run.space, run.search_data).arrays
    return init, lambda state, arrays, values: search_of(values).step(state, arrays), (state, arrays, numbers)


def _compiled(run: SearchRun) -> Compiled:
    """The search, compiled for its placement, with messages about devices or about time and memory."""
    placement = run.placement
    if placement is not None and (placement.backend != "jit" or isinstance(run.data, StreamedData)):
        run.reporter.message(placement.describe())
        return compile_placed(run, placement)
    assert not isinstance(run.data, StreamedData), "streamed images need a placement"
    run.reporter.message("compiling the search step …")
    compiled = compile_search(run)
    state = jax.eval_shape(compiled.init, jax.random.key(run.config.seed))
    tell_memory(run.reporter, compiled.step, (state, compiled.search.arrays), run.config)
    return compiled
