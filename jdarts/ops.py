"""Candidate operations of the cell-based spaces, as Flax modules.

Letters as in `jdarts.kernels`: T parallel edges leave one node and share one module; their weights are stacked on a
leading axis T, their outputs lie side by side on the channel axis. A module returns a list of chunks, each
`[N, H', W', t·C]`; `edge_slice(chunks, t, channels)` picks one edge's `[N, H', W', C]`. A derived network uses T = 1.

Structure and initialisation follow the DARTS code (Liu et al. 2019): convolutions without bias, drawn from
U(−1/√fan_in, 1/√fan_in) (PyTorch's default); ReLU before, batch norm after; batch norm without scale and shift while
searching (`affine=False`).
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels, own_ops
from jdarts.errors import unknown
from jdarts.initializers import constant, uniform_fan_in
from jdarts.rectifier import relu
from jdarts.replicas import Share

Layout = Literal["auto", "grouped", "per_edge"]

# Beyond this many values the grouped form no longer fits the cache of one CPU core and edges are faster one by one.
_GROUPED_LIMIT = 400_000

RUNNING_MOMENTUM = 0.1  # weight of a new batch in the running averages of batch norm (PyTorch's default)


def spans(edges: int, values_per_edge: int, layout: Layout) -> list[tuple[int, int]]:
    """Which edges share one call: `[(0, T)]` for the grouped form, `[(0, 1), (1, 2), …]` edge by edge."""
    if layout == "auto":
        small = edges * values_per_edge <= _GROUPED_LIMIT
        layout = "grouped" if small or kernels.on_accelerator() else "per_edge"
    return [(0, edges)] if layout == "grouped" else [(t, t + 1) for t in range(edges)]


def edge_slice(chunks: Sequence[jax.Array], edge: int, channels: int) -> jax.Array:
    """The output of one edge, `[N, H, W, C]`, out of a module's chunks."""
    if len(chunks) == 1:
        chunk = chunks[0]
        return chunk if chunk.shape[-1] == channels else chunk[..., edge * channels : (edge + 1) * channels]
    return chunks[edge]


class BatchNorm(nn.Module):
    """Batch normalisation of T stacked edges with PyTorch semantics.

    Normalises by the biased batch variance (eps 1e-5), keeps the running variance unbiased, running momentum 0.1.
    With `axis_name` the statistics are those of the global batch. Running averages move only when the caller makes
    the collection `batch_stats` mutable.
    """

    channels: int
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    eps: float = 1e-5
    momentum: float = RUNNING_MOMENTUM

    def setup(self):
        """Running averages, and scale and shift."""
        shape = (self.edges, self.channels)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape)
        if self.affine:
            self.scale = self.param("scale", constant(1.0), shape)
            self.bias = self.param("bias", constant(0.0), shape)

    def __call__(self, chunks: Sequence[jax.Array], train: bool) -> list[jax.Array]:
        """Normalise chunks `[N, H, W, t·C]` that together hold all T edges."""
        if self.is_initializing():  # only the parameters are wanted
            return list(chunks)
        outputs, means, variances = [], [], []
        first = 0
        for x in chunks:
            last = first + x.shape[-1] // self.channels
            if train:
                y, mean, var = kernels.standardise(x, self.eps, self.axis_name)
                means.append(mean)
                variances.append(var)
            else:
                var = self.var.value[first:last].reshape(-1)
                y = (x - self.mean.value[first:last].reshape(-1)) * lax.rsqrt(var + self.eps)
            y = y.astype(x.dtype)
            if self.affine:
                y = y * self.scale[first:last].reshape(-1) + self.bias[first:last].reshape(-1)
            outputs.append(y)
            first = last
        if train:
            x = chunks[0]
            self.record(jnp.concatenate(means), jnp.concatenate(variances), x.shape[0] * x.shape[1] * x.shape[2])
        return outputs

    def record(self, mean: jax.Array, var: jax.Array, samples: int) -> None:
        """Move the running averages to the moments `[T·C]` of a batch of so many pixels, if they may move.

        They have no derivative: a network in training does not read them.
        """
        if not self.is_mutable_collection("batch_stats"):
            return
        mean, var = lax.stop_gradient(mean), lax.stop_gradient(var)
        if self.axis_name is not None:
            samples = samples * lax.axis_size(self.axis_name)
        for variable, new in ((self.mean, mean), (self.var, var * (samples / max(samples - 1, 1)))):
            variable.value = (1 - self.momentum) * variable.value + self.momentum * new.reshape(variable.value.shape)


class Op(nn.Module):
    """A candidate operation on T edges that leave one node: `[N, H, W, C]` → chunks of `[N, H', W', t·C]`."""

    channels: int
    stride: int = 1
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    layout: Layout = "auto"
    impl: kernels.Impl = "auto"
    activated: bool = False
    """The input has passed its ReLU already."""
    margin: int = 0
    """For the convolutions of the input, see `jdarts.kernels.depthwise`."""

    @property
    def padding(self) -> int:
        """Pixels of padding on each side that a depthwise convolution of the input needs, 0 if there is none."""
        return 0

    def norm(self, edges: int | None = None) -> BatchNorm:
        """A batch norm over this op's edges."""
        return BatchNorm(self.channels, edges or self.edges, self.affine, self.axis_name)

    def spans_for(self, x: jax.Array) -> list[tuple[int, int]]:
        """The grouping of this op's edges for input `x`."""
        return spans(self.edges, x.size // self.stride**2, self.layout)

    def norms(self) -> list[BatchNorm]:
        """The batch norms, in order.

        An op is `before_norm(0, x)`, norm, and with a second norm ReLU, `before_norm(1, ·)`, norm.
        Without norms it is `before_norm(0, x)` alone, or has a `__call__` of its own.
        """
        return []

    def before_norm(self, stage: int, x: jax.Array | Sequence[jax.Array]) -> list[jax.Array]:
        """What the batch norm of that stage takes: chunks `[N, H', W', t·C]`."""
        raise NotImplementedError

    def in_phases(self, x: jax.Array) -> list[jax.Array] | None:
        """`before_norm(0, x)` in the order of `kernels.to_phases`, if that is how it is computed."""
        del x

    def before_last_norm(self, x: jax.Array, train: bool) -> list[jax.Array] | None:
        """What the last batch norm takes; None for an op that does not end in one."""
        norms = self.norms()
        if not norms:
            return None
        chunks = self.before_norm(0, x)
        for stage, norm in enumerate(norms[:-1], 1):
            # the cut is for the way back: the norm reads the convolution's gradient several times
            chunks = self.before_norm(stage, [relu(kernels.cut(chunk)) for chunk in norm(chunks, train)])
        return chunks

    def record_last(self, mean: jax.Array, var: jax.Array, samples: int) -> None:
        """`BatchNorm.record` of the last batch norm."""
        self.norms()[-1].record(mean, var, samples)

    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """`[N, H, W, C]` → chunks `[N, H', W', t·C]`."""
        chunks = self.before_last_norm(x, train)
        return self.before_norm(0, x) if chunks is None else self.norms()[-1](chunks, train)


class SepConv(Op):
    """(ReLU, depthwise, pointwise, batch norm) twice; the stride is in the first depthwise."""

    kernel: int = 3

    @property
    def padding(self) -> int:
        """Half of the kernel's reach."""
        return (self.kernel - 1) // 2

    def setup(self):
        """Parameters and batch norms."""
        self.depthwise_1, self.pointwise_1 = _separable_kernels(self, self.kernel, 1)
        self.norm_1 = self.norm()
        self.depthwise_2, self.pointwise_2 = _separable_kernels(self, self.kernel, 2)
        self.norm_2 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """One behind each pointwise convolution."""
        return [self.norm_1, self.norm_2]

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """A depthwise and a pointwise convolution."""
        if stage == 0:
            return _first_separable(self, x, self.depthwise_1, self.pointwise_1)
        outputs, t = [], 0
        for chunk in x:
            n = chunk.shape[-1] // self.channels
            kernel_pair = self.depthwise_2[t : t + n], self.pointwise_2[t : t + n]
            outputs.append(kernels.separable(chunk, *kernel_pair, impl=self.impl))
            t += n
        return outputs


class DilConv(Op):
    """ReLU, depthwise with dilation 2, pointwise, batch norm."""

    kernel: int = 3

    @property
    def padding(self) -> int:
        """Half of the kernel's reach."""
        return self.kernel - 1

    def setup(self):
        """Parameters and batch norms."""
        self.depthwise_1, self.pointwise_1 = _separable_kernels(self, self.kernel, 1)
        self.norm_1 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """The one at the end."""
        return [self.norm_1]

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """The two convolutions."""
        del stage
        return _first_separable(self, x, self.depthwise_1, self.pointwise_1, dilation=2)

    def in_phases(self, x: jax.Array) -> list[jax.Array] | None:
        """The two convolutions, not put together again."""
        if not kernels.takes_phases(x, self.stride, 2, self.impl):
            return None
        return _first_separable(self, kernels.to_phases(x), self.depthwise_1, self.pointwise_1)


def _separable_kernels(op: Op, k: int, stage: int):
    c = op.channels
    depthwise = op.param(f"depthwise_{stage}", uniform_fan_in(k * k), (op.edges, k, k, c))
    pointwise = op.param(f"pointwise_{stage}", uniform_fan_in(c), (op.edges, c, c))
    return depthwise, pointwise


def _first_separable(op: Op, x, depthwise, pointwise, dilation: int = 1) -> list[jax.Array]:
    r = x if op.activated else kernels.cut(relu(x))
    spans = op.spans_for(x)
    pairs = [(depthwise[first:last], pointwise[first:last]) for first, last in spans]
    form = {"stride": op.stride, "dilation": dilation, "impl": op.impl, "margin": op.margin}
    return [kernels.separable(r, *pair, **form) for pair in pairs]


class FactorizedReduce(nn.Module):
    """Halve the image: ReLU, two 1 × 1 stride-2 convolutions (the second shifted by one pixel), batch norm.

    `[N, H, W, inputs]` with even H and W → chunk `[N, H/2, W/2, T·channels]`.
    """

    inputs: int
    channels: int
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    activated: bool = False
    impl: kernels.Impl = "auto"

    def setup(self):
        """Parameters and batch norms."""
        shape = self.edges, self.inputs, self.channels // 2
        self.conv_1, self.conv_2 = (self.param(f"conv_{i}", uniform_fan_in(self.inputs), shape) for i in (1, 2))
        self.norm_1 = BatchNorm(self.channels, self.edges, self.affine, self.axis_name)

    def before_norm(self, x: jax.Array) -> list[jax.Array]:
        """The convolutions."""
        r = x if self.activated else relu(x)
        return [kernels.halve(r, self.conv_1, self.conv_2, impl=self.impl)]

    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Apply to `[N, H, W, inputs]`."""
        return self.norm_1(self.before_norm(x), train)


class ReLUConvBN(nn.Module):
    """ReLU, 1 × 1 convolution, batch norm: `[N, H, W, C_in]` → `[N, H, W, channels]`."""

    channels: int
    affine: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Apply to `[N, H, W, C_in]`."""
        c_in = x.shape[-1]
        kernel = self.param("conv_1", uniform_fan_in(c_in), (1, c_in, self.channels))
        y = relu(x) @ kernel[0]
        norm = BatchNorm(self.channels, 1, self.affine, self.axis_name, name="norm_1")
        return norm([y], train)[0]


class SkipConnect(Op):
    """Identity at stride 1; one `FactorizedReduce` an edge at stride 2."""

    def setup(self):
        """Parameters and batch norms."""
        if self.stride > 1:
            fields = self.affine, self.axis_name, self.activated, self.impl
            self.reduce = FactorizedReduce(self.channels, self.channels, self.edges, *fields)

    def norms(self) -> list[BatchNorm]:
        """That of the reduction."""
        return [self.reduce.norm_1] if self.stride > 1 else []

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """One chunk: the convolutions of the reduction, at stride 1 the input, the same for all edges."""
        del stage
        return self.reduce.before_norm(x) if self.stride > 1 else [x]


class Pool(Op):
    """3 × 3 max or average pooling. In a supernet a batch norm follows; the result is the same on all T edges."""

    kind: Literal["max", "avg"] = "max"
    normalise: bool = False

    def setup(self):
        """Parameters and batch norms."""
        if self.normalise:
            self.norm_1 = self.norm(edges=1)

    def norms(self) -> list[BatchNorm]:
        """The one behind the pool in a supernet."""
        return [self.norm_1] if self.normalise else []

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """One chunk `[N, H', W', C]` for all edges."""
        del stage
        pool = kernels.max_pool if self.kind == "max" else kernels.avg_pool
        return [pool(x, stride=self.stride, impl=self.impl)]


class Noise(Op):
    """Standard normal noise of the (strided) input's shape, ignoring the input (space S4). Needs the rng `noise`."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """`[N, H, W, C]` → one chunk of fresh noise `[N, H', W', T·C]`."""
        del train
        n, h, w, c = x.shape
        shape = (-(-h // self.stride), -(-w // self.stride), c * self.edges)
        share = Share(None if self.is_initializing() else self.axis_name)
        keys = share.keys(self.make_rng("noise"), n)  # an image's noise is that of its row in the global batch
        return [jax.vmap(lambda key: jax.random.normal(key, shape, x.dtype))(keys)]


class Zero(Op):
    """The op `none`: zeros of the (strided) input's shape."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """`[N, H, W, C]` → one chunk of zeros for all edges."""
        del train
        return [jnp.zeros_like(x[:, :: self.stride, :: self.stride])]


class Conv7x1(Op):
    """ReLU, 1 × 7 convolution, 7 × 1 convolution, batch norm (`conv_7x1_1x7`, derived networks only)."""

    def setup(self):
        """Parameters and batch norms."""
        c = self.channels
        self.conv_1x7 = self.param("conv_1x7", uniform_fan_in(7 * c), (1, 7, c, c))
        self.conv_7x1 = self.param("conv_7x1", uniform_fan_in(7 * c), (7, 1, c, c))
        self.norm_1 = self.norm()

    def norms(self) -> list[BatchNorm]:
        """The one at the end."""
        return [self.norm_1]

    def before_norm(self, stage: int, x: Any) -> list[jax.Array]:
        """The two convolutions."""
        del stage
        y = kernels.convolution(relu(x), self.conv_1x7, stride=(1, self.stride), padding=(0, 3))
        return [kernels.convolution(y, self.conv_7x1, stride=(self.stride, 1), padding=(3, 0))]


def has_weights(op: str, stride: int) -> bool:
    """Whether a candidate op has weights of its own, so that its output differs from edge to edge."""
    if own_ops.is_own(op):
        return own_ops.has_weights(op)
    return "conv" in op or (op == "skip_connect" and stride > 1)


def is_pool(op: str) -> bool:
    """Whether the op has no weights but batch statistics while searching: a pool, or the user's own without weights."""
    return op in ("max_pool_3x3", "avg_pool_3x3") or (own_ops.is_own(op) and not own_ops.has_weights(op))


def candidate(op: str, /, *, search: bool, **fields) -> Op:
    """The module of a candidate op by its DARTS name; `search` adds the batch norm behind pools.

    `fields` are those of `Op` (channels, stride, edges, affine, axis_name, layout, impl) and the Flax `name`.
    """
    match op:
        case "none":
            return Zero(**fields)
        case "noise":
            return Noise(**fields)
        case "skip_connect":
            return SkipConnect(**fields)
        case "max_pool_3x3" | "avg_pool_3x3":
            return Pool(kind="max" if op.startswith("max") else "avg", normalise=search, **fields)
        case "sep_conv_3x3" | "sep_conv_5x5" | "sep_conv_7x7":
            return SepConv(kernel=int(op[-1]), **fields)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return DilConv(kernel=int(op[-1]), **fields)
        case "conv_7x1_1x7":
            return Conv7x1(**fields)
    if own_ops.is_own(op):
        from jdarts.own_op_module import Own  # built of the modules of this file

        return Own(own=own_ops.get(op), search=search, **fields)
    raise unknown("op", op, CANDIDATES)


CANDIDATES = (
    "none",
    "noise",
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_7x1_1x7",
)
