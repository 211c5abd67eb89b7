"""The work of `jdarts bench` and its kinds (hypergrad, seeds, input): check, measure, print, write JSON."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jdarts.bench.accuracy import NETWORKS, study_precisions, train_supernet
from jdarts.bench.ceilings import measure_ceilings
from jdarts.bench.gradients import REFERENCE, gradient_names, measure_gradients
from jdarts.bench.machine import describe_machine, machine_line
from jdarts.bench.reading import measure_reading
from jdarts.bench.seeds import measure_seeds, parse_counts
from jdarts.bench.steps import CompiledStep, choose, compile_steps, configured_name, step_names
from jdarts.bench.tables import (
    NOISE_NOTES,
    STEP_NOTES,
    against_table,
    apart_lines,
    as_json,
    ceilings_line,
    gradients_table,
    precisions_table,
    reading_lines,
    seeds_table,
    steps_table,
    waiting_lines,
)
from jdarts.bench.timing import interleave, ratio
from jdarts.bench.waiting import Waiting, measure_waiting
from jdarts.config import Experiment, as_dict
from jdarts.data import Dataset, SearchData
from jdarts.data.text import PUBLISHED, TextData, is_text, random_text
from jdarts.errors import Interrupted, UserError
from jdarts.methods import build
from jdarts.methods.loading import load_known
from jdarts.pipeline import check_text_search, open_stream_search, open_text_search, prepare_search
from jdarts.search.population import check_method
from jdarts.spaces.space import Space

__all__ = ["bench_gradients", "bench_input", "bench_noise", "bench_seeds", "bench_steps", "parse_counts", "say"]


def bench_steps(
    config: str,
    overrides: Sequence[str] = (),
    *,
    against: str | None = None,
    only: Sequence[str] | None = None,
    rounds: int = 10,
    json_file: str | None = None,
) -> dict[str, Any]:
    """Measure the steps of a configuration, print a table and return all results, ready for JSON.

    Args:
      config, overrides: as for a search; the overrides apply to both configurations.
      against: another configuration, as typed: a file or name, followed by its own overrides.
      only: names from `jdarts.bench.steps.step_names` to measure.
      rounds: number of times each step is timed, all of them in turn.
      json_file: file for the result; "-" is standard output, and the table is not printed.
    """
    check_target(json_file)
    mine = load_known(config, overrides)
    other = _load_other(against, overrides) if against is not None else None
    names = choose(step_names(mine), only)
    shared = [name for name in names if other is not None and name in step_names(other)]
    space, data = _prepare(mine)
    prepared = _prepare(other) if other is not None else None

    result: dict[str, Any] = {"benchmark": "steps", "machine": describe_machine(), "config": as_dict(mine)}
    say(machine_line(result["machine"]))
    ceilings = measure_ceilings()
    compiled = compile_steps(mine, space, _split(mine, data), names, say)
    runs = {name: step.stepper for name, step in compiled.items()}
    opponents: dict[str, CompiledStep] = {}
    if other is not None and prepared is not None:
        say(f"the other configuration, {against}:")
        opponents = compile_steps(other, prepared[0], _split(other, prepared[1]), shared, say)
        runs |= {f"other {name}": step.stepper for name, step in opponents.items()}
    seconds = interleave(runs, rounds, on_round=lambda done: say(f"round {done} of {rounds}"))

    reports = {name: step.report(seconds[name]) for name, step in compiled.items()}
    to_weight = {n: ratio(seconds[n], seconds["weight"]) for n in names if "weight" in names and n != "weight"}
    lines = [machine_line(result["machine"]), ceilings_line(ceilings), ""]
    lines += [steps_table(reports, names, ceilings, to_weight), *STEP_NOTES]
    result |= {"ceilings": ceilings, "steps": reports, "ratio_to_weight": to_weight}
    if other is not None:
        others = {name: step.report(seconds[f"other {name}"]) for name, step in opponents.items()}
        ratios = {name: ratio(seconds[f"other {name}"], seconds[name]) for name in shared}
        titles = (mine.name, other.name if other.name != mine.name else str(against))
        lines += ["", against_table(reports, others, names, ratios, titles)]
        result |= {"against": {"config": as_dict(other), "steps": others, "time_ratio": ratios}}
    if configured_name(mine) in compiled:
        loop = _waiting(mine, space, data, compiled[configured_name(mine)])
        lines += ["", waiting_lines(loop)]
        result |= {"search_loop": loop}
    return deliver(result, "\n".join(lines), json_file)


def bench_gradients(
    config: str,
    overrides: Sequence[str] = (),
    *,
    only: Sequence[str] | None = None,
    rounds: int = 5,
    json_file: str | None = None,
) -> dict[str, Any]:
    """Measure the alpha gradient of every estimator, print a table and return all results, ready for JSON."""
    check_target(json_file)
    mine = load_known(config, overrides)
    names = choose(gradient_names(), only)
    space, data = _prepare_images(mine, "jdarts bench hypergrad")
    machine = describe_machine()
    say(machine_line(machine))
    costs = measure_gradients(mine, space, data.for_search(mine.data), names=names, repetitions=rounds, say=say)
    lines = [
        machine_line(machine),
        "",
        gradients_table(costs),
        f"seconds: median (quartiles) of {rounds} rounds in which all rows run in turn. × {REFERENCE.replace('_', ' ')}"
        ": from the ratios within each round.",
        "temporary: the most memory that XLA allocates beyond weights, optimiser state and batches. process: growth of "
        "this process in the first call.",
    ]
    result = {"benchmark": "hypergrad", "machine": machine, "config": as_dict(mine), "gradients": costs}
    return deliver(result, "\n".join(lines), json_file)


def bench_noise(
    config: str,
    overrides: Sequence[str] = (),
    *,
    only: Sequence[str] | None = None,
    rounds: int = 15,
    json_file: str | None = None,
) -> dict[str, Any]:
    """Measure the error of the finite difference against its ε after `rounds` search steps, in both precisions.

    `only` selects from `jdarts.bench.accuracy.NETWORKS`: without noise, with dropout, with drop-path.
    """
    check_target(json_file)
    mine = load_known(config, overrides)
    names = choose({name: name for name in NETWORKS}, only)
    space, data = _prepare_images(mine, "jdarts bench hypergrad --noise")
    machine = describe_machine()
    say(machine_line(machine))
    say(f"{rounds} search steps in first order …")
    trained = train_supernet(mine, space, data.for_search(mine.data), steps=rounds)
    say("the exact product and the finite differences, in float32 and in float64 …")
    found = study_precisions(trained, networks={name: NETWORKS[name] for name in names})
    lines = [machine_line(machine)]
    for name, one in found.items():
        lines += [
            "",
            f"{name}: the second-order term is {one.double.term:.1%} of the hypergradient; the relative error of the "
            f"exact product in float32 is {one.single.exact.relative_error:.1e}",
            precisions_table(one),
        ]
    result = {"benchmark": "noise", "machine": machine, "config": as_dict(mine), "steps": rounds, "networks": found}
    return deliver(result, "\n".join([*lines, "", *NOISE_NOTES]), json_file)


def bench_seeds(
    config: str,
    overrides: Sequence[str] = (),
    *,
    counts: Sequence[int] = (1, 4, 8),
    rounds: int = 5,
    json_file: str | None = None,
) -> dict[str, Any]:
    """Compare several searches in one program with separate searches on one device; print and return all results."""
    check_target(json_file)
    mine = load_known(config, overrides)
    check_method(build(mine.search.method, mine.search.method_options))
    space, data = _prepare_images(mine, "jdarts bench seeds")
    machine = describe_machine()
    say(machine_line(machine))
    costs = measure_seeds(mine, space, data.for_search(mine.data), counts, rounds=rounds, say=say)
    lines = [
        machine_line(machine),
        "",
        seeds_table(costs),
        f"step: median (quartiles) of {rounds} rounds in which all rows run in turn, on one device. × apart: as many "
        "separate steps over one step of the program, within each round; above 1 the program is faster.",
        "temporary: the most memory that XLA allocates beyond states and data set. One program is vmapped over the "
        "searches. On a CPU, jdarts search --seeds by default runs them in turn (devices.members), as fast as apart.",
        "",
        apart_lines(costs),
    ]
    result = {"benchmark": "seeds", "machine": machine, "config": as_dict(mine), "programs": costs}
    return deliver(result, "\n".join(lines), json_file)


def bench_input(
    config: str,
    overrides: Sequence[str] = (),
    *,
    only: Sequence[str] | None = None,
    rounds: int = 5,
    json_file: str | None = None,
) -> dict[str, Any]:
    """Measure the rate at which this process reads streamed images, and the time that a search step waits for them."""
    check_target(json_file)
    mine = load_known(config, overrides)
    wanted = choose({"rate": "", "step": ""}, only)
    if not mine.data.source.startswith("stream:"):
        raise UserError(
            f"data.source is {mine.data.source!r}, whose images are in the memory of the device; jdarts bench input is "
            "for stream:folder and stream:tfds:NAME"
        )
    space, data = open_stream_search(mine)
    machine = describe_machine()
    say(machine_line(machine))
    images = max(256, 2 * mine.search.batch_size)
    cost = measure_reading(mine, space, data, step="step" in wanted, rounds=rounds, images=images, say=say)
    result = {"benchmark": "input", "machine": machine, "config": as_dict(mine), "reading": cost}
    return deliver(result, f"{machine_line(machine)}\n\n{reading_lines(cost)}", json_file)


def say(text: str) -> None:
    """Print progress on standard error: standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def check_target(json_file: str | None) -> None:
    """Raise `UserError` if JSON cannot be written there; called before anything is measured."""
    if json_file is None or json_file == "-":
        return
    path = Path(json_file)
    if path.is_dir() or not path.parent.is_dir():
        problem = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UserError(f"cannot write --json {json_file!r}: {problem}; give the name of a file, or - to print it")


def deliver(result: dict[str, Any], text: str, json_file: str | None) -> dict[str, Any]:
    """Print and write the result, and return it ready for JSON."""
    plain = as_json(result)
    if json_file != "-":
        print(text)
    if json_file is not None:
        encoded = json.dumps(plain, indent=2, allow_nan=False) + "\n"
        try:
            sys.stdout.write(encoded) if json_file == "-" else Path(json_file).write_text(encoded)
        except OSError as error:
            raise UserError(f"cannot write --json {json_file!r}: {error.strerror or error}") from None
    return plain


def _load_other(text: str, overrides: Sequence[str]) -> Experiment:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--against is {text!r}, which cannot be split into words: {error}") from None
    if not words:
        raise UserError("--against is empty; give a configuration, with its own overrides in the same quotes")
    return load_known(words[0], [*overrides, *words[1:]])


def _prepare_images(config: Experiment, what: str) -> tuple[Space, Dataset]:
    """The space and the images of a configuration; `what` is measured on images only."""
    if is_text(config.data.source):
        raise UserError(
            f"data.source is {config.data.source!r}, a text; {what} is for images, and jdarts bench CONFIG "
            "measures the steps of a search on text"
        )
    space, data = _prepare(config)
    assert isinstance(data, Dataset)
    return space, data


def _split(config: Experiment, data: Dataset | TextData) -> SearchData | TextData:
    """The examples of a search."""
    return data if isinstance(data, TextData) else data.for_search(config.data)


def _prepare_text(config: Experiment) -> tuple[Any, TextData]:
    """The space and the text of a configuration; without files, random words in the sizes of a published text."""
    if config.data.path or config.data.source not in PUBLISHED:
        return open_text_search(config)
    say(f"data.path is empty: random words in the sizes of {config.data.source}")
    return check_text_search(config, random_text(config.data.source))


def _prepare(config: Experiment) -> tuple[Any, Dataset | TextData]:
    if config.data.source.startswith("stream:"):
        side = config.data.streamed_side
        raise UserError(
            f"data.source is {config.data.source!r}; jdarts bench input CONFIG measures how streamed images are read, "
            f"and the steps are measured with --data.source synthetic:{side}x{side}x3:10:1000 --data.path ''"
        )
    if is_text(config.data.source):
        space, text = _prepare_text(config)
        if not space.alpha_shapes:
            raise UserError(
                f"space {space.name} has no alphas, so that there is no search step to measure; use darts_rnn"
            )
        return space, text
    try:
        return prepare_search(config)
    except UserError as error:
        if "data.path" not in str(error):
            raise
        hint = "to time shapes without files, --data.source synthetic:32x32x3:10:1000 --data.path ''"
        raise UserError(f"{error}; {hint}") from None


def _waiting(config: Experiment, space: Space, data: Dataset | TextData, step: CompiledStep) -> Waiting:
    say("the search loop …")
    try:
        return measure_waiting(config, space, _split(config, data), step.search, step.program)
    except Interrupted as error:  # the loop's own message promises a run folder to resume
        raise Interrupted(error.signal_number, "a benchmark saves nothing") from None
