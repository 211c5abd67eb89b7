"""The `jdarts` command. A command imports what is slow to import only after checking its input."""

import argparse
import contextlib
import os
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jdarts import __version__, analysis_commands, distributed
from jdarts.errors import Diverged, Interrupted, PeerLost, ReplicasDiffer, UserError, unknown

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    0: done. 1: the loss diverged, or devices or processes failed. 2: a mistake in the input, told in one line on
    standard error. 130 and 143: stopped by Ctrl-C or SIGTERM, with the state saved.
    """
    try:
        status = _main(argv)
    except Exception:
        if distributed.count() == 1:
            raise
        traceback.print_exc()
        status = 1
    if status not in (0, 130, 143) and distributed.count() > 1:
        distributed.leave(status)
    return status


def _main(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if (
            argv is None
            and arguments[:1]
            and arguments[0] in (*RUN_COMMANDS, "bench", *analysis_commands.LONG_COMMANDS)
        ):
            _reexecute_with_huge_pages()
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as leaving:  # argparse, after --help and --version
        return leaving.code if isinstance(leaving.code, int) else 0
    except UserError as error:
        return _complain(f"error: {error}", 2)
    except Interrupted as error:
        return _complain(str(error), 128 + error.signal_number)
    except (Diverged, ReplicasDiffer, PeerLost) as error:
        return _complain(f"error: {error}", 1)
    except RuntimeError as error:
        lost = distributed.explain(error)
        if lost is None:
            raise
        return _complain(f"error: {lost}", 1)
    except KeyboardInterrupt:
        return _complain("interrupted; the checkpoints saved so far are kept", 128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _complain(text: str, status: int) -> int:
    print("jdarts: " + " ".join(text.split()), file=sys.stderr)
    return status


def _dispatch(arguments: list[str]) -> int:
    parser, commands = _parsers()
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if name is None:
        if not arguments:
            parser.print_help()
            return 0
        parser.parse_args(arguments)  # --help, --version, or a usage error
        return 0
    if name not in commands:
        raise unknown("command", name, commands)
    command, rest = commands[name], arguments[arguments.index(name) + 1 :]
    if arguments[0] != name:
        raise UserError(f"unknown option {arguments[0]}; options follow the command (jdarts {name} --help)")
    overrides: list[str] = []
    if name in (*RUN_COMMANDS, "plan", "bench"):
        if not {"-h", "--help"}.isdisjoint(rest):
            return _help(command, rest)
        rest, overrides = _split_overrides(command, rest)
    parsed = command.parse_args(rest)
    shorthands = {"search.method": getattr(parsed, "method", None), "space.name": getattr(parsed, "space", None)}
    parsed.overrides = [*overrides, *(f"--{name}={value}" for name, value in shorthands.items() if value is not None)]
    parsed.execute(parsed)
    return 0


class _Parser(argparse.ArgumentParser):
    """Reports usage errors like every other mistake of the user: one line, no usage dump."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help shows the usage)")


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(prog="jdarts", description="Differentiable neural architecture search in JAX.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"jdarts {__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, execute: Callable[[Arguments], None], help: str, **options: Any) -> _Parser:
        description = help[0].upper() + help[1:] + "."
        command = group.add_parser(name, help=help, description=description, allow_abbrev=False, **options)
        command.set_defaults(execute=execute)
        return command

    epilog = (
        "Every value of the configuration can be overridden: --search.epochs 3. "
        "`jdarts COMMAND CONFIG --help` lists all of them. "
        "Configuration files are Python code and are executed."
    )
    for name, execute, help in (
        ("run", _run, "search, derive, retrain and test: a whole experiment"),
        ("search", _search, "search for a cell only"),
        ("train", _train, "train the network of a genotype from scratch"),
    ):
        command = add(name, execute, help, epilog=epilog)
        command.add_argument("config", metavar="CONFIG", help="a configuration file, or the name of one in ./configs")
        command.add_argument("--resume", action="store_true", help="go on with an interrupted run")
        folder = "runs/NAME-train" if name == "train" else "runs/NAME"
        command.add_argument("--run-dir", metavar="FOLDER", help=f"where results go (default: {folder})")
        if name != "train":
            _add_many(command)
            command.add_argument("--method", metavar="M", help="short for --search.method (see jdarts methods)")
        command.add_argument("--space", metavar="S", help="short for --space.name (see jdarts spaces)")
        if name == "train":
            command.add_argument("--genotype", metavar="G", required=True, help=GENOTYPE_HELP)

    plan = add("plan", _plan, "estimate time and memory of a search on many devices", epilog=epilog)
    plan.add_argument("config", metavar="CONFIG", help="a configuration file, or the name of one in ./configs")
    plan.add_argument("--devices", metavar="N", type=_positive, required=True, help="how many devices")
    plan.add_argument("--kind", metavar="KIND", required=True, help="tpu-v4, tpu-v5e, tpu-v5p, tpu-v6e, a100 or h100")

    bench = add("bench", _bench, "measure what the steps of a search cost, or its hypergradients", epilog=epilog)
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
    bench.add_argument("--steps", type=_positive, metavar="N", help="rounds of repetitions (default: 10; hypergrad: 5)")
    bench.add_argument("--json", metavar="FILE", help="write the result as JSON; - prints it in place of the table")
    bench.add_argument(
        "--cached",
        action="store_true",
        help="use the compilation cache, to measure warm starts (default: cold)",
    )

    count = add("count", _count, "count the weights and multiply-adds of the network of a genotype")
    count.add_argument("genotype", metavar="GENOTYPE", help=GENOTYPE_HELP)
    count.add_argument("--channels", type=_positive, help="channels of the first cell (default: 36; NAS-Bench-201: 16)")
    count.add_argument("--cells", type=_positive, help="number of cells (default: 20; NAS-Bench-201: 5 a stage)")
    count.add_argument("--classes", type=_positive, help="classes (default: 10, with --imagenet 1000)")
    size = count.add_mutually_exclusive_group()
    size.add_argument("--image", type=_positive, default=32, metavar="SIDE", help="image side in pixels (default: 32)")
    size.add_argument("--imagenet", action="store_true", help="the ImageNet network on 224x224 images")
    count.add_argument("--auxiliary", action="store_true", help="include the auxiliary head")
    count.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)

    draw = add("draw", _draw, "draw the cells of a genotype")
    draw.add_argument("genotype", metavar="GENOTYPE", help=GENOTYPE_HELP)
    draw.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the picture: a name ending in .svg or .png"
    )
    draw.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)

    query = add("query", _query, "look an architecture of NAS-Bench-201 up in a table of results")
    query.add_argument("genotype", metavar="ARCH", help="an arch string |op~0|+…, or a file that holds one")
    query.add_argument("--table", metavar="FILE", required=True, help="the table, .csv or .csv.gz")

    add("genotypes", _genotypes, "list the published genotypes known by name")
    add("methods", _methods, "list the search methods, their papers and options")
    add("spaces", _spaces, "list the search spaces and their papers")
    analysis_commands.add_commands(add, _positive, _enable_compilation_cache)
    return parser, group.choices


def _add_many(command: _Parser) -> None:
    """Options for several searches in one program, and for several processes."""
    command.add_argument("--seeds", metavar="N|LIST", help="search with N seeds (5) or these (0,3,7) in one program")
    command.add_argument(
        "--sweep",
        metavar="NAME=VALUES",
        action="append",
        default=[],
        help="search with each value: weight_optimizer.learning_rate=0.01,0.025; repeat it for a grid",
    )
    command.add_argument(
        "--coordinator", metavar="HOST:PORT", help="address of the first of several processes, or auto"
    )
    command.add_argument("--num-processes", metavar="N", type=_positive, help="how many processes take part")
    command.add_argument("--process-id", metavar="I", type=_from_zero, help="the number of this process, from 0")


RUN_COMMANDS = ("run", "search", "train")
SPACE_HELP = "the file of a space of your own, if the genotype has ops that it defines"
GENOTYPE_HELP = "a published name, a file, or the text of a genotype"


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return number


def _from_zero(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _numbers(kind: type) -> Callable[[str], tuple]:
    def parse(text: str) -> tuple:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0,1,2") from None

    return parse


def _help(command: _Parser, rest: list[str]) -> int:
    from jdarts.config_files import describe_options, load_config

    fixed, _ = _split_overrides(command, [token for token in rest if token not in ("-h", "--help")])
    print(command.format_help())
    config = next((token for token in fixed if not token.startswith("-") and token != "hypergrad"), None)
    if config is not None:
        print(f"overrides, with the values of {config}:\n\n{describe_options(load_config(config))}")
    return 0


def _split_overrides(command: _Parser, tokens: list[str]) -> tuple[list[str], list[str]]:
    """Separates the command's own arguments from overrides (`--a.b value` or `--a.b=value`)."""
    from jdarts.config_files import option_types, unknown_option

    own = {option: action.nargs != 0 for action in command._actions for option in action.option_strings}
    known = option_types()
    fixed, overrides = [], []
    remaining = iter(tokens)
    for token in remaining:
        option, has_value, _ = token.partition("=")
        if not token.startswith("--") or option in own:
            target, takes_value = fixed, own.get(option, False)
        elif "." in option or option[2:] in known:
            target, takes_value = overrides, True
        else:
            raise unknown_option(option, [*(name[2:] for name in own if name.startswith("--")), *known])
        target.append(token)
        if takes_value and not has_value:
            target.extend(value for value in [next(remaining, None)] if value is not None)
    return fixed, overrides


def _run(arguments: Arguments) -> None:
    _execute(arguments, "run_experiment")


def _search(arguments: Arguments) -> None:
    _execute(arguments, "run_search_only")


def _train(arguments: Arguments) -> None:
    from jdarts.config_files import load_config

    config = load_config(arguments.config, arguments.overrides)
    genotype = _genotype(arguments.genotype, config.space.name if config.space.name.endswith(".py") else None)
    _execute(arguments, "run_train_only", genotype, suffix="-train")


def _genotype(text: str, space: str | None) -> Any:
    """The genotype that `text` denotes, with the ops that the file `space` defines."""
    import jdarts.genotype

    if space is not None:
        from jdarts.spaces.user_file import load_space

        load_space(space)
    return jdarts.genotype.load(text)


def _execute(arguments: Arguments, function: str, *inputs: Any, suffix: str = "") -> None:
    from jdarts.config_files import load_config
    from jdarts.run_folder import RunFolder

    config = load_config(arguments.config, arguments.overrides)
    if function != "run_train_only":
        inputs = (*inputs, _members(arguments, config))
        distributed.start(
            distributed.from_environment(
                coordinator=arguments.coordinator,
                num_processes=arguments.num_processes,
                process_id=arguments.process_id,
            )
        )
    run_dir = Path(arguments.run_dir) if arguments.run_dir else Path("runs") / f"{config.name}{suffix}"
    RunFolder.check(run_dir, config, resume=arguments.resume)

    from jdarts.report.console import ConsoleReporter, SilentReporter

    with ConsoleReporter() if distributed.is_first() else contextlib.nullcontext(SilentReporter()) as reporter:
        _enable_compilation_cache(reporter.warning)
        import jdarts.pipeline

        getattr(jdarts.pipeline, function)(config, *inputs, run_dir, resume=arguments.resume, reporter=reporter)


def _plan(arguments: Arguments) -> None:
    from jdarts.config_files import load_config

    config = load_config(arguments.config, arguments.overrides)
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    _enable_compilation_cache(lambda text: print(f"warning: {text}", file=sys.stderr))
    import jdarts.pipeline

    print(jdarts.pipeline.plan_search(config, devices=arguments.devices, kind=arguments.kind))


def _members(arguments: Arguments, config: Any) -> tuple:
    """The searches of --seeds and --sweep; none of them needs no slow import."""
    if arguments.seeds is None and not arguments.sweep:
        return ()
    from jdarts.search.members import members_of

    return members_of(config, arguments.seeds, arguments.sweep)


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
        _enable_compilation_cache(command.say)
    else:
        import jax

        jax.config.update("jax_enable_compilation_cache", False)
    if kind:
        command.bench_gradients(config, arguments.overrides, **options)
    else:
        command.bench_steps(config, arguments.overrides, against=arguments.against, **options)


def _count(arguments: Arguments) -> None:
    genotype = _genotype(arguments.genotype, arguments.space)
    image = 224 if arguments.imagenet else arguments.image
    classes = arguments.classes or (1000 if arguments.imagenet else 10)

    from jdarts.counting import count_darts_cnn, count_nasbench201

    if genotype.reduce is None:
        if arguments.imagenet or arguments.auxiliary:
            raise UserError("NAS-Bench-201 networks have neither an ImageNet form nor an auxiliary head")
        channels, cells = arguments.channels or 16, arguments.cells or 5
        count = count_nasbench201(genotype, channels=channels, cells_per_stage=cells, classes=classes, image_size=image)
    else:
        count = count_darts_cnn(
            genotype,
            channels=arguments.channels or 36,
            cells=arguments.cells or 20,
            classes=classes,
            image_size=image,
            stem="imagenet" if arguments.imagenet else "cifar",
            auxiliary=arguments.auxiliary,
        )
    print(f"parameters {count.parameters:>15,}  ({count.parameters / 1e6:.2f} M)")
    print(f"MACs       {count.macs:>15,}  ({count.macs / 1e6:.1f} M)")


def _draw(arguments: Arguments) -> None:
    output = Path(arguments.output)
    if output.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"cannot draw {arguments.output!r}; give a name that ends in .svg or .png")
    if not output.parent.is_dir():
        raise UserError(f"cannot draw {arguments.output!r}; there is no folder {output.parent}")
    genotype = _genotype(arguments.genotype, arguments.space)

    from jdarts.report.cell_drawing import draw

    draw(genotype, output)
    print(output)


def _genotypes(arguments: Arguments) -> None:
    del arguments
    import jdarts.published

    for name in jdarts.published.names():
        print(name)


def _methods(arguments: Arguments) -> None:
    del arguments
    from jdarts import methods
    from jdarts.methods.registry import option_defaults

    for name in methods.names():
        method = methods.build(name)
        options = " ".join(f"{option}={value}" for option, value in option_defaults(name).items())
        print(f"{name:15} {method.summary}\n{'':15} {method.paper}" + (f"; options: {options}" if options else ""))


def _spaces(arguments: Arguments) -> None:
    del arguments
    from jdarts import spaces

    for name in spaces.names():
        print(f"{name:12} {spaces.DESCRIPTIONS[name]}")


def _query(arguments: Arguments) -> None:
    import jdarts.genotype
    from jdarts.benchmarks import load_table

    table = load_table(arguments.table)
    entry = table.query(jdarts.genotype.load(arguments.genotype))
    print(entry.arch)
    for name, value in entry.values.items():
        if name in table.accuracies:
            rank, regret = table.rank(entry.arch, name), table.regret(entry.arch, name)
            print(f"{name:15} {value:8.2f} %   rank {rank:6,} of {len(table):,}   regret {regret:6.2f}")
        else:
            print(f"{name:15} {value:>12,.0f}")


def _report(arguments: Arguments) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # leaves the accelerator to the search that may be running
    from jdarts.report.write_report import watch, write_report

    if arguments.watch:
        print(watch(arguments.runs, arguments.output))
    else:
        print(write_report(arguments.runs, arguments.output))


def _analyze(arguments: Arguments) -> None:
    from jdarts.report.records import read_run

    read_run(arguments.run)  # refuses what is no run before anything slow is imported
    _enable_compilation_cache(lambda text: print(f"jdarts: {text}", file=sys.stderr))
    from jdarts.analysis.command import DEFAULT, Options, analyze

    options = Options(
        parts=tuple(arguments.parts or DEFAULT),
        batches=arguments.batches,
        batch_size=arguments.batch_size,
        points=arguments.points,
        directions=arguments.directions,
        chunk=arguments.chunk,
        train_mode=not arguments.eval_mode,
        seed=arguments.seed,
    )
    print(analyze(arguments.run, options))


def _resnet_beta(arguments: Arguments) -> None:
    _enable_compilation_cache(lambda text: print(f"jdarts: {text}", file=sys.stderr))
    from jdarts.analysis.resnet_beta import BetaConfig, run_beta
    from jdarts.config import DataConfig

    names = ("betas", "per_block", "decay_beta", "blocks", "bottleneck", "channels", "epochs", "batch_size", "seed")
    data = DataConfig(source=arguments.source, path=arguments.path, limit=arguments.limit)
    print(run_beta(BetaConfig(data=data, **{n: getattr(arguments, n) for n in names}), arguments.output))


def _enable_compilation_cache(warn: Callable[[str], None]) -> None:
    """Lets XLA keep what it compiles, so that the next run of the same network starts in seconds.

    The folder is $JDARTS_CACHE (empty: no cache) or ~/.cache/jdarts/xla. It must belong to the user and be
    closed to others, because whoever writes to it can run code in this process.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    place = os.environ.get("JDARTS_CACHE", str(Path.home() / ".cache" / "jdarts" / "xla"))
    if not place:
        return
    try:
        folder = Path(place).expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise PermissionError(f"{folder} can be written by others")
    except (OSError, RuntimeError) as error:
        warn(f"compiling without a cache: {error}; set JDARTS_CACHE to a folder of yours")
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _reexecute_with_huge_pages() -> None:
    """Starts this process anew, once, with glibc asking for huge pages.

    XLA on the CPU allocates and frees its temporary buffers in every step; with pages of 4 KiB the page
    faults cost more than the arithmetic. glibc (2.35 or newer) asks for huge pages if GLIBC_TUNABLES says so,
    which it reads only when a process starts. Left alone: other systems, a GLIBC_TUNABLES of the user's, and
    everybody who sets JDARTS_NO_REEXEC. Only the `jdarts` command and `python -m jdarts` come here, never a
    call of `main(argv)`.
    """
    program = Path(sys.argv[0])
    is_command = program.name == "jdarts" or (program.name == "__main__.py" and program.parent.name == "jdarts")
    if not is_command or sys.platform != "linux" or not sys.executable:
        return
    if "GLIBC_TUNABLES" in os.environ or "JDARTS_NO_REEXEC" in os.environ:
        return
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        if name != "glibc" or tuple(map(int, version.split("."))) < (2, 35):
            return
        added = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "JDARTS_NO_REEXEC": "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added})
    except (OSError, ValueError):  # another libc, or no permission: slower, but the same results
        return
