"""Many searches as one compiled program: several seeds, several hyper-parameters, one step.

Every search ends as it would by itself; the records tell of each, and of mean and standard deviation over those that
stayed finite. No best one is picked: that would be a choice on the data that the alphas were fitted to.
"""

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jdarts.benchmarks import Table, load_table
from jdarts.config import Experiment
from jdarts.data import SearchData
from jdarts.data.streaming import Stream, StreamedData
from jdarts.derivation import skips_in
from jdarts.devices import processes
from jdarts.devices.placement import (
    Placement,
    check_replicas,
    compile_init,
    compile_step,
    gather_rows,
    introduce,
    replicate,
    split_members,
)
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.methods import Method, build
from jdarts.relaxation import entropy, softmax
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Schedule, run_loop
from jdarts.runs.reporter import Reporter
from jdarts.search.found import Found, append_result, describe, genotype_file, genotype_record, summary
from jdarts.search.hooks import Hook, Moment, Watch, look, unwatched
from jdarts.search.members import Member, stacked, with_values
from jdarts.search.scoring import held_out, scorer
from jdarts.search.state import SearchState
from jdarts.search.step import METRICS, Search, make_search
from jdarts.search.streams import open_splits
from jdarts.spaces.space import Space


@dataclass(frozen=True)
class Program:
    """A search, or several, compiled for a placement.

    Attributes:
      init: `() -> state`.
      step: `state -> (state, metrics)`; metrics are scalars, means over the searches whose numbers are finite.
      snapshot: `state -> {"alphas": …, "sums": …, "finite": …}` whole on the host of every process.
      steps_per_epoch: whole training batches in an epoch.
      method: the search method.
      search: the pure functions of one search of `config`, on one device.
    """

    init: Callable[[], SearchState]
    step: Callable[[SearchState], tuple[SearchState, dict[str, jax.Array]]]
    snapshot: Callable[[SearchState], dict[str, Any]]
    steps_per_epoch: int
    method: Method
    search: Search


def build_program(
    config: Experiment,
    space: Space,
    data: SearchData | StreamedData,
    placement: Placement,
    members: Sequence[Member] = (),
) -> Program:
    """The program of one search (no members) or of several.

    Raises `UserError` if a swept hyper-parameter decides how the step is built.
    """
    introduce(placement)
    search = make_search(config, space, data, axis_name=placement.axis_name)

    def member_search(values) -> Search:
        return (
            make_search(with_values(config, values), space, data, axis_name=placement.axis_name) if values else search
        )

    def init_one(seed, values):
        return member_search(values).init(jax.random.key(seed))

    def step_one(state, arrays, values):
        return member_search(values).step(state, arrays)

    step_one.__name__ = search.step.__name__  # under which a lone search's program is found in the compilation cache

    seeds, values = stacked(members, jnp.result_type(float)) if members else (np.int32(config.seed), {})
    seeds, values = split_members((seeds, values), placement)
    parts = config.search.microbatches if isinstance(data, StreamedData) else 0
    if isinstance(data, StreamedData):
        batches = streamed_batches(config, data, search.method, placement)
    else:
        resident = replicate(search.arrays, placement)
        batches = lambda step: itertools.repeat(resident)  # noqa: E731
    steps = config.search.epochs * search.steps_per_epoch
    init = compile_init(init_one, placement)
    step = compile_step(step_one, placement, streamed=parts, calls=steps)
    _check_sweep(init_one, values, members)
    everywhere: Any = (
        {} if placement.backend == "jit" else {"out_shardings": NamedSharding(placement.mesh, PartitionSpec())}
    )

    def mean(metrics):
        finite = metrics["finite"].astype(bool)
        for name, value in metrics.items():
            finite &= jnp.isfinite(value) if name != "finite" else True
        count = jnp.maximum(jnp.sum(finite), 1)
        means = {
            name: jnp.sum(jnp.where(finite, value, 0)) / count for name, value in metrics.items() if name != "finite"
        }
        return {**means, "finite": jnp.any(finite)}

    def view(state):
        leaves = [leaf for leaf in jax.tree.leaves((state.alphas, state.weights))]
        axes = [tuple(range(1 if members else 0, leaf.ndim)) for leaf in leaves]
        finite = [jnp.all(jnp.isfinite(leaf), axis) for leaf, axis in zip(leaves, axes, strict=True)]
        return {"alphas": state.alphas, "sums": state.sums, "finite": jnp.all(jnp.stack(finite), axis=0)}

    view = jax.jit(view, **everywhere)
    mean = jax.jit(mean, **everywhere)
    every, taken = config.devices.check_replicas_every, 0
    arrays: Iterator[Any] | None = None

    def advance(state):
        nonlocal taken, arrays
        if arrays is None:  # only now is it known where a resumed run goes on
            arrays = batches(int(np.max(jax.device_get(state.step.addressable_shards[0].data))))
        batch = next(arrays)
        with _refusing(values, members):
            state, metrics = step(state, batch, values)
        taken += 1
        if every and taken % every == 0:
            check_replicas(state)
        return state, mean(metrics) if members else metrics

    return Program(
        lambda: init(seeds, values),
        advance,
        lambda state: jax.device_get(view(state)),
        search.steps_per_epoch,
        search.method,
        make_search(config, space, data) if placement.axis_name else search,
    )


def streams_of(config: Experiment, data: StreamedData, method: Method) -> dict[str, Stream]:
    """What this process reads: the rows of its share of the training batches, and of those of the alphas."""
    return open_splits(config, data, method, process=jax.process_index(), processes=processes.count())


def streamed_batches(
    config: Experiment, data: StreamedData, method: Method, placement: Placement
) -> Callable[[int], Iterator[Any]]:
    """`step -> iterator of global batches` from there on, each process reading its rows."""
    settings, streams = config.search, streams_of(config, data, method)

    def batches(step: int) -> Iterator[Any]:
        opened = {split: stream.batches(step) for split, stream in streams.items()}
        while True:
            rows = {
                f"{split}_{name}": array for split, stream in opened.items() for name, array in next(stream).items()
            }
            yield gather_rows(rows, placement, batch_size=settings.batch_size, microbatches=settings.microbatches)

    return batches


def _check_sweep(init_one, values, members: Sequence[Member]) -> None:
    """Refuse hyper-parameters that Python looks at while the functions of a search are made."""
    for name in values:
        with _refusing([name], members):
            one = {name: jax.ShapeDtypeStruct((), values[name].dtype)}
            jax.eval_shape(init_one, jax.ShapeDtypeStruct((), jnp.int32), one)


@contextlib.contextmanager
def _refusing(names: Iterable[str], members: Sequence[Member]) -> Iterator[None]:
    """Explain JAX's errors about a number that is needed before it exists: one that is swept."""
    try:
        yield
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        names = list(names)
        if not names:
            raise
        count = len({tuple(dict(member.values)[name] for name in names) for member in members})
        raise UserError(
            f"--sweep {', '.join(names)}: its value decides how the step is built, so one program cannot hold several; "
            f"run the {count} values one after the other"
        ) from None


def run_population(
    config: Experiment,
    space: Space,
    data: SearchData | StreamedData,
    run: RunFolder,
    members: Sequence[Member],
    placement: Placement,
    *,
    resume: bool,
    reporter: Reporter,
    watch: Watch = unwatched,
) -> list[Found]:
    """Run all members to the end; see `run_loop` for what is raised.

    Writes into `run`: `metrics.jsonl` (mean and standard deviation over members, an epoch a line), checkpoints of the
    stacked state, `members.json`; and for each member a folder with `metrics.jsonl`, `genotypes.jsonl` and
    `genotype.txt`, as a search by itself would write them. The hooks of `watch` look at each member after every epoch;
    what they warn of is told with the member's name.
    """
    check_members(config, members)
    same_members(run, members, resume=resume)
    program = build_program(config, space, data, placement, members)
    methods = [build(own.search.method, own.search.method_options) for own in (m.config(config) for m in members)]
    table = load_table(config.search.benchmark_table) if config.search.benchmark_table else None
    folders = [run.subfolder(member.name) for member in members]
    hooks_of = watch(config, program.search)
    alone = processes.count() == 1  # else no process holds a whole search to look at
    hooks = [
        (
            *(held_out(config, program.search, data, method) if alone else ()),
            *hooks_of(
                member.config(config), folder, lambda text, name=member.name: reporter.warning(f"{name}: {text}")
            ),
        )
        for member, method, folder in zip(members, methods, folders, strict=True)
    ]

    def on_epoch(state: SearchState, epoch: int) -> dict[str, float]:
        seen = _look(program, state, members, methods, space, table)
        seen = _looked_at(seen, hooks, epoch, state)
        step = epoch * program.steps_per_epoch
        for found, folder in zip(seen, folders, strict=True):
            folder.append("metrics", {"step": step, "epoch": epoch, **found.metrics})
            if found.genotype is not None:
                folder.append("genotypes", genotype_record(step, epoch, found.genotype, found.alphas))
        return {name: value for name, value in summary(seen).items() if not math.isnan(value)}

    settings = config.search
    state = run_loop(
        "search",
        program.init(),
        program.step,
        schedule=Schedule(
            epochs=settings.epochs,
            steps_per_epoch=program.steps_per_epoch,
            checkpoint_every=settings.checkpoint_every,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        run=run,
        reporter=reporter,
        resume=resume,
        on_epoch=on_epoch,
        suspects=f"search.weight_optimizer.learning_rate {settings.weight_optimizer.learning_rate} or a swept value",
        also=folders,
    )
    results = _look(program, state, members, methods, space, table)
    if program.method.compares and isinstance(data, SearchData):
        results = _compared(config, space, data, state, results, methods, table)
    for found, folder in zip(results, folders, strict=True):
        if found.genotype is not None:
            if program.method.compares:
                append_result(folder, found.genotype)
            folder.write_text("genotype.txt", genotype_file(config, found.genotype))
    run.write_json("members.json", describe(results))
    return results


def check_members(config: Experiment, members: Sequence[Member]) -> None:
    """Refuse what several searches cannot do; `UserError`, before anything compiles."""
    if members and config.search.hessian_every and processes.count() > 1:
        raise UserError(
            f"search.hessian_every is {config.search.hessian_every}, but with --seeds or --sweep over "
            f"{processes.count()} processes no process holds a whole search to measure; use 0, or one process"
        )


def own_loop(method: Method) -> str:
    """Why searches of `method` do not fit in one program: what each does at its own time; empty if they do."""
    if method.driver is not None:
        return "runs several loops"
    return "stops by a rule" if method.stop is not None else ""


def check_method(method: Method) -> None:
    """Refuse what one program cannot do for each of its members at its own time."""
    if what := own_loop(method):
        raise UserError(f"method {method.name} {what}, so several searches do not fit in one program")


def same_members(run: RunFolder, members: Sequence[Member], *, resume: bool) -> None:
    """Note which searches the run holds; refuse to go on with others."""
    names, file = [member.name for member in members], run.path / "searches.json"
    if not resume or not file.exists():
        run.write_json(file.name, names)
        return
    stored = json.loads(file.read_text())
    if stored != names:
        raise UserError(
            f"cannot resume {run.path} with other searches: {', '.join(stored)} (stored) != {', '.join(names)} "
            "(given); give the same --seeds and --sweep"
        )


def _look(
    program: Program,
    state: SearchState,
    members: Sequence[Member],
    methods: Sequence[Method],
    space: Space,
    table: Table | None,
) -> list[Found]:
    seen, results = program.snapshot(state), []
    for i, (member, method) in enumerate(zip(members, methods, strict=True)):
        alphas = {name: jnp.asarray(stack[i]) for name, stack in seen["alphas"].items()}
        metrics = {name: float(seen["sums"][name][i]) / program.steps_per_epoch for name in METRICS}
        metrics["alpha_entropy"] = float(entropy(softmax({name: alphas[name] for name in space.alpha_shapes})))
        genotype = method.genotype(space, alphas) if bool(seen["finite"][i]) else None
        metrics |= of_genotype(genotype, table)
        results.append(Found(member, genotype, metrics, {name: np.asarray(a) for name, a in alphas.items()}))
    return results


def _looked_at(found: Sequence[Found], hooks: Sequence[Sequence[Hook]], epoch: int, state: Any) -> list[Found]:
    """`found` with what the hooks add to the metrics of every member that did not diverge."""
    state_of = _member_states(state)
    return [
        one
        if one.genotype is None
        else replace(one, metrics=one.metrics | look(own, Moment(epoch, one.alphas, partial(state_of, i), one.metrics)))
        for i, (one, own) in enumerate(zip(found, hooks, strict=True))
    ]


def _member_states(state: Any) -> Callable[[int], Any]:
    """`member -> its state`, on one device; all are fetched at the first call."""

    @cache
    def here() -> Any:
        return jax.device_get(state.replace(key=jax.random.key_data(state.key)))

    def member(i: int) -> Any:
        own = jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), here())
        return own.replace(key=jax.random.wrap_key_data(own.key))

    return member


def of_genotype(genotype: Genotype | None, table: Table | None) -> dict[str, float]:
    """Its skip connections and looked-up accuracies; NaN for a search that diverged, so that all have the same
    names.
    """
    if genotype is not None:
        return {"skip_connections": skips_in(genotype), **(table.test_accuracies(genotype) if table else {})}
    known = table.test_accuracies(table.architectures[0]) if table else {}
    return dict.fromkeys(("skip_connections", *known), math.nan)


def _compared(
    config: Experiment,
    space: Space,
    data: SearchData,
    state: Any,
    results: Sequence[Found],
    methods: Sequence[Method],
    table: Table | None,
) -> list[Found]:
    """The results of methods that compare candidates on images: each member's with its own weights."""
    search = make_search(config, space, data)
    state_of, compared = _member_states(state), []
    for i, found in enumerate(results):
        if found.genotype is not None:
            own = state_of(i)
            key = jax.random.fold_in(jax.random.key(found.member.seed), config.search.epochs)
            genotype = methods[i].genotype(space, own.alphas, scorer(search, own, key), key)
            found = replace(found, genotype=genotype, metrics=found.metrics | of_genotype(genotype, table))
        compared.append(found)
    return compared
