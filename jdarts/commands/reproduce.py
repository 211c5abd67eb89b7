"""`jdarts reproduce`: published experiments, run again, with our numbers beside the published ones."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from jdarts.commands import process
from jdarts.commands.arguments import Arguments, Parser, positive
from jdarts.errors import UserError
from jdarts.runs import interrupts

LONG_COMMANDS = ("reproduce",)
"""Commands that compute for minutes and gain from huge pages."""


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    command = add("reproduce", _reproduce, "run a published experiment again; without NAME, list them")
    command.add_argument("name", metavar="NAME", nargs="?", help="an experiment of the list")
    command.add_argument("--scale", metavar="S", help="smoke (seconds, no files), cpu (default) or full (as published)")
    command.add_argument("--data", metavar="PATH", help="images or text, as for --data.path of a search")
    command.add_argument("--table", metavar="FILE", help="the table of the benchmark, for nasbench201 and macro")
    command.add_argument("--transfer", metavar="PATH", help="a second data set for found cells; of ptb: WikiText-2")
    command.add_argument("--seeds", metavar="N", type=positive, help="number of seeds (default: that of the scale)")
    command.add_argument("--run-dir", metavar="FOLDER", help="folder of all runs (default: runs/reproduce/NAME-SCALE)")
    command.add_argument("--show", action="store_true", help="show what would run, its cost and the published numbers")
    command.epilog = "The same command again continues an interrupted experiment and reuses the finished runs."


def _reproduce(arguments: Arguments) -> None:
    if arguments.name is None:
        _refuse_options(arguments)
        _list()
        return
    from jdarts.reproduce import registry
    from jdarts.reproduce.experiment import INPUTS, Setting

    if arguments.show:
        print(registry.described(registry.get(arguments.name)))
        return
    scale = arguments.scale or "cpu"
    folder = Path(arguments.run_dir or Path("runs") / "reproduce" / f"{arguments.name}-{scale}")
    data, table, transfer = (getattr(arguments, name) or "" for name in INPUTS)
    setting = Setting(scale, folder, data, table, transfer, arguments.seeds)
    found = registry.check(arguments.name, setting)
    interrupts.explain_with(lambda: f"give the same command again to go on in {folder}")
    from jdarts.report.console import ConsoleReporter

    print(f"{found.name}, scale {scale}: {found.costs[setting.scale]}", file=sys.stderr)
    with ConsoleReporter() as reporter:
        process.enable_compilation_cache(reporter.warning)
        findings = registry.run(arguments.name, replace(setting, reporter=reporter))
    print(registry.text_of(found, setting, findings), end="")
    print(f"results: {folder / 'results.md'}")


def _refuse_options(arguments: Arguments) -> None:
    for option in ("scale", "data", "table", "transfer", "seeds", "run_dir", "show"):
        if getattr(arguments, option):
            raise UserError(f"--{option.replace('_', '-')} needs an experiment; jdarts reproduce alone lists them")


def _list() -> None:
    from jdarts import reproduce

    for name in reproduce.names():
        found = reproduce.get(name)
        print(f"{name:14} {found.summary}")
        for scale, cost in found.costs.items():
            needed = " ".join(f"--{option} PATH" for option in found.inputs[scale])
            print(f"{'':14}   {scale:6} {cost}{f' ({needed})' if needed else ''}")
