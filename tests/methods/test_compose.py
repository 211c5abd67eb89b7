"""Composition of methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import methods, spaces
from jdarts.config import Experiment, SearchConfig
from jdarts.errors import UserError
from jdarts.methods import Method, compose, register
from jdarts.methods.registry import _METHODS, with_known_method
from jdarts.schedules import Clock

NOW = Clock(jnp.float32(3), 50)
KEY = jax.random.key(0)


def test_a_composition_makes_the_choices_of_all():
    made = compose(methods.pc_darts(parts=2), methods.darts_minus(), methods.sdarts_rs())
    assert made.name == "pc_darts+darts_minus+sdarts_rs"
    assert made.edge.partial_channels == 2 and made.edge.auxiliary_skip == "identity"
    assert set(made.edge_values) == {"auxiliary_skip"} and made.edge_normalisation
    assert made.perturb is not None and made.alpha_start == 15 and made.hypergradient == "first_order"
    built = methods.build("pc_darts+darts_minus+sdarts_rs", ("parts=2", "darts_minus.beta=0.5"))
    assert float(built.edge_values["auxiliary_skip"](Clock(jnp.float32(0), 50))) == 0.5


@pytest.mark.parametrize(
    ("a", "b", "seam"),
    [
        (methods.gdas(), methods.snas(), "relaxation"),
        (methods.sdarts_rs(), methods.sdarts_adv(), "perturbation"),
        (methods.darts_minus(), methods.darts_minus(auxiliary="conv1"), "auxiliary_skip"),
        (methods.darts(), methods.darts_minus(), "hypergradient"),
        (methods.p_darts(), methods.darts_pt(), "driver"),
        (methods.darts_plus(), methods.darts_es(), "hypergradient"),
    ],
)
def test_a_clash_names_the_seam_and_both_methods(a, b, seam):
    with pytest.raises(UserError, match=seam) as caught:
        compose(a, b)
    assert a.name in str(caught.value) and b.name in str(caught.value)


def test_single_level_has_no_order():
    with pytest.raises(UserError, match="at once"):
        compose(Method("a", "", "", order="weights_first"), methods.single_darts())


def test_regularisers_add_up():
    made = compose(methods.beta_darts(), methods.drnas(kl=0.5))
    space = spaces.nasbench201
    alphas = space.init_alphas(KEY, 1.0)
    parts = [m.penalty(space, alphas, KEY, NOW) for m in (methods.beta_darts(), methods.drnas(kl=0.5))]
    np.testing.assert_allclose(made.penalty(space, alphas, KEY, NOW), sum(parts), rtol=1e-6)


def test_edge_normalisation_goes_with_any_relaxation():
    made = compose(methods.pc_darts(), methods.single_darts(batches="two_splits"))
    space = spaces.darts_cnn
    alphas = made.initial_alphas(space, KEY, 1e-3)
    assert {name: a.shape for name, a in alphas.items()} == {
        "normal": (14, 8),
        "reduce": (14, 8),
        "normal_edges": (14,),
        "reduce_edges": (14,),
    }
    p = made.op_weights(space, alphas, KEY, NOW)
    np.testing.assert_allclose(p["normal"], jax.nn.sigmoid(alphas["normal"]), rtol=1e-6)
    np.testing.assert_allclose(np.sum(p["reduce_edges"]), 4, rtol=1e-6)


def test_the_edge_weights_count_in_the_derivation():
    method = methods.pc_darts()
    space = spaces.robust_s2
    alphas = method.initial_alphas(space, KEY, 0.0)
    edges = jnp.zeros(14).at[jnp.array([11, 13])].set(3.0)  # 2→5 and 4→5
    genotype = method.genotype(space, {**alphas, "normal_edges": edges})
    assert sorted(source for _, source in genotype.normal.nodes[3]) == [2, 4]


def test_a_method_of_ones_own_is_registered_by_its_name():
    @register
    def halved(*, factor: float = 0.5) -> Method:
        """Softmax times a factor."""
        return Method("halved", "nobody", "a test", relax=lambda a, *_: {c: factor * x for c, x in a.items()})

    made = methods.build("halved", ("factor=0.25",))
    assert float(made.op_weights(spaces.nasbench201, {"cell": jnp.ones((6, 5))}, KEY, NOW)["cell"][0, 0]) == 0.25
    assert with_known_method(Experiment(search=SearchConfig(method="halved")))
    del _METHODS["halved"]
    with pytest.raises(UserError, match="unknown method 'halved'"):
        with_known_method(Experiment(search=SearchConfig(method="halved")))


def test_options_of_a_method_must_have_names_and_defaults():
    with pytest.raises(UserError, match="keyword-only"):

        @register
        def positional(factor: float) -> Method:
            """Wrong."""
            return Method("positional", "", "")
