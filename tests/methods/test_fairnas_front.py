"""FairNAS' NSGA-II: the front against enumeration, a limit, and the records of a search."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from support.chains import S5

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.derivation import pareto_front
from jdarts.errors import UserError
from jdarts.genotypes import parse_result
from jdarts.methods import configured
from jdarts.networks.mobile.size import count_mobile
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, run_search

DIRECTIONS = ("maximize", "minimize", "minimize")
EVERYTHING = list(itertools.product(range(3), range(4), range(4)))


def values(choices):
    size = count_mobile(S5.decode(choices), classes=3, image_size=8)
    benefit = sum((k + 1) * (choice + 0.3) ** 0.7 for k, choice in enumerate(choices))
    return benefit, float(size.macs), float(size.parameters)


def front_of(scored):
    """The undominated ones of all networks, by comparing each with each."""

    def beats(a, b):
        better = (a[0] >= b[0], a[1] <= b[1], a[2] <= b[2])
        return all(better) and a != b

    return {c for c, v in scored.items() if not any(beats(other, v) for other in scored.values())}


@pytest.mark.parametrize("limit", [None, 7_000])
def test_the_front_of_a_small_space_is_found(limit):
    """480 candidates in a space of 48 networks, none scored twice or above the limit; the front by enumeration."""
    asked = []

    def score(choices):
        asked.append(choices)
        return values(choices)

    excess = None if limit is None else lambda choices: values(choices)[1] - limit
    found = pareto_front(S5, score, DIRECTIONS, population=24, generations=20, seed=1, excess=excess)
    legal = {c: values(c) for c in EVERYTHING if limit is None or values(c)[1] <= limit}
    assert {each.choices for each in found} == front_of(legal) and len(found) > 2
    assert len(set(asked)) == len(asked) and set(asked) <= set(legal)
    benefits = [each.values[0] for each in found]
    assert benefits == sorted(benefits, reverse=True) and benefits[0] == max(v[0] for v in legal.values())
    again = pareto_front(S5, values, DIRECTIONS, population=24, generations=20, seed=1, excess=excess)
    assert again == found


def test_a_limit_that_nothing_keeps():
    with pytest.raises(UserError, match="none of 4 candidates keeps the limit"):
        pareto_front(S5, values, DIRECTIONS, population=2, generations=2, seed=0, excess=lambda choices: 1.0)


def test_a_search_leaves_its_front_in_the_run_folder(tmp_path):
    """Sizes by another count, accuracies of whole images, the result in front; a second end does not double it."""
    options = ("generations=3", "population=4", "recalibration=1", "most_macs=7000")
    config = Experiment(
        data=DataConfig(source="synthetic:8x8x3:3:48", stratify=True),
        space=SpaceConfig(name="mobile_s5"),
        search=SearchConfig(method="fairnas", method_options=options, epochs=1, batch_size=8),
    )
    folder = RunFolder.create(tmp_path / "run", config)
    run = SearchRun(config, S5, load(config.data), folder, configured(config.search), False, SilentReporter())
    genotype, _ = run_search(run)
    run_search(dataclasses.replace(run, folder=RunFolder.open(tmp_path / "run", config), resume=True))
    front = [json.loads(line) for line in (tmp_path / "run" / "front.jsonl").read_text().splitlines()]
    assert front[0]["genotype"] == genotype.to_text()
    assert [record["step"] for record in front] == list(range(len(front)))
    for record in front:
        size = count_mobile(parse_result(record["genotype"]), classes=3, image_size=8)
        assert (record["macs"], record["parameters"]) == (size.macs, size.parameters) and size.macs <= 7_000
        assert np.isclose(record["accuracy"] * 24, round(record["accuracy"] * 24), atol=1e-4)
    assert len(front) == len(front_of({r["genotype"]: (r["accuracy"], r["macs"], r["parameters"]) for r in front}))
