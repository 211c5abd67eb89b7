"""Perturbation-based derivation (DARTS-PT, Wang et al., ICLR 2021, algorithm 1) with tuning between the decisions.

After the search every edge is fixed, in random order, to the op whose removal costs the supernet the most validation
accuracy. Each decision is followed by a few epochs of tuning. The alphas of a fixed edge are so far apart that their
softmax is one-hot in float32, so tuning uses the search step unchanged. In DARTS cells each node then keeps the two
edges whose removal costs the most. DIFF: the published code also tunes between these removals; here they are decided
one after the other on the tuned supernet. An interrupted derivation continues inside the tuning in which it stopped:
earlier decisions are read from the records, finished tunings from their last checkpoints.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import SearchConfig
from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype
from jdarts.methods import Method
from jdarts.search.scoring import scorer
from jdarts.search.search import Search
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import LoopOutcome, compile_search, run_single_loop
from jdarts.search.state import SearchState
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.per_cell import PerCellSpace
from jdarts.spaces.space import Space
from jdarts.spaces.weight_checks import finite_weights
from jdarts.stopping import Stop

FAR = 40.0  # 1 + e^-80 is 1 in float32


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search with `run.method`, then derive by perturbation; `decisions.jsonl` holds the measured accuracies."""
    method = run.method
    if method.relax is not None or method.edge_normalisation:
        raise UserError(f"darts_pt fixes edges of a softmax relaxation; {method.name} has another relaxation")
    run = replace(run.split(), method=replace(method, driver=None))
    outcome = run_single_loop(run.stage("search"))
    epochs = method.options["tune_epochs"]
    undecided = [(c, row) for c, table in run.space.tables.items() for row in range(len(table))]
    settings = _tuning_settings(run.config.search, epochs * (len(undecided) - 1))
    tuning = replace(run, config=replace(run.config, search=settings))
    compiled = None
    rng = np.random.default_rng(run.config.seed)
    if not run.resume:
        run.folder.truncate("decisions", after_step=-1)
    made = {record["step"]: record for record in run.folder.records("decisions")}
    for number, place in enumerate(rng.permutation(len(undecided))):
        cell_type, row = undecided[int(place)]
        ops = run.space.tables[cell_type][row]
        known = made.get(number)
        column = ops.index(known["op"]) if known else _decide(run, outcome, number, cell_type, row)
        alphas = fixed(outcome.state.alphas, cell_type, row, column)
        if epochs and number + 1 < len(undecided):
            compiled = compiled or compile_search(tuning)
            outcome = run_single_loop(
                tuning.stage(f"tuning_{number}", method=replace(run.method, stop=_until(epochs * (number + 1)))),
                title=f"tuning {number + 1} of {len(undecided) - 1}",
                compiled=compiled,
                start=_continue(outcome, alphas, fresh=number == 0),
            )
        else:
            outcome = replace(outcome, state=_with(outcome.state, alphas=alphas))
    return _topology(run.space, run.method, outcome), outcome.state


def _decide(run: SearchRun, outcome: LoopOutcome, number: int, cell_type: str, row: int) -> int:
    """Decide and record the op of an edge; return its column."""
    accuracies, column = weakest_without(run.space, run.method, outcome, cell_type, row, jax.random.key(number))
    run.folder.append(
        "decisions",
        {
            "step": number,
            "cell": cell_type,
            "edge": list(run.space.edges[row]),
            "op": run.space.tables[cell_type][row][column],
            "accuracy_without": accuracies,
        },
    )
    return column


def weakest_without(
    space: Space, method: Method, outcome: LoopOutcome, cell_type: str, row: int, key: jax.Array
) -> tuple[list[float], int]:
    """Accuracies with each op of an edge switched off, and the column of the op whose removal costs the most."""
    weights = method.deterministic_weights(space, outcome.state.alphas)
    evaluate = scorer(outcome.search, outcome.state, key, train=True)
    ops = len(space.tables[cell_type][row])
    without = [evaluate({**weights, cell_type: weights[cell_type].at[row, k].set(0.0)}) for k in range(ops)]
    return without, int(np.argmin(without))


def fixed(alphas: Any, cell_type: str, row: int, column: int) -> Any:
    """`alphas` with the edge `row` fixed to the op in `column`."""
    line = jnp.full(alphas[cell_type].shape[1], -FAR).at[column].set(FAR)
    return {**alphas, cell_type: alphas[cell_type].at[row].set(line)}


def _tuning_settings(settings: SearchConfig, epochs: int) -> SearchConfig:
    """The settings of the search with a tenth of its learning rate and all epochs of tuning."""
    sgd = settings.weight_optimizer
    rate = sgd.learning_rate / 10
    slow = replace(sgd, learning_rate=rate, learning_rate_min=min(sgd.learning_rate_min, rate))
    return replace(settings, weight_optimizer=slow, epochs=max(epochs, 1))


def _until(epoch: int) -> Stop:
    return lambda records, space: epoch if records[-1]["epoch"] >= epoch else None


def _continue(outcome: LoopOutcome, alphas: Any, *, fresh: bool) -> Callable[[Search, SearchState], SearchState]:
    """A start from `outcome` with other alphas; `fresh` starts the tuning, with step 0 and a new weight optimiser."""

    def start(search, state):
        del search
        before = _with(outcome.state, alphas=alphas, key=state.key)
        return _with(before, step=state.step, weight_opt_state=state.weight_opt_state) if fresh else before

    return start


def _with(state: Any, **changes: Any) -> Any:
    return state.replace(**changes)


def _topology(space: Space, method: Method, outcome: LoopOutcome) -> Genotype:
    """The genotype of the decided ops; in DARTS cells a node keeps the two edges whose removal costs the most."""
    weights = {c: np.array(p) for c, p in method.deterministic_weights(space, outcome.state.alphas).items()}
    if isinstance(space, NASBench201Space) or (isinstance(space, PerCellSpace) and space.one_input):
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
    return space.genotype_of(cells) if isinstance(space, PerCellSpace) else Genotype(**cells)
