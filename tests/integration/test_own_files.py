"""The user's methods and spaces, from the configuration's folder to the analysis of the run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jdarts import analysis, cli
from jdarts.config.files import load_config
from jdarts.config.user_files import source_file
from jdarts.errors import UserError
from jdarts.methods.registry import _METHODS

METHOD = """
from typing import Annotated
import jax
from jdarts.config.ranges import Range
from jdarts.methods import Method, register
from helper_of_mine import NAME

@register
def doubled(*, factor: Annotated[float, Range(above=0)] = 2.0) -> Method:
    return Method("doubled", NAME, "softmax of larger alphas", hypergradient="first_order",
                  derive_weights=lambda a: {c: jax.nn.softmax(factor * x) for c, x in a.items()})
"""
SPACE = """
from jdarts.spaces import define_space
space = define_space("mine", nodes=1, normal=("skip_connect", "max_pool_3x3"))
"""
CONFIG = """
from jdarts.config import *
{imports}
config = Experiment(
    name="own",
    data=DataConfig(source="synthetic:8x8x1:2:64", crop_padding=0, flip=False),
    space=SpaceConfig(name={space}, channels=2, cells=3),
    search=SearchConfig(method="doubled", epochs=1, batch_size=8),
)
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with a configuration, its method, a module that the method imports, and a space."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "method_of_mine.py").write_text(METHOD)
    (folder / "helper_of_mine.py").write_text("NAME = 'I'\n")
    (folder / "space_of_mine.py").write_text(SPACE)
    space = str(folder / "space_of_mine.py")
    (folder / "own.py").write_text(CONFIG.format(imports="import method_of_mine", space=repr(space)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    forget()


def forget():
    """Remove every trace of the user's files from the process."""
    _METHODS.pop("doubled", None)
    for name in [name for name in sys.modules if name.endswith("_of_mine") or name.startswith("jdarts_user_")]:
        del sys.modules[name]


def test_the_folder_of_the_configuration_is_on_the_path_of_the_console_script(workplace):
    """The installed script starts without the working folder on the path, unlike `python -m jdarts`."""
    script = workplace / "script.py"
    script.write_text("import sys\nfrom jdarts.__main__ import main\nsys.exit(main())\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1]), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(script), "search", "mine/own.py", "--search.epochs", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "search.epochs is 0" in done.stderr


def test_a_run_is_opened_again_while_its_files_are_unchanged(workplace, capsys):
    assert cli.main(["search", "mine/own.py"]) == 0
    record = json.loads(Path("runs/own/sources.json").read_text())
    assert sorted(Path(file["copy"]).name for file in record["files"]) == [
        "helper_of_mine.py",
        "method_of_mine.py",
        "space_of_mine.py",
    ]
    forget()
    live = analysis.open_run("runs/own")
    assert live.search.method.name == "doubled" and live.space.name == "mine"

    forget()
    Path("mine/helper_of_mine.py").write_text("raise RuntimeError('changed')\n")
    with pytest.raises(UserError, match=r"helper_of_mine.py has changed since; .*--import runs/own/source/method_of"):
        analysis.open_run("runs/own")
    assert cli.main(["report", "runs/own"]) == 0, "a report needs no file of the user's"
    capsys.readouterr()
    assert cli.main(["analyze", "runs/own", "--gap"]) == 2
    assert "helper_of_mine.py has changed since" in capsys.readouterr().err

    shutil.rmtree("mine")
    with pytest.raises(UserError, match=r"mine/\w+.py is gone"):
        analysis.open_run("runs/own")
    copies = [f"runs/own/source/{name}_of_mine.py" for name in ("method", "space")]
    assert analysis.open_run("runs/own", imports=copies).space.name == "mine"


def test_a_run_without_a_record_names_what_it_lacks(workplace):
    load_config("mine/own.py")
    shutil.copytree("mine", "runs/own")
    from jdarts.config.files import to_json

    Path("runs/own/config.json").write_text(to_json(load_config("mine/own.py")))
    (Path("runs/own") / "checkpoints" / "1").mkdir(parents=True)
    forget()
    with pytest.raises(UserError, match=r"needs the method 'doubled', which is not known here; .*--import FILE"):
        analysis.open_run("runs/own")


def test_one_file_may_hold_method_space_and_configuration(workplace):
    everything = METHOD + SPACE + CONFIG.format(imports="", space="__file__")
    Path("mine/all.py").write_text(everything)
    config = load_config("mine/all.py")
    from jdarts import spaces

    assert spaces.get(config.space.name).name == spaces.get(config.space.name).name == "mine"
    assert source_file(_METHODS["doubled"]) == str(Path("mine/all.py").resolve())
    with pytest.raises(
        UserError, match=r"'doubled' is already registered, by .*all.py; rename the one in .*method_of_mine.py"
    ):
        load_config("mine/own.py")


def test_a_bare_name_of_a_file_here_is_told(workplace):
    shutil.copy("mine/own.py", "own.py")
    with pytest.raises(UserError, match=r"there is a file own\.py"):
        load_config("own")
