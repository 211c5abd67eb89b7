"""The import graph and the sizes of a package, read with `ast`; run as a script it prints the figures of a folder."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FUNCTION_LINES, PARAMETERS, FILE_LINES, ROOT_FILES = 60, 7, 400, 14
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class House:
    """The package `jdarts` in a folder."""

    root: Path

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """The syntax tree of every module, by its dotted name."""
        return {self.name_of(path): ast.parse(path.read_text()) for path in sorted(self.root.rglob("*.py"))}

    @cached_property
    def packages(self) -> set[str]:
        """The modules that are the `__init__.py` of a folder."""
        return {self.name_of(path) for path in self.root.rglob("__init__.py")}

    def name_of(self, path: Path) -> str:
        """`jdarts.search.step` for the file `search/step.py`."""
        parts = path.relative_to(self.root.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def path_of(self, name: str) -> Path:
        """The file of a module."""
        folder = self.root.parent.joinpath(*name.split("."))
        return folder / "__init__.py" if name in self.packages else folder.with_suffix(".py")

    def imports_of(self, name: str) -> set[str]:
        """The modules of the package that a module imports, also inside functions; not those only for type checkers."""
        found = set()
        for node in runtime_nodes(self.trees[name]):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {self.provider(node.module, alias.name) for alias in node.names}
        return (found & self.trees.keys()) - {name}

    def provider(self, module: str, name: str) -> str:
        """The module that `from module import name` needs; a name of the package comes before a submodule."""
        below = f"{module}.{name}"
        return below if below in self.trees and name not in bound(self.trees[module]) else module

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """The imports of every module."""
        return {name: self.imports_of(name) for name in self.trees}

    @cached_property
    def parts(self) -> dict[str, set[str]]:
        """The imports between packages and root files: `search` stands for `jdarts.search.step`."""
        graph: dict[str, set[str]] = {}
        for name, others in self.graph.items():
            graph.setdefault(part(name), set()).update({part(other) for other in others} - {part(name)})
        return graph

    @property
    def circles(self) -> list[list[str]]:
        """Groups of modules that import each other."""
        return [sorted(component) for component in components(self.graph) if len(component) > 1]

    @property
    def root_files(self) -> list[str]:
        """The Python files at the root of the package."""
        return sorted(path.name for path in self.root.glob("*.py"))

    @property
    def long_files(self) -> dict[str, int]:
        """Lines of the modules with too many."""
        counts = {name: len(self.path_of(name).read_text().splitlines()) for name in self.trees}
        return {name: count for name, count in counts.items() if count > FILE_LINES}

    @property
    def long_functions(self) -> dict[str, int]:
        """Lines of the functions with too many, by `module:Class.function`."""
        lengths = {name: (node.end_lineno or node.lineno) - node.lineno + 1 for name, node in self.functions}
        return {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}

    @property
    def wide_signatures(self) -> dict[str, int]:
        """Parameters of the functions with too many; keyword-only ones count, `self` and `cls` do not."""
        widths = {name: parameters(node) for name, node in self.functions}
        return {name: count for name, count in widths.items() if count > PARAMETERS}

    @cached_property
    def functions(self) -> list[tuple[str, Function]]:
        """Every function, by `module:Class.function`."""
        return [(f"{name}:{path}", node) for name, tree in self.trees.items() for path, node in functions(tree, "")]


def part(name: str) -> str:
    """`search` for `jdarts.search.step`."""
    return [*name.split("."), "jdarts"][1]


def components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components, each after those that it imports (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            start = stack.index(name)
            result.append(stack[start:])
            del stack[start:]

    for name in graph:
        if name not in order:
            visit(name)
    return result


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports, from the top; a circle counts as one."""
    chains: dict[str, list[str]] = {}
    for component in components(graph):
        below = {other for name in component for other in graph[name]} - set(component)
        longest = max((chains[other] for other in below), key=len, default=[])
        for name in component:
            chains[name] = [min(component), *longest]
    return max(chains.values(), key=len)


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those below `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield other
                yield from runtime_nodes(other)
            continue
        yield node
        yield from runtime_nodes(node)


def bound(tree: ast.Module) -> set[str]:
    """The names that a module defines or imports at its top."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    """Functions and methods below a node, including those inside functions."""
    for node in ast.iter_child_nodes(tree):
        inner = prefix
        if isinstance(node, Function | ast.ClassDef):
            inner = f"{prefix}{node.name}."
            if not isinstance(node, ast.ClassDef):
                yield inner[:-1], node
        yield from functions(node, inner)


def parameters(node: Function) -> int:
    """The number of parameters of a function."""
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a]
    return len([name for name in names if name not in ("self", "cls")])


def depth(what: str, graph: dict[str, set[str]]) -> str:
    """A line with the longest chain of imports."""
    chain = longest_chain(graph)
    return f"depth of the import graph of {what}: {len(chain)}  ({' > '.join(chain)})"


def report(house: House) -> str:
    """The figures that show the effect of a change of structure."""
    return "\n".join(
        [
            depth("modules", house.graph),
            depth("packages and root files", house.parts),
            f"circles: {len(house.circles)}  {house.circles}",
            f"files at the root: {len(house.root_files)}",
            f"files over {FILE_LINES} lines: {house.long_files}",
            f"functions over {FUNCTION_LINES} lines: {len(house.long_functions)}  {house.long_functions}",
            f"signatures over {PARAMETERS} parameters: {len(house.wide_signatures)}  {house.wide_signatures}",
        ]
    )


if __name__ == "__main__":
    print(report(House(Path(sys.argv[1] if len(sys.argv) > 1 else "jdarts").resolve())))
