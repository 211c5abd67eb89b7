"""Each candidate op, plain and fast, against an independent formulation of PyTorch's semantics, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jdarts.errors import UserError
from jdarts.networks.fast.layers import FactorizedReduce, ReLUConvBN
from jdarts.networks.fast.ops import NormedOp, candidate
from jdarts.ops import table
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.candidates import CANDIDATES

N, C, T = 3, 4, 3


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _images(height=6, width=8, channels=C, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((N, height, width, channels)))


def _randomised(variables, seed=5):
    """The same tree, float64: weights normal, running variances positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        value = rng.standard_normal(leaf.shape)
        return jnp.asarray(np.abs(value) + 0.5 if path[-1].key == "var" else value)

    return jax.tree_util.tree_map_with_path(draw, variables)


def _variables(module, x):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x, False))
    return _randomised(shapes)


# PyTorch's operations, on NCHW arrays with OIHW kernels


def _torch_conv(x, w, stride=1, padding=(0, 0), dilation=1, groups=1):
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride) if isinstance(stride, int) else stride,
        [(p, p) for p in padding],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=groups,
    )


def _torch_batch_norm(x, stats, params, train):
    if train:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    else:
        mean, var = stats["mean"], stats["var"]
    y = (x - mean[:, None, None]) / jnp.sqrt(var[:, None, None] + 1e-5)
    if params is None:
        return y
    return y * params["scale"][:, None, None] + params["bias"][:, None, None]


def _torch_op(op, params, stats, x, stride, train):
    """One edge of an op; `params` and `stats` without the edge axis."""

    def norm(y, name="norm_1", params=params, stats=stats):
        return _torch_batch_norm(y, stats[name], params.get(name), train)

    kind, *_ = op.split("_")
    if kind in ("sep", "dil"):
        k, dilation = int(op[-1]), 2 if kind == "dil" else 1
        for stage in (1, 2) if kind == "sep" else (1,):
            depthwise = params[f"depthwise_{stage}"].transpose(2, 0, 1)[:, None]
            pointwise = params[f"pointwise_{stage}"].T[:, :, None, None]
            padding = dilation * (k // 2)
            s = stride if stage == 1 else 1
            x = _torch_conv(jnp.maximum(x, 0), depthwise, s, (padding, padding), dilation, groups=x.shape[1])
            x = norm(_torch_conv(x, pointwise), f"norm_{stage}")
        return x
    if kind == "conv":
        row, column = (params[name].transpose(3, 2, 0, 1) for name in ("conv_1x7", "conv_7x1"))
        x = _torch_conv(jnp.maximum(x, 0), row, (1, stride), (0, 3))
        return norm(_torch_conv(x, column, (stride, 1), (3, 0)))
    if kind == "skip":
        if stride == 1:
            return norm(x) if op == "skip_norm" else x
        halves = []
        for name, view in (("conv_1", x), ("conv_2", x[:, :, 1:, 1:])):
            halves.append(_torch_conv(jnp.maximum(view, 0), params["reduce"][name].T[:, :, None, None], 2))
        return norm(jnp.concatenate(halves, 1), params=params["reduce"], stats=stats["reduce"])
    if kind in ("max", "avg"):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
        height, width = (-(-s // stride) for s in x.shape[2:])
        y = np.empty((*x.shape[:2], height, width))
        for i in range(height):
            for j in range(width):
                window = padded[:, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
                y[:, :, i, j] = (np.nanmax if kind == "max" else np.nanmean)(window, axis=(2, 3))
        return norm(jnp.asarray(y)) if stats else jnp.asarray(y)
    assert kind == "none"
    return jnp.zeros_like(x[:, :, ::stride, ::stride])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("op", [op for op in CANDIDATES if op != "noise"])
def test_op_of_a_derived_network(op, stride):
    x = _images()
    module = candidate(op, search=False, channels=C, stride=stride)
    variables = _variables(module, x)
    one = jax.tree.map(lambda v: v[0], variables)
    if op == "conv_7x1_1x7":  # the only op without an edge axis in its kernels
        one["params"] |= {name: variables["params"][name] for name in ("conv_1x7", "conv_7x1")}
    for train in (True, False):
        y = module.apply(variables, x, train)
        expected = _torch_op(
            op, one.get("params", {}), one.get("batch_stats", {}), x.transpose(0, 3, 1, 2), stride, train
        )
        np.testing.assert_allclose(y, expected.transpose(0, 2, 3, 1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize(
    ("op", "stride"),
    [
        ("sep_conv_3x3", 1),
        ("sep_conv_5x5", 2),
        ("dil_conv_3x3", 2),
        ("skip_connect", 2),
        ("skip_norm", 1),
        ("max_pool_3x3", 2),
        ("avg_pool_3x3", 1),
    ],
)
def test_op_of_a_supernet_on_every_edge(op, stride, form):
    x = _images()
    if form == "fast":
        module = candidate(op, search=True, channels=C, stride=stride, edges=T, affine=False)
    else:
        module = table.candidate(op, C, T, stride, name=None)
    variables = _variables(module, x)
    for train in (True, False):
        outputs = module.apply(variables, x, train)
        if form == "fast":  # side by side, or one for all edges
            outputs = jnp.split(outputs, outputs.shape[-1] // C, axis=-1)
        for t in range(T):
            one = jax.tree.map(lambda v, t=t: v[min(t, len(v) - 1)], variables)
            expected = _torch_op(op, one.get("params", {}), one["batch_stats"], x.transpose(0, 3, 1, 2), stride, train)
            np.testing.assert_allclose(outputs[t % len(outputs)], expected.transpose(0, 2, 3, 1), rtol=1e-9, atol=1e-9)


def test_second_half_of_a_factorized_reduce_is_shifted_by_one_pixel():
    x = jnp.zeros((1, 4, 4, 2)).at[0, 1, 1, 0].set(1.0)
    module = FactorizedReduce(2, 4, affine=False)
    variables = jax.tree.map(jnp.ones_like, module.init(jax.random.key(0), x, False))
    y = module.apply(variables, x, False)
    expected = np.zeros((2, 2, 4))
    expected[0, 0, 2:] = 1
    np.testing.assert_allclose(y[0] - y[0, 1, 1, 0], expected / np.sqrt(1 + 1e-5), atol=1e-12)


def test_noise_is_standard_normal_fresh_and_independent_of_its_input():
    module = candidate("noise", search=True, channels=C, stride=2, edges=T)
    x = _images(32, 32)

    def draw(seed, x=x):
        return module.apply({}, x, False, rngs={"noise": jax.random.key(seed)})

    y = draw(0)
    assert y.shape == (N, 16, 16, T * C)
    assert abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05
    assert not np.allclose(y, draw(1))
    np.testing.assert_array_equal(y, draw(0, x + 1))
    correlation = np.corrcoef(np.stack([np.asarray(edge).ravel() for edge in np.split(y, T, axis=-1)]))
    assert np.abs(correlation - np.eye(T)).max() < 0.1


@pytest.mark.parametrize(
    ("op", "fan_in"),
    [
        ("sep_conv_5x5", {"depthwise_1": 25, "pointwise_1": 16, "depthwise_2": 25, "pointwise_2": 16}),
        ("dil_conv_3x3", {"depthwise_1": 9, "pointwise_1": 16}),
        ("conv_7x1_1x7", {"conv_1x7": 112, "conv_7x1": 112}),
    ],
)
def test_initialisation_is_pytorchs_default(op, fan_in):
    x = jnp.zeros((1, 4, 4, 16))
    params = candidate(op, search=False, channels=16, edges=4).init(jax.random.key(3), x, False)["params"]
    assert {name for name in params if not name.startswith("norm")} == set(fan_in)
    for name, inputs in fan_in.items():
        bound = inputs**-0.5
        values = np.asarray(params[name])
        assert 0.95 * bound < np.abs(values).max() <= bound
        assert np.std(values) == pytest.approx(bound / np.sqrt(3), rel=0.1)
    assert all((norm["scale"] == 1).all() and (norm["bias"] == 0).all() for norm in (params["norm_1"],))


def test_relu_conv_bn():
    x = _images()
    module = ReLUConvBN(5)
    variables = _variables(module, x)
    params, stats = variables["params"], variables["batch_stats"]
    y = jnp.maximum(x, 0) @ params["conv_1"][0]
    stats, norm = (jax.tree.map(lambda v: v[0], tree["norm_1"]) for tree in (stats, params))
    expected = (y - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(module.apply(variables, x, False), expected, rtol=1e-9, atol=1e-9)


def test_running_statistics_are_pytorchs():
    module = BatchNorm(2, edges=2)
    x = jnp.asarray(np.arange(32.0).reshape(2, 2, 2, 4) ** 1.5)
    variables = module.init(jax.random.key(0), x, True)
    assert (variables["batch_stats"]["mean"] == 0).all() and (variables["batch_stats"]["var"] == 1).all()
    y, updates = module.apply(variables, x, True, mutable=["batch_stats"])
    values = np.asarray(x).reshape(-1, 4)
    mean, unbiased = values.mean(0).reshape(2, 2), values.var(0, ddof=1).reshape(2, 2)
    np.testing.assert_allclose(updates["batch_stats"]["mean"], 0.1 * mean)
    np.testing.assert_allclose(updates["batch_stats"]["var"], 0.9 + 0.1 * unbiased)
    normal = (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-5)
    np.testing.assert_allclose(y.reshape(-1, 4), normal, rtol=1e-6)


def test_statistics_stay_unless_they_may_move():
    module = BatchNorm(4)
    variables = module.init(jax.random.key(0), _images(), True)
    _, updates = module.apply(variables, _images(), False, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])
    module.apply(variables, _images(), True)  # immutable: no error, nothing recorded


def test_unknown_op_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'sep_conv_3x3'"):
        candidate("sep_conv3x3", search=True, channels=4)


@pytest.mark.parametrize("op", [op for op in CANDIDATES if op.startswith(("sep", "dil"))])
def test_the_padding_of_an_op_keeps_the_size_of_images(op):
    def padding(op):
        module = candidate(op, search=True, channels=C)
        return module.padding if isinstance(module, NormedOp) else 0

    kernel = {"3x3": 3, "5x5": 5, "7x7": 7}[op[-3:]]
    reach = (kernel - 1) * (2 if op.startswith("dil") else 1)
    assert 8 + 2 * padding(op) - reach == 8
    assert padding("skip_connect") == padding("max_pool_3x3") == padding("none") == padding("conv_7x1_1x7") == 0
