"""Rules for committed notebooks: small outputs that name no machine, and a clean end where data is absent."""

import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MACHINE = re.compile(r"/(?:home|Users|root|tmp|work|opt)/|\d\d:\d\d:\d\d|0x[0-9a-f]{6}")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_and_names_no_machine(path):
    assert path.stat().st_size < 400_000
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.metadata, "times of execution and states of an editor change with every run"
        assert cell.get("execution_count") is None
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            texts = [output.get("text", "")] + [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
            for text in texts:
                assert not MACHINE.search(text), text


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_committed_notebook_can_be_read_without_being_run(path):
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        if any(call in cell.source for call in ("plt.show()", "figures.landscape_figure(", "display(")):
            assert {name for output in cell.outputs for name in output.get("data", {})} & {"image/png", "image/svg+xml"}
        if re.search(r"^print\(", cell.source, re.M):
            assert any(output.output_type == "stream" for output in cell.outputs)


@pytest.mark.parametrize(
    ("name", "variable", "source"),
    [
        ("published_hessians", "JDARTS_ROBUSTDARTS", "https://github.com/automl/RobustDARTS"),
        ("nasbench201", "JDARTS_NASBENCH201", "put nasbench201.csv.gz (see above)"),
    ],
)
def test_a_notebook_ends_cleanly_without_its_data(name, variable, source, monkeypatch, tmp_path, capsys):
    """In a kernel without the data, the first cell says where it is, and no later cell fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "nowhere")
    shell = InteractiveShell(user_ns={}, config=Config(HistoryManager={"enabled": False}))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
    text = capsys.readouterr().out
    assert source in text and variable in text and len(text.splitlines()) < 4
