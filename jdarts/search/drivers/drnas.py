"""DrNAS' progressive search (Chen et al., ICLR 2021): prune ops and widen the supernet between two stages.

The first stage, half of the epochs, has all candidates and few channels in the ops. In the second stage every edge
keeps its best candidates, and more channels pass through them. Weights, running averages, momentum and Adam's moments
are carried over; one learning-rate schedule spans both stages.

The new channels of a wider op are copies of old channels, chosen at random, the same in all layers of a width. Weights
are divided by the number of copies of their input channel, so that an op on copied channels returns copies of its old
output (Net2WiderNet, Chen et al. 2016). DIFF: the paper states neither the choice nor the division; the published code
was not compared.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.networks.reductions import reduction_cells
from jdarts.search.drivers.stages import narrowed
from jdarts.search.search import Search
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import run_single_loop
from jdarts.search.state import SearchState
from jdarts.spaces.space import Space

WeightPath = tuple[str, ...]


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Two stages, each half of `search.epochs`."""
    run, space, method, options = run.split(), run.space, run.method, run.method.options
    epochs, parts = run.config.search.epochs, options["parts"]
    half = epochs // 2
    if half < 1:
        raise UserError(f"search.epochs is {epochs}; drnas_progressive has two stages, use at least 2")
    for k in parts:
        replace(method.edge, partial_channels=k).check(run.config.space.channels)

    def ends(records, space):
        return half if records[-1]["epoch"] >= half else None

    first = run.stage("stage_0", method=replace(method, driver=None, stop=ends))
    outcome = run_single_loop(first, title="stage 1 of 2")
    second = run.stage(
        "stage_1",
        space=narrowed(space, method.deterministic_weights(space, outcome.state.alphas), options["keep"]),
        method=replace(
            method,
            driver=None,
            edge=replace(method.edge, partial_channels=parts[1]),
            alpha_start=half + options["frozen"],
        ),
    )

    def start(search: Search, state: SearchState) -> SearchState:
        return transplanted(outcome.search, outcome.state, search, state)

    last = run_single_loop(second, title="stage 2 of 2", start=start)
    return last.genotype, last.state


def transplanted(old: Search, before: Any, new: Search, fresh: SearchState) -> SearchState:
    """The state that continues `before` in `new`, a search of the same cells with fewer candidates or wider ops."""
    template = new.variables(fresh)

    def carried(weights, batch_stats):
        tree = old.variables(before.replace(weights=weights, batch_stats=batch_stats))
        return new.vectors({name: _tree(old, new, tree[name], template[name]) for name in template})

    def vectors(leaf):
        return carried(leaf, before.batch_stats)[0] if leaf.shape == before.weights.shape else leaf

    columns = _columns(old.space, new.space)

    def of_alphas(tree):
        """`tree` with the kept columns of each matrix of a cell type; other leaves are unchanged."""
        if isinstance(tree, Mapping):
            return {
                name: jnp.take_along_axis(leaf, jnp.asarray(columns[name]), axis=1) if name in columns else leaf
                for name, leaf in tree.items()
            }
        return tree

    is_alphas = lambda tree: isinstance(tree, Mapping)  # noqa: E731
    weights, batch_stats = carried(before.weights, before.batch_stats)
    return before.replace(
        weights=weights,
        batch_stats=batch_stats,
        alphas=of_alphas(before.alphas),
        weight_opt_state=jax.tree.map(vectors, before.weight_opt_state),
        alpha_opt_state=jax.tree.map(of_alphas, before.alpha_opt_state, is_leaf=is_alphas),
    )


def _columns(old: Space, new: Space) -> dict[str, np.ndarray]:
    """The columns of the new space's candidates in the old space, `[edges, kept ops]` for every cell type."""
    return {
        name: np.array([[ops.index(op) for op in fewer] for ops, fewer in zip(old.tables[name], table, strict=True)])
        for name, table in new.tables.items()
    }


def _tree(old: Search, new: Search, source: Any, like: Any) -> Any:
    known: Any = traverse_util.flatten_dict(source)
    wanted: Any = traverse_util.flatten_dict(like)
    made = {}
    for path, leaf in wanted.items():
        value = known[path]
        before, kept = _rows(old, new, path)
        if before and len(before) == value.shape[0]:  # stacked over edges
            value = value[jnp.asarray([before.index(row) for row in kept])]
        made[path] = widened(value, leaf.shape)
    return traverse_util.unflatten_dict(made)


def _rows(old: Search, new: Search, path: WeightPath) -> tuple[list[int], list[int]]:
    """The rows in the alphas of the edges over which the variable at `path` is stacked, in the old and new search."""
    part = next((name for name in path if name.startswith("from_")), None)
    if part is None:
        return [], []
    number, _, op = part.removeprefix("from_").partition("_")
    tables = old.space.tables
    name = next(iter(tables))
    if "reduce" in tables and int(path[0].removeprefix("cell_")) in reduction_cells(old.network.cells):
        name = "reduce"
    mine = [k for k, (s, _) in enumerate(old.space.edges) if s == int(number) and op in tables[name][k]]
    kept = [k for k in mine if op in new.space.tables[name][k]]
    return mine, kept


def widened(value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`value` with more channels on the axes where `shape` is larger.

    If the last but one axis grows, it is the axis of a kernel's input channels; the weights of each input channel are
    divided by its number of copies.
    """
    for axis, (have, wanted) in enumerate(zip(value.shape, shape, strict=True)):
        if have == wanted:
            continue
        chosen = sources(have, wanted)
        value = jnp.take(value, jnp.asarray(chosen), axis=axis)
        if axis == len(shape) - 2:
            count = np.bincount(chosen, minlength=have)[chosen]
            value = value / jnp.asarray(count, value.dtype)[:, None]
    return value


def sources(have: int, wanted: int) -> np.ndarray:
    """The old channel of which each new channel is a copy, `[wanted]`: all `have` old ones, then random ones."""
    rng = np.random.default_rng([have, wanted])
    return np.concatenate([np.arange(have), rng.integers(have, size=max(wanted - have, 0))])[:wanted]
