"""Many searches as one compiled program: several seeds, several hyper-parameters, one step.

Every search has the same result as if it ran alone. The records contain each search, and mean and standard deviation
over the searches that stayed finite. No best search is chosen, since the alphas were fitted to the data of the choice.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.benchmarks import BenchmarkTable
from jdarts.config import SearchConfig
from jdarts.data import SearchData
from jdarts.derivation import free_edges
from jdarts.devices import processes
from jdarts.devices.placement import (
    Placement,
)
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.methods import Method, configured
from jdarts.relaxation import entropy, softmax
from jdarts.runs.folder import RunFolder
from jdarts.runs.loop import Loop, run_loop
from jdarts.runs.reporter import Reporter
from jdarts.search.found import Found, append_result, describe, genotype_file, genotype_record, summary
from jdarts.search.hooks import EpochEnd, Hook, call_hooks
from jdarts.search.members import Member
from jdarts.search.placed import PlacedSearch, place_search
from jdarts.search.scoring import held_out, scorer
from jdarts.search.search_run import SearchRun
from jdarts.search.state import METRICS, SearchState


def run_population(run: SearchRun, members: Sequence[Member], placement: Placement) -> list[Found]:
    """Run all members to the end. Raises the same errors as `run_loop`.

    Writes into `run.folder`: `metrics.jsonl` (mean and standard deviation over members, one line per epoch),
    checkpoints of the stacked state, `members.json`; and for each member a folder with `metrics.jsonl`,
    `genotypes.jsonl` and `genotype.txt`, like those of a single search. The hooks of `run` are called for each member
    after every epoch; their warnings are reported with the member's name.
    """
    settings, folder = run.config.search, run.folder
    check_members(settings, members)
    same_members(folder, members, resume=run.resume)
    placed = place_search(run.config, run.space, run.search_data, placement, members)
    records = MemberRecords.of(run, placed, members)
    results = search_members(run, placed, records)
    for found, own in zip(results, records.folders, strict=True):
        if found.genotype is not None:
            if placed.method.compares:
                append_result(own, found.genotype)
            own.write_text("genotype.txt", genotype_file(run.config, found.genotype))
    folder.write_json("members.json", describe(results))
    return results


def search_members(run: SearchRun, placed: PlacedSearch, records: "MemberRecords") -> list[Found]:
    """Run the searches of `placed` to the end; the results of those that `records` names.

    Writes their mean into `run.folder`, with checkpoints, and each one's records into its own folder.
    """
    settings = run.config.search
    loop = Loop(
        "search",
        placed.step,
        run.loop_settings(placed.steps_per_epoch),
        on_epoch_end=records,
        suspects=f"search.weight_optimizer.learning_rate {settings.weight_optimizer.learning_rate} or a swept value",
        also=records.folders,
        images=placed.search.images_per_step * placed.steps_per_epoch * len(records.members),
    )
    state = run_loop(loop, placed.init(), run.folder, reporter=run.reporter, resume=run.resume)
    results = records.found(state)
    if placed.method.compares and isinstance(placed.search.data, SearchData):
        results = records.compared(state, results, settings.epochs)
    return results


@dataclass(frozen=True)
class MemberRecords:
    """The records of several searches at the end of an epoch; the sequences have one entry per member."""

    placed: PlacedSearch
    members: Sequence[Member]
    methods: Sequence[Method]
    folders: Sequence[RunFolder]
    hooks: Sequence[Sequence[Hook]]
    table: BenchmarkTable | None

    @classmethod
    def of(
        cls,
        run: SearchRun,
        placed: PlacedSearch,
        members: Sequence[Member],
        folders: Sequence[RunFolder] | None = None,
    ) -> "MemberRecords":
        """The records that the settings of each member ask for, in `folders`; None names them after the members."""
        configs = [member.config(run.config) for member in members]
        methods = [configured(own.search) for own in configs]
        folders = folders or [run.folder.subfolder(member.name) for member in members]
        hooks_of = run.hooks(run.config, placed.search)
        alone = processes.count() == 1  # with several processes, none of them holds a whole search
        hooks = []
        for member, own, method, folder in zip(members, configs, methods, folders, strict=True):
            warn = partial(_warn, run.reporter, member.name)
            hooks.append((*(held_out(placed.search, method) if alone else ()), *hooks_of(own, folder, warn)))
        return cls(placed, members, methods, folders, hooks, run.table)

    def __call__(self, state: SearchState, epoch: int) -> dict[str, float]:
        """Append the records of every member; return the summary over all."""
        results = self.with_hooks(self.found(state), epoch, state)
        step = epoch * self.placed.steps_per_epoch
        for found, folder in zip(results, self.folders, strict=True):
            folder.append("metrics", {"step": step, "epoch": epoch, **found.metrics})
            if found.genotype is not None:
                folder.append("genotypes", genotype_record(step, epoch, found.genotype, found.alphas))
        return {name: value for name, value in summary(results).items() if not math.isnan(value)}

    def found(self, state: SearchState) -> list[Found]:
        """Genotype, metrics and alphas of every member."""
        seen, space, results = self.placed.snapshot(state), self.placed.search.space, []
        for i, (member, method) in enumerate(zip(self.members, self.methods, strict=True)):
            alphas = {name: jnp.asarray(stack[i]) for name, stack in seen["alphas"].items()}
            metrics = {name: float(seen["sums"][name][i]) / self.placed.steps_per_epoch for name in METRICS}
            metrics |= self.placed.search.task.readings(metrics)
            metrics["alpha_entropy"] = float(entropy(softmax({name: alphas[name] for name in space.alpha_shapes})))
            genotype = method.genotype(space, alphas) if bool(seen["finite"][i]) else None
            metrics |= of_genotype(genotype, space.random_genotype(0), self.table)
            results.append(Found(member, genotype, metrics, {name: np.asarray(a) for name, a in alphas.items()}))
        return results

    def with_hooks(self, results: Sequence[Found], epoch: int, state: Any) -> list[Found]:
        """`results` with the entries of the hooks, for every member that did not diverge."""
        state_of, added = _member_states(state), []
        for i, (found, hooks) in enumerate(zip(results, self.hooks, strict=True)):
            if found.genotype is not None:
                end = EpochEnd(epoch, found.alphas, partial(state_of, i), found.metrics)
                found = replace(found, metrics=found.metrics | call_hooks(hooks, end))
            added.append(found)
        return added

    def compared(self, state: Any, results: Sequence[Found], epochs: int) -> list[Found]:
        """The results of a method that compares candidates on images; each member uses its own weights."""
        state_of, compared = _member_states(state), []
        for i, found in enumerate(results):
            if found.genotype is not None:
                own = state_of(i)
                key = jax.random.fold_in(jax.random.key(found.member.seed), epochs)
                evaluate = scorer(self.placed.search, own, key)
                genotype = self.methods[i].genotype(self.placed.search.space, own.alphas, evaluate, key)
                metrics = found.metrics | of_genotype(genotype, genotype, self.table)
                found = replace(found, genotype=genotype, metrics=metrics)
            compared.append(found)
        return compared


def _warn(reporter: Reporter, name: str, text: str) -> None:
    reporter.warning(f"{name}: {text}")


def check_members(settings: SearchConfig, members: Sequence[Member]) -> None:
    """Raise `UserError`, before anything compiles, for settings that several searches do not support."""
    if members and settings.hessian_every and processes.count() > 1:
        raise UserError(
            f"search.hessian_every is {settings.hessian_every}, but with --seeds or --sweep over "
            f"{processes.count()} processes no process holds a whole search to measure; use 0, or one process"
        )


def own_loop(method: Method) -> str:
    """The reason that searches of `method` do not fit in one program (each acts at its own time); empty if they do."""
    if method.driver is not None:
        return "runs several loops"
    return "stops by a rule" if method.stop is not None else ""


def check_method(method: Method) -> None:
    """Raise `UserError` if searches of `method` do not fit in one program (see `own_loop`)."""
    if what := own_loop(method):
        raise UserError(f"method {method.name} {what}, so several searches do not fit in one program")


def same_members(run: RunFolder, members: Sequence[Member], *, resume: bool) -> None:
    """Store the names of the run's searches; raise `UserError` if a resumed run is given other searches."""
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


def _member_states(state: Any) -> Callable[[int], Any]:
    """`member -> its state` on one device; the first call fetches the states of all members."""

    @cache
    def here() -> Any:
        return jax.device_get(state.replace(key=jax.random.key_data(state.key)))

    def member(i: int) -> Any:
        own = jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), here())
        return own.replace(key=jax.random.wrap_key_data(own.key))

    return member


def of_genotype(genotype: Genotype | None, like: Genotype, table: BenchmarkTable | None) -> dict[str, float]:
    """Skip connections and looked-up accuracies of a member; if its search diverged, NaN under the names of `like`."""
    found = genotype or like
    numbers = {**free_edges(found), **(table.test_accuracies(found) if table else {})}
    return dict.fromkeys(numbers, math.nan) if genotype is None else numbers
