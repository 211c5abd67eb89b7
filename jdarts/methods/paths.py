"""Paths of a supernet that train the weights: uniform ones, uniform by cost, strictly fair ones, and path dropout.

A path is a set of op weights of zeros and ones, `{matrix: [layers, ops]}`, one-hot but for path dropout. A step trains
one path, or several on equal parts of the batch. Weights that no path of a step counts do not move, and neither do
their momenta (`jdarts.search.path_step`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.networks.wiring import OpWeights
from jdarts.schedules import Clock, Schedule
from jdarts.spaces.space import Space

DRAWS = 500
"""SPOS draws at most so many paths until one has a cost in the wanted interval (Guo et al. 2020, authors' code)."""


@dataclass(frozen=True, eq=False)
class Paths:
    """The paths of one weight step.

    Attributes:
      count: the number of paths in a space.
      draw: `(space, alphas, key, clock) -> (paths, counted)`, both `{matrix: [paths, layers, ops]}`. `paths` run;
        `counted` are the same or have rows of zeros: a block of such a row runs, but does not learn from that path.
      averaged: the gradients of the paths are averaged, as those of the parts of one batch, and a path decays the
        weights that it counts alone; otherwise the gradients are summed, and weight decay counts once a step.
      sampled: one op of a row runs.
    """

    count: Callable[[Space], int]
    draw: Callable[[Space, OpWeights, jax.Array, Clock], tuple[OpWeights, OpWeights]]
    averaged: bool = False
    sampled: bool = True


def uniform_path(shapes: dict[str, tuple[int, int]], key: jax.Array) -> OpWeights:
    """One path, every op of a layer with equal probability (Guo et al. 2020, §3.2)."""
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.nn.one_hot(jax.random.randint(k, (layers,), 0, ops), ops)
        for k, (name, (layers, ops)) in zip(keys, sorted(shapes.items()), strict=True)
    }


def uniform_paths() -> Paths:
    """One uniform path a step (SPOS)."""

    def draw(space: Space, alphas: OpWeights, key: jax.Array, clock: Clock) -> tuple[OpWeights, OpWeights]:
        del alphas, clock
        path = jax.tree.map(lambda p: p[None], uniform_path(space.alpha_shapes, key))
        return path, path

    return Paths(lambda space: 1, draw)


def paths_uniform_in_cost(
    costs: Callable[[Any], tuple[float, dict[str, np.ndarray]]], low: float, high: float, bins: int
) -> Paths:
    """One path a step, uniform in cost: an interval is drawn, and random paths until the cost of one lies in it.

    Args:
      costs: `space -> (fixed cost, {matrix: [layers, ops]})`; the cost of a path is their sum.
      low, high: the range of costs, cut into `bins` equal intervals.

    After `DRAWS` paths outside of the interval a uniform path is taken.
    """

    def draw(space: Space, alphas: OpWeights, key: jax.Array, clock: Clock) -> tuple[OpWeights, OpWeights]:
        del alphas, clock
        fixed, of_ops = costs(space)
        bin_key, path_key = jax.random.split(key)
        width = (high - low) / bins
        least = low + width * jax.random.randint(bin_key, (), 0, bins)

        def path(number):
            return uniform_path(space.alpha_shapes, jax.random.fold_in(path_key, number))

        def cost(p):
            return fixed + sum(jnp.sum(p[name] * jnp.asarray(c, jnp.float32)) for name, c in of_ops.items())

        found = jax.vmap(lambda number: cost(path(number)))(jnp.arange(DRAWS))
        inside = (found >= least) & (found <= least + width)
        number = jnp.where(jnp.any(inside), jnp.argmax(inside), DRAWS)
        chosen = jax.tree.map(lambda p: p[None], path(number))
        return chosen, chosen

    return Paths(lambda space: 1, draw)


def fair_paths() -> Paths:
    """m paths that train every op of every layer exactly once (strict fairness, Chu et al. 2021, §3.2).

    Path k takes the k-th entry of a random permutation of each layer's ops; m is the largest number of ops. A layer
    with fewer takes uniform ops in the remaining paths, which do not count.
    """

    def count(space: Space) -> int:
        return max(ops for _, ops in space.alpha_shapes.values())

    def draw(space: Space, alphas: OpWeights, key: jax.Array, clock: Clock) -> tuple[OpWeights, OpWeights]:
        del alphas, clock
        paths, shapes = count(space), sorted(space.alpha_shapes.items())
        found, counted = {}, {}
        for k, (name, (layers, ops)) in zip(jax.random.split(key, len(shapes)), shapes, strict=True):
            order_key, more_key = jax.random.split(k)
            order = jax.vmap(lambda one, ops=ops: jax.random.permutation(one, ops))(jax.random.split(order_key, layers))
            more = jax.random.randint(more_key, (layers, paths - ops), 0, ops)
            chosen = jax.nn.one_hot(jnp.concatenate([order, more], axis=1).T, ops)
            found[name] = chosen
            counted[name] = jnp.where(jnp.arange(paths)[:, None, None] < ops, chosen, 0)
        return found, counted

    return Paths(count, draw)


def likely_paths() -> Paths:
    """One path a step, drawn from the softmax of the alphas (ProxylessNAS, Cai et al. 2019, §3.2)."""

    def draw(space: Space, alphas: OpWeights, key: jax.Array, clock: Clock) -> tuple[OpWeights, OpWeights]:
        del clock
        path = jax.tree.map(lambda p: p[None], drawn_path(space, alphas, key))
        return path, path

    return Paths(lambda space: 1, draw)


def drawn_path(space: Space, alphas: OpWeights, key: jax.Array) -> OpWeights:
    """One path from the softmax of the alphas."""
    shapes = sorted(space.alpha_shapes.items())
    return {
        name: jax.nn.one_hot(jax.random.categorical(k, alphas[name]), ops)
        for k, (name, (_, ops)) in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
    }


def dropped_paths(rate: Schedule, parts: int) -> Paths:
    """Path dropout (Bender et al. 2018, §3.2): `parts` independent masks a step, each for its part of the batch.

    With k paths in a row each is dropped with probability r^(1/k), so that all are dropped with probability r.

    Args:
      rate: r over the epochs; 0 drops none.
      parts: the ghost batches of a step.
    """

    def draw(space: Space, alphas: OpWeights, key: jax.Array, clock: Clock) -> tuple[OpWeights, OpWeights]:
        del alphas
        shapes, r = sorted(space.alpha_shapes.items()), rate(clock)
        masks = {
            name: (jax.random.uniform(k, (parts, rows, paths)) >= r ** (1 / paths)).astype(r.dtype)
            for k, (name, (rows, paths)) in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        }
        return masks, masks

    return Paths(lambda space: parts, draw, averaged=True, sampled=False)


def path_of(paths: OpWeights, number: jax.Array | int) -> OpWeights:
    """One of several paths."""
    return {name: lax.dynamic_index_in_dim(p, number, keepdims=False) for name, p in paths.items()}
