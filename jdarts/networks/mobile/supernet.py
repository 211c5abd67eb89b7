"""The one-shot supernet of mobile networks: every layer between stem and head is a mixture of its candidate blocks.

Layer i computes `Σ_k p[i, k] · block_k(x)`. Rows with equally many candidates form one matrix of op weights. With
one-hot rows the network equals the stand-alone `MobileNetwork` with the weights of the chosen blocks.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jdarts import kernels
from jdarts.genotypes.mobile import MobileFamily, MobileLayer
from jdarts.networks.edges import PLAIN, EdgeSettings, EdgeValues
from jdarts.networks.fast import pieces
from jdarts.networks.image_sizes import image_sides
from jdarts.networks.mobile.blocks import MobileBlock
from jdarts.networks.mobile.layers import MobileClassifier
from jdarts.networks.recomputing import recomputed
from jdarts.networks.wiring import OpWeights, WholeVariables, rows_of
from jdarts.ops.initializers import identity


class MixedLayer(nn.Module):
    """A layer of the supernet: `Σ_k p[k] · block_k(x)`; block k is the submodule `choice_{k}`.

    Attributes:
      candidates: the layers to choose from; they have one width and one stride.
      family: conventions of the blocks.
      edge: `auxiliary_skip` adds β · x where stride and width allow it (DARTS-, Chu et al. 2021). `sampled` runs only
        the block with the largest weight, by a real conditional; the running averages of the others do not move.
      axis_name: mesh axis over which batch norm takes its statistics.
      remat: a sampled block computes its activations again for the gradient.
    """

    candidates: tuple[MobileLayer, ...]
    family: MobileFamily
    edge: EdgeSettings = PLAIN
    axis_name: str | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, p: jax.Array, train: bool, beta: jax.Array | float = 0.0) -> jax.Array:
        """`x [N, H, W, ·]`, op weights `p [candidates]` → `[N, ⌈H/stride⌉, ⌈W/stride⌉, width]`."""
        blocks = [block_of(layer, x.shape[-1], self.family, self.axis_name) for layer in self.candidates]
        p = jnp.asarray(p, x.dtype)
        if self.edge.sampled and not self.is_initializing():
            y = self._sampled(blocks, x, p, train)
        else:
            outputs = [pieces.child(self, block, f"choice_{k}", x, train) for k, block in enumerate(blocks)]
            terms = [p[k].astype(output.dtype) * output for k, output in enumerate(outputs)]
            y = sum(terms[1:], terms[0])
        if self.edge.auxiliary_skip == "none" or not skips(self.candidates[0], x.shape[-1]):
            return y
        if self.edge.auxiliary_skip == "conv1":
            x = kernels.product(x, self.param("auxiliary", identity, (x.shape[-1], x.shape[-1])))
        return y + jnp.asarray(beta, y.dtype) * x

    def _sampled(self, blocks: Sequence[Any], x: jax.Array, p: jax.Array, train: bool) -> jax.Array:
        """The block with the largest weight.

        The other weights enter as a number added to every value. It is 0 for a one-hot row, and its gradient is what
        GDAS' code gives an op that was not run (`jdarts.networks.fast.nasbench201`).
        """
        update, (params, running) = pieces.updating(self, train), own_variables(self)

        def branch(k: int):
            run, name = pieces.module(blocks[k], train, update), f"choice_{k}"

            def chosen(x, params, running):
                y, new = run(x, params.get(name), None if train else running.get(name))
                statistics = {**running, name: moved(self.family, running[name], new)} if name in running else running
                return y, statistics if update else {}

            return chosen

        number, branches = jnp.argmax(p), [branch(k) for k in range(len(blocks))]
        switch = switch_again if self.remat else lax.switch
        y, statistics = switch(number, branches, x, params, running)
        pieces.put_statistics(self, statistics)
        if self.edge.gates:
            return y + gate_gradients(x, p, [partial(each, params=params, running=running) for each in branches], y)
        return p[number].astype(y.dtype) * y + (jnp.sum(p) - p[number]).astype(y.dtype)


def switch_again(number: jax.Array, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`lax.switch`, whose gradient computes the chosen branch again.

    The gradient of `lax.switch` has room for the activations of all branches, since it does not know which one ran.
    Here it has those of one. The branches must read no arrays but their operands.
    """

    @jax.custom_vjp
    def run(number: jax.Array, *operands: Any) -> Any:
        return lax.switch(number, branches, *operands)

    def forward(number: jax.Array, *operands: Any) -> tuple[Any, Any]:
        return lax.switch(number, branches, *operands), (number, operands)

    def backward(kept: Any, change: Any) -> tuple[Any, ...]:
        def pull(branch: Callable[..., Any]) -> Callable[..., Any]:
            return lambda operands, change: jax.vjp(branch, *operands)[1](change)

        number, operands = kept
        return None, *lax.switch(number, [pull(branch) for branch in branches], operands, change)

    run.defvjp(forward, backward)
    return run(number, *operands)


def gate_gradients(
    x: jax.Array, p: jax.Array, branches: Sequence[Callable[[jax.Array], tuple[jax.Array, Any]]], y: jax.Array
) -> jax.Array:
    """Zeros, whose derivative by `p[k]` is the output of block k, for every block of positive weight.

    The derivative by `x` and the parameters is 0. `y` is the output of the block with the largest weight.
    """
    number, change = jnp.argmax(p), p - lax.stop_gradient(p)
    total = change[number].astype(y.dtype) * lax.stop_gradient(y)
    for k, branch in enumerate(branches):

        def learn(x: jax.Array, change: jax.Array, branch=branch) -> jax.Array:
            return change.astype(y.dtype) * lax.stop_gradient(branch(lax.stop_gradient(x))[0])

        def leave(x: jax.Array, change: jax.Array) -> jax.Array:
            return jnp.zeros_like(y)

        total = total + lax.cond((p[k] > 0) & (number != k), learn, leave, x, change[k])
    return total


class MobileSupernet(WholeVariables, nn.Module):
    """The weight-sharing network; layer i of the whole chain is the submodule `layer_{i}`.

    Attributes:
      first: the fixed layers in front.
      candidates: those of every layer in between.
      rows: for every such layer the name of its matrix of op weights and its row in it.
      head: the fixed layer at the end.
      family: conventions of all layers.
      classes: outputs of the classifier.
      dropout: probability of dropout in front of the classifier.
      axis_name: mesh axis over which the batch is split.
      edge: what a method changes on a layer.
      remat: compute a layer's activations again when its gradient is, instead of keeping them.
    """

    first: tuple[MobileLayer, ...]
    candidates: tuple[tuple[MobileLayer, ...], ...]
    rows: tuple[tuple[str, int], ...]
    head: MobileLayer
    family: MobileFamily
    classes: int
    dropout: float = 0.0
    axis_name: str | None = None
    edge: EdgeSettings = PLAIN
    remat: bool = False

    @property
    def moves_statistics(self) -> bool:
        """True if the running averages that it returns depend on those that it gets: blocks that do not run keep them.

        Otherwise an update is linear: it may start from 0, and the caller adds the decayed old averages.
        """
        return self.edge.sampled

    def choice_of(self, path: tuple[str, ...]) -> tuple[str, int, int] | None:
        """Matrix, row and column of the op whose block holds the variable at `path`; None outside of such blocks."""
        if len(path) < 2 or not path[1].startswith("choice_"):
            return None
        layer = int(path[0].removeprefix("layer_")) - len(self.first)
        return (*self.rows[layer], int(path[1].removeprefix("choice_")))

    @nn.compact
    def __call__(
        self, op_weights: OpWeights, images: jax.Array, train: bool, edge_values: EdgeValues | None = None
    ) -> jax.Array:
        """`images [N, H, W, ·]` of any size, `op_weights {name: [layers, ops]}` → logits `[N, classes]`.

        Dropout needs the rng `drop_path` in training.
        """
        image_sides(images)
        beta = (edge_values or {}).get("auxiliary_skip", 0.0)
        rows = {name: rows_of(p) for name, p in op_weights.items() if name in dict(self.rows)}
        sampled = self.edge.sampled
        layer = MixedLayer if sampled else recomputed(MixedLayer, self, train_argument=3)
        x = images
        for i, fixed in enumerate(self.first):
            x = self._fixed(fixed, i, x, train)
        for i, (candidates, (name, row)) in enumerate(zip(self.candidates, self.rows, strict=True), len(self.first)):
            mixed = layer(candidates, self.family, self.edge, self.axis_name, self.remat and sampled, name=f"layer_{i}")
            x = mixed(x, rows[name][row], train, beta)
        x = self._fixed(self.head, len(self.first) + len(self.candidates), x, train)
        return MobileClassifier(self.classes, self.family.bias, self.dropout, self.axis_name, name="classifier")(
            x, train
        )

    def _fixed(self, layer: MobileLayer, number: int, x: jax.Array, train: bool) -> jax.Array:
        block, name = block_of(layer, x.shape[-1], self.family, self.axis_name), f"layer_{number}"
        if not self.moves_statistics or self.is_initializing():
            return pieces.child(self, block, name, x, train)
        params, running = own_variables(self)
        update = pieces.updating(self, train)
        y, new = pieces.module(block, train, update)(x, params[name], None if train else running[name])
        if update:
            pieces.put_statistics(self, {name: moved(self.family, running[name], new)})
        return y


def block_of(layer: MobileLayer, inputs: int, family: MobileFamily, axis_name: str | None) -> Any:
    """The `MobileBlock` of a layer that reads `inputs` channels, without a parent."""
    return MobileBlock(layer, family, skips(layer, inputs) and layer.skip != "none", axis_name, parent=None)


def skips(layer: MobileLayer, inputs: int) -> bool:
    """True if the output of the layer has the shape of its input, so that a skip can be added."""
    return layer.stride == 1 and layer.width == inputs


def own_variables(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the running averages of a module, by the names of its parts."""
    known = module.variables
    return dict(known.get("params", {})), dict(known.get("batch_stats", {}))


def moved(family: MobileFamily, old: Any, new: Any) -> Any:
    """The running averages `old`, moved by `new`, the update that starts from 0; None is no update."""
    if new is None:
        return old
    return jax.tree.map(lambda a, b: (1 - family.norm_momentum) * a + b.astype(a.dtype), old, new)
