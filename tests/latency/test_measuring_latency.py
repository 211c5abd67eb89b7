"""Measurements on the device, and the command."""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from support.mobile import mobile

from jdarts import latency
from jdarts.analysis.latency_agreement import LatencyAgreement, measure_agreement
from jdarts.analysis.score_latency import measure_trainings, trade_off_figure
from jdarts.cli import main
from jdarts.genotypes import MobileLayer
from jdarts.latency.measure import repeated
from jdarts.spaces.mobile import MobileSpace

FEW = latency.Measuring(batch=2, runs=2)
MB = tuple(MobileLayer("mb", 4, kernel, stride=2) for kernel in (3, 5))
TINY = MobileSpace("tiny", "fairnas", (4,), (MB,), 8)


def test_a_slow_program_takes_the_time_that_it_takes():
    """The program sleeps for 30 ms; no run can be faster."""

    def sleep(variables, x):
        def wait(x):
            time.sleep(0.03)
            return np.asarray(x)

        return jax.pure_callback(wait, x, x)

    assert 0.03 <= FEW.seconds(sleep, {}, jnp.ones(3)) < 3

    class Sleeping(nn.Module):
        @nn.compact
        def __call__(self, x):
            return sleep({}, x)

    slow, alone = FEW.of_module(Sleeping(), (2, 2, 1)), FEW.of_module(Sleeping(), (2, 2, 1), call=False)
    assert slow >= 30 and alone >= 20, "milliseconds; a call takes much less"


def test_all_blocks_of_a_space_are_measured_and_predict_its_networks():
    seen = []
    table = latency.measure_space(
        TINY, FEW, classes=3, image_size=8, on_block=lambda done, total, key, ms: seen.append((done, total, key, ms))
    )
    assert (
        [key for _, _, key, _ in seen]
        == list(table.milliseconds)
        == list(latency.keys_of(TINY, classes=3, image_size=8))
    )
    assert [(done, total) for done, total, _, _ in seen] == [(i, 5) for i in range(1, 6)]
    assert all(ms >= 0 for ms in table.milliseconds.values()), "0 for a block that takes less than its call"
    networks = [TINY.decode((0,)), TINY.decode((1,))]
    found = measure_agreement(table, networks, FEW, classes=3, image_size=8)
    assert found.predicted.tolist() == [table.predict(network, classes=3, image_size=8) for network in networks]
    assert np.all(found.measured > 0)


def test_the_loop_of_accelerators_applies_the_program_to_what_it_returned():
    """x₀ = 1, 2; y = 3x; the first element of the next input is 10⁻⁶ times the sum of the output."""
    found = repeated(lambda w, x: w * x, 3, 3.0, jnp.array([[1.0, 2.0]]))
    x, total = np.array([1.0, 2.0]), 0.0
    for _ in range(3):
        y = 3 * x
        total += y.sum()
        x = np.array([1e-6 * y.sum(), 2.0])
    np.testing.assert_allclose(found, total, rtol=1e-6)


def test_figures_of_agreement():
    found = LatencyAgreement(np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 1.0]))
    assert found.rmse == pytest.approx(np.sqrt(10 / 3))
    assert found.bias == pytest.approx(2 / 3)
    assert found.spearman == pytest.approx(-np.sqrt(3) / 2)
    assert "3 networks of 1.67 ms" in found.summary()


def test_a_measured_network(capsys):
    text = "fairnas: conv_k3_c4 mb_k3_c4"
    assert main(["latency", text, "--image", "8", "--classes", "3", "--runs", "2"]) == 0
    assert float(capsys.readouterr().out.split()[1]) > 0
    blocks = latency.blocks_of(mobile(text), image_size=8, classes=3)
    assert len(blocks) == 3


def test_a_network_with_the_op_noise_is_measured(capsys):
    cell = "[('noise', 0), ('skip_connect', 1)]"
    text = f"Genotype(normal={cell}, normal_concat=[2], reduce={cell}, reduce_concat=[2])"
    assert main(["latency", text, "--image", "8", "--channels", "4", "--cells", "1", "--runs", "2"]) == 0
    assert float(capsys.readouterr().out.split()[-2]) > 0


CONFIG = """from jdarts.config import *
config = Experiment(
    data=DataConfig(source="digits", limit=64, crop_padding=0, flip=False),
    train=TrainConfig(epochs=1, batch_size=16, auxiliary_weight=0.0, drop_path=0.0, cutout=0),
)
"""


def test_trainings_are_measured_beside_their_scores(tmp_path, monkeypatch, capsys):
    """A narrow and a wide network of one architecture share a line of the figure."""
    monkeypatch.chdir(tmp_path)
    Path("small.py").write_text(CONFIG)
    for name, width in (("narrow", "1"), ("wide", "8")):
        options = ["--genotype", "fairnas: conv_k3_c16 mb_k3_c16", "--train.width_multiplier", width]
        assert main(["train", "small.py", *options, "--run-dir", name]) == 0
    capsys.readouterr()
    assert main(["latency", "narrow", "wide", "--batch", "64", "--runs", "2", "--figure", "both.png"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[:2]]
    assert [row[0] for row in rows] == ["narrow", "wide"]
    assert float(rows[0][1]) < float(rows[1][1]), "it has 64 times the multiply-adds"
    for row in rows:
        accuracy = json.loads(Path(row[0], "result.json").read_text())["test_accuracy"]
        assert float(row[-1]) == pytest.approx(accuracy, abs=1e-3) and row[-2] == "accuracy"
    assert Path("both.png").stat().st_size > 1000
    found = measure_trainings(["narrow", "wide"], FEW)
    assert len(trade_off_figure(found).axes[0].lines) == 1 and found[0].genotype == found[1].genotype
    for options, message in (
        (["narrow", "proxyless"], "proxyless is not a finished training"),
        (["narrow", "--cells", "3"], "a training has its sizes"),
    ):
        assert main(["latency", *options]) == 2
        assert message in capsys.readouterr().err
    Path("wide/result.json").unlink()
    assert main(["latency", "narrow", "wide"]) == 2 and "has no test score" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nasbench201"], "space nasbench201 has no costs for each layer"),
        (["22212220", "--check", "5"], "--check is an option for a space"),
        (["22212220", "--cells", "5"], "--cells is an option for a network of cells"),
        (["proxyless", "--cells", "5"], "--cells is an option for a network of cells"),
        (["proxyless", "--figure", "a.png"], "--figure is the picture of --check"),
        (["proxyless", "--check", "5", "--figure", "a.txt"], "give a name that ends in .svg or .png"),
        (["proxyless", "--check", "1"], "--check compares at least 2 networks"),
        (["proxyless", "-o", "no/such/folder.yaml"], "there is no folder no/such"),
        (["proxyless", "--table", "none.yaml"], "cannot read none.yaml"),
        (["proxyless", "--table", "a.yaml", "-o", "b.yaml"], "leave one of them out"),
        (["proxyless", "--dtype", "int8"], "use float32 or bfloat16"),
        (["nonsense"], "nonsense"),
    ],
)
def test_mistakes_are_told_in_one_line(options, message, capsys):
    assert main(["latency", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
