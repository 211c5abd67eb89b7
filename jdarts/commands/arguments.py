"""Argument parsing shared by all commands."""

import argparse
import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from jdarts.config.ranges import (
    ANY,
    LARGEST,
    Cells,
    Channels,
    Epochs,
    NonNegative,
    Positive,
    PositiveInt,
    Range,
    range_of,
    shown,
)
from jdarts.errors import UserError

Arguments = argparse.Namespace

CONFIG_HELP = "a configuration file, or the name of one in ./configs"
GENOTYPE_HELP = "a published name, a run folder, a file (FILE:NAME if it holds several), or the text of a genotype"
SPACE_HELP = "the file of your own space, if the genotype has ops that it defines"


class Parser(argparse.ArgumentParser):
    """A parser that reports usage errors like every other mistake of the user: one line, no usage dump."""

    def error(self, message: str) -> NoReturn:
        """Raises `UserError` instead of argparse's usage and exit."""
        raise UserError(f"{message} ({self.prog} --help shows the usage)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As argparse's, without `--option=--`, of which argparse (Python 3.11) makes an empty list."""
        for token in args or ():
            if token.startswith("--") and token.endswith("=--") and token.count("=") == 1:
                self.error(f"{token.removesuffix('=--')} is --, which is no value")
        return super().parse_args(args, namespace)


def number(hint: Any, kind: type = int) -> Callable[[str], Any]:
    """The parser of one number in the range that the type `hint` declares (`jdarts.config.ranges`)."""
    limits = range_of(hint) or ANY

    def parse(text: str) -> Any:
        try:
            value = kind(text)
            if kind is float and not math.isfinite(value):
                raise ValueError
        except ValueError:
            what = "whole number" if kind is int else "finite number"
            raise argparse.ArgumentTypeError(
                f"{shown(text)} is not a {what}{f', {limits}' if limits != ANY else ''}"
            ) from None
        if value not in limits or abs(value) > LARGEST[kind]:
            raise argparse.ArgumentTypeError(f"{shown(text)} is out of range; it must be {limits}")
        return value

    return parse


positive = number(PositiveInt)
from_zero = number(Annotated[int, Range(0)])
channels, cells, epochs = number(Channels), number(Cells), number(Epochs)
above_zero, not_negative = number(Positive, float), number(NonNegative, float)


def numbers(hint: Any, kind: type = int) -> Callable[[str], tuple]:
    """The parser of a comma-separated list, with elements as for `number`: `0,0.5,1`."""
    one = number(hint, kind)

    def parse(text: str) -> tuple:
        return tuple(one(part) for part in text.split(","))

    return parse


def image_size(text: str) -> tuple[int, int]:
    """Height and width in pixels, from `32` or `32x48`. Raises argparse's `ArgumentTypeError`."""
    height, cross, width = text.lower().partition("x")
    side = number(Annotated[int, Range(1, 65_536)])
    try:
        return side(height), side(width if cross else height)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not an image size, a side (32) or height and width (32x48) in pixels: {error}"
        ) from None


LOG_KINDS = ("tensorboard", "wandb", "csv")


def add_log_option(command: Parser) -> None:
    """Define `--log`."""
    command.add_argument(
        "--log",
        action="append",
        choices=LOG_KINDS,
        default=[],
        help="also write the records for TensorBoard (RUN/tensorboard), Weights & Biases (RUN/wandb, offline unless "
        "WANDB_MODE says otherwise) or as tables (RUN/csv); repeat it for several",
    )


def check_log_packages(kinds: Sequence[str]) -> None:
    """Raise `UserError` if the package of a logger is not installed."""
    for kind, package in (("tensorboard", "tensorboardX"), ("wandb", "wandb")):
        if kind in kinds and not _is_installed(package):
            raise UserError(f'--log {kind} needs the package {package}: pip install "jdarts[{kind}]"')


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def check_folder_of(file: str | None, verb: str = "write") -> None:
    """Raise `UserError` unless the folder of a file that a command shall write exists."""
    if file and not Path(file).parent.is_dir():
        raise UserError(f"cannot {verb} {file!r}; there is no folder {Path(file).parent}")


def load_genotype(text: str, space: str | None) -> Any:
    """The genotype or the mobile network that `text` denotes, with the ops that the file `space` defines.

    A run folder denotes the genotype that the run has found or trained.
    """
    import jdarts.genotypes

    if space is not None:
        from jdarts.spaces.user_file import load_space

        load_space(space)
    if os.path.isdir(text) and not jdarts.genotypes.is_published(text):
        from jdarts.runs.kinds import genotype_of

        return jdarts.genotypes.parse_architecture(genotype_of(text))
    return jdarts.genotypes.load_architecture(text)


def load_experiment(path_or_name: str, overrides: Sequence[str] = (), *, method: str | None = None) -> tuple[Any, str]:
    """The `Experiment` of a configuration file, and one line on the published settings of `method`, if it is given.

    Overrides apply (`load_config`); names of method and space are checked.
    """
    from jdarts.config.files import load_config

    config = load_config(path_or_name, overrides if method is None else ())
    plain = (config.search.method, config.search.method_options, config.space.name) == ("darts", (), "darts_cnn")
    if method is None and plain:
        return config, ""
    from jdarts.methods.loading import known, with_method  # imports JAX, which a plain configuration does not need

    if method is None:
        return known(config, path_or_name, overrides), ""
    return with_method(config, method, path_or_name, overrides)
