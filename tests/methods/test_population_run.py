"""Several seeds in one program, run to the end: each is monitored and recorded like a separate search."""

import dataclasses

import numpy as np
import pytest
from support.one_cell import NARROW

from jdarts.analysis.monitor import monitor_hooks
from jdarts.config import AdamConfig, DataConfig, DevicesConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.devices.placement import place
from jdarts.methods import configured
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import SilentReporter
from jdarts.search import SearchRun, run_search
from jdarts.search.members import members_of
from jdarts.search.population import run_population

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x1:3:16", crop_padding=1),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(
        epochs=3,
        batch_size=4,
        hypergradient="first_order",
        hessian_every=3,
        alpha_optimizer=AdamConfig(learning_rate=5.0, weight_decay=0.0),  # so that the alphas are decided at once
    ),
)


@pytest.mark.slow
def test_a_seed_among_several_is_watched_as_one_by_itself(tmp_path):
    space, data = NARROW, load(CONFIG.data)
    many, alone = SilentReporter(), SilentReporter()
    members = members_of(CONFIG, "0,4", [])
    placement = place(DevicesConfig(backend="jit"), batch_size=4, members=2)
    folder = RunFolder.create(tmp_path / "many", CONFIG)
    asked = SearchRun(CONFIG, space, data, folder, configured(CONFIG.search), reporter=many, hooks=monitor_hooks)
    found = run_population(asked, members, placement)
    config = dataclasses.replace(CONFIG, seed=4)
    single = RunFolder.create(tmp_path / "single", config)
    run_search(dataclasses.replace(asked, config=config, folder=single, reporter=alone))

    for own, other in zip(folder.subfolder("seed-4").records("metrics"), single.records("metrics"), strict=True):
        assert own.keys() | {"seconds", "cpu_seconds", "devices", "images", "peak_memory"} == other.keys()
        for name in ("relative_entropy", "margin", "skip_dominance", "val_loss"):
            assert own[name] == pytest.approx(other[name], rel=1e-3, abs=1e-4)
        assert [w["rule"] for w in own.get("warnings", [])] == [w["rule"] for w in other.get("warnings", [])]
    spectrum = [f.records("metrics")[-1]["alpha_hessian_eigenvalues"] for f in (folder.subfolder("seed-4"), single)]
    assert len(spectrum[0]) == 18
    np.testing.assert_allclose(*spectrum, atol=1e-3 * max(spectrum[1]))

    assert any(text.startswith("epoch 1: the alphas are nearly decided after 1 of 3 epochs") for text in alone.warnings)
    assert sorted(text.split(":")[0] for text in many.warnings if "nearly decided" in text) == ["seed-0", "seed-4"]
    assert {f"seed-4: {text}" for text in alone.warnings} == {t for t in many.warnings if t.startswith("seed-4")}
    last = folder.records("metrics")[-1]
    margins = [folder.subfolder(m.name).records("metrics")[-1]["margin"] for m in members]
    assert last["margin"] == pytest.approx(np.mean(margins)) and last["margin_std"] == pytest.approx(
        np.std(margins, ddof=1)
    )
    assert [f.genotype is not None for f in found] == [True, True]
