"""Docstrings open with what a thing is or does, and prose has no archaic words."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import jdarts

PACKAGE = Path(jdarts.__file__).parent
FOLDERS = {path.name: path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
FOLDERS |= {"": PACKAGE, "tests": Path(__file__).parent}
"""The folders to read by name; "" is the root of the package without its folders."""

OPENERS = re.compile(
    r"(what|how|which|whether|where|when|why|who|whose|whom|it|its|they|their|theirs|them|this|that|these|those|"
    r"he|she|his|her|we|our|you|i)\b",
    re.IGNORECASE,
)
"""First words that leave open what the thing is."""
ARCHAIC = re.compile(
    r"\b(thrice|anew|alike|hitherto|wherein|whereof|amid|in earnest|nobody knows|every so many|farewell)\b",
    re.IGNORECASE,
)


def sources(folder: str) -> list[Path]:
    """The Python files of a folder, except this one."""
    found = FOLDERS[folder].glob("*.py") if folder == "" else FOLDERS[folder].rglob("*.py")
    return sorted(path for path in found if path != Path(__file__))


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """`(line, text)` of the docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for statement in node.body:
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield statement.lineno, text


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """`(line, text)` of the comments."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def faults(folder: str) -> list[str]:
    """One line for each docstring with a wrong opening and for each archaic word."""
    found = []
    for path in sources(folder):
        for line, text in docstrings(path):
            if opening := OPENERS.match(text.strip()):
                found.append(f"{path}:{line}: opens with {opening[0]!r}")
        for line, text in (*docstrings(path), *comments(path)):
            found += [f"{path}:{line}: {word[0]!r}" for word in ARCHAIC.finditer(text)]
    return found


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_prose_is_plain(folder):
    found = faults(folder)
    assert not found, "\n".join(found)


def test_the_search_finds_faults(tmp_path, monkeypatch):
    text = '"""What it does."""\n\nX = 1  # computed anew\n"""A number."""\n\n\ndef f():\n    """Its value."""\n'
    (tmp_path / "module.py").write_text(text)
    monkeypatch.setitem(FOLDERS, "example", tmp_path)
    assert [line.split(": ", 1)[1] for line in faults("example")] == ["opens with 'What'", "opens with 'Its'", "'anew'"]
