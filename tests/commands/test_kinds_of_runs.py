"""Every kind of run folder, given to every command that takes one: it is accepted, or refused in one line."""

import json
from pathlib import Path

import pytest
from support.report_runs import with_seeds, write_run
from support.trial_runs import search_run, tuning_run

from jdarts import cli, spaces
from jdarts.config import Experiment
from jdarts.config.files import from_json
from jdarts.errors import UserError
from jdarts.runs import opening
from jdarts.runs.folder import RunFolder
from jdarts.runs.kinds import Kind, kind_of

FOUND, TRAINED = (spaces.get_decisions("nasbench201").decode(choices).to_text() for choices in ((1,) * 6, (2,) * 6))
KINDS = {
    "search": Kind.SEARCH,
    "seeds": Kind.SEARCH,
    "trials": Kind.TRIALS,
    "tuning": Kind.TUNING,
    "training": Kind.TRAINING,
    "begun": None,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each kind, named by the kind."""
    root = tmp_path_factory.mktemp("kinds")
    (write_run(root / "search", epochs=2) / "genotype.txt").write_text(FOUND)
    for seed in (3, 4):
        folder = with_seeds(root / "seeds", [3, 4], epochs=2) if seed == 3 else root / "seeds"
        (folder / "search" / f"seed-{seed}" / "genotype.txt").write_text(FOUND)
    (search_run(root / "trials", trials=1)[0] / "genotype.txt").write_text(FOUND)
    tuning_run(root / "tuning", trials=1)
    (root / "tuning/trials/0000").mkdir(parents=True)
    training = RunFolder.create(root / "training", Experiment(name="training"))
    training.append("metrics", {"step": 1, "epoch": 1, "train_loss": 0.5, "seconds": 1.0})
    training.write_json("result.json", {"genotype": TRAINED, "test_accuracy": 0.5})
    RunFolder.create(root / "begun", Experiment(name="begun"))
    (root / "empty").mkdir()
    return root


@pytest.fixture
def given(folders, monkeypatch, capsys):
    """The exit code, standard output and standard error of a command in the folder of the runs."""
    monkeypatch.chdir(folders)

    def execute(*arguments):
        capsys.readouterr()
        return cli.main(list(arguments)), *capsys.readouterr()

    return execute


def test_the_kind_of_a_folder(folders):
    assert {name: kind_of(folders / name) for name in KINDS} == KINDS


REFUSED = {
    "analyze": {
        "trials": "trials is a search by trials (jdarts search --strategy), which has no alphas and no supernet; give",
        "tuning": "(jdarts report tuning shows this run)",
        "training": "training is the training of one genotype (jdarts train), which has no alphas",
        "begun": "run begun has no checkpoint of a search yet",
        "seeds": "run seeds holds",
        "empty": "empty is not a run folder",
        "tuning/trials/0000": "tuning/trials/0000 is a part of the run tuning; give that folder",
    },
    "report": {
        "empty": "empty is not a run folder",
        "tuning/trials/0000": "is a part of the run tuning",
    },
    "worker": {
        "search": "search is a search by a method (jdarts search or run), which has no trials; give the folder of a",
        "seeds": "which has no trials",
        "training": "which has no trials",
        "begun": "begun is no run of jdarts search --strategy: it has no strategy.json",
        "empty": "empty is not a run folder",
    },
    "count": {
        "seeds": "seeds holds 2 searches with a genotype; give the folder of one of them, such as seeds/search/seed-3",
        "tuning": "tuning is a run of jdarts tune, which finds values of settings and no genotype",
        "begun": "begun has no genotype yet; finish the run",
        "empty": "empty is not a run folder",
    },
}


@pytest.mark.parametrize(("command", "folder"), [(c, f) for c, refused in REFUSED.items() for f in refused])
def test_refused(given, folders, command, folder):
    if (command, folder) == ("analyze", "seeds"):
        (folders / "seeds/search/searches.json").write_text(json.dumps(["seed-3", "seed-4"]))
    code, out, err = given(command, folder)
    assert (code, out) == (2, "") and err.startswith("jdarts: error: ") and err.count("\n") == 1, err
    assert REFUSED[command][folder] in err


@pytest.mark.parametrize(
    "folder", ["search", "search/search", "seeds", "seeds/search/seed-3", "trials", "tuning", "training"]
)
def test_reported(given, folder):
    code, out, err = given("report", folder, "--text")
    assert code == 0 and f"| {Path(folder).parts[0]}" in out, err


@pytest.mark.parametrize(
    ("folder", "genotype"),
    [("search", FOUND), ("seeds/search/seed-4", FOUND), ("trials", FOUND), ("training", TRAINED)],
)
def test_a_run_folder_stands_for_its_genotype(given, folder, genotype):
    assert given("count", FOUND) != given("count", TRAINED)
    assert given("count", folder) == given("count", genotype) and given("count", folder)[0] == 0


@pytest.mark.parametrize("wanted", [Kind.SEARCH, Kind.TRIALS, Kind.TUNING, Kind.TRAINING])
@pytest.mark.parametrize("name", ["search", "trials", "tuning", "training", "begun"])
def test_a_run_is_resumed_as_what_it_is(folders, name, wanted):
    config = from_json((folders / name / "config.json").read_text())
    if KINDS[name] in (None, wanted):
        opening.check(folders / name, config, resume=True, kind=wanted)
    else:
        with pytest.raises(UserError, match=r"cannot resume: .* is .*, not .*; give the command that started it"):
            opening.check(folders / name, config, resume=True, kind=wanted)
