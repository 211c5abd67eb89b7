"""The search networks of ENAS against NumPy networks of the sampled ops alone, in float64, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes.enas import MACRO_OPS, MICRO_OPS, released_micro
from jdarts.networks.enas.macro import macro_pools
from jdarts.networks.enas.micro import micro_reductions
from jdarts.networks.enas.search_macro import EnasMacroSupernet
from jdarts.networks.enas.search_micro import EnasMicroSupernet
from jdarts.spaces.decisions import uniform

CLASSES, NODES, CELLS, LAYERS, WIDTH = 3, 3, 1, 4, 2
NORMAL = ((0, 1, 1, 4), (2, 0, 2, 2), (0, 3, 3, 1))  # nodes of input, op, input, op; input 1 and node 4 are read
REDUCE = ((1, 0, 1, 0), (1, 2, 0, 1), (3, 4, 3, 3))  # node 2 is not read
OPS, SKIPS = (1, 5, 2, 4), ((), (0,), (0, 1), (1,))


def relu(x):
    return np.maximum(x, 0)


def standardised(x, scale, bias, eps):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(var + eps) * np.ravel(scale) + np.ravel(bias)


def windows(x, k, fill=0.0):
    """`[k · k, N, H, W, C]`: the image shifted to every place of a k × k window."""
    r = k // 2
    padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)), constant_values=fill)
    h, w = x.shape[1:3]
    return np.stack([padded[:, i : i + h, j : j + w] for i in range(k) for j in range(k)])


def dense(x, kernel):
    k = kernel.shape[0]
    return np.einsum("knhwc,kcd->nhwd", windows(x, k), kernel.reshape(k * k, *kernel.shape[2:]))


def separable(x, depth, point):
    k = depth.shape[0]
    return np.einsum("knhwc,kc->nhwc", windows(x, k), depth.reshape(k * k, -1)) @ point[0, 0]


def pooled(x, kind):
    if kind == "max":
        return windows(x, 3, -np.inf).max(0)
    return windows(x, 3).sum(0) / windows(np.ones_like(x), 3).sum(0)


def conv_norm(p, x):
    return standardised(dense(x, p["kernel"]), p["norm"]["scale"], p["norm"]["bias"], 1e-3)


def halved(p, x):
    shifted = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
    both = [x[:, ::2, ::2] @ p["conv_1"][0, 0], shifted[:, ::2, ::2] @ p["conv_2"][0, 0]]
    return standardised(np.concatenate(both, -1), p["norm"]["scale"], p["norm"]["bias"], 1e-3)


def micro_op(p, x, source, op):
    name = MICRO_OPS[op]
    if name == "skip_connect":
        return x
    if "pool" in name:
        return pooled(x, name[:3])
    for i in range(2):
        depth, point, scale, bias = (
            p[f"{name}_{i}_{part}"][source] for part in ("depthwise", "pointwise", "scale", "bias")
        )
        x = standardised(separable(relu(x), depth, point), scale, bias, 1e-5)
    return x


def micro_reference(params, images):
    before = last = conv_norm(params["stem"], images)
    width = WIDTH
    for i in range(CELLS + 2):
        nodes = NORMAL
        if i in micro_reductions(CELLS):
            nodes, width = REDUCE, 2 * width
            before, last = last, halved(params[f"reduction_{i}"], last)
        p, s0, s1 = params[f"cell_{i}"], before, last
        if s0.shape[1] != s1.shape[1]:
            s0 = halved(p["calibrate_0"], relu(s0))
        elif s0.shape[-1] != width:
            s0 = conv_norm(p["calibrate_0"], relu(s0))
        if s1.shape[-1] != width:
            s1 = conv_norm(p["calibrate_1"], relu(s1))
        values = [s0, s1]
        for n, (x, x_op, y, y_op) in enumerate(nodes, start=2):
            left = micro_op(p[f"node_{n}_left"], values[x], x, x_op)
            values.append(left + micro_op(p[f"node_{n}_right"], values[y], y, y_op))
        unused = [n for n in range(len(values)) if n not in {s for x, _, y, _ in nodes for s in (x, y)}]
        joined = np.concatenate([relu(values[n]) for n in unused], -1) @ np.concatenate([p["join"][n] for n in unused])
        before, last = last, standardised(joined, p["join_scale"], p["join_bias"], 1e-3)
    return relu(last).mean((1, 2)) @ params["classifier"]["kernel"]


def macro_reference(params, images):
    outputs = [conv_norm(params["stem"], images)]
    for i, (op, skips) in enumerate(zip(OPS, SKIPS, strict=True)):
        name, layer = MACRO_OPS[op], params[f"layer_{i}"]
        p = layer[name]
        y = relu(conv_norm(p["project"], outputs[-1]))
        if "pool" in name:
            y = pooled(y, name[:3])
        elif name.startswith("conv"):
            y = relu(conv_norm(p["op"], y))
        else:
            y = separable(y, p["depthwise"], p["pointwise"])
            y = relu(standardised(y, p["norm"]["scale"], p["norm"]["bias"], 1e-3))
        if i:
            y = sum((outputs[k] for k in skips), y)
            y = standardised(y, layer["norm"]["scale"], layer["norm"]["bias"], 1e-3)
        outputs.append(y)
        if i in macro_pools(LAYERS):
            outputs = [halved(params[f"pool_{i}_output_{k}"], y) for k, y in enumerate(outputs)]
    return outputs[-1].mean((1, 2)) @ params["classifier"]["kernel"]


def micro_one_hot(nodes):
    chosen = np.zeros((NODES, 2, NODES + 1, len(MICRO_OPS)))
    for n, (x, x_op, y, y_op) in enumerate(nodes):
        chosen[n, 0, x, x_op] = chosen[n, 1, y, y_op] = 1
    return jnp.asarray(chosen)


def cases():
    micro = {"normal": micro_one_hot(NORMAL), "reduce": micro_one_hot(REDUCE)}
    skips = np.zeros((LAYERS, LAYERS))
    for layer, read in enumerate(SKIPS):
        skips[layer, list(read)] = 1
    macro = {"ops": jnp.asarray(np.eye(len(MACRO_OPS))[list(OPS)]), "skips": jnp.asarray(skips)}
    return {
        "micro": (EnasMicroSupernet(WIDTH, CELLS, CLASSES, nodes=NODES), micro, micro_reference),
        "macro": (EnasMacroSupernet(WIDTH, LAYERS, CLASSES), macro, macro_reference),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["micro", "macro"])
def test_a_sampled_path_is_the_network_of_its_ops(x64, name):
    network, architecture, reference = cases()[name]
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(3, 8, 8, 3)))
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), architecture, images, True))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), variables["params"])
    stats = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables["batch_stats"])

    def logits(params, architecture):
        found, _ = network.apply(
            {"params": params, "batch_stats": stats}, architecture, images, True, mutable=["batch_stats"]
        )
        return found

    found, back = jax.jit(
        lambda p: (logits(p, architecture), jax.grad(lambda q: (logits(q, architecture) ** 2).sum())(p))
    )(params)
    numbers = jax.tree.map(np.asarray, params)
    expected = reference(numbers, np.asarray(images))
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    flat = {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(back).items()}
    if name == "macro":
        for layer, op in enumerate(OPS):
            branches = {path[1] for path, g in flat.items() if path[0] == f"layer_{layer}" and np.any(g)}
            assert branches & set(MACRO_OPS) == {MACRO_OPS[op]}
        return
    for i in range(CELLS + 2):
        nodes = REDUCE if i in micro_reductions(CELLS) else NORMAL
        for n, node in enumerate(nodes, start=2):
            for side, source, op in (("left", *node[:2]), ("right", *node[2:])):
                for path, g in flat.items():
                    if path[:2] == (f"cell_{i}", f"node_{n}_{side}"):
                        moved = {s for s in range(len(g)) if np.any(g[s])}
                        assert moved == ({source} if path[2].startswith(MICRO_OPS[op]) else set())


def test_one_hot_architectures_of_the_spaces():
    micro, macro = spaces.get("enas_micro"), spaces.enas_macro
    assert spaces.get("enas_macro") is macro
    genotype = released_micro()
    found = micro.one_hot(genotype)
    for name, cell in genotype.cells.items():
        expected = {
            (n, side, s, MICRO_OPS.index(op))
            for n, edges in enumerate(cell.nodes)
            for side, (op, s) in enumerate(edges)
        }
        assert set(map(tuple, np.argwhere(np.asarray(found[name])).tolist())) == expected
        assert float(jnp.sum(found[name])) == 10
    architecture = macro.decode(uniform(macro, np.random.default_rng(1)))
    one_hot = macro.one_hot(architecture)
    bits = [[int(one_hot["skips"][layer, k]) for k in range(layer)] for layer in range(12)]
    ops = np.argmax(one_hot["ops"], 1).tolist()
    assert tuple(n for op, row in zip(ops, bits, strict=True) for n in (op, *row)) == architecture.tokens
    for space in (micro, macro):
        assert jax.tree.map(jnp.shape, space.init_alphas(jax.random.key(0))) == jax.tree.map(
            jnp.shape, space.one_hot(space.random_genotype(1))
        )
        space.check_image(8, 12, cells=2)
        with pytest.raises(UserError, match="cannot pass the 2 reductions of the network of space enas_m"):
            space.check_image(8, 10, cells=2)
        with pytest.raises(UserError, match="no alphas to derive from"):
            space.derive({})
