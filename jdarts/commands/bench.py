"""`jdarts bench`: the cost of steps, hypergradients, seeds and input, and the convergence of bilevel estimators."""

from collections.abc import Callable
from typing import Any

from jdarts.commands import process
from jdarts.commands.arguments import Arguments, Parser, load_experiment, positive
from jdarts.commands.experiments import EPILOG
from jdarts.errors import UserError

KINDS = ("hypergrad", "seeds", "input")
BILEVEL = "bilevel"
"""The kind that takes no configuration."""
_OPTIONS = {
    "against": ("",),
    "only": ("", "hypergrad", "input", BILEVEL),
    "seeds": ("seeds",),
    "noise": ("hypergrad",),
    "output": (BILEVEL,),
}
"""The kinds of measurement that an option is for; "" is `jdarts bench CONFIG`."""


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    bench = add("bench", _bench, "measure the cost of a search: its steps, hypergradients, seeds, input", epilog=EPILOG)
    bench.add_argument(
        "config",
        metavar="[hypergrad|seeds|input] CONFIG|bilevel",
        nargs="+",
        help="measure the steps of the search CONFIG; or with hypergrad: the alpha gradients of every estimator, with "
        "seeds: several searches in one program, with input: the rate of reading streamed images; or, without CONFIG, "
        "bilevel: convergence of the estimators on small bilevel problems",
    )
    bench.add_argument(
        "--against",
        metavar="CONFIG",
        help="alternate with another configuration, its overrides in the same quotes",
    )
    bench.add_argument("--only", metavar="NAMES", help="what to measure, separated by commas (a wrong name lists all)")
    bench.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help="rounds of repetitions (default: 10; hypergrad, seeds, input: 5); with --noise: prior search steps (15); "
        "with bilevel: steps on the alphas (200)",
    )
    bench.add_argument(
        "--noise",
        action="store_true",
        default=None,
        help="bench hypergrad: measure not costs but the error of the finite difference for each epsilon, in both "
        "precisions, without noise and with dropout and drop-path",
    )
    bench.add_argument("--seeds", metavar="LIST", help="bench seeds: numbers of searches in one program (1,4,8)")
    bench.add_argument("--json", metavar="FILE", help="write the result as JSON; - prints it in place of the table")
    bench.add_argument("-o", "--output", metavar="FILE", help="bench bilevel: draw the convergence curves (.png)")
    bench.add_argument(
        "--cached",
        action="store_true",
        help="use the compilation cache, to measure warm starts (default: cold)",
    )


def _bench(arguments: Arguments) -> None:
    *kind, config = arguments.config
    what = BILEVEL if arguments.config == [BILEVEL] else kind[0] if kind else ""
    _check(arguments, kind, config, what)
    options: dict[str, Any] = {"json_file": arguments.json}
    if arguments.only is not None:
        options["only"] = [name.strip() for name in arguments.only.split(",")]
    if arguments.steps is not None:
        options["outer" if what == BILEVEL else "rounds"] = arguments.steps

    from jdarts.bench import command
    from jdarts.data.text import is_text

    if not what and is_text(load_experiment(config, arguments.overrides)[0].data.source):
        process.prefer_newer_loops()
    if arguments.seeds is not None:
        options["counts"] = command.parse_counts(arguments.seeds)
    if arguments.output is not None:
        options["figure_file"] = arguments.output
    if arguments.cached:
        process.enable_compilation_cache(command.say)
        _measure(what, config, arguments, options)
    else:
        with process.without_compilation_cache():
            _measure(what, config, arguments, options)


def _measure(what: str, config: str, arguments: Arguments, options: dict[str, Any]) -> None:
    from jdarts.bench import command

    if what == BILEVEL:
        from jdarts.bench.bilevel_command import bench_bilevel

        bench_bilevel(**options)
    elif what:
        gradients = command.bench_noise if arguments.noise else command.bench_gradients
        measure = {"hypergrad": gradients, "seeds": command.bench_seeds, "input": command.bench_input}
        measure[what](config, arguments.overrides, **options)
    else:
        command.bench_steps(config, arguments.overrides, against=arguments.against, **options)


def _check(arguments: Arguments, kind: list[str], config: str, what: str) -> None:
    if kind == [BILEVEL] or (what == BILEVEL and arguments.overrides):
        given = config if kind else arguments.overrides[0]
        raise UserError(f"jdarts bench {BILEVEL} has its own problems and takes no configuration: leave out {given!r}")
    if len(kind) > 1 or (kind and kind[0] not in KINDS):
        raise UserError(
            f"cannot measure {' '.join(kind)!r}; write jdarts bench CONFIG, or jdarts bench KIND CONFIG with KIND one "
            f"of {', '.join(KINDS)}, or jdarts bench {BILEVEL}"
        )
    if not kind and config in KINDS:
        raise UserError(f"jdarts bench {config} needs a CONFIG")
    for option, kinds in _OPTIONS.items():
        if getattr(arguments, option) is not None and what not in kinds:
            able = " and ".join(f"jdarts bench {name}".strip() for name in kinds)
            raise UserError(f"--{option} is for {able}, not for jdarts bench {what}".rstrip())
