"""The wheel, installed into an environment that has nothing of the repository, nor optional packages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = {
    "flatbuffers", "grain", "jax2onnx", "lineax", "matfree", "psycopg", "safetensors", "tensorboardX", "tensorflow",
    "torch", "wandb",
}  # fmt: skip

HIDING = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A virtual environment with the wheel; it sees the installed core dependencies, the optional packages are hidden.

    Downloading the dependencies once more would take minutes: their list is compared with the imports instead.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves files in the tree
    shutil.copytree(ROOT / "jdarts", source / "jdarts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(folder), str(source)]
    built = subprocess.run(build, capture_output=True, text=True, env=_outside())
    if built.returncode and "setuptools" in built.stderr:
        pytest.skip("setuptools cannot be downloaded, which builds the wheel")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("jdarts-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    install = [str(python), "-m", "pip", "install", "--no-deps", "--quiet", str(wheel)]
    subprocess.run(install, check=True, env=_outside())
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    outside = [path for path in sys.path if path.endswith("site-packages")]
    hiding = HIDING.replace("OPTIONAL", repr(OPTIONAL))
    (packages / "hide_optional.py").write_text(hiding)
    (packages / "zz_core.pth").write_text("\n".join([*outside, "import hide_optional"]) + "\n")
    return python


def _outside() -> dict[str, str]:
    """The environment without the repository on Python's path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(python: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
    environment = {**_outside(), "JDARTS_NO_REEXEC": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, cwd=python.parent, env=environment, timeout=240
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.slow
def test_the_import_is_instant_and_from_the_wheel(bare):
    code = (
        "import time; t = time.perf_counter(); import jdarts; d = time.perf_counter() - t; "
        "import json; print(json.dumps([d, jdarts.__file__]))"
    )
    seconds, file = json.loads(run(bare, "-c", code).stdout)
    assert seconds < 0.5 and "site-packages" in file and str(bare.parents[1]) in file


@pytest.mark.slow
def test_the_command_works_without_optional_packages(bare, tmp_path):
    guide = run(bare, "-m", "jdarts").stdout
    assert "jdarts run configs/quickstart.py" in guide and len(guide.splitlines()) < 16
    assert "predict" in run(bare, "-m", "jdarts", "--help").stdout
    assert "pc_darts" in run(bare, "-m", "jdarts", "methods").stdout
    assert "3,349,342" in run(bare, "-m", "jdarts", "count", "DARTS_V2", "--channels", "36", "--cells", "20").stdout
    for extra, arguments in {
        "export": ["export", str(tmp_path), "-o", str(tmp_path / "network.stablehlo")],
        "torch": ["export", str(tmp_path), "--format", "torch", "-o", str(tmp_path / "network.pth")],
        "onnx": ["export", str(tmp_path), "--format", "onnx", "-o", str(tmp_path / "network.onnx")],
        "tensorboard": ["search", str(ROOT / "configs/quickstart.py"), "--log", "tensorboard"],
        "wandb": ["search", str(ROOT / "configs/quickstart.py"), "--log", "wandb"],
    }.items():
        error = run(bare, "-m", "jdarts", *arguments, status=2).stderr
        assert f'pip install "jdarts[{extra}]"' in error and error.count("\n") == 1, error


@pytest.mark.slow
def test_every_module_can_be_imported_without_optional_packages(bare):
    code = (
        "import importlib, pkgutil, jdarts\n"
        "for module in pkgutil.walk_packages(jdarts.__path__, 'jdarts.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
    )
    run(bare, "-c", code)
