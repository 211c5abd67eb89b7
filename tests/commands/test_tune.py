"""`jdarts tune`: trainings and searches with varied values, resuming, mistakes in one line."""

import json
import re
from pathlib import Path

import pytest
from support.followed import check_tables

from jdarts import cli
from jdarts.commands import process

CONFIG = """
from jdarts.config import *
config = Experiment(
    name="toy",
    data=DataConfig(source="synthetic:8x8x1:2:64", crop_padding=1, flip=False),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(epochs=2, batch_size=8, hypergradient="first_order"),
    train=TrainConfig(batch_size=8, channels=4, cells=1, epochs=2, auxiliary_weight=0.0, cutout=0, drop_path=0.0),
)
"""
SPACE = """
from jdarts.spaces import define_space
space = define_space("small", nodes=1, normal=("skip_connect", "sep_conv_3x3"))
"""
GENOTYPE = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|"
TRAINING = ["tune", "toy.py", "--genotype", GENOTYPE]
RATE = "search.alpha_optimizer.learning_rate"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "enable_compilation_cache", lambda warn: None)
    (tmp_path / "toy.py").write_text(CONFIG)


def records():
    return [json.loads(line) for line in Path("runs/toy-tune/trials.jsonl").read_text().splitlines()]


def test_a_training_is_tuned_and_goes_on(capsys):
    vary = ["--vary", "train.batch_size=8,16", "--vary", "seed=1,2", "--sampler", "grid"]
    logged = ["--log", "csv"]
    assert cli.main([*TRAINING, *vary, "--trials", "1", *logged]) == 0
    assert cli.main([*TRAINING, *vary, "--resume", "--trials", "2", *logged]) == 0
    out = capsys.readouterr().out
    check_tables(Path("runs/toy-tune"), series=1)
    found = records()
    assert len(found) == 2
    best = json.loads(Path("runs/toy-tune/summary.json").read_text())["best"][0]
    assert best["score"]["accuracy"] == max(record["score"]["accuracy"] for record in found)
    assert f"best: --train.batch_size {best['params']['train.batch_size']} --seed {best['params']['seed']}" in out
    assert best["architecture"] == GENOTYPE

    plan = Path("runs/toy-tune/tune.json")
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "trials": 4}))
    assert cli.main(["worker", "runs/toy-tune"]) == 0
    assert "the search has 4 of 4 trials" in capsys.readouterr().out
    assert cli.main([*TRAINING, *vary, "--resume"]) == 0
    points = {tuple(record["params"].values()) for record in records()}
    assert len(points) == len(records()) == 4, "a grid has one order of points, whoever takes them"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "jdarts": "0.0.9"}))
    assert cli.main(["worker", "runs/toy-tune"]) == 2
    assert "a run of jdarts 0.0.9, this worker is" in capsys.readouterr().err
    assert cli.main([*TRAINING, *vary[:-2], "--sampler", "random", "--resume", "--trials", "3"]) == 2
    assert "another plan: sampler: 'grid' (stored) != 'random' (given)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_is_tuned_with_a_pruner(capsys):
    Path("small.py").write_text(SPACE)
    vary = ["--vary", f"{RATE}=log:1e-4:1e-1", "--trials", "7", "--sampler", "random", "--pruner", "median"]
    assert cli.main(["tune", "toy.py", *vary, "--space.name", "small.py"]) == 0
    found = records()
    assert len(found) == 7 and all(list(record["intermediate"]) == ["1"] for record in found)
    for record in found:
        lines = Path(f"runs/toy-tune/trials/{record['number']:04}/metrics.jsonl").read_text().splitlines()
        curve = [100 * json.loads(line)["val_accuracy"] for line in lines]
        assert record["intermediate"]["1"] == curve[0]
        if record["state"] == "complete":
            assert record["score"]["accuracy"] == curve[1]
        else:
            assert record["state"] == "pruned" and len(curve) == 1
    assert not list(Path("runs/toy-tune").rglob("checkpoints"))


VARY = ["--vary", f"{RATE}=log:1e-4:1e-1"]
EPOCHS = ["--vary", "train.epochs=1,2"]
BAD_INPUT = {
    "nothing varied": (["tune", "toy.py", "--trials", "2"], "nothing is varied"),
    "no number of trials": (["tune", "toy.py", *VARY], "sampler tpe needs the number of trials"),
    "an unknown field": (["tune", "toy.py", "--vary", "search.epoch=1,2", "--trials", "2"], "did you mean"),
    "an unknown sampler": (["tune", "toy.py", *VARY, "--trials", "2", "--sampler", "gird"], "did you mean 'grid'?"),
    "an unknown pruner": (["tune", "toy.py", *VARY, "--trials", "2", "--pruner", "asha"], "unknown pruner 'asha'"),
    "a grid without points": (["tune", "toy.py", *VARY, "--sampler", "grid"], "needs a number of points"),
    "an unknown genotype": (["tune", "toy.py", "--genotype", "DARTSV2", *EPOCHS, "--trials", "2"], "DARTS_V2"),
    "a genotype that does not fit": (
        [*TRAINING, *EPOCHS, "--trials", "2", "--train.auxiliary_weight", "0.4"],
        "no auxiliary head",
    ),
    "a search that does not fit": (
        ["tune", "toy.py", *VARY, "--trials", "2", "--search.batch_size", "64"],
        "batch size",
    ),
    "a field of the search in a training": (
        [*TRAINING, "--vary", "search.epochs=1,2", "--trials", "2"],
        "--vary search.epochs has no effect on a training of a genotype; vary fields of train",
    ),
    "a field of the training in a search": (
        ["tune", "toy.py", *EPOCHS, "--trials", "2"],
        "--vary train.epochs has no effect on a search by darts; give the cell to train with --genotype",
    ),
    "searches at the same time with a pruner": (
        ["tune", "toy.py", *VARY, "--trials", "2", "--together", "2", "--pruner", "median"],
        "--together 2 runs trials to their end at the same time, so that --pruner median could stop none",
    ),
    "searches of several loops at the same time": (
        ["tune", "toy.py", *VARY, "--trials", "2", "--together", "2", "--search.method", "darts_pt"],
        "method darts_pt runs several loops, so several searches do not fit in one program",
    ),
    "searches that the devices cannot share": (
        ["tune", "toy.py", *VARY, "--trials", "2", "--together", "3", "--devices.seed", "2"],
        "devices.seed 2",
    ),
    "nothing to resume": (["tune", "toy.py", *VARY, "--trials", "2", "--resume"], "runs/toy-tune does not exist"),
    "an unknown storage": (["tune", "toy.py", *VARY, "--trials", "2", "--storage", "no://a@b"], "storage no://…@b"),
}


def test_trials_that_all_fail_say_why(capsys):
    assert cli.main(["tune", "toy.py", "--vary", "data.source=a,b", "--trials", "2"]) == 2
    out, err = capsys.readouterr()
    assert "trial 2 of 2: pruned: unknown data.source" in out
    assert re.search(r"none of the 2 trials in runs/toy-tune has a result.*unknown data.source '[ab]'", err), err
    assert len(Path("runs/toy-tune/trials.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_status_2(case, capsys):
    arguments, expected = BAD_INPUT[case]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jdarts: error: ") and err.count("\n") == 1 and expected in err, err
    assert [path.name for path in Path().iterdir()] == ["toy.py"]
