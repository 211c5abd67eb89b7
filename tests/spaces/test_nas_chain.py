import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes.chain import ChainArchitecture
from jdarts.networks import chain
from jdarts.networks.chain import ChainNetwork, count_chain, joined
from jdarts.ops.initializers import init_network
from jdarts.spaces.decisions import is_canonical, uniform
from jdarts.spaces.nas_chain import ChainSpace, nas_chain, nas_chain_strides

PLAIN = ChainSpace("plain", layers=3, skips=False)
TEXT = "3x3x24s1x1< 5x1x36s2x1<0 1x7x48s1x1< 7x7x64s1x3<0,2"


@pytest.mark.parametrize("space", [nas_chain, nas_chain_strides, PLAIN], ids=lambda space: space.name)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_encode_and_decode_are_inverse(space, seed):
    choices = uniform(space, np.random.default_rng(seed))
    architecture = space.decode(choices)
    assert space.encode(architecture) == choices and is_canonical(space, choices)
    assert ChainArchitecture.read(architecture.to_text()) == architecture


def test_sizes_are_the_published_ones():
    """64 choices a layer without strides, 576 with them; a bit for each pair of layers."""
    assert ChainSpace("one", layers=1, skips=False).size == 64
    assert ChainSpace("one", layers=1, strides=True).size == 576
    assert PLAIN.size == 64**3 and ChainSpace("three", layers=3).size == 64**3 * 2**3
    assert spaces.get_decisions("nas_chain") is nas_chain
    assert [layer.inputs for layer in PLAIN.decode((0,) * 9).layers] == [(), (0,), (1,)]


def test_size_of_a_network():
    """Strides round up; the classifier reads layers 1 and 3, which nobody reads."""
    architecture = ChainArchitecture.read(TEXT)
    assert architecture.unread == (1, 3)
    count = count_chain(architecture, image_size=(8, 8))
    weights = [9 * 3 * 24, 5 * 24 * 36, 7 * 3 * 48, 49 * (24 + 48) * 64]
    places = [64, 4 * 8, 64, 8 * 3]
    filters = [24, 36, 48, 64]
    sizes = [(module.parameters, module.macs) for module in count.modules]
    expected = [(w + 2 * f, w * p) for w, f, p in zip(weights, filters, places, strict=True)]
    assert sizes == [*expected, (101 * 10, 100 * 10)]


def test_which_outputs_a_layer_reads(monkeypatch):
    """With convolutions that only mark the layer, each layer sees the numbers of its inputs."""
    seen = []

    def marking(filters, norm, kernel, stride, *, activated, name):
        def apply(x, train):
            seen.append(sorted({int(value) for value in np.ravel(x)}))
            return jnp.full((1, 2, 2, 1), len(seen), jnp.float32)

        return apply

    monkeypatch.setattr(chain, "ConvNorm", marking)
    network = ChainNetwork(ChainArchitecture.read(TEXT), 2)
    network.init(jax.random.key(0), jnp.zeros((1, 2, 2, 3)), False)
    assert seen == [[0], [1], [0], [1, 3]]


def test_smaller_outputs_are_padded_with_zeros():
    a, b = jnp.ones((1, 2, 3, 1)), 2 * jnp.ones((1, 3, 2, 2))
    found = np.asarray(joined([a, b]))
    assert found.shape == (1, 3, 3, 3)
    np.testing.assert_array_equal(found[0, :, :, 0], [[1, 1, 1], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(found[0, :, :, 2], [[2, 2, 0]] * 3)


def test_every_parameter_has_a_gradient():
    network = ChainNetwork(ChainArchitecture.read("1x3x2s1x1< 3x1x2s2x1<0 1x1x2s1x1<0"), 2)
    images = jax.random.normal(jax.random.key(0), (4, 4, 4, 3))
    variables = init_network(network, jax.random.key(1), images, True)

    def spread(params):
        return network.apply({**variables, "params": params}, images, True, mutable=["batch_stats"])[0].std()

    gradient = jax.grad(spread)(variables["params"])
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ChainArchitecture.read(""), "has no layers"),
        (lambda: ChainArchitecture.read("3x3"), "'3x3' is no layer of a chain"),
        (lambda: ChainArchitecture.read("3x3x24s1x1<0"), r"layer 0 reads \[0\]"),
        (lambda: ChainArchitecture.read("3x0x24s1x1<"), "layer 0 has kernel"),
        (lambda: nas_chain.encode(ChainArchitecture.read(TEXT)), "does not belong to space nas_chain"),
        (lambda: PLAIN.encode(ChainArchitecture.read("3x3x25s1x1<")), "does not belong to space plain"),
        (lambda: PLAIN.decode((4,) * 9), "decision layer_0.height of space plain is 4"),
    ],
)
def test_mistakes(make, words):
    with pytest.raises(UserError, match=words):
        make()
