"""The ResNet-β experiment: its gradient identity, the effect of β, and the command on the real digits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import cli
from jdarts.analysis.resnet_beta import BetaConfig, ResNet, residual
from jdarts.errors import UserError
from jdarts.losses import cross_entropy


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_slope_through_n_linear_blocks_is_a_plus_beta_to_the_n(beta):
    a, n = 0.3, 7

    def network(x):
        for _ in range(n):
            x = residual(x, lambda x: a * x, beta)
        return x

    assert float(jax.grad(network)(2.0)) == pytest.approx((a + beta) ** n, rel=1e-5)


def test_beta_zero_cuts_every_skip_and_each_block_can_have_its_own():
    images = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    shared = BetaConfig(blocks=(1, 2), channels=4)
    network = ResNet(shared, 0.5, 3)
    variables = network.init(jax.random.key(1), images, True)
    assert variables["params"]["beta"].shape == (1,) and float(variables["params"]["beta"][0]) == 0.5
    skips = [name for name in variables["params"] if name.endswith("_skip")]
    assert skips == ["stage1_block0_skip"], "a projection where the shape changes, nowhere else"
    own = ResNet(BetaConfig(blocks=(1, 2), channels=4, per_block=True), 0.0, 3)
    variables = own.init(jax.random.key(1), images, True)
    assert variables["params"]["beta"].shape == (3,)

    def logits(params):
        return own.apply({"params": params, "batch_stats": variables["batch_stats"]}, images, False)

    changed = jax.tree.map(lambda x: x, variables["params"])
    changed["stage1_block0_skip"] = jax.tree.map(lambda x: x + 1, changed["stage1_block0_skip"])
    np.testing.assert_array_equal(logits(variables["params"]), logits(changed))
    changed["beta"] = jnp.array([0.0, 1.0, 0.0])
    assert np.abs(np.asarray(logits(variables["params"]) - logits(changed))).max() > 1e-3


def test_beta_can_leave_zero():
    """The gradient by β at 0 equals central differences and is not 0: skips of weight 0 can grow."""
    network = ResNet(BetaConfig(blocks=(2, 1), channels=4), 0.0, 3)
    images, labels = jax.random.normal(jax.random.key(0), (8, 8, 8, 1)), jnp.arange(8) % 3
    variables = network.init(jax.random.key(1), images, True)
    with jax.enable_x64(True):
        variables, images = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (variables, images))

        @jax.jit
        def loss(beta):
            params = {**variables["params"], "beta": beta[None]}
            logits, _ = network.apply({**variables, "params": params}, images, True, mutable=["batch_stats"])
            return cross_entropy(logits, labels)

        slope, step = float(jax.grad(loss)(jnp.float64(0))), 1e-6
        difference = float(loss(jnp.float64(step)) - loss(jnp.float64(-step))) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-4) and abs(slope) > 1e-3


@pytest.mark.slow
def test_the_command_writes_numbers_and_figures(tmp_path, capsys):
    options = ["--source", "digits", "--limit", "256", "--shrink", "2", "--blocks", "1,1", "--channels", "4"]
    options += ["--epochs", "2"]
    assert cli.main(["resnet-beta", *options, "--betas", "0,1", "--batch-size", "64", "-o", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.strip().endswith("resnet_beta.json")
    found = json.loads((tmp_path / "b/resnet_beta.json").read_text())
    assert [run["initial"] for run in found["runs"]] == [0, 1]
    read = found["settings"]["data"]
    assert (read["source"], read["limit"], read["shrink"], read["crop_padding"]) == ("digits", 256, 2, 2)
    for run in found["runs"]:
        assert len(run["betas"]) == 3 and run["betas"][0] == [run["initial"]] and run["betas"][-1] != run["betas"][0]
        assert run["train_loss"][1] < run["train_loss"][0] and 0 <= run["test_accuracy"] <= 1
    for suffix in ("svg", "png"):
        assert (tmp_path / f"b/resnet_beta.{suffix}").stat().st_size > 1000


def test_mistakes(capsys, tmp_path):
    with pytest.raises(UserError, match="blocks is"):
        BetaConfig(blocks=(0,))
    with pytest.raises(UserError, match="betas is empty"):
        BetaConfig(betas=())
    assert cli.main(["resnet-beta", "--betas", "0,nan"]) == 2
    assert cli.main(["resnet-beta", "--learning-rate", "-1"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "'nan' is not a finite number" in first
    assert "'-1'" in second and "above 0" in second
    with pytest.raises(UserError, match="every initial value must be a finite number"):
        BetaConfig(betas=(0.0, float("nan")))
    with pytest.raises(UserError, match="learning_rate is -1"):
        BetaConfig(learning_rate=-1.0)
    assert cli.main(["resnet-beta", "--betas", "a,b"]) == 2
    assert "'a' is not a finite number" in capsys.readouterr().err
    assert cli.main(["resnet-beta", "--path", str(tmp_path / "none"), "-o", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
