"""The commands that look up facts: `count`, `draw`, `query`, `genotypes`, `methods`, `spaces`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands.arguments import (
    GENOTYPE_HELP,
    SPACE_HELP,
    Arguments,
    Parser,
    above_zero,
    cells,
    channels,
    check_folder_of,
    image_size,
    load_genotype,
    positive,
)
from jdarts.config.ranges import shown
from jdarts.errors import UserError


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the commands with `add(name, execute, help)`."""
    count = add("count", _count, "count the weights and multiply-adds of the network of a genotype")
    count.add_argument("genotype", metavar="GENOTYPE", help=GENOTYPE_HELP)
    count.add_argument("--channels", type=channels, help="channels of the first cell (default: 36; NAS-Bench-201: 16)")
    count.add_argument("--cells", type=cells, help="number of cells (default: 20; NAS-Bench-201: 5 a stage)")
    count.add_argument("--classes", type=positive, help="classes (default: 10, with --imagenet 1000)")
    count.add_argument(
        "--vocabulary", type=positive, help="words of a recurrent cell's language model (default: 10000)"
    )
    count.add_argument("--units", type=positive, help="units and word vector size (default: 850, with --search 300)")
    count.add_argument(
        "--width-multiplier", metavar="X", type=above_zero, help="factor on the widths of a mobile network (default: 1)"
    )
    count.add_argument("--search", action="store_true", help="the search network of darts_rnn, for a recurrent cell")
    count.epilog = (
        "A published network, such as NASNET_A_MOBILE or FAIRNAS_A, has its own sizes; options replace them. The "
        "MACs of the language model of a recurrent cell are those for one token."
    )
    size = count.add_mutually_exclusive_group()
    size.add_argument(
        "--image",
        type=image_size,
        metavar="HxW",
        help="image size in pixels, 32 or 32x48 (default: 32)",
    )
    size.add_argument("--imagenet", action="store_true", help="the ImageNet network on 224x224 images")
    count.add_argument("--auxiliary", action="store_true", help="include the auxiliary head")
    count.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)

    draw = add("draw", _draw, "draw the cells of a genotype, or the layers of a mobile network")
    draw.add_argument("genotype", metavar="GENOTYPE", help=GENOTYPE_HELP)
    draw.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the picture: a name ending in .svg or .png"
    )
    draw.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)

    query = add("query", _query, "look up an architecture of NAS-Bench-201 or NAS-Bench-Macro in a table of results")
    query.add_argument("genotype", metavar="ARCH", help="an arch string |op~0|+…, eight digits, or a file with one")
    query.add_argument("--table", metavar="FILE", required=True, help="the table: .csv, .csv.gz, or Macro's .json")

    add("genotypes", _genotypes, "list the published genotypes known by name")
    methods = add("methods", _methods, "list the search methods, their papers and options")
    methods.add_argument("name", metavar="NAME", nargs="?", help="one method: its options with types and ranges")
    add("spaces", _spaces, "list the search spaces and their papers")


def _count(arguments: Arguments) -> None:
    from jdarts.genotypes import (
        BlockGenotype,
        MacroArchitecture,
        MobileArchitecture,
        OneShotGenotype,
        RandomlyWired,
        RecurrentGenotype,
    )

    genotype = load_genotype(arguments.genotype, arguments.space)
    recurrent = isinstance(genotype, RecurrentGenotype)
    for option in ("vocabulary", "units", "search"):
        if getattr(arguments, option) and not recurrent:
            raise UserError(f"--{option} is for recurrent cells, such as DARTS_RNN; {arguments.genotype!r} is none")
    if arguments.width_multiplier is not None and not isinstance(genotype, MobileArchitecture):
        raise UserError(
            f"--width-multiplier is for mobile networks, such as FAIRNAS_A; {shown(arguments.genotype)} is none"
        )
    if isinstance(genotype, RandomlyWired):
        count = _count_wired(genotype, arguments)
    elif isinstance(genotype, MacroArchitecture):
        count = _count_macro(genotype, arguments)
    elif isinstance(genotype, OneShotGenotype):
        count = _count_one_shot(genotype, arguments)
    elif recurrent:
        count = _count_recurrent(genotype, arguments)
    elif isinstance(genotype, MobileArchitecture):
        count = _count_mobile(genotype, arguments)
    else:
        count = (_count_blocks if isinstance(genotype, BlockGenotype) else _count_derived)(genotype, arguments)
    print(f"parameters {count.parameters:>15,}  ({count.parameters / 1e6:.2f} M)")
    print(f"MACs       {count.macs:>15,}  ({count.macs / 1e6:.1f} M)")


def _count_derived(genotype: Any, arguments: Arguments) -> Any:
    """The size of the network of DARTS cells or of a NAS-Bench-201 cell."""
    from jdarts.genotypes.stacked import STAGES, StackedGenotype
    from jdarts.networks.counting import count_darts_cnn, count_nasbench201

    own = len(genotype.stack) if isinstance(genotype, StackedGenotype) else 0
    image = (224, 224) if arguments.imagenet else arguments.image or (32, 32)
    classes = arguments.classes or (1000 if arguments.imagenet else 10)
    if genotype.reduce is None:
        if arguments.imagenet or arguments.auxiliary:
            raise UserError("NAS-Bench-201 networks have neither an ImageNet form nor an auxiliary head")
        channels, cells = arguments.channels or 16, arguments.cells or own // STAGES or 5
        return count_nasbench201(genotype, channels=channels, cells_per_stage=cells, classes=classes, image_size=image)
    return count_darts_cnn(
        genotype,
        channels=arguments.channels or 36,
        cells=arguments.cells or own or 20,
        classes=classes,
        image_size=image,
        stem="imagenet" if arguments.imagenet else "cifar",
        auxiliary=arguments.auxiliary,
    )


def _count_blocks(genotype: Any, arguments: Arguments) -> Any:
    """The size of the network of cells of blocks; a published network has its own sizes, which options replace."""
    from dataclasses import replace

    from jdarts.genotypes import published_networks
    from jdarts.networks.families import count_blocks

    published = published_networks.find(arguments.genotype)
    size = published_networks.CIFAR if published is None else published.size
    if arguments.imagenet and size.stem != "imagenet":
        size = replace(published_networks.IMAGENET, channels=size.channels, cells=size.cells)
    given = {"channels": arguments.channels, "cells": arguments.cells, "classes": arguments.classes}
    given["image_size"] = (224, 224) if arguments.imagenet else arguments.image
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    return count_blocks(genotype, size, auxiliary=arguments.auxiliary)


def _count_mobile(architecture: Any, arguments: Arguments) -> Any:
    """The size of a mobile network; it is for ImageNet unless it is one of NAS-Bench-Macro."""
    from jdarts.networks.mobile.size import count_mobile

    for option in ("channels", "cells", "auxiliary"):
        if getattr(arguments, option):
            way = ": --width-multiplier scales the widths" if option == "channels" else ""
            raise UserError(f"--{option} has no meaning for a mobile network, which is a list of layers{way}")
    large = arguments.imagenet or architecture.family != "nasbench_macro"
    return count_mobile(
        architecture.scaled(arguments.width_multiplier or 1),
        classes=arguments.classes or (1000 if large else 10),
        image_size=arguments.image or ((224, 224) if large else (32, 32)),
    )


def _count_wired(genotype: Any, arguments: Arguments) -> Any:
    """The size of a randomly wired network; it is for ImageNet unless --image says otherwise."""
    from jdarts.networks.wired.size import count_wired

    for option in ("cells", "auxiliary"):
        if getattr(arguments, option):
            raise UserError(f"--{option} has no meaning for a randomly wired network, a list of random graphs")
    small = arguments.image is not None
    return count_wired(
        genotype,
        channels=arguments.channels or 78,
        classes=arguments.classes or (10 if small else 1000),
        image_size=arguments.image or (224, 224),
        stem="cifar" if small else "imagenet",
    )


def _count_macro(genotype: Any, arguments: Arguments) -> Any:
    """The size of an ENAS macro network; the released one has its own sizes, which options replace."""
    from jdarts.genotypes import published_networks
    from jdarts.networks.of_genotype import count_network

    given = {"--cells": arguments.cells, "--imagenet": arguments.imagenet, "--auxiliary": arguments.auxiliary}
    for option, value in given.items():
        if value:
            raise UserError(
                f"{option} has no meaning for an ENAS macro network: it has the {len(genotype.ops)} layers of its "
                "architecture, one form and one classifier"
            )
    published = published_networks.find(arguments.genotype)
    return count_network(
        genotype,
        channels=arguments.channels or (36 if published is None else published.size.channels),
        cells=len(genotype.ops),
        classes=arguments.classes or 10,
        image_size=arguments.image or 32,
    )


def _count_one_shot(genotype: Any, arguments: Arguments) -> Any:
    """The size of the network of a One-Shot cell."""
    from jdarts.networks.one_shot.network import count_one_shot

    if arguments.imagenet or arguments.auxiliary:
        raise UserError("networks of One-Shot cells have neither an ImageNet form nor an auxiliary head")
    return count_one_shot(
        genotype,
        channels=arguments.channels or 32,
        cells=arguments.cells or 8,
        classes=arguments.classes or 10,
        image_size=arguments.image or 32,
    )


def _count_recurrent(genotype: Any, arguments: Arguments) -> Any:
    """The size of the language model of a recurrent cell, or of the network that searches it."""
    import jax

    from jdarts import spaces
    from jdarts.networks.recurrent import RecurrentModel
    from jdarts.networks.recurrent.size import count_language_model

    for option in ("channels", "cells", "classes", "image", "imagenet", "auxiliary"):
        if getattr(arguments, option):
            raise UserError(f"--{option} is for networks of images; a recurrent cell has --vocabulary and --units")
    units = arguments.units or (300 if arguments.search else 850)
    sizes: dict[str, Any] = {"vocabulary": arguments.vocabulary or 10_000, "embedding": units, "units": units}
    if not arguments.search:
        return count_language_model(RecurrentModel(genotype=genotype, **sizes))
    space = spaces.darts_rnn
    space.encode(genotype)  # of this space
    op_weights = jax.ShapeDtypeStruct(space.alpha_shapes["recurrent"], "float32")
    return count_language_model(space.supernet(**sizes), op_weights)


def _draw(arguments: Arguments) -> None:
    output = Path(arguments.output)
    if output.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"cannot draw {arguments.output!r}; give a name that ends in .svg or .png")
    check_folder_of(arguments.output, "draw")
    genotype = load_genotype(arguments.genotype, arguments.space)

    from jdarts.report.cell_drawing import draw

    try:
        draw(genotype, output)
    except OSError as error:
        raise UserError(f"cannot draw {arguments.output!r}: {error.strerror or error}") from None
    print(output)


def _query(arguments: Arguments) -> None:
    from jdarts.benchmarks import load_table

    table = load_table(arguments.table)
    entry = table.query(load_genotype(arguments.genotype, None))
    print(entry.arch)
    for name, value in entry.values.items():
        if name in table.accuracies:
            rank, regret = table.rank(entry.arch, name), table.regret(entry.arch, name)
            print(f"{name:15} {value:8.2f} %   rank {rank:6,} of {len(table):,}   regret {regret:6.2f}")
        else:
            print(f"{name:15} {value:>12,.{0 if value.is_integer() else 2}f}")


def _genotypes(arguments: Arguments) -> None:
    del arguments
    from jdarts.genotypes import published, published_mobile, published_networks, published_recurrent

    networks = (*published_networks.networks(), *published_mobile.networks())
    for name in (*published.names(), *networks, *published_recurrent.names()):
        print(name)


def _methods(arguments: Arguments) -> None:
    from jdarts import methods
    from jdarts.methods.registry import describe, option_defaults

    if arguments.name is not None:
        print(describe(arguments.name))
        return
    for name in methods.names():
        method = methods.build(name)
        options = " ".join(f"{option}={value}" for option, value in option_defaults(name).items())
        print(f"{name:15} {method.summary}\n{'':15} {method.paper}" + (f"; options: {options}" if options else ""))


def _spaces(arguments: Arguments) -> None:
    del arguments
    from jdarts import spaces

    groups = {
        "with a relaxation, for methods and strategies:": spaces.names(),
        "of recurrent cells, for methods and strategies on text (enas_…: for the method enas):": spaces.LANGUAGE,
        "for strategies (jdarts search --strategy):": spaces.DECISIONS_ONLY,
    }
    for title, names in groups.items():
        print(title)
        for name in names:
            print(f"  {name:18} {spaces.DESCRIPTIONS[name]}")
