"""The shifted forms against XLA's convolutions and windows, and all of it against numpy loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.derivatives import derivatives, draw, same

from jdarts import kernels
from jdarts.kernels.linear_primitives import Geometry


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


# height, width, channels, k, stride, dilation
DEPTHWISE = [
    (6, 8, 3, 3, 1, 1),
    (7, 5, 3, 3, 2, 1),
    (8, 6, 20, 5, 2, 1),
    (6, 6, 3, 3, 2, 2),
    (7, 8, 2, 5, 3, 1),
    (5, 7, 2, 5, 3, 2),
    (1, 4, 2, 3, 2, 1),
    (9, 8, 3, 5, 1, 2),
    (2, 3, 3, 7, 1, 1),
]
POOLS = [("max", 1), ("max", 2), ("max", 3), ("avg", 1), ("avg", 2), ("avg", 3)]


@pytest.mark.parametrize(("height", "width", "channels", "k", "stride", "dilation"), DEPTHWISE)
def test_depthwise_forms_agree_in_every_derivative(height, width, channels, k, stride, dilation):
    x, kernel = draw(2, height, width, channels), draw(k, k, channels, seed=1)
    results = [
        derivatives(
            lambda x, w, impl=impl: kernels.depthwise(x, w, stride=stride, dilation=dilation, impl=impl),
            x,
            kernel,
        )
        for impl in ("shift", "conv")
    ]
    same(*results)


@pytest.mark.parametrize(("height", "width", "channels", "k", "stride", "dilation"), [*DEPTHWISE, (1, 1, 2, 7, 2, 1)])
def test_the_taps_that_meet_the_image_are_those_with_a_gradient(height, width, channels, k, stride, dilation):
    image, kernel = jnp.ones((1, height, width, channels)), jnp.ones((k, k, channels))
    gradient = jax.grad(lambda w: kernels.depthwise(image, w, stride=stride, dilation=dilation, impl="conv").sum())
    met = np.argwhere(np.asarray(gradient(kernel)).any(-1))
    assert list(itertools.product(*Geometry(k, stride, dilation, height, width).taps)) == [tuple(tap) for tap in met]


def test_taps_in_the_padding_are_not_computed():
    """7 x 7 taps on 2 x 2 pixels: 9 products, and no padded image of 8 x 8 pixels."""
    convolve = jax.jit(lambda x, w: kernels.depthwise(x, w, impl="shift"))
    program = convolve.lower(jnp.ones((4, 2, 2, 3)), jnp.ones((7, 7, 3))).as_text()
    assert program.count("stablehlo.multiply") == 9
    assert "tensor<4x4x4x3xf64>" in program and "8x8" not in program


@pytest.mark.parametrize(("k", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 2, 2), (5, 1, 2)])
def test_a_wider_margin_changes_no_derivative(k, stride, dilation):
    x, kernel = draw(4, 8, 6, 3), draw(k, k, 3, seed=1)

    def depthwise(impl, margin=0):
        return lambda x, w: kernels.depthwise(x, w, stride=stride, dilation=dilation, impl=impl, margin=margin)

    same(derivatives(depthwise("shift", margin=5), x, kernel), derivatives(depthwise("conv"), x, kernel))


@pytest.mark.parametrize(
    ("images", "size", "k", "stride", "dilation"),
    [
        (8, (6, 5), 3, 1, 1),
        (12, (6, 5), 5, 2, 1),
        (5, (6, 5), 3, 1, 2),
        (7, (6, 5), 5, 1, 1),
        (4, (2, 3), 7, 1, 1),
        (4, (2, 1), 5, 2, 2),
    ],
)
def test_kernel_gradients_by_sums_over_images_agree(images, size, k, stride, dilation):
    """With four or more images the gradient by the kernel is summed over images first; two use a dense convolution."""
    x, kernel = draw(images, *size, 3), draw(k, k, 3, seed=1)
    shift, conv = (
        derivatives(
            lambda x, w, impl=impl: kernels.depthwise(x, w, stride=stride, dilation=dilation, impl=impl), x, kernel
        )
        for impl in ("shift", "conv")
    )
    same(shift, conv)


@pytest.mark.parametrize(
    ("edges", "shared", "k", "stride", "dilation", "width", "channels"),
    [
        (1, True, 3, 2, 1, 7, 4),
        (3, True, 5, 1, 2, 7, 4),
        (2, False, 3, 1, 1, 7, 4),
        (2, False, 3, 1, 1, 7, 20),  # too wide for one block-diagonal kernel
        (3, True, 5, 1, 2, 8, 4),  # in four images of every other pixel
        (2, False, 3, 1, 2, 8, 4),
        (2, True, 3, 2, 2, 8, 4),  # of one of them
    ],
)
def test_separable_forms_agree_in_every_derivative(edges, shared, k, stride, dilation, width, channels):
    x = draw(2, 6, width, channels * (1 if shared else edges))
    depth = draw(edges, k, k, channels, seed=1)
    shift, conv, dense = (
        derivatives(
            lambda *a, impl=impl: kernels.separable(*a, stride=stride, dilation=dilation, impl=impl),
            x,
            depth,
            draw(edges, channels, 5, seed=2),
        )
        for impl in ("shift", "conv", "dense")
    )
    same(shift, conv)
    same(dense, conv)


def test_halving_forms_agree_in_every_derivative_and_are_torch_convolutions():
    x, first, second = draw(2, 4, 6, 3), draw(2, 3, 4, seed=1), draw(2, 3, 4, seed=2)
    conv, dense = (
        derivatives(lambda *a, impl=impl: kernels.halve(*a, impl=impl), x, first, second) for impl in ("conv", "dense")
    )
    same(dense, conv)
    expected = np.zeros((2, 2, 3, 2, 8))
    for n, i, j, edge, d, c in itertools.product(range(2), range(2), range(3), range(2), range(4), range(3)):
        expected[n, i, j, edge, d] += x[n, 2 * i, 2 * j, c] * first[edge, c, d]
        expected[n, i, j, edge, 4 + d] += x[n, 2 * i + 1, 2 * j + 1, c] * second[edge, c, d]
    same(dense["value"], expected.reshape(2, 2, 3, 16))


def test_moments_in_one_pass_are_those_of_two():
    """Also far from zero, where the difference of the mean square and the squared mean would lose its digits."""
    x = draw(4, 5, 6, 3) + 1e4

    def everything(x):
        return derivatives(
            lambda x: jnp.stack([v.sum((0, 1, 2)) if v.ndim == 4 else v for v in kernels.standardise(x**2, 1e-5)]), x
        )

    def both(x):
        y, mean, var = kernels.standardise(x, 1e-5)
        return y, mean - 1e4, var

    two, curved = both(x), everything(draw(4, 5, 6, 3))
    with kernels.for_accelerators():
        one, also = both(x), everything(draw(4, 5, 6, 3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), one, two)
    same(also, curved)
    y, mean, var = kernels.standardise(x.astype(jnp.float32), 1e-5)
    np.testing.assert_allclose(var, two[2], rtol=1e-3)
    assert mean.dtype == y.dtype == jnp.float32


def test_depthwise_is_torch_convolution():
    x, kernel = draw(1, 5, 6, 2), draw(3, 3, 2, seed=1)
    expected = np.zeros((1, 3, 3, 2))
    for i, j, c, u, v in itertools.product(range(3), range(3), range(2), range(3), range(3)):
        row, column = 2 * i + 2 * u - 2, 2 * j + 2 * v - 2  # stride 2, dilation 2, padding 2
        if 0 <= row < 5 and 0 <= column < 6:
            expected[0, i, j, c] += x[0, row, column, c] * kernel[u, v, c]
    same(kernels.depthwise(x, kernel, stride=2, dilation=2, impl="shift"), expected)


@pytest.mark.parametrize(("kind", "stride"), POOLS)
@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 2)])
def test_pool_forms_agree_in_every_derivative(kind, stride, size):
    pool = kernels.max_pool if kind == "max" else kernels.avg_pool
    x = draw(2, *size, 3)
    shift = derivatives(lambda x: pool(x, stride=stride, impl="shift"), x)
    if kind == "avg":
        same(shift, derivatives(lambda x: pool(x, stride=stride, impl="conv"), x))
        return
    # XLA's maximum has no derivative of order two; gather the largest pixels instead.
    taps = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = [taps[:, i : i + size[0] : stride, j : j + size[1] : stride] for i in range(3) for j in range(3)]
    best = jnp.argmax(jnp.stack(windows), axis=0)

    def gathered(x):
        taps = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = [taps[:, i : i + size[0] : stride, j : j + size[1] : stride] for i in range(3) for j in range(3)]
        return jnp.take_along_axis(jnp.stack(windows), best[None], axis=0)[0]

    same(shift, derivatives(gathered, x))
    conv = kernels.max_pool(x, stride=stride, impl="conv")
    same(shift["value"], conv)
    ct = draw(*conv.shape, seed=3)
    same(*(jax.vjp(lambda x, i=i: pool(x, stride=stride, impl=i), x)[1](ct) for i in ("shift", "conv")))


AXES = [(0, 0), (0, None), (None, 0), (1, 0), (0, 3), (3, 2)]


@pytest.mark.parametrize(("x_axis", "kernel_axis"), AXES)
def test_vmap_of_depthwise_and_its_gradients(x_axis, kernel_axis):
    def loss(x, kernel):
        return jnp.sum(jnp.sin(kernels.depthwise(x, kernel, stride=2, impl="shift")))

    f = jax.value_and_grad(loss, (0, 1))
    x, kernel = draw(3, 2, 5, 6, 4), draw(3, 3, 3, 4, seed=1)
    xs = x[0] if x_axis is None else jnp.moveaxis(x, 0, x_axis)
    ws = kernel[0] if kernel_axis is None else jnp.moveaxis(kernel, 0, kernel_axis)
    single = jax.jit(f)
    looped = [single(x[0 if x_axis is None else i], kernel[0 if kernel_axis is None else i]) for i in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped)
    same(jax.jit(jax.vmap(f, (x_axis, kernel_axis)))(xs, ws), stacked)


@pytest.mark.parametrize("axis", [0, 2, 4])
@pytest.mark.parametrize(("kind", "stride"), POOLS)
def test_vmap_of_pools_and_their_gradients(kind, stride, axis):
    pool = kernels.max_pool if kind == "max" else kernels.avg_pool
    f = jax.value_and_grad(lambda x: jnp.sum(jnp.sin(pool(x, stride=stride, impl="shift"))))
    single = jax.jit(f)
    x = draw(3, 2, 4, 6, 3)
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[single(x[i]) for i in range(3)])
    same(jax.jit(jax.vmap(f, axis))(jnp.moveaxis(x, 0, axis)), looped)


def test_a_loop_of_hessian_vector_products_is_their_vmap():
    x, kernel = draw(2, 4, 4, 3), draw(3, 3, 3, seed=1)

    def loss(w):
        return jnp.sum(kernels.depthwise(jnp.tanh(kernels.depthwise(x, w, impl="shift")), w, impl="shift") ** 2)

    def hvp(v):
        return jax.jvp(jax.grad(loss), (kernel,), (v,))[1]

    directions = draw(2, 3, 3, 3, seed=2)
    products = jax.jit(jax.vmap(hvp))(directions)
    single = jax.jit(hvp)
    same(products, jnp.stack([single(v) for v in directions]))
    same(jnp.vdot(products[0], directions[1]), jnp.vdot(products[1], directions[0]))


@pytest.mark.parametrize("impl", ["shift", "conv"])
def test_tied_maximum_sends_its_gradient_to_the_first_pixel(impl):
    x = jnp.ones((1, 3, 3, 1))
    grad = jax.grad(lambda x: kernels.max_pool(x, stride=3, impl=impl)[0, 0, 0, 0])(x)
    expected = np.zeros((3, 3))
    expected[0, 0] = 1  # the window is centred on pixel (0, 0), whose neighbours above and left are padding
    same(grad[0, :, :, 0], expected)
    grad = jax.grad(lambda x: kernels.max_pool(x, impl=impl)[0, 2, 2, 0])(x)
    expected[:] = 0
    expected[1, 1] = 1
    same(grad[0, :, :, 0], expected)


@pytest.mark.parametrize("impl", ["shift", "conv"])
@pytest.mark.parametrize(("stride", "size"), [(1, (4, 5)), (2, (5, 6)), (1, (1, 2))])
def test_average_divides_by_the_pixels_inside(impl, stride, size):
    x = draw(1, *size, 2)
    out = -(-size[0] // stride), -(-size[1] // stride)
    expected = np.zeros((1, *out, 2))
    for i, j in itertools.product(*map(range, out)):
        rows = slice(max(i * stride - 1, 0), i * stride + 2)
        columns = slice(max(j * stride - 1, 0), j * stride + 2)
        expected[0, i, j] = np.asarray(x)[0, rows, columns].mean((0, 1))
    same(kernels.avg_pool(x, stride=stride, impl=impl), expected)


def test_maximum_ignores_the_padding():
    x = -1 - jnp.abs(draw(1, 4, 4, 2))
    for impl in ("shift", "conv"):
        assert (kernels.max_pool(x, impl=impl) < 0).all()


def test_pointwise_of_parallel_edges_is_one_product_an_edge():
    x, kernel = draw(2, 3, 3, 8), draw(2, 4, 5, seed=1)
    expected = jnp.concatenate([x[..., :4] @ kernel[0], x[..., 4:] @ kernel[1]], axis=-1)
    same(kernels.pointwise(x, kernel), expected)
    same(kernels.pointwise(x[..., :4], kernel[:1]), x[..., :4] @ kernel[0])


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="impl is 'fast'; use 'auto'"):
        kernels.resolve("fast")  # pyright: ignore[reportArgumentType]
