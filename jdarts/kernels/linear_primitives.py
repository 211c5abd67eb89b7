"""Shifted-slice convolution and pooling as JAX primitives that are linear in each argument.

XLA:CPU is slow at grouped convolutions, and the transposes that JAX derives for sums of slices (pads and adds) are even
slower. A primitive defines its own transposes. The three maps of a depthwise convolution

    forward(x, kernel) → y      input_grad(y, kernel) → x      kernel_grad(x, y) → kernel

are bilinear, and each is a transpose of the others. Pooling is a linear map and its transpose. Both sets are closed
under differentiation, so `grad`, `jvp`, `jvp` of `grad` (the exact hypergradient), `vmap` and plain forward mode all
work. A trace has one equation per convolution instead of three per kernel tap.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jdarts.kernels import platform
from jdarts.kernels.own_primitives import bind_alike


class Geometry(NamedTuple):
    """A k × k window over an H × W image with symmetric padding `dilation·(k−1)/2`.

    Forward maps pad their image in memory by `margin` pixels if that is more than they need. Maps of the same image
    with equal margins then share one padded image. On an image smaller than the window some taps meet nothing but
    padding. They are left out: of 7 × 7 taps, 9 remain on 2 × 2 pixels, and one on a single pixel.
    """

    kernel: int
    stride: int
    dilation: int
    height: int
    width: int
    margin: int = 0

    @property
    def reach(self) -> int:
        """Distance between the first and the last tap."""
        return self.dilation * (self.kernel - 1)

    @property
    def padding(self) -> int:
        """Pixels of padding on each side."""
        return self.reach // 2

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        sizes = [(s + 2 * self.padding - self.reach - 1) // self.stride + 1 for s in (self.height, self.width)]
        return sizes[0], sizes[1]

    @property
    def taps(self) -> tuple[range, range]:
        """Rows and columns of the kernel that meet the image at some place of the window."""
        return self._along(self.height, self.out_size[0]), self._along(self.width, self.out_size[1])

    def _along(self, size: int, out: int) -> range:
        places = range(0, out * self.stride, self.stride)
        starts = [i * self.dilation - self.padding for i in range(self.kernel)]
        met = [i for i, start in enumerate(starts) if any(0 <= place + start < size for place in places)]
        return range(met[0], met[-1] + 1)


# --- the shifted sums ---------------------------------------------------------------------------------------------


def _pad(x, padding: int, value=0.0):
    return _pad_image(x, (padding, padding), (padding, padding), value)


def _pad_image(x, rows: tuple[int, int], columns: tuple[int, int], value=0.0):
    """Pad with columns and channels as one axis, so that XLA:CPU copies whole rows; it is two to six times faster."""
    n, h, w, c = x.shape
    flat = lax.pad(
        x.reshape(n, h, w * c),
        jnp.asarray(value, x.dtype),
        ((0, 0, 0), (*rows, 0), (columns[0] * c, columns[1] * c, 0)),
    )
    return flat.reshape(n, h + sum(rows), w + sum(columns), c)


def _views(x, g: Geometry, value=0.0):
    """`(i, j, strided view of the padded image x)` for the taps that meet the image, in kernel order."""
    padding = min(max(g.padding, g.margin), max(g.height, g.width) - 1)  # the remaining taps reach no further
    padded = _pad(x, padding, value)
    if g.margin:  # otherwise XLA makes a padded image for each shape of the fusions that read it
        padded = lax.optimization_barrier(padded)
    images, _, _, channels = padded.shape
    (height, width), stride = g.out_size, g.stride
    for i, j in product(*g.taps):
        top, left = (padding - g.padding + place * g.dilation for place in (i, j))
        stop = (images, top + (height - 1) * stride + 1, left + (width - 1) * stride + 1, channels)
        yield i, j, lax.slice(padded, (0, top, left, 0), stop, (1, stride, stride, 1))


def _carry_back(g: Geometry, term: Callable, *outputs):
    """The transpose of a sum over windows: from outputs `[N, H', W', C]` to the pixels of the input, `[N, H, W, C]`.

    `term(i, j, *views)` is the contribution of the outputs to the pixels at place i, j of their windows. A stride
    divides the input into stride² grids of every stride-th pixel. Each grid is summed as a separate image, from only
    those of the k² places that reach it. If the outputs were spread over the input with zeros in between, all but one
    in stride² summands would be zero.
    """
    grids = [_grids(g, size, taps) for size, taps in zip((g.height, g.width), g.taps, strict=True)]
    pads = []
    for along, out in zip(grids, g.out_size, strict=True):
        starts = [start for grid in along for _, start in grid.taps]
        ends = [start + grid.pixels for grid in along for _, start in grid.taps]
        pads.append((max(0, -min(starts)), max(0, max(ends) - out)))
    padded = [_pad_image(y, *pads) for y in outputs]
    (top, _), (left, _) = pads
    images, channels = outputs[0].shape[0], outputs[0].shape[-1]
    parts = []
    for rows, columns in product(*grids):
        terms = []
        for (i, first), (j, second) in product(rows.taps, columns.taps):
            start = (0, top + first, left + second, 0)
            stop = (images, start[1] + rows.pixels, start[2] + columns.pixels, channels)
            terms.append(term(i, j, *(lax.slice(y, start, stop) for y in padded)))
        if terms:
            parts.append(_spread(_sum(terms), g, rows.offset, columns.offset))
    return _sum(parts)


class _Grid(NamedTuple):
    """Every stride-th pixel along one axis: `pixels` of them, starting at `offset`.

    `taps` are pairs: a tap that reaches these pixels, and the output that reaches the first pixel by this tap (negative
    if it lies in the padding).
    """

    offset: int
    pixels: int
    taps: list[tuple[int, int]]


def _grids(g: Geometry, size: int, along: range) -> list[_Grid]:
    grids = []
    for offset in range(min(g.stride, size)):
        ahead = ((i, offset + g.padding - i * g.dilation) for i in reversed(along))
        taps = [(i, distance // g.stride) for i, distance in ahead if distance % g.stride == 0]
        grids.append(_Grid(offset, -(-(size - offset) // g.stride), taps))
    return grids


def _spread(x, g: Geometry, row: int, column: int):
    """The image `x` of the grid that starts at a row and a column, spread over the input with zeros in between."""
    if g.stride == 1:
        return x
    if platform.on_cpu():  # otherwise the fusion that adds up the grids recomputes it for each pixel
        x = lax.optimization_barrier(x)
    pads = [(0, 0, 0)]
    for first, size, count in ((row, g.height, x.shape[1]), (column, g.width, x.shape[2])):
        pads.append((first, size - first - ((count - 1) * g.stride + 1), g.stride - 1))
    return lax.pad(x, jnp.zeros((), x.dtype), (*pads, (0, 0, 0)))


def _sum(terms):
    total = None
    for term in terms:
        total = term if total is None else lax.add(total, term)
    assert total is not None
    return total


def _weigh(kernel, g: Geometry) -> Callable:
    """`(i, j, view) -> view · kernel[i, j]`; in `lax`, since a step has thousands of taps and `jnp` traces slowly."""
    (rows, columns), channels = g.taps, kernel.shape[-1]
    count = len(rows) * len(columns)
    kept = lax.slice(kernel, (rows.start, columns.start, 0), (rows.stop, columns.stop, channels))
    taps = dict(zip(product(rows, columns), lax.split(lax.reshape(kept, (count, channels)), [1] * count), strict=True))
    return lambda i, j, view: lax.mul(view, lax.broadcast_in_dim(taps[i, j], view.shape, (0, 3)))


def _forward(x, kernel, *, geometry: Geometry):
    x, kernel = _same_dtype(x, kernel)
    weigh = _weigh(kernel, geometry)
    return _sum(weigh(i, j, view) for i, j, view in _views(x, geometry))


def _input_grad(y, kernel, *, geometry: Geometry):
    y, kernel = _same_dtype(y, kernel)
    return _carry_back(geometry, _weigh(kernel, geometry), y)


def _same_dtype(a, b):
    dtype = jnp.result_type(a, b)
    return lax.convert_element_type(a, dtype), lax.convert_element_type(b, dtype)


def _kernel_grad(x, y, *, geometry: Geometry):
    """The sum over images and pixels of `x · y` for each tap, in two steps that vectorise over pixels and channels.

    First, up to eight images (or groups of images) are added up tap by tap, in one loop without a reduction per kernel
    row. The taps of a pixel lie side by side, so that the loop reads the images once. Then the remaining sums are
    reduced. If the images cannot be grouped in this way, a dense convolution is used.
    """
    x, y = _same_dtype(x, y)
    g, images = geometry, x.shape[0]
    terms = next(t for t in range(min(images, 8), 0, -1) if images % t == 0)
    if terms < 4:
        return _kernel_grad_dense(x, y, geometry)

    def groups(array):
        return lax.split(array, [images // terms] * terms)

    outputs = groups(y)
    sums = [lax.expand_dims(_sum(map(lax.mul, groups(view), outputs)), (3,)) for _, _, view in _views(x, g)]
    (rows, columns), found = g.taps, []
    for first in range(0, len(sums), len(columns)):
        row = lax.concatenate(sums[first : first + len(columns)], 3)
        found.append(jnp.sum(lax.optimization_barrier(row), (0, 1, 2)))
    sides = [(along.start, g.kernel - along.stop, 0) for along in (rows, columns)]
    return lax.pad(jnp.stack(found), jnp.zeros((), x.dtype), (*sides, (0, 0, 0)))


def _kernel_grad_dense(x, y, g: Geometry):
    channels = x.shape[-1]
    parts = []
    for first in range(0, channels, 16):
        last = min(first + 16, channels)
        dense = lax.conv_general_dilated(
            x[..., first:last],
            y[..., first:last],
            window_strides=(g.dilation, g.dilation),
            padding=[(g.padding, g.padding)] * 2,
            rhs_dilation=(g.stride, g.stride),
            dimension_numbers=lax.conv_dimension_numbers(x.shape, y.shape, ("CHWN", "IHWO", "NHWC")),
        )
        parts.append(jnp.einsum("chwc->hwc", dense[:, : g.kernel, : g.kernel, :]))
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _box(x, *, geometry: Geometry):
    return _sum(view for _, _, view in _views(x, geometry))


def _unbox(y, *, geometry: Geometry):
    return _carry_back(geometry, lambda i, j, view: view, y)


def _take(x, tap, *, geometry: Geometry):
    terms = (
        jnp.where(tap == geometry.kernel * i + j, view, jnp.zeros((), x.dtype)) for i, j, view in _views(x, geometry)
    )
    return _sum(terms)


def _give(y, tap, *, geometry: Geometry):
    nothing = jnp.zeros((), y.dtype)

    def term(i, j, view, chosen):
        return jnp.where(chosen == geometry.kernel * i + j + 1, view, nothing)

    return _carry_back(geometry, term, y, tap + jnp.ones((), tap.dtype))  # 0 marks the padding


# --- primitives ---------------------------------------------------------------------------------------------------


def _primitive(name: str, body: Callable, result: Literal["output", "input", "kernel"]) -> Primitive:
    """A primitive of `body` whose result has the shape of the output, the input or the kernel."""
    primitive = Primitive(f"jdarts_{name}")
    jitted = partial(jax.jit, static_argnames="geometry")(body)

    def impl(*args, geometry):
        return jitted(*args, geometry=geometry)

    def abstract(*avals, geometry: Geometry):
        images, channels = avals[0].shape[0], avals[0].shape[-1]
        sizes = {
            "output": (images, *geometry.out_size, channels),
            "input": (images, geometry.height, geometry.width, channels),
            "kernel": (geometry.kernel, geometry.kernel, channels),
        }
        dtype = jnp.result_type(*(a.dtype for a in avals if jnp.issubdtype(a.dtype, jnp.floating)))
        return avals[0].update(shape=sizes[result], dtype=dtype, weak_type=False)

    def batch(args, dims, *, geometry):
        return _batch(primitive, args, dims, geometry)

    primitive.def_impl(impl)
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(impl, multiple_results=False))
    return primitive


def _batch(primitive, args, dims, geometry: Geometry):
    """Fold the mapped axis into the images if only images are mapped, otherwise into the channels."""
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    image = [i for i, a in enumerate(args) if a.ndim - (dims[i] is not None) == 4]
    only_images = all((d is None) == (i not in image) for i, d in enumerate(dims))
    fold = 0 if only_images and primitive is not kernel_grad_p else -1
    folded = []
    for i, (a, d) in enumerate(zip(args, dims, strict=True)):
        if fold == 0 and i not in image:
            folded.append(a)
            continue
        a = jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
        if fold == 0:
            folded.append(a.reshape(size * a.shape[1], *a.shape[2:]))
        else:
            folded.append(jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], size * a.shape[-1]))
    out = bind_alike(primitive, *folded, geometry=geometry)
    if fold == 0:
        return out.reshape(size, -1, *out.shape[1:]), 0
    return jnp.moveaxis(out.reshape(*out.shape[:-1], size, -1), -2, 0), 0


forward_p = _primitive("depthwise", _forward, "output")
input_grad_p = _primitive("depthwise_input_grad", _input_grad, "input")
kernel_grad_p = _primitive("depthwise_kernel_grad", _kernel_grad, "kernel")
box_p = _primitive("box_sum", _box, "output")
unbox_p = _primitive("box_sum_transpose", _unbox, "input")
take_p = _primitive("take_tap", _take, "output")
give_p = _primitive("take_tap_transpose", _give, "input")


def _bilinear(primitive, transpose_first: Primitive, transpose_second: Primitive, swap=(False, False)):
    """Declare `primitive(a, b)` bilinear, with the transposes `first(ct, b)` in a and `second(a, ct)` in b."""

    def first(ct, a, b, *, geometry):
        del a
        return bind_alike(transpose_first, *((b, ct) if swap[0] else (ct, b)), geometry=geometry)

    def second(ct, a, b, *, geometry):
        del b
        return bind_alike(transpose_second, *((ct, a) if swap[1] else (a, ct)), geometry=geometry)

    ad.defbilinear(primitive, first, second)


_bilinear(forward_p, input_grad_p, kernel_grad_p)
_bilinear(input_grad_p, forward_p, kernel_grad_p, swap=(False, True))
_bilinear(kernel_grad_p, input_grad_p, forward_p, swap=(True, False))


def _linear_pair(one: Primitive, other: Primitive):
    """Declare two maps, linear in their first argument, as each other's transposes; a second argument is an index."""
    for primitive, transpose in ((one, other), (other, one)):

        def jvp(primals, tangents, *, geometry, primitive=primitive):
            out = bind_alike(primitive, *primals, geometry=geometry)
            if type(tangents[0]) is ad.Zero:
                return out, ad.Zero(jax.typeof(out))
            return out, bind_alike(primitive, tangents[0], *primals[1:], geometry=geometry)

        def transposed(ct, x, *rest, geometry, transpose=transpose):
            del x
            if type(ct) is ad.Zero:
                return (None,) * (1 + len(rest))
            return (bind_alike(transpose, ct, *rest, geometry=geometry), *(None for _ in rest))

        ad.primitive_jvps[primitive] = jvp
        ad.primitive_transposes[primitive] = transposed


_linear_pair(box_p, unbox_p)
_linear_pair(take_p, give_p)


# --- public maps --------------------------------------------------------------------------------------------------


def depthwise_shift(x, kernel, geometry: Geometry):
    """Depthwise convolution: `x [N, H, W, C]`, `kernel [k, k, C]` → `[N, H', W', C]`."""
    return bind_alike(forward_p, x, kernel, geometry=geometry)


def box_sum(x, geometry: Geometry):
    """Sum over each window, with zeros outside the image: `[N, H, W, C]` → `[N, H', W', C]`."""
    return bind_alike(box_p, x, geometry=geometry)


def take_tap(x, tap, geometry: Geometry):
    """The pixel at position `tap` (row-major, int) of each window.

    `x [N, H, W, C]`, `tap [N, H', W', C]` → `[N, H', W', C]`.
    """
    return bind_alike(take_p, x, tap, geometry=geometry)


def shifted_max_tap(x, geometry: Geometry):
    """Position of the largest pixel of each window, int8: the first among equals; the image is padded with −∞."""
    views = _views(x, geometry, -jnp.inf)
    i, j, best = next(views)
    index = jnp.full_like(best, geometry.kernel * i + j, jnp.int8)
    for i, j, view in views:
        larger = view > best
        best = jnp.where(larger, view, best)
        index = jnp.where(larger, jnp.int8(geometry.kernel * i + j), index)
    return index
