"""Evolution: the toy of the paper, tournaments, ageing, mutations with the frequencies of the paper, generations."""

import math
from collections import Counter

import numpy as np
import pytest
from optuna.distributions import IntDistribution

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.spaces.decisions import uniform
from jdarts.strategies import GeneticSearch, RandomSearch, RegularizedEvolution, simulate
from jdarts.strategies.history import Evaluation, History
from jdarts.strategies.mutations import nasnet, one_decision

BITS = {f"bit_{i}": IntDistribution(0, 1) for i in range(100)}


def test_one_max_of_the_paper():
    """100 bits, accuracy = ones/100 + N(0, .01) in [0, 1]; 1,000 evaluations, P = 100, S = 10 (addendum §5)."""
    noise = np.random.default_rng(7)
    strategy = RegularizedEvolution(BITS, seed=7, population=100, sample=10)
    evaluations = simulate(strategy, lambda bits: float(np.clip(np.mean(bits) + noise.normal(0, 0.01), 0, 1)), 1_000)
    scores = [evaluation.score for evaluation in evaluations]
    assert len(scores) == 1_000
    assert np.mean(scores[-100:]) > np.mean(scores[:100]) + 0.2
    assert max(np.mean(evaluation.choices) for evaluation in evaluations) >= 0.85


def test_parents_are_the_best_of_the_youngest():
    """A tournament of all members finds the best of the last three, whatever came before."""
    strategy = RegularizedEvolution(BITS, population=3, sample=200, mutation=lambda space, choices, rng: choices)
    history = History()
    for number, score in enumerate((9.0, 2.0, 3.0, 1.0)):
        history.append(Evaluation(number, (number,) * 100, score))
    assert strategy.propose(history, 4) == (2,) * 100
    history.append(Evaluation(4, (4,) * 100, 0.5))
    history.append(Evaluation(5, (5,) * 100, 0.1))
    assert strategy.propose(history, 6) == (3,) * 100


def test_tournaments_are_drawn_with_replacement():
    """The worst of two members wins a tournament of two only if it is drawn twice: one time in four."""
    strategy = RegularizedEvolution(BITS, population=2, sample=2, mutation=lambda space, choices, rng: choices)
    history = History()
    history.append(Evaluation(0, (0,), 0.0))
    history.append(Evaluation(1, (1,), 1.0))
    worst = sum(strategy.propose(history, number) == (0,) for number in range(1_000))
    assert abs(worst - 250) < 4 * math.sqrt(1_000 * 3 / 16)


def test_one_decision_changes_one_edge_to_another_op():
    rng, space = np.random.default_rng(0), spaces.nasbench201
    parent = uniform(space, rng)
    changed = Counter()
    for _ in range(1_200):
        child = one_decision(space, parent, rng)
        ((place, op),) = [(i, b) for i, (a, b) in enumerate(zip(parent, child, strict=True)) if a != b]
        changed[place, op] += 1
    assert len(changed) == 6 * 4
    assert all(abs(count - 50) < 4 * math.sqrt(50) for count in changed.values())


def test_nasnet_mutations_have_the_frequencies_of_the_paper():
    """5 % nothing; else an input becomes another one, or an op any op: half each, and half of them in each cell."""
    rng, space = np.random.default_rng(1), spaces.darts_cnn
    kinds, draws = Counter(), 2_000
    for _ in range(draws):
        parent = uniform(space, rng)
        child = nasnet(space, parent, rng)
        places = [i for i, (a, b) in enumerate(zip(parent, child, strict=True)) if a != b]
        assert len(places) <= 1
        kinds[space.decisions[places[0]].group if places else "nothing"] += 1
    expected = {f"{cell}/{kind}": 0.95 / 4 for cell in ("normal", "reduce") for kind in ("input", "op")}
    expected = {group: share * (6 / 7 if group.endswith("op") else 1) for group, share in expected.items()}
    expected["nothing"] = 1 - sum(expected.values())
    for group, share in expected.items():
        assert abs(kinds[group] - draws * share) < 4 * math.sqrt(draws * share)


@pytest.mark.parametrize(
    ("input_1", "input_2", "sources", "other", "then"),
    [
        (0, 1, {0, 1}, 2, {2, 1}),
        (0, 1, {0, 1}, 1, {1, 4}),  # a collision: the second input becomes the last source
        (2, 2, {2, 4}, 3, {3, 2}),  # the last source was written as the first input
    ],
)
def test_another_first_input_leaves_the_second_unless_they_collide(input_1, input_2, sources, other, then):
    space = spaces.darts_cnn
    place = [decision.name for decision in space.decisions].index("normal.5.input_1")
    choices = [0] * len(space.decisions)
    choices[place : place + 2] = input_1, input_2
    assert {source for _, source in space.decode(choices).normal.nodes[3]} == sources
    choices[place] = other
    assert {source for _, source in space.decode(choices).normal.nodes[3]} == then


def test_generations_are_half_mutants_half_crossovers_of_the_best():
    space = spaces.darts_cnn
    strategy = GeneticSearch(space, seed=3, population=20, parents=2)
    evaluations = simulate(strategy, lambda choices: -float(sum(choices)), 40)
    first, second = evaluations[:20], evaluations[20:]
    best = sorted(first, key=lambda e: (-e.score, e.number))[:2]
    for place, child in enumerate(second):
        options = zip(child.choices, *(parent.choices for parent in best), strict=True)
        from_parents = sum(c in (a, b) for c, a, b in options)
        changes = [sum(a != b for a, b in zip(child.choices, p.choices, strict=True)) for p in best]
        assert (min(changes) <= 9 and place < 10) or (from_parents == len(child.choices) and place >= 10)
    assert np.mean([e.score for e in second]) > np.mean([e.score for e in first])


def test_no_architecture_is_evaluated_twice_and_all_are_legal():
    """64 architectures, half of them legal, all found; then there is nothing left to propose."""
    space = spaces.NASBench201Space("tiny", (("none", "skip_connect"),) * 6)
    strategy = GeneticSearch(space, seed=0, population=8, parents=4, legal=lambda choices: choices[0] == 1)
    evaluations = simulate(strategy, sum, 32)
    assert len({e.choices for e in evaluations}) == 32 and all(e.choices[0] == 1 for e in evaluations)
    with pytest.raises(UserError, match="no legal architecture that is not yet evaluated"):
        simulate(strategy, sum, 33)


def test_candidates_that_others_evaluate_are_known():
    strategy, history = GeneticSearch({"a": IntDistribution(0, 1)}, population=2, parents=1), History()
    history.running = [(0,)]
    assert {strategy.propose(history, number) for number in range(20)} == {(1,)}


def test_evolution_beats_random_search_on_a_smooth_function():
    def score(choices):
        return float(sum(choices))

    space = spaces.mnasnet
    best = {
        cls: np.mean([max(e.score for e in simulate(cls(space, seed=s, **o), score, 200)) for s in range(3)])
        for cls, o in ((RandomSearch, {}), (RegularizedEvolution, {"population": 20, "sample": 5}))
    }
    assert best[RegularizedEvolution] > best[RandomSearch] + 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegularizedEvolution(BITS, population=0), "population is 0; use a whole number of at least 1"),
        (lambda: RegularizedEvolution(BITS, sample=2.5), "sample is 2.5"),
        (lambda: RegularizedEvolution(BITS, mutation="nasnett"), "did you mean 'nasnet'"),
        (lambda: GeneticSearch(BITS, mutation=1.5), "mutation is 1.5; use a number of 0 to 1"),
        (lambda: RandomSearch(BITS, seed=-1), "seed is -1"),
    ],
)
def test_wrong_options_are_told(make, message):
    with pytest.raises(UserError, match=message):
        make()
