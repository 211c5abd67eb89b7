"""Initial weights: PyTorch's bounds, Flax's distribution, constants where they belong."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jdarts import spaces
from jdarts.ops.initializers import init_network
from jdarts.spaces import DerivedNetwork


def test_weights_are_uniform_between_the_bounds_of_their_fan_in():
    space = spaces.get("robust_s3")
    network = space.supernet(channels=16, cells=1, classes=10)
    op_weights = {name: jnp.ones(shape) for name, shape in space.alpha_shapes.items()}
    init = jax.jit(lambda key: init_network(network, key, op_weights, jnp.zeros((2, 8, 8, 3)), True))
    params = init(jax.random.key(0))["params"]
    fan_in = {  # the only cell of a one-cell network is a reduction cell: 2 · 16 channels
        ("stem", "conv"): 9 * 3,
        ("cell_0", "from_0_sep_conv_3x3", "depthwise_1"): 9,
        ("cell_0", "from_0_sep_conv_3x3", "pointwise_2"): 32,
        ("cell_0", "preprocess_1", "conv_1"): 48,
        ("classifier", "kernel"): 128,
    }
    for path, fan in fan_in.items():
        leaf = params
        for part in path:
            leaf = leaf[part]
        values = np.asarray(leaf).ravel() * fan**0.5
        assert abs(values).max() <= 1
        assert stats.kstest(values, stats.uniform(-1, 2).cdf).pvalue > 1e-3, path
    assert (np.asarray(params["stem"]["norm"]["scale"]) == 1).all()
    assert (np.asarray(params["stem"]["norm"]["bias"]) == 0).all()
    assert abs(np.asarray(params["classifier"]["bias"])).max() > 0


def test_the_tree_is_the_one_flax_makes_and_the_key_decides():
    genotype = spaces.get("robust_s2").random_genotype(0)
    network = DerivedNetwork(genotype, channels=4, cells=1, classes=3)
    images = jnp.zeros((2, 8, 8, 1))
    ours = jax.jit(lambda key: init_network(network, key, images, True))(jax.random.key(0))
    other = jax.jit(lambda key: init_network(network, key, images, True))(jax.random.key(1))
    assert jax.tree.all(jax.tree.map(np.array_equal, init_network(network, jax.random.key(0), images, True), ours))
    flax = jax.eval_shape(lambda key: network.init(key, images, True), jax.random.key(0))
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), ours)
    assert shapes == jax.tree.map(lambda a: (a.shape, a.dtype), flax)
    kernel = ours["params"]["classifier"]["kernel"]
    assert not np.array_equal(kernel, other["params"]["classifier"]["kernel"])
