"""PNAS: its counts, its predictors, and the search on functions and tables whose optimum is known."""

from typing import Any

import jax
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from support.real_data import REAL_DATA

from jdarts import spaces
from jdarts.analysis import spearman
from jdarts.benchmarks import load_macro_table, load_table
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.spaces.block_spaces import BlockSpace
from jdarts.spaces.growth import growth_of
from jdarts.spaces.progressive_blocks import ProgressiveBlocks, pnas_progressive
from jdarts.strategies import PNAS, by_name, simulate
from jdarts.strategies.history import Evaluation, History
from jdarts.strategies.pnas import Evaluated
from jdarts.strategies.predictor import Predictor, Vocabulary, fit, predict

OPS = ("skip_connect", "conv_1x1", "max_pool_3x3")
SMALL = ProgressiveBlocks("small", BlockSpace("three", OPS, "pnasnet", blocks=3))
QUICK: dict[str, Any] = {"members": 2, "hidden": 16, "embedding": 16, "steps": 200}
FEW: dict[str, Any] = {"steps": 5}
ALONE: dict[str, Any] = {"members": 1}
KINDS = pytest.mark.parametrize("kind", ["mlp", "lstm"])


def reward(choices):
    """Additive in the blocks: op 1 from a cell input is best, and the mean over the blocks counts."""
    blocks = choices[0] + 1
    pays = [0.3, 1.0, 0.0]
    total = 0.0
    for block in range(blocks):
        first, second, op_1, op_2 = choices[1 + 4 * block : 5 + 4 * block]
        total += pays[op_1] + pays[op_2] - 0.1 * (first + second)
    return total / blocks + 0.05 * blocks


def test_the_counts_are_those_of_the_paper():
    """136 smallest cells; 40,800, 135,168, 209,920 and 301,056 predictions; 1,160 networks (addendum §6)."""
    made = PNAS(pnas_progressive)
    assert made.sizes == [136, 256, 256, 256, 256] and sum(made.sizes) == 1160
    assert len(set(made.smallest)) == 136
    assert [made.place(n) for n in (0, 135, 136, 391, 392, 1159, 1160)] == [
        *((0, 0), (0, 135), (1, 0), (1, 255), (2, 0), (4, 255), (5, 0))
    ]
    expansions = []
    for level in range(1, 5):
        progress = Evaluated()
        rng = np.random.default_rng(level)
        parents = made.smallest
        for earlier in range(2, level + 1):
            options = made.growth.extended(np.array(parents[:256]), earlier)
            parents = [tuple(row) for row in options[rng.permutation(len(options))[:256]].tolist()]
        progress.rounds[level - 1] = [Evaluation(number, choices, 0.0) for number, choices in enumerate(parents)]
        expansions.append(len(made.candidates(progress, level)))
    assert expansions == [40_800, 135_168, 209_920, 301_056]


def test_smaller_cells_come_first_and_the_best_is_found():
    found = simulate(PNAS(SMALL, keep=8, **QUICK), reward, 21 + 3 * 8)
    blocks = [evaluation.choices[0] + 1 for evaluation in found]
    assert blocks == [1] * 21 + [2] * 8 + [3] * 16
    assert len({evaluation.choices for evaluation in found}) == len(found), "none is evaluated twice"
    parents = {e.choices[1:5] for e in found[:21]} & {e.choices[1:5] for e in found[21:29]}
    assert parents == {e.choices[1:5] for e in found[21:29]}
    kept = {e.choices[1:9] for e in found[21:29]}
    assert {e.choices[1:9] for e in found[29:]} <= kept, "the last stage extends the cells of the stage before"
    best = (2, *(0, 0, 1, 1) * 3)
    assert max(found, key=lambda e: e.score).choices == best


@KINDS
def test_a_predictor_ranks_larger_cells_than_it_has_seen(kind):
    """Fitted to cells of one and two blocks, judged on cells of three (Spearman above .5, addendum §6)."""
    growth, rng = SMALL.growth, np.random.default_rng(0)
    one = growth.first()
    two = growth.extended(one, 2)
    seen = np.concatenate([one, two[rng.permutation(len(two))[:100]]])
    unseen = growth.extended(two[rng.permutation(len(two))[:20]], 3)
    settings = Predictor(kind, **QUICK)
    vocabulary = Vocabulary(SMALL.decisions, growth)
    fitted = fit(settings, vocabulary, seen, np.array([reward(row) for row in seen.tolist()]), seed=0)
    predicted = predict(settings, vocabulary, fitted, unseen).tolist()
    correlation = spearman(predicted, [reward(row) for row in unseen.tolist()])
    assert correlation > 0.7
    swapped = unseen[:, [0, 2, 1, 4, 3, *range(5, 13)]]
    permuted = unseen[:, [0, *range(5, 9), *range(1, 5), *range(9, 13)]]
    same = predict(settings, vocabulary, fitted, unseen)
    for other in (swapped, permuted):  # the MLP reads the mean of the embeddings; the LSTM reads an order
        differs = np.abs(predict(settings, vocabulary, fitted, other) - same).max()
        assert differs < 1e-5 if kind == "mlp" else differs > 1e-3
    meaningless = seen.copy()
    meaningless[:21, 5:] = 2  # blocks that do not exist
    np.testing.assert_array_equal(
        predict(settings, vocabulary, fitted, meaningless[:21]), predict(settings, vocabulary, fitted, one)
    )


def test_members_are_fitted_to_four_fifths_each_and_averaged():
    """Against networks applied one by one with the examples of a member left out or changed."""
    growth = SMALL.growth
    choices, scores = growth.first(), np.array([reward(row) for row in growth.first().tolist()])
    settings, vocabulary = Predictor("mlp", **QUICK | FEW), Vocabulary(SMALL.decisions, growth)
    whole = fit(settings, vocabulary, choices, scores, seed=4)
    part = np.random.default_rng((4, 1)).permutation(21)[:17]
    changed = scores.copy()
    outside = [row for row in np.setdiff1d(np.arange(21), part) if scores[row] not in (scores.min(), scores.max())]
    changed[outside] = scores.max()
    again = fit(settings, vocabulary, choices, changed, seed=4)
    pairs = list(zip(*map(jax.tree.leaves, (whole.params, again.params)), strict=True))
    assert outside and all(np.array_equal(a[1], b[1]) for a, b in pairs), "member 1 does not see them"
    assert any(not np.array_equal(a[0], b[0]) for a, b in pairs), "member 0 does"
    each = [
        predict(Predictor("mlp", **QUICK | ALONE), vocabulary, whole._replace(params=alone), choices)
        for alone in (jax.tree.map(lambda leaf, m=m: leaf[m : m + 1], whole.params) for m in range(2))
    ]
    np.testing.assert_allclose(predict(settings, vocabulary, whole, choices), np.mean(each, axis=0), rtol=1e-5)


def test_spaces_without_smaller_architectures_grow_decision_by_decision():
    growth = growth_of(spaces.nasbench201, (1,) * 6)
    assert growth_of(spaces.nasbench201, 1).base == growth.base
    assert growth.first().tolist() == [[op, 1, 1, 1, 1, 1] for op in range(5)]
    assert growth.extended(np.array([[3, 1, 1, 1, 1, 1]]), 3).tolist() == [[3, 1, op, 1, 1, 1] for op in (0, 2, 3, 4)]
    assert growth.levels(np.array([[1] * 6, [0, 1, 1, 1, 1, 1], [1, 1, 3, 1, 1, 1]])).tolist() == [1, 1, 3]
    made = PNAS(spaces.nasbench201, keep=6, base=(1,) * 6, **QUICK | FEW)
    assert made.sizes == [5, 6, 6, 6, 6, 6]
    found = simulate(made, lambda choices: float(sum(choices)), 60)
    assert len({evaluation.choices for evaluation in found}) == 60
    assert any(e.choices[-1] != 1 for e in found[29:])


def test_what_workers_still_evaluate_and_what_failed_is_left_out():
    """Numbers decide the round; a candidate that another worker runs is replaced by the next one of the ranking."""
    made = PNAS(SMALL, keep=4, **QUICK | FEW)
    history = History()
    for number in range(20):  # the 21st trial of the first round failed
        history.append(Evaluation(number, made.smallest[number], reward(made.smallest[number])))
    first = made.propose(history, 21)
    history.running = [first]
    other = made.propose(history, 21)
    assert first[0] == other[0] == 1 and other != first
    assert made.smallest[20][1:5] not in {row[1:5] for row in made.ranking(made._progress(history), 1)}
    nothing = History()
    assert SMALL.is_valid(made.propose(nothing, 25)), "a random cell where nothing was evaluated"


def test_a_new_object_continues_a_study_as_the_old_one_would():
    """Real predictors, through Optuna, interrupted within a round and between two."""
    settings = {**QUICK, "keep": 6, "steps": 20}

    def objective(trial):
        return reward(tuple(trial.suggest_categorical(d.name, range(d.options)) for d in SMALL.decisions))

    def search(storage, trials):
        sampler = by_name("pnas", SMALL, seed=3, **settings)
        study = optuna.create_study(
            direction="maximize", storage=storage, study_name="s", load_if_exists=True, sampler=sampler
        )
        study.optimize(objective, n_trials=trials)
        return [trial.params for trial in study.trials]

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    whole = search(optuna.storages.InMemoryStorage(), 36)
    storage = optuna.storages.InMemoryStorage()
    for trials in (21, 3, 8, 4):
        parts = search(storage, trials)
    optuna.logging.set_verbosity(before)
    assert parts == whole


@KINDS
def test_unseen_cells_of_nas_bench_201_are_ranked(kind):
    """A thousand random cells of NAS-Bench-201 that the fit to 200 others has not seen."""
    if not (REAL_DATA / "nasbench201.csv.gz").exists():
        pytest.skip("the tables are not in ../shared/data")
    table = load_table(REAL_DATA / "nasbench201.csv.gz")
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(table))[:1200]
    space, growth = spaces.nasbench201, growth_of(spaces.nasbench201)
    choices = np.array([space.encode(parse(table.architectures[row])) for row in rows])
    scores = table.columns["c10_valid_12"][rows]
    settings, vocabulary = Predictor(kind, **QUICK), Vocabulary(space.decisions, growth)
    fitted = fit(settings, vocabulary, choices[:200], scores[:200], seed=0)
    predicted = predict(settings, vocabulary, fitted, choices[200:]).tolist()
    assert spearman(predicted, scores[200:].tolist()) > 0.6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PNAS(SMALL, predictor="gp"), "unknown predictor 'gp'"),
        (lambda: PNAS(SMALL, keep=0), "keep is 0"),
        (lambda: PNAS(SMALL, layers=3), "unknown option of PNAS 'layers'"),
        (lambda: by_name("pnas", SMALL, step=3), "unknown option of strategy pnas 'step'; did you mean 'steps'"),
        (lambda: PNAS(SMALL, base=(0,) * 13), "has smaller architectures of its own; leave out base"),
        (lambda: PNAS(spaces.nasbench201, base=(7,) * 6), "is no architecture of space nasbench201"),
        (lambda: by_name("pnas", spaces.nasbench201, base=2.5), "the base .* is no architecture of space nasbench201"),
        (lambda: PNAS(SMALL, share=0), "share is 0"),
        (lambda: PNAS({"a": CategoricalDistribution(range(10_001))}), "has 10001 smallest architectures"),
    ],
)
def test_wrong_options_are_told(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_optimum_of_nas_bench_macro_is_found():
    path = REAL_DATA / "benchmarks" / "nas-bench-macro_cifar10.json"
    if not path.exists():
        pytest.skip("the table is not in ../shared/data")
    table = load_macro_table(path)
    accuracy = dict(zip(table.architectures, table.columns["mean_acc"].tolist(), strict=True))
    found = simulate(PNAS(spaces.nasbench_macro, keep=12, **QUICK), lambda c: accuracy["".join(map(str, c))], 100)
    assert max(evaluation.score for evaluation in found) >= np.sort(table.columns["mean_acc"])[-5]
