"""Run folders of searches by trials and of tuning, made by studies whose scores are formulas."""

import json
import math
from pathlib import Path

import optuna

from jdarts import spaces
from jdarts.config import Experiment, SpaceConfig
from jdarts.config.files import to_json
from jdarts.estimation import Score, criterion
from jdarts.strategies.plan import TrialPlan
from jdarts.strategies.registry import by_name
from jdarts.strategies.study import evaluation, open_study, optimize
from jdarts.strategies.tuning import TuningPlan, suggest, varied_of


def formula(space):
    """An estimator: more of the early options is better and cheaper to train, and has more parameters."""

    def estimate(architecture, budget):
        choices = space.encode(architecture)
        if sum(choices) % 11 == 0:
            raise optuna.TrialPruned("a multiple of 11")
        accuracy = sum(place / (1 + choice) for place, choice in enumerate(choices, start=1))
        parameters = 1000.0 * sum((5 - choice) ** 2 for choice in choices)
        return Score({"accuracy": accuracy, "parameters": parameters}, 30.0 + 10 * choices[0])

    return estimate


def search_run(folder, strategy="random", trials=40, *, seed=0, objectives=("accuracy",), total=None, **options):
    """A search in `folder` with its journal and without `trials.jsonl`: the folder and the study."""
    space = spaces.get_decisions("nasbench201")
    config = Experiment(name="toy", seed=seed, space=SpaceConfig(name=space.name))
    plan = TrialPlan(strategy=strategy, trials=total or trials, options=options, objectives=objectives)
    criteria = tuple(criterion(name) for name in objectives)
    sampler = by_name(strategy, space, seed=seed, **options)
    _start(folder, config, "strategy.json", plan.as_json())
    study = open_study(space, sampler, objectives=criteria, storage=folder / "journal.log", name="toy")
    if trials:
        optimize(study, evaluation(space, formula(space), criteria, {}), trials)
    return folder, study


def tuning_run(folder, trials=40):
    """A run of `jdarts tune` in `folder`, in which only the learning rate matters, best at 0.01: folder and study."""
    config = Experiment(name="toy")
    rate, batch = "search.alpha_optimizer.learning_rate", "search.batch_size"
    plan = TuningPlan((f"{rate}=log:1e-4:1e-1", f"{batch}=16,32,64"), trials, "random")
    _start(folder, config, "tune.json", plan.as_json())
    study = open_study(
        "hyper-parameters", optuna.samplers.RandomSampler(0), storage=folder / "journal.log", name="toy-tune"
    )

    def run(trial):
        values = suggest(trial, varied_of(plan.vary, config))
        accuracy = 90 - abs(math.log10(values[rate]) + 2) * 10
        trial.set_user_attr("score", {"values": {"accuracy": accuracy}, "cost": 60.0, "architecture": "text"})
        return (accuracy,)

    optimize(study, run, trials)
    return folder, study


def _start(folder, config, name, plan):
    Path(folder).mkdir(parents=True)
    (folder / "config.json").write_text(to_json(config))
    (folder / name).write_text(json.dumps(plan))
