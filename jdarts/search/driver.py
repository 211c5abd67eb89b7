"""Run a search: from a configuration and data to a genotype, with records, checkpoints and resume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from jdarts import staging
from jdarts.benchmarks import load_table
from jdarts.config import Experiment
from jdarts.data import SearchData
from jdarts.data.streaming import StreamedData
from jdarts.derivation import skips_in
from jdarts.devices import processes
from jdarts.devices.placement import Placement
from jdarts.genotypes import Genotype, parse
from jdarts.methods import Method
from jdarts.relaxation import entropy, softmax
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Schedule, run_loop
from jdarts.runs.reporter import Reporter
from jdarts.search.estimate import announce_pace, tell_memory
from jdarts.search.found import append_result
from jdarts.search.hooks import Moment, Watch, look, unwatched
from jdarts.search.population import build_program
from jdarts.search.probes import alpha_spectrum
from jdarts.search.scoring import held_out, scorer
from jdarts.search.state import SearchState
from jdarts.search.step import METRICS, Search, make_search
from jdarts.search.streams import last_arrays
from jdarts.spaces.space import Space
from jdarts.stopping import curvature_is_gone


@dataclass(frozen=True)
class Outcome:
    """What a plain search ends with.

    Attributes:
      genotype: the result; with a stop rule perhaps that of an earlier epoch.
      search, state: the functions and the last state.
      stopped_at: finished epochs whose genotype a stop rule returned; None if the search ran to its end.
    """

    genotype: Genotype
    search: Search
    state: SearchState
    stopped_at: int | None


def run_plain(
    config: Experiment,
    space: Space,
    data: SearchData | StreamedData,
    run: RunFolder,
    method: Method,
    *,
    resume: bool,
    reporter: Reporter,
    watch: Watch = unwatched,
    title: str = "search",
    compiled: "Compiled | None" = None,
    start: Callable[[Search, SearchState], SearchState] | None = None,
) -> Outcome:
    """One loop of search steps.

    For drivers that go on from somewhere: `compiled` is what `compile_search` made of the same arguments, `start` may
    replace the initial state.
    """
    if compiled is None:
        assert isinstance(data, SearchData), "streamed images need a placement"
        reporter.message("compiling the search step …")
        compiled = compile_search(config, space, data, method)
        state = jax.eval_shape(compiled[0].init, jax.random.key(config.seed))
        tell_memory(reporter, compiled[2], (state, compiled[0].arrays), config)
    search, init, step = compiled
    state = init(jax.random.key(config.seed))
    if start is not None:
        state = start(search, state)
    table = load_table(config.search.benchmark_table) if config.search.benchmark_table else None
    settings = config.search
    measure = None
    if "dominant_eigenvalue" in method.probes:
        measure = alpha_spectrum(search, shift=settings.alpha_optimizer.weight_decay)

    hooks = (*held_out(config, search, data, method), *watch(config, search)(config, run, reporter.warning))
    arrays_of = last_arrays(config, search)

    def on_epoch(state: SearchState, epoch: int) -> dict[str, Any]:
        genotype = method.genotype(space, state.alphas)
        run.append(
            "genotypes",
            {
                "step": int(state.step),
                "epoch": epoch,
                "genotype": genotype.to_text(),
                "alphas": {name: jax.device_get(a).tolist() for name, a in state.alphas.items()},
            },
        )
        record: dict[str, Any] = {name: float(state.sums[name]) / search.steps_per_epoch for name in METRICS}
        record["alpha_entropy"] = float(entropy(softmax({c: state.alphas[c] for c in space.alpha_shapes})))
        record["skip_connections"] = skips_in(genotype)
        if measure is not None and (epoch - 1) % method.options.get("every", 1) == 0:
            eigenvalues = measure(_here(state), arrays_of(state))
            record["dominant_eigenvalue"] = float(eigenvalues[-1])
            record["alive"] = not curvature_is_gone(eigenvalues, weight_decay=settings.alpha_optimizer.weight_decay)
        record |= look(hooks, Moment(epoch, state.alphas, lambda: _here(state), record))
        return record | (table.test_accuracies(genotype) if table else {})

    decided: list[int] = []

    def stop_after(epoch: int) -> bool:
        del epoch
        finished = records(run)
        if method.stop is None or not finished:
            return False
        rule = method.stop
        found = processes.first_decides(lambda: rule(finished, space))
        if found is not None:
            decided.append(found)
        return found is not None

    optimizer = settings.weight_optimizer
    resident = {} if isinstance(data, StreamedData) else search.arrays
    state = run_loop(
        title,
        state,
        announce_pace(
            lambda s: step(s, resident),
            reporter.message,
            steps_per_epoch=search.steps_per_epoch,
            epochs=settings.epochs,
        ),
        schedule=Schedule(
            epochs=settings.epochs,
            steps_per_epoch=search.steps_per_epoch,
            checkpoint_every=settings.checkpoint_every,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        run=run,
        reporter=reporter,
        resume=resume,
        on_epoch=on_epoch,
        suspects=(
            f"search.weight_optimizer.learning_rate {optimizer.learning_rate}, "
            f"gradient_clip {optimizer.gradient_clip}, "
            f"search.alpha_optimizer.learning_rate {settings.alpha_optimizer.learning_rate}"
        ),
        stop_after=stop_after,
    )
    if decided:
        epoch = decided[-1]
        last = int(state.step) // search.steps_per_epoch
        reporter.message(f"{title}: stopped after epoch {last}; the result is the genotype of epoch {epoch}")
        text = next(record["genotype"] for record in records(run) if record["epoch"] == epoch)
        return Outcome(parse(text), search, state, epoch)
    key = jax.random.fold_in(jax.random.key(config.seed), settings.epochs)
    evaluate = None if isinstance(data, StreamedData) else scorer(search, _here(state), key)
    genotype = method.genotype(space, state.alphas, evaluate, key)
    if method.compares and evaluate is not None:
        append_result(run, genotype)
    return Outcome(genotype, search, state, None)


def records(run: RunFolder) -> list[dict[str, Any]]:
    """The records of a search's finished epochs, metrics and genotypes together, oldest first."""
    genotypes = {record["epoch"]: record for record in run.records("genotypes")}
    return [{**genotypes.get(record["epoch"], {}), **record} for record in run.records("metrics")]


Compiled = tuple[Search, Callable, Callable]


def compile_placed(
    config: Experiment, space: Space, data: SearchData | StreamedData, method: Method, placement: Placement
) -> Compiled:
    """Like `compile_search`, as one program for the devices of `placement`; `search` is that of one device."""
    program = build_program(config, space, data, placement)
    search = make_search(config, space, data, method=method)
    return search, lambda key: program.init(), lambda state, arrays: program.step(state)


def _here(state: SearchState) -> SearchState:
    """`state` on one device of this process, for measurements that are not part of the step."""
    if len(state.step.sharding.device_set) == 1:
        return state
    return jax.device_put(jax.device_get(state))


def compile_search(config: Experiment, space: Space, data: SearchData, method: Method) -> Compiled:
    """The search with its `init` and `step`, compiled in pieces (`jdarts.staging`)."""
    search = make_search(config, space, data, method=method)
    init, arrays = jax.jit(search.init), search.arrays
    shapes = jax.eval_shape(search.init, jax.random.key(config.seed))
    steps = config.search.epochs * search.steps_per_epoch
    return search, init, staging.compile(search.step, shapes, arrays, donate_argnums=(0,), calls=steps)
