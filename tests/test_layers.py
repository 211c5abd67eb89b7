"""The rules of the house: which module may import or ask what, and how large a file, a function, a signature may be.

The tables hold what still breaks a rule, by name. An entry that is no longer needed fails, too; take it out.
`python tests/support/house.py` prints the figures of a tree.
"""

import ast
from pathlib import Path

import pytest
from support.house import FILE_LINES, FUNCTION_LINES, PARAMETERS, ROOT_FILES, House, longest_chain, part, runtime_nodes

import jdarts
from jdarts import kernels

HOUSE = House(Path(jdarts.__file__).parent)

LAYERS = (
    "jdarts",
    "errors",
    "jax_versions",
    "config",
    "staging",
    "kernels",
    "devices",
    "ops",
    "genotypes",
    "networks",
    "spaces",
    "latency",
    "controllers",
    "interop",
    "losses",
    "optimizers",
    "relaxation",
    "schedules",
    "hypergrad",
    "derivation",
    "stopping",
    "methods",
    "data",
    "benchmarks",
    "runs",
    "detection",
    "train",
    "export",
    "search",
    "estimation",
    "strategies",
    "analysis",
    "report",
    "loggers",
    "pipeline",
    "bench",
    "reproduce",
    "commands",
    "cli",
    "__main__",
)
"""From the lowest: each imports only those before it. Modules that compute do not import those that examine results."""

QUESTIONS = {"on_accelerator", "on_cpu", "unit", "in_pieces", "default_unit"}
"""The functions of `jdarts.kernels` and `jdarts.staging` that tell the backend or the unit of compilation."""

PLAIN_AND_FAST = {"BatchNorm", "DilConv", "FactorizedReduce", "Noise", "Pool", "ReLUConvBN", "SepConv", "SkipConnect"}
PLAIN_AND_FAST |= {"ImageNetStem", "Stem"}
"""Modules with a plain and a fast form, under one name."""


def below(name: str, *packages: str) -> bool:
    return any(name == f"jdarts.{package}" or name.startswith(f"jdarts.{package}.") for package in packages)


def attributes(tree: ast.AST) -> set[tuple[str, str]]:
    """Every `name.attribute` of a module, and `("", attribute)` for attributes of other expressions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add((node.value.id if isinstance(node.value, ast.Name) else "", node.attr))
    return found


def test_every_part_has_its_place():
    assert {part(name) for name in HOUSE.trees} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer):
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    wrong = {
        (name, other)
        for name, others in HOUSE.graph.items()
        for other in others
        if part(name) == layer and part(other) not in allowed
    }
    assert wrong == set()


def test_the_search_for_imports_works():
    assert "jdarts.search" in HOUSE.graph["jdarts.pipeline"]
    assert "jdarts.search.plan" in HOUSE.graph["jdarts.pipeline"], "inside a function"
    assert "jdarts.kernels" in HOUSE.graph["jdarts.ops.batch_norm"], "through the door: relu is a function and a file"
    assert len(longest_chain(HOUSE.graph)) > 10


def test_no_circle_of_imports():
    assert HOUSE.circles == []


def test_only_one_file_asks_the_backend():
    """Through JAX itself; `jdarts.kernels.platform` answers all others."""
    asking = set()
    for name, tree in HOUSE.trees.items():
        raw = {(owner, attr) for owner, attr in attributes(tree) if attr in ("default_backend", "platform")}
        if raw - {("sys", "platform")}:
            asking.add(name)
    assert "jdarts.kernels.platform" in asking
    assert {name for name in asking if not below(name, "staging", "kernels.platform", "networks.fast")} == set()


def test_fast_forms_alone_ask_for_the_platform():
    asking = {}
    for name, tree in HOUSE.trees.items():
        asked = {attr for owner, attr in attributes(tree) if owner in ("kernels", "staging") and attr in QUESTIONS}
        asked |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in ("jdarts.kernels", "jdarts.staging")
            for alias in node.names
            if alias.name in QUESTIONS
        }
        if asked and not below(name, "kernels", "staging", "networks.fast"):
            asking[name] = asked
    assert asking == {}


def test_only_kernels_and_staging_define_primitives():
    users = set()
    for name, tree in HOUSE.trees.items():
        used = {attr for owner, attr in attributes(tree) if owner == "jax"}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
        if any(each.removeprefix("jax.").startswith("interpreters") for each in used):
            users.add(name)
    assert users, "the search works"
    assert {name for name in users if not below(name, "kernels", "staging")} == set()


def test_kernels_have_one_door():
    open_to_all = {"jdarts.kernels", "jdarts.kernels.reference"}  # the plain forms need the plain maps
    inner = {name for name in HOUSE.trees if below(name, "kernels")} - open_to_all
    names = {name.rpartition(".")[2] for name in inner} - set(kernels.__all__)
    wrong = set()
    for name, tree in HOUSE.trees.items():
        if below(name, "kernels"):
            continue
        wrong |= {(name, other) for other in HOUSE.graph[name] & inner}
        wrong |= {(name, attr) for owner, attr in attributes(tree) if owner == "kernels" and attr in names}
        for node in runtime_nodes(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "") in inner:
                wrong.add((name, node.module))
    assert wrong == set()


def test_a_type_has_a_name_of_its_own():
    """Classes and aliases of types; a name of two modules would have to be read with the imports."""
    homes: dict[str, set[str]] = {}
    for module, tree in HOUSE.trees.items():
        for node in tree.body:
            match node:
                case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                    homes.setdefault(name, set()).add(module)
    twice = {name for name, modules in homes.items() if len(modules) > 1 and name[0].isupper() and not name.isupper()}
    assert twice == PLAIN_AND_FAST


def test_the_root_is_small():
    assert len(HOUSE.root_files) <= ROOT_FILES, HOUSE.root_files


def test_files_are_short():
    assert HOUSE.long_files == {}, f"at most {FILE_LINES} lines"


def test_functions_are_short():
    assert set(HOUSE.long_functions) == set(), f"at most {FUNCTION_LINES} lines"


def test_signatures_are_short():
    assert set(HOUSE.wide_signatures) == set(), f"at most {PARAMETERS} parameters, keyword-only ones too"
