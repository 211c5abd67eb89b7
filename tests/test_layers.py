"""Imports point one way: what computes knows nothing of what looks at it."""

import ast
from pathlib import Path

import pytest

import jdarts

ROOT = Path(jdarts.__file__).parent
TOOLS = ("analysis", "report", "pipeline", "bench", "commands", "cli")
"""Above the library, each only above those before it."""
FILES = sorted(ROOT.rglob("*.py"))


def part(name: str) -> str:
    """`search` for `jdarts.search.step`."""
    return [*name.split("."), "jdarts"][1]


def imported(path: Path) -> set[str]:
    """The parts of jdarts that a file imports anywhere, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"jdarts.{alias.name}" for alias in node.names} if node.module == "jdarts" else set()
            names |= below or {node.module}
    return {part(name) for name in names if name.startswith("jdarts.")}


@pytest.mark.parametrize("tool", TOOLS)
def test_nothing_below_a_tool_imports_it(tool):
    allowed = {tool, *TOOLS[TOOLS.index(tool) + 1 :], "__main__"}
    users = {}
    for path in FILES:
        own = path.relative_to(ROOT).with_suffix("").parts[0]
        if tool in imported(path):
            users[path.relative_to(ROOT).as_posix()] = own
    assert users, f"jdarts.{tool} is used by something, so the search for imports works"
    assert {name: own for name, own in users.items() if own not in allowed} == {}


def test_a_search_computes_on_no_layer_above_it():
    above = {"train", "interop", "loop"}
    for folder in ("hypergrad", "methods", "spaces", "data", "staging"):
        for path in (ROOT / folder).rglob("*.py"):
            assert imported(path).isdisjoint({"search", *above}), path
