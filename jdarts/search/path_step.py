"""The weight step along paths: SPOS (Guo et al. 2020), FairNAS (Chu et al. 2021), One-Shot (Bender et al. 2018).

The batch is divided into as many equal parts as the step has paths. Every path has one forward and one backward pass on
its part; the gradients are summed or averaged, and one update follows. Weights of blocks that no path trained keep
their values and momenta to the last bit: neither momentum nor weight decay moves them. Where only the blocks of a path
run, running averages stay, too. Seen from such a block, the step did not happen.

In One-Shot the parts are ghost batches: batch norm takes its statistics from each part, and each has a mask of its own.
The loss of a part has the L2 term of the weights that its mask keeps, so that the decay of a weight is multiplied by
the share of the parts that use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jdarts.config import SearchConfig
from jdarts.errors import UserError
from jdarts.methods import Method
from jdarts.methods.paths import Paths, path_of
from jdarts.methods.resources import chain_costs
from jdarts.networks.wiring import OpWeights
from jdarts.search.objective import Batch, LossAux
from jdarts.search.step import SearchStep
from jdarts.search.vectors import VectorNetwork
from jdarts.spaces import CHAINS, LayerChoices, OneShotSpace
from jdarts.spaces.space import Space

OpPlace = tuple[str, int, int]
"""An entry of op weights: matrix, row, column."""


@dataclass(frozen=True, eq=False)
class PathStep(SearchStep):
    """A search step whose weights move along single paths, with `method.paths`."""

    def weight_step(self, state: Any, train_batch: Batch, seen: Any = None) -> tuple[Any, Any]:
        """`(state with new weights, (loss, aux))`; loss and aux are means over the paths."""
        del seen
        key, clock = train_batch["relax_key"], self.objective.clock(state.step)
        paths, counted = self.paths.draw(self.objective.space, state.alphas, key, clock)
        (value, aux), grads = self.path_gradients(state.weights, paths, counted, train_batch)
        moves = trained(self.objective.supernet, {name: jnp.sum(c, 0) > 0 for name, c in counted.items()})
        decayed = {}
        if self.paths.averaged:
            count = self.paths.count(self.objective.space)
            share = trained(self.objective.supernet, jax.tree.map(lambda c: jnp.mean(c, 0), counted))
            grads, decayed = grads / count, {"decayed": state.weights * share}
        update = optax.with_extra_args_support(self.weight_optimizer).update
        updates: Any
        updates, opt_state = update(grads, state.weight_opt_state, state.weights, **decayed)

        def kept(new, old):
            return jnp.where(moves, new, old) if jnp.shape(new) == moves.shape else new

        w = kept(state.weights + updates, state.weights)
        opt_state = jax.tree.map(kept, opt_state, state.weight_opt_state)
        return state.replace(weights=w, weight_opt_state=opt_state, batch_stats=aux["batch_stats"]), (value, aux)

    def alpha_step(self, state: Any, ahead: Batch, train_batch: Batch, val_batch: Batch) -> tuple[Any, Any]:
        """Step 1 on the first part of the validation batch, as large as that of one path of the weight step."""
        count = self.paths.count(self.objective.space)
        part = {**val_batch, **{name: split_rows(val_batch[name], count)[0] for name in ("images", "labels")}}
        return super().alpha_step(state, ahead, train_batch, part)

    @property
    def paths(self) -> Paths:
        """The paths of the method."""
        found = self.objective.method.paths
        assert found is not None
        return found

    def path_gradients(
        self, w: jax.Array, paths: OpWeights, counted: OpWeights, batch: Batch
    ) -> tuple[tuple[jax.Array, LossAux], jax.Array]:
        """`((mean loss, aux), sum of the gradients)`; path k sees part k of the batch."""
        count = len(next(iter(paths.values())))  # each path moves the running averages of the path before
        parts = {name: split_rows(batch[name], count) for name in ("images", "labels")}

        def one(running, k):
            own = {name: lax.dynamic_index_in_dim(rows, k, keepdims=False) for name, rows in parts.items()}
            key = batch["key"] if count == 1 else jax.random.fold_in(batch["key"], k)
            part = {**batch, **own, "key": key, "batch_stats": running}
            (value, aux), (grads, _) = self.weight_gradients(w, path_of(paths, k), part)
            if count > 1:
                learns = trained(self.objective.supernet, jax.tree.map(lambda c: c > 0, path_of(counted, k)))
                grads = jnp.where(learns, grads, 0)
            return value, aux, grads

        if count == 1:
            value, aux, grads = one(batch["batch_stats"], 0)
            return (value, aux), grads

        def add(carry, k):
            total, running = carry
            value, aux, grads = one(running, k)
            return (total + grads, aux["batch_stats"]), (value, aux["loss"], aux["accuracy"])

        start = jnp.zeros_like(w), batch["batch_stats"]
        (grads, running), seen = lax.scan(add, start, jnp.arange(count))
        value, loss, accuracy = (jnp.mean(each) for each in seen)
        return (value, {"loss": loss, "accuracy": accuracy, "batch_stats": running, "carried": ()}), grads


def split_rows(rows: jax.Array, count: int) -> jax.Array:
    """`rows [B, …]` as `[count, B/count, …]`."""
    return rows.reshape(count, -1, *rows.shape[1:])


def trained(supernet: VectorNetwork, active: OpWeights) -> jax.Array:
    """The weights that a path trains, as a mask `[weights]`.

    `active` has a boolean for every op, `{matrix: [layers, ops]}`, or a share of 0 to 1. Weights outside of the blocks
    to choose from are always trained.
    """
    pieces, whole = [], jnp.ones((), next(iter(active.values())).dtype)
    for place, size in segments(supernet):
        on = whole if place is None else active[place[0]][place[1], place[2]]
        pieces.append(jnp.broadcast_to(on, (size,)))
    return lax.concatenate(pieces, 0)


def segments(supernet: VectorNetwork) -> list[tuple[OpPlace | None, int]]:
    """The op whose block owns the weights, and their number, for the stretches of the vector of weights in order."""
    place_of = supernet.network.choice_of
    parts: Sequence[tuple[OpPlace | None, int]] = [
        (place_of(path), prod(shape)) for path, shape in supernet.params.parts()
    ]
    return [(place, sum(size for _, size in group)) for place, group in groupby(parts, key=lambda part: part[0])]


def check_paths(method: Method, space: Space, settings: SearchConfig) -> None:
    """Raise `UserError` unless the space has paths that the method trains, and the batch can be divided among them."""
    assert method.paths is not None
    if isinstance(space, OneShotSpace) and method.paths.sampled:
        raise UserError(
            f"space {space.name} adds up the paths of a choice block, but {method.name} runs one op of a layer; use "
            "method one_shot"
        )
    if not isinstance(space, LayerChoices | OneShotSpace):
        raise UserError(
            f"space {space.name} has no layers to choose from, which method {method.name} needs; use one of "
            f"{', '.join(CHAINS)}, or the method rsps"
        )
    count, parts = method.paths.count(space), settings.microbatches
    if settings.batch_size % (count * parts) or settings.batch_size < 2 * count * parts:
        words = f" and {parts} microbatches" if parts > 1 else ""
        raise UserError(
            f"search.batch_size is {settings.batch_size}, but a step of {method.name} trains {count} paths on equal "
            f"parts of the batch{words}; use a multiple of {count * parts}, at least {2 * count * parts}"
        )


def check_limit(method: Method, space: Any, side: int, classes: int) -> None:
    """Raise `UserError` if no network of the space keeps the limit of multiply–accumulates (`most_macs`)."""
    most = method.options.get("most_macs")
    if most is None:
        return
    fixed, costs = chain_costs(space, "flops", size=side, classes=classes)
    least = fixed + sum(cost.min(-1).sum() for cost in costs.values())
    if least > most:
        raise UserError(
            f"most_macs of method {method.name} is {most:,.0f}, but the smallest network of space {space.name} has "
            f"{least:,.0f} multiply–accumulates on images of {side} pixels; use a larger limit, or 0 for none"
        )
