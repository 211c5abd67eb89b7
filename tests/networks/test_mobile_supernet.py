"""One-shot supernets of mobile networks against their stand-alone networks, block by block."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.chains import MACRO, S5, SMALL, SPOS, path_of_choices, path_variables, random_variables

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes.macro import mobile_of
from jdarts.genotypes.mobile import MOBILE_FAMILIES
from jdarts.methods.resources import chain_costs
from jdarts.networks.edges import EdgeSettings
from jdarts.networks.mobile.layers import MobileConv
from jdarts.networks.mobile.network import MobileNetwork
from jdarts.networks.mobile.size import count_mobile
from jdarts.networks.mobile.supernet import MixedLayer
from jdarts.ops.initializers import abstract_network
from jdarts.relaxation import softmax
from jdarts.spaces.decisions import uniform

IMAGES = jax.random.normal(jax.random.key(5), (4, 8, 8, 3))
SAMPLED = EdgeSettings(sampled=True)


def supernet(space, **changes):
    return space.supernet(channels=4, cells=1, classes=3, **changes)


@pytest.fixture(scope="module")
def variables():
    alphas = {space.name: softmax(space.init_alphas(jax.random.key(1))) for space in SMALL}
    return {s.name: random_variables(supernet(s), jax.random.key(2), alphas[s.name], IMAGES, True) for s in SMALL}


def run(apply, train):
    """`(logits, running averages)`, and in training the gradient of a loss; compiled."""

    def loss(w, v):
        logits, new = apply({**v, "params": w}, train)
        return jnp.sum(jnp.sin(logits)), (logits, new)

    def values(v):
        grads, (logits, new) = jax.grad(loss, has_aux=True)(v["params"], v)
        return logits, {"params": grads, **new}

    return jax.jit(values if train else lambda v: (apply(v, False)[0], {}))


@pytest.mark.parametrize("space", SMALL, ids=lambda space: space.name)
def test_a_path_is_the_stand_alone_network(space, variables):
    """Values in both modes, running averages and gradients; also with all blocks computed."""
    choices = uniform(space, np.random.default_rng(3))
    alone, p = MobileNetwork(mobile_of(space.decode(choices)), 3), path_of_choices(space, choices)
    own = path_variables(space, variables[space.name], choices)

    def of_supernet(edge):
        network = supernet(space, edge=edge)
        return lambda v, train: network.apply(v, p, IMAGES, train, mutable=["batch_stats"])

    def of_alone(v, train):
        (logits, _), new = alone.apply(v, IMAGES, train, mutable=["batch_stats"])
        return logits, new

    sampled_too = [(SAMPLED, False)] if space is S5 else []
    for edge, train in ((SAMPLED, True), (EdgeSettings(), False), *sampled_too):
        logits, trees = run(of_supernet(edge), train)(variables[space.name])
        expected, expected_trees = run(of_alone, train)(own)
        np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=2e-5)
        mine = path_variables(space, trees, choices) if train else {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(expected_trees):
            found = mine
            for key in path:
                found = found[key.key]
            if space is SPOS and path[-1].key in ("scale", "bias"):
                continue  # batch norms of SPOS' supernet have neither
            np.testing.assert_allclose(found, leaf, rtol=2e-3, atol=2e-4, err_msg=str(path))


def test_what_is_not_sampled_stays(variables):
    """Gradients of the other blocks are exactly 0, and their running averages the old ones, bit for bit.

    The last layer is read by a convolution with batch norm alone, so its op weights have no gradient, up to ε.
    """
    network, choices = supernet(S5, edge=SAMPLED), (0, 3, 2)
    v, p = variables[S5.name], path_of_choices(S5, choices)

    def loss(w, p):
        logits, new = network.apply({**v, "params": w}, p, IMAGES, True, mutable=["batch_stats"])
        return jnp.sum(logits**2), new["batch_stats"]

    (grads, by_weights), new = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(v["params"], p)
    sizes = [np.abs(by_weights[name][row]).max() for name, row in S5.rows]
    assert sizes[-1] < 0.01 * max(sizes) and sizes[-2] > 0.1 * max(sizes), sizes
    for i, chosen in enumerate(choices, 2):
        for k in range(len(S5.candidates[i - 2])):
            name = f"choice_{k}"
            moved = [np.abs(np.asarray(leaf)).max() for leaf in jax.tree.leaves(grads[f"layer_{i}"].get(name, {}))]
            pairs = zip(
                jax.tree.leaves(new[f"layer_{i}"].get(name, {})),
                jax.tree.leaves(v["batch_stats"][f"layer_{i}"].get(name, {})),
                strict=True,
            )
            same = [np.array_equal(a, b) for a, b in pairs]
            if k != chosen:
                assert max(moved, default=0.0) == 0.0 and all(same), (i, k)
            elif moved:
                assert min(moved) > 0 and not any(same), (i, k)


def test_a_layer_is_linear_in_its_op_weights():
    """`y(p) = Σ_k p_k y(e_k)`, and its derivative by p_k is y(e_k); β · x is added where nothing changes."""
    layers = S5.candidates[1]
    x, p = jax.random.normal(jax.random.key(0), (2, 6, 6, 4)), jnp.array([0.1, 0.5, 0.3, 0.7])
    layer = MixedLayer(layers, MOBILE_FAMILIES["fairnas"], EdgeSettings(auxiliary_skip="identity"))
    v = random_variables(layer, jax.random.key(1), x, p, False, 0.0)
    apply = jax.jit(lambda p, beta: layer.apply(v, x, p, False, beta))
    alone = jnp.stack([apply(row, 0.0) for row in jnp.eye(4)])
    np.testing.assert_allclose(apply(p, 0.0), jnp.einsum("k,knhwc->nhwc", p, alone), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone[3], x, rtol=1e-6)
    np.testing.assert_allclose(apply(p, 0.25) - apply(p, 0.0), 0.25 * x, rtol=1e-3, atol=1e-5)
    cotangent = jax.random.normal(jax.random.key(2), x.shape)
    grad = jax.grad(lambda p: jnp.vdot(cotangent, layer.apply(v, x, p, False, 0.0)))(p)
    np.testing.assert_allclose(grad, jnp.einsum("nhwc,knhwc->k", cotangent, alone), rtol=1e-3, atol=1e-3)


def test_remat_changes_no_gradient(variables):
    space, v = dataclasses.replace(S5, candidates=S5.candidates[:1]), variables[S5.name]
    v = {c: {**tree, "layer_3": tree["layer_5"]} for c, tree in v.items()}  # the head follows the one layer
    p = {"layers": softmax(S5.init_alphas(jax.random.key(4), 1.0))["first"]}

    def gradient(network):
        def loss(w, p):
            logits, _ = network.apply({**v, "params": w}, p, IMAGES, True, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(logits))

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(v["params"], p)

    plain, again = gradient(supernet(space)), gradient(supernet(space, remat=True))
    assert float(jnp.abs(plain[1]["layers"]).max()) > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), plain, again)


def test_a_path_that_computes_its_activations_again_keeps_those_of_one_block():
    """The same gradients and their derivatives, in less memory."""
    candidates = tuple(dataclasses.replace(S5.candidates[0][0], width=16, stride=1) for _ in range(5))
    x, p = jax.random.normal(jax.random.key(1), (8, 16, 16, 16)), jnp.eye(5)[3]
    layer = MixedLayer(candidates, MOBILE_FAMILIES[S5.family], SAMPLED)
    v = random_variables(layer, jax.random.key(2), x, p, True, 0.0)
    direction = jax.tree.map(jnp.ones_like, v["params"])
    found, memory = [], []
    for own in (layer, layer.clone(remat=True)):

        def gradients(w, x, v, p, own=own):
            def loss(w, x):
                y, new = own.apply({**v, "params": w}, x, p, True, 0.0, mutable=["batch_stats"])
                return jnp.sum(jnp.sin(y)), new

            return jax.grad(loss, (0, 1), has_aux=True)(w, x)

        compiled = jax.jit(gradients)
        memory.append(compiled.lower(v["params"], x, v, p).compile().memory_analysis().temp_size_in_bytes)
        product = jax.jit(lambda w, g=gradients: jax.jvp(lambda w: g(w, x, v, p)[0], (w,), (direction,))[1])
        found.append((compiled(v["params"], x, v, p), product(v["params"])))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3), *found)
    assert memory[1] < 0.75 * memory[0], memory


@pytest.mark.parametrize("space", [spaces.nasbench_macro, S5], ids=lambda space: space.name)
def test_weights_of_a_supernet_are_those_of_all_candidates(space):
    network = supernet(space)
    shapes, _ = abstract_network(network, space.init_alphas(jax.random.key(0)), jnp.zeros((2, 32, 32, 3)), True)
    fixed, costs = chain_costs(space, "parameters", size=32, classes=3)
    total = fixed + sum(cost.sum() for cost in costs.values())
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == total
    if space is spaces.nasbench_macro:
        assert total == 4_221_386 - 7 * 1281  # measured with ten classes


@pytest.mark.parametrize("space", [S5, SPOS, MACRO, spaces.mobile_s5, spaces.spos], ids=lambda space: space.name)
def test_costs_of_a_path_are_those_of_its_network(space):
    choices = uniform(space, np.random.default_rng(8))
    count = count_mobile(mobile_of(space.decode(choices)), image_size=56)
    for resource, expected in (("flops", count.macs), ("parameters", count.parameters)):
        fixed, costs = chain_costs(space, resource, size=56)
        path = space.one_hot(space.decode(choices))
        assert fixed + sum(float((np.asarray(path[n]) * c).sum()) for n, c in costs.items()) == expected


def test_partial_channels_are_refused():
    with pytest.raises(UserError, match=r"space mobile_s5 has one edge a layer"):
        supernet(S5, edge=EdgeSettings(partial_channels=2))


@pytest.mark.parametrize(("kernel", "stride", "depthwise"), [(5, 2, True), (7, 1, True), (3, 2, False), (1, 2, False)])
def test_convolutions_of_odd_images(kernel, stride, depthwise):
    """Every form equals XLA's convolution with padding k // 2, in value and gradient."""
    conv = MobileConv(4, MOBILE_FAMILIES["fairnas"], kernel, stride, depthwise=depthwise)
    x = jax.random.normal(jax.random.key(0), (2, 7, 9, 4))
    w = jax.random.normal(jax.random.key(1), (kernel, kernel, 1 if depthwise else 4, 4))

    def reference(x, w):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            [(kernel // 2, kernel // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=4 if depthwise else 1,
        )

    for f, g in ((conv.convolved, reference), (_gradient(conv.convolved), _gradient(reference))):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), f(x, w), g(x, w))


def _gradient(f):
    return jax.grad(lambda x, w: jnp.sum(jnp.sin(f(x, w))), argnums=(0, 1))
