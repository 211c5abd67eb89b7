"""The commands that examine runs: `jdarts report`, `jdarts analyze`, `jdarts resnet-beta`."""

import os
import sys
from collections.abc import Callable

from jdarts.commands import process
from jdarts.commands.arguments import (
    Arguments,
    Parser,
    above_zero,
    channels,
    epochs,
    from_zero,
    not_negative,
    numbers,
    positive,
)
from jdarts.config.ranges import Cells
from jdarts.errors import UserError
from jdarts.runs import interrupts

LONG_COMMANDS = ("analyze", "resnet-beta")
"""Commands that compute for minutes and gain from huge pages."""


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the commands with `add(name, execute, help)`."""
    _add_report(add)
    _add_analyze(add)
    _add_resnet_beta(add)


def _add_report(add: Callable[..., Parser]) -> None:
    report = add("report", _report, "write an HTML report of a search or a training, or a comparison of several")
    report.add_argument("runs", metavar="RUN", nargs="+", help="a run folder")
    report.add_argument("-o", "--output", metavar="FILE", help="the file (default: report.html in the run folder)")
    report.add_argument("--text", action="store_true", help="print a table of the results (Markdown) and write no file")
    report.add_argument("--watch", action="store_true", help="update it while the search runs")


def _add_analyze(add: Callable[..., Parser]) -> None:
    analyze = add("analyze", _analyze, "analyse a run: Hessian, landscape, correlations, discretisation gap, damage")
    analyze.add_argument("run", metavar="RUN", help="a run folder")
    for part, help in (
        ("hessian", "exact Hessian of the validation loss in the alphas, with its spectrum"),
        ("landscape", "loss and accuracy around the alphas"),
        ("correlation", "gradient correlation and operator gradients"),
        ("gap", "discretisation gap"),
        ("weights", "curvature of the loss in the weights (not done by default)"),
        ("damage", "of the training of a randomly wired network: accuracy without each node and each edge"),
    ):
        analyze.add_argument(f"--{part}", action="append_const", const=part, dest="parts", help=help)
    analyze.add_argument(
        "--import",
        dest="imports",
        metavar="FILE.py",
        action="append",
        default=[],
        help="execute the file that defines the run's own method or space, if the original has changed or is gone",
    )
    analyze.add_argument("--batches", type=positive, default=2, help="number of validation batches (default: 2)")
    analyze.add_argument("--batch-size", type=positive, help="images in a batch (default: that of the search)")
    analyze.add_argument("--points", type=positive, default=11, help="grid points per side (default: 11)")
    analyze.add_argument("--directions", default="random", help="random, gradient or eigenvectors (default: random)")
    analyze.add_argument("--chunk", type=positive, help="Hessian columns at once (default: chosen by the batch)")
    analyze.add_argument(
        "--weight-decay",
        type=not_negative,
        default=0.0,
        help="weight decay of the alphas, added to the Hessian (RobustDARTS: 1e-3)",
    )
    analyze.add_argument("--eval-mode", action="store_true", help="running batch-norm statistics in the Hessian")
    analyze.add_argument("--seed", type=from_zero, default=0, help="seed of batches and directions (default: 0)")


def _add_resnet_beta(add: Callable[..., Parser]) -> None:
    beta = add("resnet-beta", _resnet_beta, "let a residual network learn the weight of its skips (DARTS-, Fig. 2)")
    beta.add_argument("--source", default="cifar10", help="data source (default: cifar10)")
    beta.add_argument("--path", default="", help="file or folder of the data")
    beta.add_argument("--limit", type=positive, default=5000, help="number of training images (default: 5000)")
    beta.add_argument("--shrink", type=positive, default=1, help="average blocks of N x N pixels (default: 1)")
    beta.add_argument("--betas", type=numbers(float, float), default=(0.0, 0.5, 1.0), help="initial values (0,0.5,1)")
    beta.add_argument("--per-block", action="store_true", help="a separate β for every block")
    beta.add_argument("--decay-beta", action="store_true", help="also apply weight decay to β")
    beta.add_argument(
        "--blocks",
        type=numbers(Cells),
        default=(2, 2, 2),
        help="blocks of each stage (default: 2,2,2)",
    )
    beta.add_argument("--bottleneck", action="store_true", help="bottleneck blocks, as in ResNet-50")
    beta.add_argument("--channels", type=channels, default=16, help="channels of the first stage (default: 16)")
    beta.add_argument("--epochs", type=epochs, default=20, help="(default: 20)")
    beta.add_argument("--batch-size", type=positive, default=128, help="(default: 128)")
    beta.add_argument("--learning-rate", type=above_zero, default=0.01, help="of weights and β (default: 0.01)")
    beta.add_argument("--weight-decay", type=not_negative, default=5e-4, help="for the weights (default: 5e-4)")
    beta.add_argument("--seed", type=from_zero, default=0, help="(default: 0)")
    beta.add_argument(
        "-o", "--output", metavar="FOLDER", default="runs/resnet_beta", help="(default: runs/resnet_beta)"
    )


def _report(arguments: Arguments) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # leaves the accelerator to a search that may be running
    from jdarts.report.write_report import table, watch, write_report

    if arguments.text:
        if arguments.watch or arguments.output:
            raise UserError("--text prints a table and writes no file; leave out --watch and --output")
        print(table(arguments.runs))
    elif arguments.watch:
        interrupts.raise_on_signals()  # Ctrl-C ends watching, and the report is written once more
        print(watch(arguments.runs, arguments.output))
    else:
        print(write_report(arguments.runs, arguments.output))


def _analyze(arguments: Arguments) -> None:
    from jdarts.report.records import read_run
    from jdarts.runs.kinds import find_run, refuse_without_supernet

    if "damage" in (arguments.parts or ()):
        if len(arguments.parts) > 1:
            raise UserError("--damage examines a training, the other analyses a search; give it alone")
        process.enable_compilation_cache(lambda text: print(f"jdarts: {text}", file=sys.stderr))
        from jdarts.analysis.damage import analyze_damage

        print(analyze_damage(arguments.run))
        return
    refuse_without_supernet(find_run(arguments.run))
    read_run(arguments.run)  # refuses other folders before anything slow is imported
    process.enable_compilation_cache(lambda text: print(f"jdarts: {text}", file=sys.stderr))
    from jdarts.analysis.command import AnalysisOptions, analyze

    options = AnalysisOptions(
        parts=tuple(arguments.parts) if arguments.parts else None,
        batches=arguments.batches,
        batch_size=arguments.batch_size,
        points=arguments.points,
        directions=arguments.directions,
        chunk=arguments.chunk,
        train_mode=not arguments.eval_mode,
        weight_decay=arguments.weight_decay,
        seed=arguments.seed,
    )
    print(analyze(arguments.run, options, imports=arguments.imports))


def _resnet_beta(arguments: Arguments) -> None:
    process.enable_compilation_cache(lambda text: print(f"jdarts: {text}", file=sys.stderr))
    from jdarts.analysis.resnet_beta import BetaConfig, run_beta
    from jdarts.config import DataConfig

    numbers = ("channels", "epochs", "batch_size", "learning_rate", "weight_decay", "seed")
    names = ("betas", "per_block", "decay_beta", "blocks", "bottleneck", *numbers)
    images = {"limit": arguments.limit, "shrink": arguments.shrink, "crop_padding": 4 // arguments.shrink}
    data = DataConfig(source=arguments.source, path=arguments.path, **images)
    print(run_beta(BetaConfig(data=data, **{n: getattr(arguments, n) for n in names}), arguments.output))
