"""The study of the finite difference: it measures the estimators themselves, also on real images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.hypergrad_problems import CHAINS, mlp_loss, mlp_problem, warm_state

from jdarts import hypergrad
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.hypergrad.study import compare, difference_study, flat, float64_reference
from jdarts.spaces import define_space


def point(dtype=np.float64, **options):
    w, alphas, make = mlp_problem(dtype=dtype, **options)
    optimizer = CHAINS["darts"]()
    w, state = warm_state(optimizer, w, alphas, [make(10)])
    return optimizer, (w, alphas, state, make(0), make(1))


def test_it_measures_the_estimators_themselves(x64):
    optimizer, arguments = point(dropout=True)
    epsilons = (1e-3, 0.1)
    study = difference_study((mlp_loss, mlp_loss), optimizer, arguments, epsilons=epsilons, compile=jax.jit)
    exact = flat(jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))(*arguments)[0])
    assert study.exact.relative_error < 1e-14 and study.exact.cosine > 1 - 1e-14
    for noise in ("same", "legacy"):
        for epsilon, found in zip(epsilons, study.differences[noise], strict=True):
            estimator = hypergrad.finite_difference(mlp_loss, mlp_loss, optimizer, epsilon=epsilon, noise=noise)
            estimate = flat(jax.jit(estimator)(*arguments)[0])
            error, cosine = compare(estimate, exact)
            np.testing.assert_allclose(found.relative_error, error, rtol=1e-6, atol=1e-14)
            np.testing.assert_allclose(found.cosine, cosine, rtol=1e-12)
            np.testing.assert_allclose(found.term_error * study.term, error, rtol=1e-6, atol=1e-14)
    assert study.without.term_error == pytest.approx(1, abs=1e-12), "d lacks exactly the second-order term"
    assert study.without.relative_error == pytest.approx(study.term, rel=1e-9)
    assert study.best()[0] == 1e-3 and study.best()[1] == study.differences["same"][0]


def test_the_reference_of_float32_arguments_is_their_float64_value():
    optimizer, arguments = point(np.float32)
    study = difference_study((mlp_loss, mlp_loss), optimizer, arguments, epsilons=(3.0,), compile=jax.jit)
    assert 1e-9 < study.exact.relative_error < 1e-5, "float32 against float64: rounding, no more and no less"
    d, exact = float64_reference(mlp_loss, mlp_loss, optimizer, arguments, compile=jax.jit)
    with jax.enable_x64(True):
        precise = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x, arguments)
        again = flat(jax.jit(hypergrad.unrolled(mlp_loss, mlp_loss, optimizer))(*precise)[0])
    np.testing.assert_allclose(exact, again, rtol=1e-12)
    assert np.linalg.norm(exact - d) > 0
    rough = difference_study(
        (mlp_loss, mlp_loss), optimizer, arguments, epsilons=(3.0,), precise=False, compile=jax.jit
    )
    assert rough.exact.relative_error == 0
    np.testing.assert_allclose(
        rough.differences["same"][0].relative_error, study.differences["same"][0].relative_error, rtol=0.05
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epsilons": ()}, "epsilons"),
        ({"epsilons": (0.1, 0.0)}, "positive"),
        ({"epsilons": (0.1,), "noise": ("fresh",)}, "legacy"),
    ],
)
def test_bad_input_is_refused_before_anything_is_traced(options, expected):
    def untouched(*arguments):
        raise AssertionError("traced")

    with pytest.raises(UserError, match=expected):
        difference_study((untouched, untouched), CHAINS["sgd"](), (None,) * 5, **options)


@pytest.mark.slow
def test_on_real_images_the_exact_product_wins_at_every_epsilon(cifar10_folder):
    """A supernet trained for some steps on CIFAR-10: plain, with dropout, with drop-path (float32)."""
    from jdarts.bench.accuracy import EPSILONS, study_networks, train_supernet

    config = Experiment(
        data=DataConfig(source="cifar10", path=str(cifar10_folder), limit=200),
        space=SpaceConfig(channels=4, cells=1),
        search=SearchConfig(epochs=2, batch_size=8, hypergradient="first_order"),
    )
    data = load(config.data).for_search(config.data)
    space = define_space("two_nodes", nodes=2, normal=("skip_connect", "sep_conv_3x3"))
    trained = train_supernet(config, space, data, steps=15)
    assert np.mean(trained.train_losses[-5:]) < np.mean(trained.train_losses[:5]), "it must have learned something"
    studies = study_networks(trained)
    assert set(studies) == {"plain", "dropout", "drop-path"}
    assert max(EPSILONS) / min(EPSILONS) == pytest.approx(1e6), "six decades"
    for name, study in studies.items():
        same = [deviation.relative_error for deviation in study.differences["same"]]
        assert study.term > 1e-3, "the second-order term must matter for the comparison to mean something"
        # Rounding may put one ReLU of thousands on the other side of its kink; short of that the error is 1e-6.
        assert study.exact.relative_error < min(1e-3, min(same) / 3), (name, study.exact, same)
        assert study.exact.cosine > max(deviation.cosine for deviation in study.differences["same"])
        best = int(np.argmin(same))
        assert 0 < best < len(same) - 1, "the error must fall and rise again"
        assert same[0] > 3 * same[best] and same[-1] > 1.5 * same[best], (name, same)
        if name != "plain":
            legacy = [deviation.relative_error for deviation in study.differences["legacy"]]
            usual = study.epsilons.index(0.01)
            assert legacy[usual] > 5 * same[usual], (name, legacy, same)
            assert study.differences["legacy"][usual].term_error > 3, "the second-order term must be lost in the noise"
            np.testing.assert_allclose(legacy[0] / legacy[1], 10, rtol=0.2, err_msg="noise divided by 2ε grows as 1/ε")
