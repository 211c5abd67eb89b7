"""`jdarts search --strategy` and `jdarts worker`: folders, resuming, workers, mistakes in one line."""

import contextlib
import itertools
import json
import re
import sqlite3
from pathlib import Path

import optuna
import pytest
from support.trial_processes import CONFIG, EVOLUTION, open_journal, write_table

from jdarts import cli, spaces
from jdarts.commands import process
from jdarts.estimation import Score
from jdarts.estimation.table_lookup import TableLookup
from jdarts.genotypes import parse
from jdarts.strategies import open_study, plan


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("table") / "table.csv")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "enable_compilation_cache", lambda warn: None)
    (tmp_path / "toy.py").write_text(CONFIG)


def records(folder):
    return [json.loads(line) for line in (Path(folder) / "trials.jsonl").read_text().splitlines()]


def test_a_search_by_table_resumes_and_workers_join(table, capsys):
    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", table]
    assert cli.main([*search, "--trials", "40"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"trial 40 of 40: accuracy \d+, best accuracy \d0 \(trial \d+\), [\d,]+ trials/h, 0:00:00 left", out
    )
    found = records("runs/toy")
    assert [record["number"] for record in found] == list(range(40))
    best = max(found, key=lambda record: record["objectives"]["accuracy"])
    assert Path("runs/toy/genotype.txt").read_text() == f"{best['architecture']}\n"
    assert best["score"]["accuracy"] == 10 * best["architecture"].count("nor_conv_3x3")
    assert "<svg" in Path("runs/toy/cells.svg").read_text()

    assert cli.main([*search, "--trials", "60", "--resume"]) == 0
    assert [record["number"] for record in records("runs/toy")] == list(range(60))
    summary = json.loads(Path("runs/toy/summary.json").read_text())
    assert summary["trials"] == {"complete": 60, "pruned": 0, "fail": 0}
    assert parse(summary["best"][0]["architecture"]).to_nasbench201().count("nor_conv_3x3") >= 5
    assert summary["best"][0]["params"].keys() == {d.name for d in spaces.nasbench201.decisions}

    assert cli.main(["worker", "runs/toy"]) == 0
    assert "the search has 60 of 60 trials" in capsys.readouterr().out
    plan = json.loads(Path("runs/toy/strategy.json").read_text())
    Path("runs/toy/strategy.json").write_text(json.dumps({**plan, "trials": 65}))
    assert cli.main(["worker", "runs/toy"]) == 0
    assert len(records("runs/toy")) == 60, "a worker writes no records"
    assert cli.main([*search, "--trials", "65", "--resume"]) == 0
    assert len(records("runs/toy")) == 65, "the search records the trials of workers"


def test_the_history_is_that_of_an_uninterrupted_search(table):
    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", table]
    assert cli.main([*search, "--trials", "30"]) == 0
    assert cli.main([*search, "--trials", "12", "--run-dir", "parts"]) == 0
    assert cli.main([*search, "--trials", "30", "--run-dir", "parts", "--resume"]) == 0
    whole, parts = ([record["params"] for record in records(folder)] for folder in ("runs/toy", "parts"))
    assert whole == parts


def test_samplers_of_optuna_continue_with_other_numbers(table):
    search = ["search", "toy.py", "--strategy", "tpe", "--estimator", "table", "--table", table]
    assert cli.main([*search, "--trials", "8"]) == 0
    assert cli.main([*search, "--trials", "16", "--resume"]) == 0
    params = [tuple(record["params"].values()) for record in records("runs/toy")]
    assert params[:8] != params[8:]


def test_several_objectives_in_a_database(table, capsys):
    search = ["search", "toy.py", "--strategy", "nsga2", "--strategy-options", "population_size=8", "--estimator"]
    search += ["table", "--table", table, "--objectives", "accuracy,parameters", "--storage", "sqlite:///study.db"]
    assert cli.main([*search, "--trials", "24"]) == 0
    best = json.loads(Path("runs/toy/summary.json").read_text())["best"]
    assert f"Pareto front {len(best)}" in capsys.readouterr().out
    study = open_study_of("sqlite:///study.db")
    values = [tuple(record["objectives"].values()) for record in best]
    assert {tuple(trial.values) for trial in study.best_trials} == set(values) and len(set(values)) == len(values)
    assert cli.main([*search, "--trials", "24", "--run-dir", "again"]) == 2
    assert "has a study 'toy' of 24 trials; continue it with --resume" in capsys.readouterr().err
    assert not Path("again").exists()
    assert cli.main(["worker", "runs/toy"]) == 0


def open_study_of(url):
    return optuna.load_study(study_name="toy", storage=url)


def test_architectures_are_trained(capsys):
    search = ["search", "toy.py", "--strategy", "random", "--trials", "2", "--budget", "data=0.5,channels=2"]
    assert cli.main([*search, "--objectives", "accuracy,macs"]) == 0
    for record in records("runs/toy"):
        assert set(record["score"]) == {"accuracy", "parameters", "macs", "seconds"} and record["cost"] > 0
    assert "run folder: runs/toy" in capsys.readouterr().out


def test_mobile_networks_are_drawn_and_trained(capsys):
    row = {"mean_acc": 50.0, "std": 0.1, "params": 1, "flops": 1, "test_acc": [50.0] * 3}
    codes = ("".join(digits) for digits in itertools.product("012", repeat=8))
    Path("macro.json").write_text(json.dumps({code: row | {"mean_acc": 90.0 - code.count("0")} for code in codes}))
    search = ["search", "toy.py", "--strategy", "random", "--trials", "3", "--space", "nasbench_macro"]
    table = ["--estimator", "table", "--table", "macro.json"]
    assert cli.main([*search, *table, "--limit", "macs=0.5"]) == 2
    assert "none of 300 random architectures" in capsys.readouterr().err
    assert cli.main([*search, *table, "--limit", "macs=1,parameters=2"]) == 0
    code = Path("runs/toy/genotype.txt").read_text().strip()
    assert "nasbench_macro network" in capsys.readouterr().out
    svg = Path("runs/toy/cells.svg").read_text()
    assert svg.count("MB3 3×3") + svg.count("MB6 5×5") == 8 - code.count("0")
    assert cli.main(["report", "runs/toy"]) == 0
    assert svg.count("MB3") <= Path("runs/toy/report.html").read_text().count("MB3")
    assert (
        cli.main(["train", "toy.py", "--genotype", "fairnas: conv_k3_c16_s2", "--train.width_multiplier", "0.5"]) == 0
    )
    assert f"{9 * 3 * 8 + 2 * 8 + 2 * 8 + 2:,} parameters, " in capsys.readouterr().out
    assert json.loads(Path("runs/toy-train/result.json").read_text())["genotype"] == "fairnas: conv_k3_c16_s2"


TRIALS = ["search", "toy.py", "--strategy", "random", "--trials", "2"]
BAD_INPUT = {
    "an unknown strategy": (["search", "toy.py", "--strategy", "evolution", "--trials", "2"], "unknown strategy"),
    "no number of trials": (["search", "toy.py", "--strategy", "random"], "needs their number: --trials N"),
    "no strategy": (["search", "toy.py", "--trials", "2"], "--trials is an option of --strategy; name one"),
    "two kinds of search": ([*TRIALS, "--method", "darts"], "--method is an option with --method, not with"),
    "several seeds": ([*TRIALS, "--seeds", "3"], "not with --strategy"),
    "an unknown option": ([*TRIALS, "--strategy-options", "population=3"], "unknown option of strategy random"),
    "a wrong option": (
        ["search", "toy.py", "--strategy", "genetic", "--trials", "2", "--strategy-options", "population=many"],
        "option population of strategy genetic is 'many'; its type is int",
    ),
    "an option that is a function": (
        ["search", "toy.py", "--strategy", "genetic", "--trials", "2", "--strategy-options", "legal=small"],
        "option legal of strategy genetic is 'small'; its type is",
    ),
    "an option of the configuration": ([*TRIALS, "--strategy-options", "seed=3"], "seed is no option of a strategy"),
    "half an option": ([*TRIALS, "--strategy-options", "seed"], "write name=value,name=value"),
    "an unknown estimator": ([*TRIALS, "--estimator", "guess"], "unknown estimator 'guess'"),
    "no table": ([*TRIALS, "--estimator", "table"], "name its file with --table FILE"),
    "a table to train by": ([*TRIALS, "--table", "x.csv"], "no meaning for estimator train"),
    "a space without table": ([*TRIALS, "--estimator", "table", "--space", "darts_cnn"], "has no benchmark table"),
    "a space without networks": ([*TRIALS, "--space", "mnasnet"], "architectures that jdarts does not train"),
    "an unknown space": ([*TRIALS, "--space", "nasbench_makro"], "did you mean 'nasbench_macro'?"),
    "a grid that is too large": (
        ["search", "toy.py", "--strategy", "grid", "--trials", "2", "--space", "darts_cnn"],
        "a grid over space darts_cnn has",
    ),
    "a strategy of one objective": (
        ["search", "toy.py", *EVOLUTION, "--trials", "2", "--objectives", "accuracy,macs"],
        "RegularizedEvolution optimises one objective",
    ),
    "an unknown objective": ([*TRIALS, "--objectives", "flops"], "unknown objective 'flops'"),
    "another task": ([*TRIALS, "--train.task", "regression"], "train.task is regression, but searches classify images"),
    "a frozen start": ([*TRIALS, "--train.frozen", "body"], "trials train from random weights"),
    "an unknown limit": ([*TRIALS, "--limit", "flops=3"], "unknown limit 'flops'"),
    "a limit below every network": ([*TRIALS, "--limit", "macs=3"], "is within the limits: macs 3 (a random one has"),
    "a limit of a method": (["search", "toy.py", "--limit", "macs=3"], "--limit is an option of --strategy; name one"),
    "a table of latencies that is missing": (
        [*TRIALS, "--objectives", "accuracy,latency", "--latency-table", "none.yaml"],
        "cannot read none.yaml",
    ),
    "a table of latencies that is a program": (
        [*TRIALS, "--limit", "latency=3", "--latency-table", "toy.py"],
        "toy.py",
    ),
    "an unknown budget": ([*TRIALS, "--budget", "epoch=3"], "unknown budget 'epoch'"),
    "a budget without number": ([*TRIALS, "--budget", "epochs=few"], "epochs is 'few', which is not a number"),
    "a wrong budget": ([*TRIALS, "--budget", "resolution=5"], "use a divisor of 8"),
    "a network that is too deep": ([*TRIALS, "--train.auxiliary_weight", "0.4"], "no auxiliary head"),
    "no validation images": ([*TRIALS, "--data.val_fraction", "0"], "compared on validation images"),
    "an unknown pruner": ([*TRIALS, "--pruner", "asha"], "unknown pruner 'asha'"),
    "a pruner of fronts": (
        [*TRIALS, "--pruner", "median", "--objectives", "accuracy,macs"],
        "pruner median is for one objective",
    ),
    "an unknown storage": ([*TRIALS, "--storage", "nosql://me:secret@host/db"], "cannot open the storage nosql://…@"),
    "no journal": ([*TRIALS, "--storage", "toy.py"], "cannot open the storage toy.py: it is no journal of Optuna"),
    "workers of a method": (["search", "toy.py", "--workers", "2"], "--workers is an option of --strategy; name one"),
    "no worker": ([*TRIALS, "--workers", "0"], "--workers: '0' is out of range; it must be at least 1"),
    "nothing to resume": ([*TRIALS, "--resume"], "runs/toy does not exist"),
    "nothing to join": (["worker", "runs/toy"], "runs/toy does not exist"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_status_2(case, capsys, monkeypatch):
    monkeypatch.setattr("jdarts.estimation.image_children.make_trainings", None)
    arguments, expected = BAD_INPUT[case]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jdarts: error: ") and err.count("\n") == 1 and expected in err, err
    assert [path.name for path in Path().iterdir()] == ["toy.py"]


def test_mistakes_with_an_existing_search(table, capsys):
    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", table, "--trials", "3"]
    assert cli.main(search) == 0

    def mistake(arguments):
        capsys.readouterr()
        assert cli.main(arguments) == 2
        return capsys.readouterr().err

    assert "run folder runs/toy exists; pass --resume" in mistake(search)
    test_accuracy = [*search, "--budget", "epochs=200", "--run-dir", "other"]
    assert "the table has no results for the budget epochs = 200" in mistake(test_accuracy)
    other = [{"population=5,sample=3": "population=6,sample=3"}.get(word, word) for word in search]
    assert "another plan: options: {'population': 5, 'sample': 3} (stored) != {'population': 6" in mistake(
        [*other, "--resume"]
    )
    file = Path("runs/toy/strategy.json")
    plan = json.loads(file.read_text())
    file.write_text(json.dumps({**plan, "jdarts": "0.0.9"}))
    assert "a run of jdarts 0.0.9, this worker is" in mistake(["worker", "runs/toy"])
    file.write_text(json.dumps({**plan, "budget": {"epochs": 12}}))
    assert "is of another search (another configuration, strategy" in mistake(["worker", "runs/toy"])
    file.write_text(json.dumps({**plan, "storage": "postgresql://…@host/db"}))
    assert "give its URL with --storage" in mistake(["worker", "runs/toy"])
    file.write_text("{}")
    assert "cannot be read" in mistake(["worker", "runs/toy"])
    file.unlink()
    assert "is no run of jdarts search --strategy" in mistake(["worker", "runs/toy"])


def test_a_database_that_fails_during_a_search(table, monkeypatch, capsys):
    def fail(self, architecture, budget):
        with contextlib.closing(sqlite3.connect("study.db")) as database:
            database.execute("drop table trial_values")
            database.commit()
        return Score({"accuracy": 1.0})

    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", table, "--storage"]
    monkeypatch.setattr(plan, "_try", lambda space, estimator, plan: None)
    monkeypatch.setattr(TableLookup, "__call__", fail)
    assert cli.main([*search, "sqlite:///study.db", "--trials", "3"]) == 1
    err = capsys.readouterr().err
    assert "jdarts: error: the storage of the trials fails: " in err and "with --resume to go on" in err, err


def test_open_study_reads_the_journal_of_a_run(table):
    """The library, the command line and Optuna's own tools share one form."""
    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", table, "--trials", "3"]
    assert cli.main(search) == 0
    study = open_journal()
    assert study.metric_names == ["accuracy"] and len(study.trials) == 3
    for trial, record in zip(study.trials, records("runs/toy"), strict=True):
        assert list(trial.params) == [decision.name for decision in spaces.nasbench201.decisions]
        architecture = spaces.nasbench201.decode(tuple(trial.params.values())).to_text()
        assert trial.user_attrs["score"]["architecture"] == architecture == record["architecture"]
        assert trial.user_attrs["score"]["values"]["accuracy"] == trial.value
    with pytest.raises(Exception, match="use another storage"):
        open_study(spaces.nasbench_macro, storage="runs/toy/journal.log", name="toy")
