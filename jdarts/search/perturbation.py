"""Perturbation-based derivation (DARTS-PT, Wang et al., ICLR 2021, algorithm 1): train while deriving.

After the search every edge is fixed, in random order, to the op whose removal costs the supernet the most validation
accuracy; each decision is followed by a few epochs of tuning. A fixed edge's alphas stand so far apart that their
softmax is one-hot in float32, so tuning is the search step as it is. In DARTS cells the nodes then keep the two edges
whose removal costs the most. DIFF: the published code tunes between those removals, too; here they are decided on the
tuned supernet one after the other. An interrupted derivation goes on inside the tuning that it was in: decisions that
were made are read back, tunings that were finished are their last checkpoints.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype
from jdarts.methods import Method
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.search.driver import Outcome, compile_search, run_plain
from jdarts.search.hooks import Watch
from jdarts.search.scoring import scorer
from jdarts.search.state import SearchState
from jdarts.search.step import Search
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.space import Space
from jdarts.spaces.weight_checks import finite_weights
from jdarts.stopping import Stop

FAR = 40.0  # e^-40 is nothing beside 1 in float32
Evaluate = Callable[[Any], float]


def run_perturbation(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    method: Method,
    resume: bool,
    reporter: Reporter,
    watch: Watch,
) -> tuple[Genotype, SearchState]:
    """Search with `method`, then derive by perturbation; `decisions.jsonl` holds what was measured."""
    if method.relax is not None or method.edge_normalisation:
        raise UserError(f"darts_pt fixes edges of a softmax relaxation; {method.name} has another one")
    split = data.for_search(config.data)
    plain = dataclasses.replace(method, driver=None)
    folder = run.subfolder("search")
    outcome = run_plain(config, space, split, folder, plain, resume=resume, reporter=reporter, watch=watch)
    epochs = method.options["tune_epochs"]
    undecided = [(c, row) for c, table in space.tables.items() for row in range(len(table))]
    tuning = _tuning(config, epochs * (len(undecided) - 1))
    compiled = None
    rng = np.random.default_rng(config.seed)
    if not resume:
        run.truncate("decisions", after_step=-1)
    made = {record["step"]: record for record in run.records("decisions")}
    for number, place in enumerate(rng.permutation(len(undecided))):
        cell_type, row = undecided[int(place)]
        ops = space.tables[cell_type][row]
        if number in made:
            column = ops.index(made[number]["op"])
        else:
            accuracies, column = weakest_without(space, plain, outcome, cell_type, row, jax.random.key(number))
            run.append(
                "decisions",
                {
                    "step": number,
                    "cell": cell_type,
                    "edge": list(space.edges[row]),
                    "op": ops[column],
                    "accuracy_without": accuracies,
                },
            )
        alphas = fixed(outcome.state.alphas, cell_type, row, column)
        if epochs and number + 1 < len(undecided):
            compiled = compiled or compile_search(tuning, space, split, plain)
            outcome = run_plain(
                tuning,
                space,
                split,
                run.subfolder(f"tuning_{number}"),
                dataclasses.replace(plain, stop=_until(epochs * (number + 1))),
                resume=resume,
                reporter=reporter,
                watch=watch,
                title=f"tuning {number + 1} of {len(undecided) - 1}",
                compiled=compiled,
                start=_continue(outcome, alphas, fresh=number == 0),
            )
        else:
            outcome = dataclasses.replace(outcome, state=_with(outcome.state, alphas=alphas))
    return _topology(space, plain, outcome), outcome.state


def weakest_without(
    space: Space, method: Method, outcome: Outcome, cell_type: str, row: int, key: jax.Array
) -> tuple[list[float], int]:
    """Accuracies with each op of an edge switched off, and the op without which the supernet is worst."""
    weights = method.deterministic_weights(space, outcome.state.alphas)
    evaluate = scorer(outcome.search, outcome.state, key, train=True)
    ops = len(space.tables[cell_type][row])
    without = [evaluate({**weights, cell_type: weights[cell_type].at[row, k].set(0.0)}) for k in range(ops)]
    return without, int(np.argmin(without))


def fixed(alphas: Any, cell_type: str, row: int, column: int) -> Any:
    """`alphas` with the edge `row` decided for the op in `column`."""
    line = jnp.full(alphas[cell_type].shape[1], -FAR).at[column].set(FAR)
    return {**alphas, cell_type: alphas[cell_type].at[row].set(line)}


def _tuning(config: Experiment, epochs: int) -> Experiment:
    """The search's configuration with a tenth of its learning rate, over all epochs of tuning."""
    sgd = config.search.weight_optimizer
    rate = sgd.learning_rate / 10
    slow = dataclasses.replace(sgd, learning_rate=rate, learning_rate_min=min(sgd.learning_rate_min, rate))
    search = dataclasses.replace(config.search, weight_optimizer=slow, epochs=max(epochs, 1))
    return dataclasses.replace(config, search=search)


def _until(epoch: int) -> Stop:
    return lambda records, space: epoch if records[-1]["epoch"] >= epoch else None


def _continue(outcome: Outcome, alphas: Any, *, fresh: bool) -> Callable[[Search, SearchState], SearchState]:
    """Go on from `outcome` with other alphas; `fresh` begins the tuning: step 0, a new optimiser of the weights."""

    def start(search, state):
        del search
        before = _with(outcome.state, alphas=alphas, key=state.key)
        return _with(before, step=state.step, weight_opt_state=state.weight_opt_state) if fresh else before

    return start


def _with(state: Any, **changes: Any) -> Any:
    return state.replace(**changes)


def _topology(space: Space, method: Method, outcome: Outcome) -> Genotype:
    """The decided ops, and in DARTS cells the two edges of a node whose removal costs the most."""
    weights = {c: np.array(p) for c, p in method.deterministic_weights(space, outcome.state.alphas).items()}
    if isinstance(space, NASBench201Space):
        return space.derive(weights)  # type: ignore[arg-type]
    finite_weights(space, {c: weights[c] for c in space.alpha_shapes})
    evaluate = scorer(outcome.search, outcome.state, jax.random.key(0), train=True)
    cells = {}
    for cell_type, table in space.tables.items():
        nodes = []
        for target in sorted({t for _, t in space.edges}):
            rows = [row for row, (_, t) in enumerate(space.edges) if t == target]
            while len(rows) > 2:
                costs = []
                for row in rows:
                    tried = {**weights, cell_type: weights[cell_type].copy()}
                    tried[cell_type][row] = 0.0
                    costs.append(evaluate({c: jnp.asarray(p) for c, p in tried.items()}))
                gone = rows.pop(int(np.argmax(costs)))
                weights[cell_type][gone] = 0.0
            edges = []
            for row in rows:
                ops = [
                    (-np.inf if op == "none" else p) for op, p in zip(table[row], weights[cell_type][row], strict=True)
                ]
                edges.append((table[row][int(np.argmax(ops))], space.edges[row][0]))
            nodes.append(tuple(edges))
        first = space.edges[0][1]
        cells[cell_type] = Cell(nodes=tuple(nodes), concat=tuple(range(first, first + len(nodes))), inputs=first)
    return Genotype(**cells)
