"""The work of `jdarts bench bilevel`: choose, run, print, write JSON and a figure."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jdarts.bench.bilevel import ENTRIES, LINEAX, measure_bilevel
from jdarts.bench.bilevel_problems import PROBLEMS
from jdarts.bench.bilevel_report import BILEVEL_NOTES, problem_text, save_figure
from jdarts.bench.command import check_target, deliver, say
from jdarts.bench.machine import describe_machine, machine_line
from jdarts.errors import UserError, unknown


def bench_bilevel(
    *,
    only: Sequence[str] | None = None,
    outer: int = 200,
    inner: int = 10,
    json_file: str | None = None,
    figure_file: str | None = None,
) -> dict[str, Any]:
    """Run the estimators on the bilevel problems, print tables and return all results, ready for JSON.

    Args:
      only: names of `PROBLEMS` and of `ENTRIES`; without the name of a problem (or of an estimator), all of them.
      outer: steps on the alphas.
      inner: steps on the weights for each of them.
      json_file: file for the result; "-" is standard output, and the tables are not printed.
      figure_file: file for the convergence curves, a PNG.

    Raises `UserError` for unknown names and for files that cannot be written, before anything runs.
    """
    check_target(json_file)
    if figure_file is not None:
        _check_figure(figure_file)
    problems, entries = choose_bilevel(only)
    machine = describe_machine()
    say(machine_line(machine))
    results = measure_bilevel(problems, entries, outer=outer, inner=inner, say=say)
    tables = [line for result in results.values() for line in (problem_text(result), "")]
    if figure_file is not None:
        save_figure(results, Path(figure_file))
    result = {"benchmark": "bilevel", "machine": machine, "outer": outer, "inner": inner, "problems": results}
    return deliver(result, "\n".join([machine_line(machine), "", *tables, *BILEVEL_NOTES]), json_file)


def choose_bilevel(only: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """`(problems, entries)` among the names `only`; all of a kind that `only` does not name.

    The entry that needs lineax is left out where the package is not installed.
    """
    names = list(only or ())
    for name in names:
        if name not in PROBLEMS and name not in ENTRIES:
            raise unknown("problem or estimator", name, [*PROBLEMS, *ENTRIES])
    problems, entries = ([name for name in kind if name in names] for kind in (PROBLEMS, ENTRIES))
    has_lineax = importlib.util.find_spec("lineax") is not None
    if LINEAX in entries and not has_lineax:
        raise UserError(f"{LINEAX} needs the package lineax; pip install 'jdarts[implicit]'")
    able = [name for name in ENTRIES if name != LINEAX or has_lineax]
    return problems or list(PROBLEMS), entries or able


def _check_figure(figure_file: str) -> None:
    path = Path(figure_file)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--output is {figure_file!r}; give the name of a .png, .svg or .pdf file")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"cannot write --output {figure_file!r}: there is no folder {path.parent}, or it is a folder")
