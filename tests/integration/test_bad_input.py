"""User mistakes: one clear line, exit code 2, nothing compiled, nothing written."""

import jax
import pytest

from jdarts.cli import main

CONFIG = """
from jdarts.config import *
config = Experiment(
    name="small",
    data=DataConfig(source="synthetic:8x8x1:4:160"),
    space=SpaceConfig(name="robust_s3", channels=4, cells=3),
    search=SearchConfig(epochs=1, batch_size=8),
    train=TrainConfig(epochs=1, batch_size=8, channels=4, cells=3, auxiliary_weight=0),
)
"""

MISTAKES = {
    "unknown key": (["--search.epoch", "3"], "search.epochs"),
    "wrong type": (["--search.epochs", "ten"], "ten"),
    "unknown choice": (["--search.hypergradient", "unroled"], "unrolled"),
    "unknown space": (["--space.name", "dart_cnn"], "darts_cnn"),
    "unknown data": (["--data.source", "digit"], "digits"),
    "missing data": (["--data.source", "cifar10", "--data.path", "nowhere"], "nowhere"),
    "not prepared": (["--data.source", "tfds:cifar10", "--data.path", "nowhere"], "cifar10"),
    "odd channels": (["--space.channels", "5"], "even"),
    "odd channels in training": (["--train.channels", "5"], "even"),
    "image too small": (["--data.source", "synthetic:6x6x1:4:160"], "divisible by 4"),
    "no normal cell": (["--space.cells", "2"], "space.cells is 2, so all cells are reduction cells"),
    "weights beyond the memory": (["--space.channels", "60000"], "the supernet needs"),
    "no epoch for the alphas": (["--method", "pc_darts"], "search.epochs is 1, but pc_darts begins to move the alphas"),
    "fractions": (["--data.train_fraction", "0.8"], "1.3"),
    "batch": (["--search.batch_size", "100"], "100"),
    "batch in training": (["--train.batch_size", "1000"], "1000"),
    "auxiliary head": (["--train.auxiliary_weight", "0.4"], "auxiliary"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "small.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JDARTS_CACHE", "")

    def refuse(*args, **kwargs):
        raise AssertionError("a mistake must be found before anything is initialised or compiled")

    monkeypatch.setattr("jdarts.search.single_loop.make_search", refuse)
    monkeypatch.setattr("jdarts.train.driver.PlacedTraining", refuse)
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_run_is_one_line(place, capsys, name):
    overrides, expected = MISTAKES[name]
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    assert main(["run", "small.py", *overrides]) == 2
    errors = capsys.readouterr().err.strip()
    assert len(errors.splitlines()) == 1 and expected in errors, errors
    assert not (place / "runs").exists()
    assert not compiled
    jax.monitoring.clear_event_listeners()


@pytest.mark.parametrize(
    ("genotype", "expected"),
    [
        ("DARTS_V3", "DARTS_V2"),
        (
            "Genotype(normal=[('sep_conv_4x4', 0)], normal_concat=[2], reduce=[], reduce_concat=[])",
            "did you mean 'sep_conv_",
        ),
        ("Genotype(normal=[('sep_conv_3x3', 0)", "expected"),
    ],
)
def test_a_wrong_genotype_is_one_line(place, capsys, genotype, expected):
    assert main(["train", "small.py", "--genotype", genotype]) == 2
    errors = capsys.readouterr().err.strip()
    assert len(errors.splitlines()) == 1 and expected in errors, errors
    assert not (place / "runs").exists()
