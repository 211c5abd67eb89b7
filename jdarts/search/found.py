"""Results of the searches of one program: single results, mean and standard deviation."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.methods import build
from jdarts.networks.reductions import untrained_kind
from jdarts.runs.folder import RunFolder
from jdarts.search.members import Member


@dataclass(frozen=True)
class Found:
    """The result of one of several searches; `genotype` is None if the search diverged."""

    member: Member
    genotype: Genotype | None
    metrics: dict[str, float]
    alphas: dict[str, Any]


def summary(results: Sequence[Found]) -> dict[str, float]:
    """Mean and sample standard deviation of every metric over the members that did not diverge, and their number.

    If the members differ only in their seeds, the deviation shows how much a search depends on chance. With swept
    values it also contains the effect of the values.
    """
    alive = [found for found in results if found.genotype is not None]
    record: dict[str, float] = {}
    names = dict.fromkeys(name for found in (alive or results) for name in found.metrics)
    for name in names:
        if not all(isinstance(found.metrics.get(name), (int, float)) for found in alive):
            continue  # lists, and measurements that only some members have
        numbers = np.array([found.metrics[name] for found in alive])
        record[name] = float(numbers.mean()) if len(alive) else math.nan
        record[f"{name}_std"] = float(numbers.std(ddof=1)) if len(alive) > 1 else math.nan
    return {**record, "members": len(results), "diverged": len(results) - len(alive)}


def describe(results: Sequence[Found]) -> dict[str, Any]:
    """The content of `members.json`: all members, their summary, and one summary per combination of swept values."""
    by_values: dict[tuple, list[Found]] = {}
    for found in results:
        by_values.setdefault(found.member.values, []).append(found)
    return {
        "members": [
            {
                "name": found.member.name,
                "seed": found.member.seed,
                **dict(found.member.values),
                "genotype": None if found.genotype is None else found.genotype.to_text(),
                **found.metrics,
            }
            for found in results
        ],
        "summary": summary(results),
        "by_values": [{**dict(values), **summary(group)} for values, group in by_values.items()],
    }


def untrained(config: Experiment, kinds: Iterable[str]) -> str:
    """The reason that the search of `config` trains no normal cell; empty if it trains one or the space has none.

    `kinds` are the kinds of cells of the space. Methods that search in stages have their own numbers of cells; a stage
    with fewer than three cells chooses the candidates of the normal cell by noise.
    """
    try:
        method = build(config.search.method, config.search.method_options)
    except UserError:  # in a report, if the user's file with the method no longer exists
        return untrained_kind(config.space.cells, kinds)
    if stages := method.options.get("cells"):
        return untrained_kind(min(stages), kinds, f"the smallest number in the option cells of {method.name}")
    return untrained_kind(config.space.cells, kinds)


def genotype_file(config: Experiment, genotype: Genotype) -> str:
    """The content of `genotype.txt`: the genotype, after a comment if its normal cell was not searched."""
    cells = genotype.cells if isinstance(genotype, Genotype) else {}  # a chain of layers has none
    reason = untrained(config, cells) if "reduce" in cells else ""
    comment = f"# The normal cell is noise from the initialisation: {reason}.\n" if reason else ""
    return f"{comment}{genotype.to_text()}\n"


def genotype_record(step: int, epoch: int, genotype: Genotype, alphas: dict[str, Any]) -> dict[str, Any]:
    """A line of `genotypes.jsonl`: the genotype derived from the alphas of an epoch."""
    return {"step": step, "epoch": epoch, "genotype": genotype.to_text(), "alphas": alphas}


def append_result(folder: RunFolder, genotype: Genotype) -> None:
    """Append the result of a search that compared candidates at its end to `genotypes.jsonl`.

    It may differ from the genotype that is derived from the alphas of the last epoch alone.
    """
    records = folder.records("genotypes")
    if records and records[-1]["genotype"] != genotype.to_text():
        folder.append("genotypes", {**records[-1], "genotype": genotype.to_text(), "compared": True})


def write_front(folder: RunFolder, evaluate: Any) -> None:
    """Write `front.jsonl`, the candidates that a derivation for several objectives left in `evaluate`, if any.

    Each line has the genotype, and its accuracy with the shared weights, multiply–accumulates and parameters.
    """
    front = getattr(evaluate, "front", ())
    if front:
        folder.truncate("front", after_step=-1)
    for number, record in enumerate(front):
        folder.append("front", {"step": number, **record})
