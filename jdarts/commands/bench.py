"""`jdarts bench`: what steps and hypergradients cost."""

from collections.abc import Callable
from typing import Any

from jdarts.commands import process
from jdarts.commands.arguments import Arguments, Parser, positive
from jdarts.commands.experiments import EPILOG
from jdarts.errors import UserError


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    bench = add("bench", _bench, "measure what the steps of a search cost, or its hypergradients", epilog=EPILOG)
    bench.add_argument(
        "config",
        metavar="[hypergrad] CONFIG",
        nargs="+",
        help="a configuration as for search; after the word hypergrad, its alpha gradients by every estimator",
    )
    bench.add_argument(
        "--against", metavar="CONFIG", help="run another configuration in turn; its own overrides in the same quotes"
    )
    bench.add_argument("--only", metavar="NAMES", help="what to measure, separated by commas (a wrong name lists all)")
    bench.add_argument("--steps", type=positive, metavar="N", help="rounds of repetitions (default: 10; hypergrad: 5)")
    bench.add_argument("--json", metavar="FILE", help="write the result as JSON; - prints it in place of the table")
    bench.add_argument(
        "--cached",
        action="store_true",
        help="use the compilation cache, to measure warm starts (default: cold)",
    )


def _bench(arguments: Arguments) -> None:
    *kind, config = arguments.config
    if kind not in ([], ["hypergrad"]):
        raise UserError(
            f"cannot measure {' '.join(kind)!r}; write jdarts bench CONFIG or jdarts bench hypergrad CONFIG"
        )
    if not kind and config == "hypergrad":
        raise UserError("jdarts bench hypergrad needs a CONFIG")
    if kind and arguments.against is not None:
        raise UserError("--against compares steps; jdarts bench hypergrad compares estimators of one configuration")
    only = None if arguments.only is None else [name.strip() for name in arguments.only.split(",")]
    options: dict[str, Any] = {"only": only, "json_file": arguments.json}
    if arguments.steps is not None:
        options["rounds"] = arguments.steps

    from jdarts.bench import command

    if arguments.cached:
        process.enable_compilation_cache(command.say)
    else:
        import jax

        jax.config.update("jaxprocess.enable_compilation_cache", False)
    if kind:
        command.bench_gradients(config, arguments.overrides, **options)
    else:
        command.bench_steps(config, arguments.overrides, against=arguments.against, **options)
