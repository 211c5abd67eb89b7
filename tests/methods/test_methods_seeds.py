"""`--seeds` with every method of the NAS-Bench-201 comparison: each seed ends like a separate search, bit for bit.

One cell with few candidates, so that a method compiles in seconds; the second compilation comes from a cache.
"""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest
from support.one_cell import OneCellSpace

from jdarts.config import AdamConfig, DataConfig, DevicesConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.derivation import all_architectures
from jdarts.devices.placement import place
from jdarts.errors import UserError
from jdarts.methods import configured
from jdarts.runs.folder import RunFolder
from jdarts.search import SearchRun, run_search
from jdarts.search.members import members_of
from jdarts.search.population import own_loop, run_population
from jdarts.search.separate import run_separately
from jdarts.spaces import nasbench201

SPACE = OneCellSpace(cell=(("none", "skip_connect", "nor_conv_1x1"),) * 6)
METHODS = {
    "darts (first order)": ("darts", ("order=first",)),
    "darts (second order)": ("darts", ()),
    "single_darts": ("single_darts", ()),
    "darts_minus": ("darts_minus", ()),
    "gdas": ("gdas", ()),
    "pc_darts": ("pc_darts", ("parts=2", "alpha_start=1")),
    "rsps": ("rsps", ("candidates=3",)),
    "setn": ("setn", ("candidates=3",)),
}


def experiment(method: str, options: tuple[str, ...] = (), **search) -> Experiment:
    return Experiment(
        data=DataConfig(source="synthetic:8x8x1:3:32", crop_padding=1),
        space=SpaceConfig(name="nasbench201", channels=4, cells=1),
        search=SearchConfig(
            method=method,
            method_options=options,
            epochs=2,
            batch_size=8,
            alpha_optimizer=AdamConfig(learning_rate=0.1),
            **search,
        ),
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_seed_ends_as_by_itself(name, tmp_path):
    config = experiment(*METHODS[name])
    members, data = members_of(config, "0,5", []), load(config.data)
    placement = place(DevicesConfig(), batch_size=8, members=2, devices=jax.devices()[:1])
    method = configured(config.search)
    both = SearchRun(config, SPACE, data, RunFolder.create(tmp_path / "both", config), method)
    found = run_population(both, members, placement)
    lone = RunFolder.create(tmp_path / "lone", config)
    genotype, state = run_search(dataclasses.replace(both, config=dataclasses.replace(config, seed=5), folder=lone))
    assert state is not None

    assert found[1].genotype == genotype
    for cell, alphas in state.alphas.items():
        np.testing.assert_array_equal(found[1].alphas[cell], alphas)
    own = RunFolder(tmp_path / "both" / "seed-5")
    for record, expected in zip(own.records("metrics"), lone.records("metrics"), strict=True):
        for metric in ("train_loss", "train_accuracy", "val_loss", "skip_connections"):
            assert record[metric] == expected[metric], metric
        assert record.get("held_out_accuracy") == expected.get("held_out_accuracy")
        assert ("held_out_accuracy" in record) == (name == "single_darts")
    assert own.records("genotypes")[-1]["genotype"] == lone.records("genotypes")[-1]["genotype"] == genotype.to_text()
    assert (
        own.records("metrics")[-1]["val_loss"]
        != RunFolder(tmp_path / "both" / "seed-0").records("metrics")[-1]["val_loss"]
    )


def test_random_search_of_several_seeds(tmp_path):
    """Each seed has its own loop, and --resume does not run a finished seed again."""
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["arch", "c10_valid_12", "c10_test_200"])
        for i, ops in enumerate(all_architectures()):
            rows.writerow([nasbench201.genotype(ops).to_text(), (i * 7919) % 15_625 / 200, i / 200])
    config = experiment("random_search", ("samples=4",), benchmark_table=str(table))
    data, members = load(config.data), members_of(config, "2", [])
    placement = place(DevicesConfig(), batch_size=8, members=2, devices=jax.devices()[:1])
    run = RunFolder.create(tmp_path / "run", config)
    asked = SearchRun(config, nasbench201, data, run, configured(config.search))
    found = run_separately(asked, members, placement)
    for i, one in enumerate(found):
        own = dataclasses.replace(config, seed=i)
        lone = RunFolder.create(tmp_path / f"lone-{i}", own)
        expected, _ = run_search(dataclasses.replace(asked, config=own, folder=lone))
        assert one.genotype == expected
        samples = json.loads((run.path / f"seed-{i}" / "samples.json").read_text())
        best = max(samples, key=lambda sample: sample["c10_valid_12"])
        assert expected.to_text() == best["genotype"] and len(samples) == 4
    assert found[0].genotype != found[1].genotype
    written = json.loads((run.path / "members.json").read_text())
    assert written["summary"]["benchmark_c10_accuracy"] == pytest.approx(
        sum(member["benchmark_c10_accuracy"] for member in written["members"]) / 2
    )

    other = nasbench201.random_genotype(9)
    (run.path / "seed-1" / "genotype.txt").write_text(other.to_text() + "\n")
    (run.path / "seed-0" / "genotype.txt").unlink()
    again = run_separately(dataclasses.replace(asked, resume=True), members, placement)
    assert [one.genotype for one in again] == [found[0].genotype, other]


def test_who_needs_loops_of_its_own_and_who_may_take_turns():
    from jdarts.methods import build

    assert [name for name in ("darts", "gdas", "random_search", "darts_plus", "p_darts") if own_loop(build(name))] == [
        "random_search",
        "darts_plus",
        "p_darts",
    ]
    with pytest.raises(UserError, match=r"devices\.members is 'in_turn' on 2 devices"):
        place(DevicesConfig(members="in_turn", data=2), batch_size=8, members=2, devices=jax.devices() * 2)
