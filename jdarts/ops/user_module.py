"""A user's own op as a candidate: stacked weights for parallel edges, batch norm, checks, size.

    class Ghost(nn.Module):                     def blur(x, stride):
        channels: int                               return nn.avg_pool(x, (2, 2), (stride, stride), "SAME")
        stride: int = 1

        @nn.compact
        def __call__(self, x): ...

Either takes `[N, H, W, C]`, the value of the node as it is (put a ReLU in front if you want one), and gives
`[N, H/stride, W/stride, C]`. A batch norm follows: behind a module's output always, as behind every convolution of
DARTS; behind a function's output while searching only, as behind its pools. A module that needs batch norms inside
takes them as an argument, `__call__(self, x, norm)`, and then none is added: `y = norm(y)` has the statistics of the
whole batch, and scale and shift in derived networks only, which a `nn.BatchNorm` would not.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.errors import UserError
from jdarts.ops import user_ops
from jdarts.ops.batch_norm import BatchNorm
from jdarts.ops.initializers import drawn
from jdarts.ops.network_size import multiply_adds
from jdarts.ops.user_ops import OwnOp

_CHECKED = (2, 8, 8, 16)  # the input that a new op is tried on


class OneEdge(nn.Module):
    """An own op on one edge, with the batch norms that belong to it."""

    op: OwnOp
    channels: int
    stride: int = 1
    affine: bool = True
    axis_name: str | None = None
    normalise: bool = True

    @nn.compact
    def __call__(self, x, train: bool):
        """`[N, H, W, C]` → `[N, H/stride, W/stride, C]`."""

        def norm(y):
            return BatchNorm(y.shape[-1], 1, self.affine, self.axis_name)(y, train)

        make: Any = self.op.make
        given = {"channels": self.channels, "stride": self.stride}
        if not inspect.isclass(make):
            takes_stride = "stride" in inspect.signature(make).parameters
            y = make(x, self.stride) if takes_stride else make(x)
            return norm(y) if self.normalise else y
        fields = getattr(make, "__dataclass_fields__", {})
        module = cast(Callable[..., Any], make)(**{name: value for name, value in given.items() if name in fields})
        if "norm" in inspect.signature(make.__call__).parameters:
            return module(x, norm)
        return norm(module(x))


class Own(nn.Module):
    """The own op `own` as a candidate on T edges."""

    channels: int
    stride: int = 1
    edges: int = 1
    affine: bool = True
    axis_name: str | None = None
    own: OwnOp = OwnOp("")
    search: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[N, H, W, C]` → `[T, N, H', W', C]`, or `[1, N, H', W', C]` for all edges if the op has no weights."""
        return jnp.stack(self.outputs(x, train))

    def outputs(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """An image an edge, or one for all."""
        fields = (self.own, self.channels, self.stride, self.affine)
        if not self.own.weights:
            normalise = self.search or inspect.isclass(self.own.make)
            return [OneEdge(*fields, self.axis_name, normalise, name="op")(x, train)]
        one: Any = OneEdge(*fields, None if self.is_initializing() else self.axis_name, parent=None)
        alone: Any = OneEdge(*fields, parent=None)  # without the mapped axis
        shapes = _shapes(alone, x.shape, x.dtype)
        start = {
            "params": lambda: self._initial(shapes["params"], x),
            "batch_stats": lambda: _starting(shapes["batch_stats"], self.edges),
        }
        kept = {name: self.variable(name, "op", start[name]) for name in start if name in shapes}
        outputs, changed = [], []
        for t in range(self.edges):
            row = {name: jax.tree.map(lambda leaf, t=t: leaf[t], variable.value) for name, variable in kept.items()}
            y, new = one.apply(row, x, train, mutable=["batch_stats"])
            outputs.append(y)
            changed.append(new.get("batch_stats"))
        moving = train and self.is_mutable_collection("batch_stats") and not self.is_initializing()
        if moving and "batch_stats" in kept:
            kept["batch_stats"].value = jax.tree.map(lambda *rows: jnp.stack(rows), *changed)
        return outputs

    def _initial(self, shapes, x):
        key = self.make_rng("params")
        one: Any = OneEdge(self.own, self.channels, self.stride, self.affine, parent=None)
        leaves, structure = jax.tree_util.tree_flatten_with_path(shapes)
        values = []
        for i, (path, leaf) in enumerate(leaves):
            draw = _draw(one, x.shape, jnp.dtype(x.dtype), tuple(part.key for part in path))
            values.append(drawn(draw)(jax.random.fold_in(key, i), (self.edges, *leaf.shape), leaf.dtype))
        return jax.tree.unflatten(structure, values)


@lru_cache(maxsize=1024)
def _shapes(one: Any, shape: tuple[int, ...], dtype: Any) -> dict[str, Any]:
    return _traced(lambda x: one.init(jax.random.key(0), x, True), shape, dtype)


def _traced(function: Callable, shape: tuple[int, ...], dtype: Any = None) -> Any:
    return jax.eval_shape(function, jax.ShapeDtypeStruct(shape, dtype or jnp.result_type(float)))


@lru_cache(maxsize=4096)
def _draw(one: Any, shape: tuple[int, ...], dtype: Any, path: tuple[str, ...]) -> Callable[[jax.Array], jax.Array]:
    """Draws the parameter at `path` for one edge, as the user's module initialises it."""

    def draw(key):
        value: Any = one.init(key, jnp.zeros(shape, dtype), True)["params"]
        for name in path:
            value = value[name]
        return value

    return draw


def _starting(shapes, rows: int):
    def start(path, leaf):
        return (jnp.ones if path[-1].key == "var" else jnp.zeros)((rows, *leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(start, shapes)


# Checks at construction


def checked(name: str, make: Any, strides: tuple[int, ...] = (1, 2)) -> OwnOp:
    """The own op `name`, tried on abstract images at the `strides` it is used with; nothing is computed.

    Raises `UserError`, one line, if it is neither a Flax module class nor a function, fails, gives another shape than
    `[N, H/stride, W/stride, C]`, keeps statistics of its own or needs random numbers.
    """
    what = f"op {name!r}"
    is_module = inspect.isclass(make) and issubclass(make, nn.Module)
    if not is_module and (inspect.isclass(make) or not callable(make)):
        raise UserError(
            f"{what} is {make!r}; give a flax.linen Module class, or a function (x, stride) without weights"
        )
    weights = False
    for stride in strides:
        one = OneEdge(OwnOp(name, make), _CHECKED[-1], stride, affine=False, parent=None)

        def run(x, one=one):
            return one.init_with_output(jax.random.key(0), x, True)

        try:
            y, variables = _traced(run, _CHECKED)
        except Exception as error:
            words = " ".join(str(error).split())
            raise UserError(f"{what} fails at stride {stride}: {type(error).__name__}: {words[:200]}") from None
        n, h, w, c = _CHECKED
        wanted = (n, h // stride, w // stride, c)
        if getattr(y, "shape", None) != wanted:
            raise UserError(
                f"{what} gives {getattr(y, 'shape', type(y).__name__)} for an input {_CHECKED} at stride {stride}; "
                f"it must give {wanted}"
            )
        extra = sorted(set(variables) - {"params", "batch_stats"})
        statistics = jax.tree.leaves(variables.get("batch_stats", {}))
        if extra or any(leaf.ndim != 2 for leaf in statistics):
            raise UserError(
                f"{what} keeps {extra[0] if extra else 'batch statistics'} of its own; for batch norm take it as an "
                "argument, __call__(self, x, norm)"
            )
        weights |= "params" in variables
    return OwnOp(name, make, weights)


# Size


def count_own(op: str, channels: int, stride: int, size: tuple[int, int]) -> tuple[int, int]:
    """Parameters and MACs of the own op `op` in a derived network; `size` is height and width of its output.

    MACs are those of all convolutions and matrix products that its program for one image holds.
    """
    own = user_ops.get(op)
    one = OneEdge(own, channels, stride, True, None, inspect.isclass(own.make), parent=None)
    x = jax.ShapeDtypeStruct((1, size[0] * stride, size[1] * stride, channels), jnp.result_type(float))
    variables = jax.eval_shape(lambda x: one.init(jax.random.key(0), x, False), x)
    program = jax.make_jaxpr(lambda v, x: one.apply(v, x, False))(variables, x)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {})))
    return parameters, multiply_adds(program.jaxpr)
