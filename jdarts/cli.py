"""The `jdarts` command. Each command checks its input before it imports anything slow.

The commands themselves are in `jdarts.commands`.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from jdarts import __version__
from jdarts.commands import (
    bench,
    detect,
    experiments,
    export,
    guard,
    guide,
    latency,
    predict,
    process,
    reference,
    reproduce,
    runs,
    tune,
    worker,
)
from jdarts.commands.arguments import Arguments, Parser
from jdarts.commands.data_lines import data_lines
from jdarts.commands.overrides import print_help, split_overrides
from jdarts.devices import processes
from jdarts.errors import UserError, unknown

LONG_COMMANDS = (
    *experiments.RUN_COMMANDS,
    "bench",
    *tune.LONG_COMMANDS,
    *worker.LONG_COMMANDS,
    *runs.LONG_COMMANDS,
    *reproduce.LONG_COMMANDS,
)
"""Commands that compute for minutes, which need XLA's flags and gain from huge pages."""
TAKING_OVERRIDES = (*experiments.RUN_COMMANDS, *tune.LONG_COMMANDS, "plan", "bench")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    0: done. 1: the loss diverged, devices, processes or disks failed, or jdarts has a bug. 2: a mistake in the input.
    130 and 143: stopped by Ctrl-C or SIGTERM. Every failure is one line on standard error; `--debug` prints the
    traceback before it. Without `argv` the process may restart itself.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [argument for argument in given if argument != "--debug"]
    try:
        with data_lines():
            status = _main(arguments, own_process=argv is None)
    except SystemExit as leaving:  # argparse, after --help and --version
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except BaseException as error:
        if arguments != given:
            traceback.print_exception(error)
        text, status = guard.explain(error)
        print(f"jdarts: {guard.one_line(text)}", file=sys.stderr)
    if status not in (0, 130, 143) and processes.count() > 1:
        processes.leave(status)
    return status


def _main(arguments: list[str], *, own_process: bool) -> int:
    if arguments[:1] and arguments[0] in LONG_COMMANDS:
        process.prefer_plain_loops()
        process.leave_out_source_lines()
        if own_process:
            process.reexecute_with_huge_pages()
    status = _dispatch(arguments)
    sys.stdout.flush()
    return status


def _dispatch(arguments: list[str]) -> int:
    parser, commands = _parsers()
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if name is None:
        if not arguments:
            print(guide.GUIDE, end="")
            return 0
        parser.parse_args(arguments)  # --help, --version, or a usage error
        return 0
    if name not in commands:
        raise unknown("command", name, commands)
    command, rest = commands[name], arguments[arguments.index(name) + 1 :]
    if arguments[0] != name:
        raise UserError(f"unknown option {arguments[0]}; options follow the command (jdarts {name} --help)")
    overrides: list[str] = []
    if name in TAKING_OVERRIDES:
        if not {"-h", "--help"}.isdisjoint(rest):
            return print_help(command, rest)
        rest, overrides = split_overrides(command, rest)
    parsed = command.parse_args(rest)
    space = getattr(parsed, "space", None)
    parsed.overrides = overrides if space is None else [*overrides, f"--space.name={space}"]
    parsed.execute(parsed)
    return 0


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="jdarts", description="Differentiable neural architecture search in JAX.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"jdarts {__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, execute: Callable[[Arguments], None], help: str, **options: Any) -> Parser:
        description = help[0].upper() + help[1:] + "."
        command = group.add_parser(name, help=help, description=description, allow_abbrev=False, **options)
        command.set_defaults(execute=execute)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")  # read by `main`
        return command

    for commands in (experiments, tune, worker, bench, latency, predict, export, detect, reference, reproduce, runs):
        commands.add_commands(add)
    return parser, group.choices
