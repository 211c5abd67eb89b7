"""`jdarts latency`: measure the blocks of a space, whole networks, or trainings; predict from a table; compare."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands.arguments import (
    GENOTYPE_HELP,
    Arguments,
    Parser,
    cells,
    channels,
    check_folder_of,
    image_size,
    load_genotype,
    positive,
)
from jdarts.errors import UserError

_OF_SPACES = ("output", "fbnet", "check", "figure")
_OF_NETWORKS = ("channels", "cells")
_NOT_OF_TRAININGS = ("output", "fbnet", "check", "channels", "cells", "table", "image", "classes")


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    command = add("latency", _latency, "measure the latency of the blocks of a space, or of a network, on this device")
    command.add_argument(
        "targets",
        metavar="SPACE|GENOTYPE|TRAINING",
        nargs="+",
        help=f"a space with one decision a layer (proxyless, …), or {GENOTYPE_HELP}; or the run folders of trainings",
    )
    command.add_argument("--image", type=image_size, metavar="HxW", help="image size (default: 224; small images: 32)")
    command.add_argument("--classes", type=positive, metavar="N", help="classes (default: 1000; small images: 10)")
    command.add_argument("--batch", type=positive, default=1, metavar="N", help="images of one call (default: 1)")
    command.add_argument("--runs", type=positive, default=20, metavar="N", help="runs of each program (default: 20)")
    command.add_argument("--dtype", default="float32", help="float32 (default) or bfloat16")
    command.add_argument("--table", metavar="FILE", help="predict from this table, written by --output or ProxylessNAS")
    command.add_argument("-o", "--output", metavar="FILE", help="write the table of a space, in ProxylessNAS' YAML")
    command.add_argument("--fbnet", metavar="FILE", help="write it as FBNet's text, too: a line a layer, microseconds")
    command.add_argument(
        "--check", type=positive, metavar="N", help="compare predictions and measurements of N random networks"
    )
    command.add_argument("--figure", metavar="FILE", help="the picture of --check, or of trainings, .png or .svg")
    command.add_argument("--channels", type=channels, help="of a network of cells (default: 36; NAS-Bench-201: 16)")
    command.add_argument("--cells", type=cells, help="of a network of cells (default: 20; NAS-Bench-201: 5)")
    command.epilog = "JAX_PLATFORMS=cpu measures on the CPU of a machine that has an accelerator."


def _latency(arguments: Arguments) -> None:
    from jdarts.train.trained import MODEL

    trainings = [Path(target, MODEL).is_file() for target in arguments.targets]
    _check_files(arguments, trainings=all(trainings))
    if all(trainings):
        _of_trainings(arguments)
        return
    if len(trainings) > 1:
        other = arguments.targets[trainings.index(False)]
        raise UserError(f"{other} is not a finished training; several targets must be run folders of jdarts train")
    from jdarts import spaces

    (arguments.target,) = arguments.targets
    if arguments.target in (*spaces.DECISIONS_ONLY, *spaces.names(), *spaces.LANGUAGE):
        _refuse(arguments, _OF_NETWORKS, "a network of cells; a space has neither")
        _of_space(spaces.get_decisions(arguments.target), arguments)
    else:
        _refuse(arguments, _OF_SPACES, "a space; name one, such as proxyless")
        _of_network(arguments)


def _refuse(arguments: Arguments, options: tuple[str, ...], reason: str) -> None:
    for option in options:
        if getattr(arguments, option):
            raise UserError(f"--{option} is an option for {reason}")


def _check_files(arguments: Arguments, *, trainings: bool) -> None:
    if arguments.check == 1:
        raise UserError("--check compares at least 2 networks; 50 say more")
    if arguments.figure and not arguments.check and not trainings:
        raise UserError("--figure is the picture of --check; give the number of networks, --check 50")
    if arguments.table and arguments.output:
        raise UserError("--table reads a table and --output writes one; leave one of them out")
    if arguments.figure and Path(arguments.figure).suffix.lower() not in (".png", ".svg"):
        raise UserError(f"cannot draw {arguments.figure!r}; give a name that ends in .svg or .png")
    for option in ("output", "fbnet", "figure"):
        check_folder_of(getattr(arguments, option))


def _of_space(space: Any, arguments: Arguments) -> None:
    from jdarts import latency

    small = space.name == "nasbench_macro"
    place = _place(arguments, small)
    measuring = latency.Measuring(arguments.batch, arguments.runs, arguments.dtype)
    latency.keys_of(space, **place)  # refuses other spaces before anything is measured
    table = latency.read_table(arguments.table) if arguments.table else _measured(space, measuring, place)
    costs = table.costs(space, **place)
    if arguments.output:
        latency.write_table(table, arguments.output)
        print(arguments.output)
    if arguments.fbnet:
        latency.write_fbnet(costs, arguments.fbnet)
        print(arguments.fbnet)
    _print_costs(space, costs)
    if arguments.check:
        _check(space, table, measuring, place, arguments)


def _measured(space: Any, measuring: Any, place: dict[str, Any]) -> Any:
    from dataclasses import replace

    from jdarts import latency
    from jdarts.bench.machine import describe_machine, machine_line

    height, width = place["image_size"]
    source = (
        f"jdarts latency {space.name}: milliseconds, medians of {measuring.runs} runs",
        f"batch {measuring.batch}, {measuring.dtype}, images {height}x{width}, {place['classes']} classes",
        machine_line(describe_machine()),
    )
    for line in source:
        _say(line)

    def on_block(done: int, total: int, key: str, milliseconds: float) -> None:
        _say(f"{done}/{total} {milliseconds:9.3f} ms  {key}")

    table = latency.measure_space(space, measuring, **place, on_block=on_block)
    return replace(table, source=source)


def _print_costs(space: Any, costs: Any) -> None:
    """The latency of every option, and the range of the space."""
    print(f"{'layer':12} milliseconds of its options")
    for decision, layer in zip(space.decisions, costs.layers, strict=True):
        print(f"{decision.name:12} " + " ".join(f"{value:8.3f}" for value in layer))
    low, high = (costs.fixed + sum(f(layer) for layer in costs.layers) for f in (min, max))
    print(f"all other parts {costs.fixed:.3f} ms; networks from {low:.3f} to {high:.3f} ms")


def _check(space: Any, table: Any, measuring: Any, place: dict[str, Any], arguments: Arguments) -> None:
    import numpy as np

    from jdarts.analysis.latency_agreement import measure_agreement
    from jdarts.spaces.decisions import uniform

    def on_network(done: int, predicted: float, measured: float) -> None:
        _say(f"network {done}/{arguments.check}: predicted {predicted:.3f} ms, measured {measured:.3f} ms")

    rng = np.random.default_rng(0)
    networks = [space.decode(uniform(space, rng)) for _ in range(arguments.check)]
    found = measure_agreement(table, networks, measuring, **place, on_network=on_network)
    print(found.summary())
    if arguments.figure:
        found.figure().savefig(arguments.figure, dpi=160)
        print(arguments.figure)


def _of_trainings(arguments: Arguments) -> None:
    _refuse(arguments, _NOT_OF_TRAININGS, "spaces and genotypes; a training has its sizes")
    from jdarts import latency
    from jdarts.analysis.score_latency import MeasuredTraining, measure_trainings, trade_off_figure

    def show(each: MeasuredTraining) -> None:
        print(f"{each.name:24} {each.milliseconds:9.3f} ms   test {each.metric} {each.score:.4g}", flush=True)

    measuring = latency.Measuring(arguments.batch, arguments.runs, arguments.dtype)
    found = measure_trainings(arguments.targets, measuring, on_network=show)
    if arguments.figure:
        trade_off_figure(found).savefig(arguments.figure, dpi=160)
        print(arguments.figure)


def _of_network(arguments: Arguments) -> None:
    from jdarts import latency
    from jdarts.genotypes.macro import MacroNetwork, mobile_of

    genotype = load_genotype(arguments.target, None)
    mobile = mobile_of(genotype)
    if mobile is not None:
        _refuse(arguments, _OF_NETWORKS, "a network of cells; a mobile network is a list of layers")
    place = _place(arguments, mobile is None or isinstance(genotype, MacroNetwork) or mobile.family == "nasbench_macro")
    if arguments.table:
        print(f"predicted {latency.read_table(arguments.table).predict(genotype, **place):9.3f} ms")
        return
    measuring = latency.Measuring(arguments.batch, arguments.runs, arguments.dtype)
    sizes = {"channels": arguments.channels, "cells": arguments.cells}
    print(f"measured {latency.measure_network(genotype, measuring, **place, **sizes):9.3f} ms")


def _place(arguments: Arguments, small: bool) -> dict[str, Any]:
    return {
        "classes": arguments.classes or (10 if small else 1000),
        "image_size": arguments.image or ((32, 32) if small else (224, 224)),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
