"""The ImageNet stem of the supernet: both forms agree, and it is the stem of derived networks and their counts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.cli import main
from jdarts.config import SpaceConfig
from jdarts.errors import UserError
from jdarts.networks.counting import count_darts_cnn
from jdarts.ops.initializers import init_network
from jdarts.spaces import define_space

SPACE = dataclasses.replace(define_space("skips", nodes=1, normal=("skip_connect", "max_pool_3x3")), stem="imagenet")
CELLS = 3


@pytest.fixture(scope="module")
def built():
    with jax.enable_x64(True):
        network = SPACE.supernet(channels=4, cells=CELLS, classes=3)
        images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 64, 3)))
        p = {name: jnp.full(shape, 0.5) for name, shape in SPACE.alpha_shapes.items()}
        return network, init_network(network, jax.random.key(0), p, images, True), p, images


def test_both_forms_agree(built, x64):
    network, variables, p, images = built

    def loss(form):
        def of(params):
            state = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, changed = network.clone(form=form).apply(state, p, images, True, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(logits)), changed

        return jax.jit(jax.value_and_grad(of, has_aux=True))(variables["params"])

    plain, fast = loss("plain"), loss("fast")
    for a, b in zip(*map(jax.tree.leaves, (plain, fast)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_stem_divides_the_sides_by_four_and_eight(built, x64):
    network, variables, p, images = built
    _, seen = network.apply(variables, p, images, False, capture_intermediates=True, mutable=["intermediates"])
    found = seen["intermediates"]
    (s0, s1), *_ = found["stem"]["__call__"]
    assert (s0.shape, s1.shape) == ((2, 8, 16, 4), (2, 4, 8, 4))
    assert found["cell_0"]["__call__"][0].shape == (2, 4, 8, 4)
    assert found[f"cell_{CELLS - 1}"]["__call__"][0].shape == (2, 1, 2, 16)
    kernel = np.asarray(variables["params"]["stem"]["conv_1"])
    expected = np.einsum("nabc,abcd->nd", np.asarray(images)[:, 1:4, 3:6], kernel)  # pixel (1, 2) behind stride 2
    norm = found["stem"]["norm_1"]["__call__"][0]  # in evaluation mode, with running averages 0 and 1
    np.testing.assert_allclose(norm[:, 1, 2], expected / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_its_weights_are_as_many_as_those_of_derived_networks(built):
    _, variables, _, _ = built
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]["stem"]))
    counted = count_darts_cnn(
        spaces.darts_cnn.random_genotype(0), channels=4, cells=3, classes=3, stem="imagenet", image_size=64
    )
    assert size == sum(module.parameters for module in counted.modules if module.name.startswith("stem"))


def test_a_configuration_names_the_stem():
    space = spaces.configured(SpaceConfig(name="robust_s2", stem="imagenet"))
    assert (space.name, space.supernet(channels=4, cells=3, classes=2).stem) == ("robust_s2", "imagenet")
    assert spaces.configured(SpaceConfig(name="robust_s2")) is spaces.robust_s2
    with pytest.raises(UserError, match="networks of space nasbench201 have a stem of their own"):
        spaces.configured(SpaceConfig(name="nasbench201", stem="imagenet"))
    with pytest.raises(UserError, match=r"the imagenet stem and the 2 reduction cells .* divisible by 32"):
        space.check_image(48, 64, 8)


@pytest.mark.slow
def test_a_search_with_the_stem_ends_in_a_genotype(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.py").write_text(
        "from jdarts.spaces import define_space\n"
        "space = define_space('skips', nodes=1, normal=('skip_connect', 'max_pool_3x3'))\n"
    )
    (tmp_path / "c.py").write_text(
        "from jdarts import DataConfig, Experiment, SearchConfig, SpaceConfig\n"
        "config = Experiment(name='c', data=DataConfig(source='synthetic:32x32x3:2:16'), space=SpaceConfig(\n"
        "    name='space.py', channels=4, cells=3, stem='imagenet'), search=SearchConfig(epochs=1, batch_size=4))\n"
    )
    assert main(["search", "c.py", "--search.hypergradient", "first_order"]) == 0
    assert (tmp_path / "runs" / "c" / "genotype.txt").read_text()
    capsys.readouterr()
    assert main(["search", "c.py", "--name", "d", "--data.source", "synthetic:16x16x3:2:16"]) == 2
    assert "use height and width divisible by 32" in capsys.readouterr().err
