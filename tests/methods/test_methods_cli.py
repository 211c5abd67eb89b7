"""The commands and options that name methods, spaces and tables."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from jdarts import cli, methods, spaces
from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.spaces.user_file import load_space

CONFIGS = Path(__file__).parents[2] / "configs"
ALL_SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
MINE = """
from jdarts.spaces import CellSpace

small = ("none", "skip_connect", "sep_conv_3x3")
pools = ("none", "max_pool_3x3", "avg_pool_3x3")
space = CellSpace("mine", normal=(small,) * 14, reduce=(pools,) * 14)
"""


def test_methods_are_listed_with_paper_and_options(capsys):
    assert cli.main(["methods"]) == 0
    out = capsys.readouterr().out
    for name in methods.names():
        assert f"\n{name} " in f"\n{out}"
        assert methods.build(name).paper in out
    assert "decay=linear" in out


def test_spaces_are_listed_with_their_papers(capsys):
    assert cli.main(["spaces"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == [*spaces.names(), *spaces.LANGUAGE, *spaces.DECISIONS_ONLY]
    assert all("arXiv:" in line or "PMLR" in line for line in lines)


def test_query_prints_accuracies_rank_and_regret(tmp_path, capsys):
    other = ALL_SKIP.replace("skip_connect~0|+", "nor_conv_3x3~0|+")
    (tmp_path / "t.csv").write_text(f"arch,c10_test_200,params_c10\n{ALL_SKIP},54.3,73306\n{other},80.0,74000\n")
    assert cli.main(["query", ALL_SKIP, "--table", str(tmp_path / "t.csv")]) == 0
    out = capsys.readouterr().out
    assert "54.30 %" in out and "rank      2 of 2" in out and "regret  25.70" in out and "73,306" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["query", ALL_SKIP, "--table", "bench.pth"], "Python pickle"),
        (["search", "toy", "--method", "darts_mins"], "did you mean 'darts_minus'"),
        (["search", "toy", "--method", "gdas+snas"], "gdas and snas both decide the relaxation"),
        (["search", "toy", "--search.method_options", "beta=1"], "method darts has no options|unknown option"),
        (["search", "toy", "--space", "nowhere.py"], "no such file"),
    ],
)
def test_mistakes_are_one_line(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "toy.py").write_text("from jdarts.config import Experiment\nconfig = Experiment()\n")
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and any(part in err for part in expected.split("|"))
    assert not (tmp_path / "runs").exists()


def test_shorthands_are_overrides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen: list[Experiment] = []
    monkeypatch.setattr("jdarts.pipeline.run_search_only", lambda config, *_, **__: seen.append(config))
    (tmp_path / "toy.py").write_text("from jdarts.config import Experiment\nconfig = Experiment()\n")
    assert cli.main(["search", "toy.py", "--method", "darts_minus", "--space=nasbench201", "--search.epochs", "3"]) == 0
    assert (seen[0].search.method, seen[0].space.name, seen[0].search.epochs) == ("darts_minus", "nasbench201", 3)


def test_a_space_in_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    space = spaces.get(str(path))
    assert space.alpha_shapes == {"normal": (14, 3), "reduce": (14, 3)}
    path.write_text(MINE.replace("sep_conv_3x3", "sep_konv_3x3"))
    with pytest.raises(UserError, match="did you mean 'sep_conv_3x3'"):
        load_space(path)
    path.write_text("space = 3")
    with pytest.raises(UserError, match="must define space"):
        load_space(path)
    path.write_text("1 / 0")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        load_space(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_the_commands_in_a_configuration_are_right(path, tmp_path, monkeypatch):
    """Every command that its docstring shows is accepted; what it would compute is left out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)
    for function in ("run_experiment", "run_search_only", "run_train_only", "plan_search"):
        monkeypatch.setattr(f"jdarts.pipeline.{function}", lambda config, *_, **__: config.name)
    monkeypatch.setattr("jdarts.devices.processes.start", lambda setup: None)
    monkeypatch.setattr("jax.config.update", lambda name, value: None)  # for `plan`; other tests have started JAX
    doc = (ast.get_docstring(ast.parse(path.read_text())) or "").replace("\\\n", " ")
    commands = re.findall(r"\bjdarts +((?:run|search|plan|train) .*)", doc)
    assert commands
    assert any(f"configs/{path.name}" in command or "configs/my_space.py" in command for command in commands)
    for number, command in enumerate(commands):
        words = shlex.split(command.rstrip('"'))
        if "--from" in words:
            continue  # needs a training
        folder = [] if words[0] == "plan" else ["--run-dir", str(number)]
        assert cli.main([*words, *folder]) == 0
