"""Reports of searches by trials and of tuning: their numbers are those of the study, computed in another way."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import optuna
import pytest
from support.report_runs import write_run
from support.trial_runs import search_run, tuning_run

from jdarts import cli
from jdarts.errors import UserError
from jdarts.estimation import criterion
from jdarts.report.trials.best_so_far import course, mean_course
from jdarts.report.trials.comparison import same_strategy, tasks
from jdarts.report.trials.controller import evaluations_of, states_of, strategy_of
from jdarts.report.trials.front import front, volumes, worst
from jdarts.report.trials.parallel import axes_of, highlighted, ranked_trials
from jdarts.report.trials.record import read_trial_run
from jdarts.report.trials.sections import most_at_once, wall_time
from jdarts.report.trials.tuned import importance
from jdarts.report.write_report import table, write_report
from jdarts.runs.folder import RunFolder
from jdarts.strategies.progress import Progress
from jdarts.strategies.tuning import varied_of

COMPLETE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("trials")
    evolution = {"population": 8, "sample": 3}
    return {
        "random": search_run(base / "random", trials=60),
        "again": search_run(base / "again", trials=50, seed=1),
        "evolution": search_run(base / "evolution", "regularized_evolution", 60, **evolution),
        "pareto": search_run(base / "pareto", "nsga2", 60, objectives=("accuracy", "parameters")),
        "reinforce": search_run(
            base / "reinforce", "reinforce", 30, hidden=None, learning_rate=0.2, entropy_weight=0, baseline_decay=0.9
        ),
        "tuned": tuning_run(base / "tuned"),
    }


def parsed(paths, output=None):
    text = write_report(paths, output).read_text()
    tree = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    without_namespaces = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|<script|@import|url\(|<iframe", without_namespaces)
    return text, tree


def facts(tree):
    boxes = [e for e in tree.iter("div") if e.get("class") == "facts"]
    return {"".join(box[1].itertext()): "".join(box[0].itertext()) for box in boxes[0]}


def captions(tree):
    return ["".join(c.itertext()) for c in tree.iter("figcaption")]


def in_order(study):
    return sorted(study.get_trials(), key=lambda trial: trial.datetime_complete)


def test_the_numbers_of_a_search_are_those_of_the_study(runs):
    folder, study = runs["random"]
    text, tree = parsed([folder])
    shown, best = facts(tree), study.best_trial
    pruned = sum(trial.state == PRUNED for trial in study.trials)
    assert pruned > 0, "the formula prunes some"
    assert shown["trials evaluated"] == "60 of 60" and shown["trials pruned"] == str(pruned)
    assert shown["best accuracy"] == f"{study.best_value:.6g}"
    assert f"Recommended: the architecture of trial {best.number}" in text
    assert best.user_attrs["score"]["architecture"] in text
    assert "strategy random; space nasbench201; estimator train; maximise accuracy; seed 0" in text
    assert text.count('class="drawing"') + text.count("scroll drawing") == 3, "the three best cells"
    rows = [row for row in tree.iter("tr") if row[0].get("class") == "n"][1:11]
    found = [float(row[1].text) for row in rows]
    values = sorted((trial.value for trial in study.trials if trial.state == COMPLETE), reverse=True)
    assert found == [pytest.approx(value, rel=1e-5) for value in values[:10]]
    assert most_at_once(read_trial_run(folder)) == 1
    span = max(t.datetime_complete for t in study.trials) - min(t.datetime_start for t in study.trials)
    assert wall_time(read_trial_run(folder)) == pytest.approx(span.total_seconds(), abs=1e-4)


def test_best_so_far_counts_pruned_trials_and_the_cost_of_all(runs):
    folder, study = runs["random"]
    found = course(read_trial_run(folder))
    best, cost, trials, costs, values = -math.inf, 0.0, [], [], []
    for number, trial in enumerate(in_order(study), start=1):
        if trial.state == COMPLETE:
            best, cost = max(best, trial.value), cost + trial.user_attrs["score"]["cost"]
        else:
            cost += trial.duration.total_seconds()
        if best > -math.inf:
            trials.append(number)
            costs.append(cost)
            values.append(best)
    assert found.trials == trials and found.best == values
    np.testing.assert_allclose(found.costs, costs, atol=1e-3)


def test_records_serve_where_the_journal_is_missing_or_damaged(runs, tmp_path):
    folder, study = runs["random"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "strategy.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    text, tree = parsed([copy])
    assert "journal.log does not exist" in text and "No trial has finished yet." in text
    progress = Progress(study, (criterion("accuracy"),), 60, None, RunFolder(copy))
    assert progress.done == 60
    assert read_trial_run(copy).trials == read_trial_run(folder).trials, (
        "the same, whether from records or from the journal"
    )
    assert facts(parsed([copy])[1]) == facts(parsed([folder])[1])
    (copy / "journal.log").write_text("no journal\n{}\n")
    text, tree = parsed([copy])
    assert "cannot be read" in text and facts(tree)["trials evaluated"] == "60 of 60"
    plan = json.loads((copy / "strategy.json").read_text())
    (copy / "strategy.json").write_text(json.dumps({**plan, "storage": "postgresql://…@host/db"}))
    assert "which a report does not open" in parsed([copy])[0]
    (copy / "strategy.json").write_text("{")
    with pytest.raises(UserError, match=r"strategy\.json cannot be read"):
        write_report([copy])


def test_unfinished_runs_and_failed_trials_are_told(tmp_path, capsys):
    folder, study = search_run(tmp_path / "started", trials=0, total=20)
    text, tree = parsed([folder])
    assert "still running or cut off" in text and "No trial has finished yet." in text
    assert facts(tree) == {"trials evaluated": "0 of 20"}
    trial = study.ask()
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    study.ask()
    text, tree = parsed([folder])
    assert "1 trial failed:" in text and "number 0" in text and "No trial has a result." in text
    assert facts(tree)["trials running or cut off"] == "1" and facts(tree)["trials failed"] == "1"
    assert cli.main(["report", str(folder), "--text"]) == 0
    assert "0 of 20, 1 failed" in capsys.readouterr().out


def dominates(one, other):
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def test_the_pareto_front_and_its_hypervolume(runs):
    folder, study = runs["pareto"]
    run = read_trial_run(folder)
    values = [tuple(t.values) for t in in_order(study) if t.state == COMPLETE]
    expected = {v for v in values if not any(dominates(other, v) for other in values)}
    assert [run.values(trial) for trial in front(run)] == sorted(expected, reverse=True)
    assert {tuple(trial.values) for trial in study.best_trials} == expected
    corner = min(a for a, _ in values), max(p for _, p in values)
    assert worst(run) == corner
    numbers, found = volumes(run, corner)
    for number, volume in zip(numbers, found, strict=True):
        area, below = 0.0, corner[0]  # strips from few parameters to many
        for accuracy, parameters in sorted(values[:number], key=lambda v: (v[1], -v[0])):
            if accuracy > below:
                area += (accuracy - below) * (corner[1] - parameters)
                below = accuracy
        assert volume == pytest.approx(area)
    text, tree = parsed([folder])
    assert f"The front has {len(expected)} of {len(values)} complete trials" in text
    assert f"{found[-1]:.6g}" in text
    assert "accuracy against parameters" in captions(tree)


class Lines(list):
    """A reporter that keeps the messages."""

    message = list.append


def test_the_progress_line_has_the_best_of_each_objective_and_the_size_of_the_front(runs):
    _folder, study = runs["pareto"]
    said = Lines()
    progress = Progress(study, (criterion("accuracy"), criterion("parameters")), 100, said, None)
    progress._seen, progress._first_open, progress._started = {*range(59)}, 0, progress._started - 10
    progress._before, progress.counts[COMPLETE] = 50, progress.counts[COMPLETE] - 1
    progress.update(last=True)
    values = {tuple(trial.values) for trial in study.best_trials}
    best, fewest = max(a for a, _ in values), min(p for _, p in values)
    assert said[0].startswith("trial 60 of 100: ")
    assert f"best accuracy {best:.6g}, parameters {fewest:.6g}, Pareto front {len(values)}, " in said[0]
    rate, left = re.search(r"([\d,]+) trials/h, (\d:\d\d:\d\d) left", said[0]).groups()
    assert int(rate.replace(",", "")) == pytest.approx(3600, rel=0.1), "10 trials in 10 s"
    assert left in ("0:00:40", "0:00:41")


def test_the_controller_is_derived_again(runs):
    folder, _ = runs["reinforce"]
    run = read_trial_run(folder)
    strategy = strategy_of(run)
    states = list(states_of(run, strategy))
    rewards = [run.values(trial)[0] for trial in run.complete]
    assert [state.trials for state in states] == list(range(1, len(rewards) + 1))
    for state in states:
        weights = 0.9 ** np.arange(state.trials)[::-1]
        assert state.baseline == pytest.approx(np.average(rewards[: state.trials], weights=weights), rel=1e-5)
    # A softmax of its own for every decision: the gradient of log P is onehot − p, and Adam's steps are the textbook's.
    logits, first, second = np.zeros((6, 5)), np.zeros((6, 5)), np.zeros((6, 5))
    for step, (evaluation, state) in enumerate(zip(evaluations_of(run, strategy), states, strict=True), start=1):
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        gradient = -(evaluation.score - state.baseline) * (np.eye(5)[list(evaluation.choices)] - p)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        logits = logits - 0.2 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        information = -np.log(p)
        entropy = (p * information).sum()
        deviation = math.sqrt(
            max(0, ((p * information**2).sum(axis=1) - (p * information).sum(axis=1) ** 2).sum()) / 256
        )
        assert state.entropy == pytest.approx(entropy, abs=4 * deviation + 1e-3), "from 256 samples"
    assert states[-1].entropy < states[0].entropy - 0.5
    _text, tree = parsed([folder])
    assert {"Entropy of the controller", "Baseline of the rewards"} <= set(captions(tree))


def test_the_view_of_decisions_has_a_line_for_the_best_and_a_sample(runs):
    folder, study = runs["evolution"]
    run = read_trial_run(folder)
    ranked = ranked_trials(run)
    best, others = highlighted(ranked)
    assert [trial["number"] for trial in best] == [trial["number"] for trial in ranked[: round(len(ranked) / 10)]]
    assert best[0]["objectives"]["accuracy"] == study.best_value
    many = [{"number": i} for i in range(1000)]
    best, others = highlighted(many)
    assert len(best) == 100 and len(others) == 150 and others[0]["number"] == 100 and others[-1]["number"] == 999
    assert [axis.height(3) for axis in axes_of(run)] == [0.7] * 6, "the middle of the fourth of five options"
    ops = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert [axis.ticks for axis in axes_of(run)] == [list(zip((0.1, 0.3, 0.5, 0.7, 0.9), ops, strict=True))] * 6
    _, tree = parsed([folder])
    drawing = next(svg for svg in tree.iter("svg") if svg.get("class") == "parallel")
    lines = [path for path in drawing.iter("path")]
    assert len(lines) == len(ranked) and all(len(re.findall(r"[ML]", line.get("d"))) == 7 for line in lines)
    assert lines[-1][0].text == f"trial {ranked[0]['number']}: accuracy {study.best_value:.6g}", "above all others"


def test_several_strategies_are_compared_over_their_seeds(runs, tmp_path):
    names = ("random", "again", "evolution", "pareto")
    records = [read_trial_run(runs[name][0]) for name in names]
    assert [len(task) for task in tasks(records)] == [3, 1], "other objectives are another task"
    groups = same_strategy(tasks(records)[0])
    assert {label: len(group) for label, group in groups.items()} == {"random": 2, "regularized_evolution": 1}
    courses = [course(run) for run in groups["random"]]
    x, mean, spread = mean_course([(c.costs, c.best) for c in courses])
    assert x[0] == max(c.costs[0] for c in courses) and x[-1] == min(c.costs[-1] for c in courses)
    for at, m, s in zip(x, mean, spread, strict=True):
        values = [max(b for cost, b in zip(c.costs, c.best, strict=True) if cost <= at) for c in courses]
        assert m == pytest.approx(sum(values) / 2) and s == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    text, tree = parsed([runs[name][0] for name in names], tmp_path / "page.html")
    found = captions(tree)
    assert sum(c.startswith("Best accuracy so far, by cost") for c in found) == 2 + 4, "two tasks, four runs"
    ends = [runs[name][1].best_value for name in ("random", "again")]
    assert f"{np.mean(ends):.6g} ± {np.std(ends, ddof=1):.3g}" in text
    assert "random (mean ± std of 2)" in text and "opacity: 0.18" in text
    lines = table([runs[name][0] for name in names]).splitlines()
    assert len(lines) == 6 and all(len(line) == len(lines[0]) for line in lines)
    assert f" {runs['evolution'][1].best_value:.6g} " in lines[4]


def test_a_relaxation_and_a_search_by_trials_share_a_page(runs, tmp_path):
    other = write_run(tmp_path / "relaxed")
    _text, tree = parsed([other, runs["random"][0]], tmp_path / "page.html")
    headings = ["".join(h.itertext()) for h in tree.iter("h2")]
    assert {"Comparison", "Searches by trials", "Op weights over the epochs", "Decisions"} <= set(headings)
    assert len(table([other, runs["random"][0]]).split("\n\n")) >= 2


def test_tuned_parameters(runs):
    folder, study = runs["tuned"]
    run = read_trial_run(folder)
    fields = varied_of(run.plan["vary"], run.config)
    shares = importance(run, fields)
    assert shares["search.alpha_optimizer.learning_rate"] > 0.7
    best = study.best_trial.params
    text, tree = parsed([folder])
    rate = best["search.alpha_optimizer.learning_rate"]
    assert f"--search.alpha_optimizer.learning_rate {rate} --search.batch_size {best['search.batch_size']}" in text
    assert {"search.alpha_optimizer.learning_rate", "search.batch_size"} <= set(captions(tree))
    first = axes_of(run)[0]
    assert [first.height(v) for v in (1e-4, 1e-3, 1e-1)] == pytest.approx([0, 1 / 3, 1])
    assert "Hyper-parameter search report" in text and facts(tree)["cost of the trials"] == "40 min"
