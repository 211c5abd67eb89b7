"""Strategies compared on NAS-Bench-201 by table: many searches each, at a fixed number of evaluations.

    python -m jdarts.bench.table_searches nasbench201.csv.gz --runs 500 --figure searches.png

A search maximises the validation accuracy on CIFAR-10 after 12 epochs, as the benchmark's own experiments do. The
result is the architecture with the largest one; reported are its test accuracies after 200 epochs. The benchmark's
authors stop at 12,000 simulated seconds. The table has no times, so that the budget is a number of evaluations here:
100, with which random search and evolution reach their published accuracies.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jdarts.bench.search_curves import search_curves_figure
from jdarts.benchmarks import NASBench201Table, load_nasbench201_table
from jdarts.spaces import nasbench201
from jdarts.strategies import RandomSearch, RegularizedEvolution, Reinforce, Strategy, simulate

DATA = ("c10", "c100", "in16")
EVALUATIONS = 100
_REINFORCE = {"hidden": None, "learning_rate": 0.01, "baseline_decay": 0.9, "entropy_weight": 0.0, "batch": 1}
STRATEGIES: Mapping[str, tuple[Callable[..., Strategy], dict[str, Any]]] = {
    "random": (RandomSearch, {}),
    "regularized_evolution": (RegularizedEvolution, {"population": 10, "sample": 3}),
    "reinforce": (Reinforce, _REINFORCE),
    "reinforce_0.1": (Reinforce, _REINFORCE | {"learning_rate": 0.1}),
    "reinforce_0.5": (Reinforce, _REINFORCE | {"learning_rate": 0.5}),
}
"""The strategies with the settings of the benchmark's own scripts (Dong & Yang 2020, arXiv:2001.00326, §5).

Its authors have released three learning rates of REINFORCE: 0.001 in the first script for 12,000 s, 0.5 in the command
line of its documentation, 0.01 in the script of NATS-Bench. Only about 0.01 gives the published accuracy. At 0.5 the
controller becomes certain after some 20 different architectures and proposes the same ones from then on.
"""


class Searches(NamedTuple):
    """The searches of one strategy.

    Attributes:
      test: test accuracy in % of the found architectures by data set, `[runs]`.
      best_so_far: largest validation accuracy in % after each evaluation, `[runs, evaluations]`.
      different: the number of different architectures that were evaluated, `[runs]`.
      seconds: wall clock of all runs.
    """

    test: dict[str, np.ndarray]
    best_so_far: np.ndarray
    different: np.ndarray
    seconds: float


def search_table(
    table: NASBench201Table, strategy: str, *, runs: int, evaluations: int, first_seed: int = 0, **settings: Any
) -> Searches:
    """A number of searches with seeds from `first_seed` on; `settings` take the place of those of `STRATEGIES`."""
    make, defaults = STRATEGIES[strategy]
    rows = _rows(table)
    valid = table.columns["c10_valid_12"].tolist()
    start = time.perf_counter()
    found, curves, different = [], [], []
    for seed in range(first_seed, first_seed + runs):
        searched = simulate(
            make(nasbench201, seed=seed, **defaults | settings), lambda choices: valid[rows[choices]], evaluations
        )
        scores = np.array([evaluation.score for evaluation in searched])
        found.append(rows[searched[int(np.argmax(scores))].choices])
        curves.append(np.maximum.accumulate(scores))
        different.append(len({evaluation.choices for evaluation in searched}))
    test = {data: table.columns[f"{data}_test_200"][found] for data in DATA}
    return Searches(test, np.stack(curves), np.array(different), time.perf_counter() - start)


def _rows(table: NASBench201Table) -> dict[tuple[int, ...], int]:
    """The row of every tuple of choices, so that a look-up decodes no genotype."""
    ops = {op: index for index, op in enumerate(nasbench201.cell[0])}
    places = {}
    for row, arch in enumerate(table.architectures):
        names = [edge.partition("~")[0] for edge in arch.replace("+", "").split("|") if edge]
        places[tuple(ops[name] for name in names)] = row
    return places


def main() -> None:
    """Prints a line for each strategy: mean ± standard deviation on three data sets, different cells, seconds."""
    parser = argparse.ArgumentParser(description="Compare strategies on NAS-Bench-201 by table.")
    parser.add_argument("table")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS)
    parser.add_argument("--figure", metavar="FILE", help="draw best so far against evaluations, as .png or .svg")
    arguments = parser.parse_args()
    if arguments.figure and not arguments.figure.endswith((".png", ".svg")):
        parser.error(f"--figure {arguments.figure}: the file must end in .png or .svg")
    table = load_nasbench201_table(arguments.table)
    print(f"test accuracy in %, {arguments.runs} runs of {arguments.evaluations} evaluations")
    curves = {}
    for strategy in STRATEGIES:
        result = search_table(table, strategy, runs=arguments.runs, evaluations=arguments.evaluations)
        told = "  ".join(f"{data} {values.mean():.2f} ± {values.std():.2f}" for data, values in result.test.items())
        cells = f"{result.different.mean():.0f} different cells"
        print(f"{strategy:22s} {told}  {cells}  {result.seconds:.1f} s", flush=True)
        curves[strategy] = result.best_so_far
    if arguments.figure:
        best = float(table.columns["c10_valid_12"].max())
        search_curves_figure(curves, best=best).savefig(arguments.figure, dpi=160)


if __name__ == "__main__":
    main()
