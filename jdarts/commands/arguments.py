"""Argument parsing that all commands share."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from jdarts.errors import UserError

Arguments = argparse.Namespace

CONFIG_HELP = "a configuration file, or the name of one in ./configs"
GENOTYPE_HELP = "a published name, a file, or the text of a genotype"
SPACE_HELP = "the file of a space of your own, if the genotype has ops that it defines"


class Parser(argparse.ArgumentParser):
    """Reports usage errors like every other mistake of the user: one line, no usage dump."""

    def error(self, message: str) -> NoReturn:
        """Raises `UserError` where argparse would print its usage and leave."""
        raise UserError(f"{message} ({self.prog} --help shows the usage)")


def positive(text: str) -> int:
    """A whole number from 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return number


def from_zero(text: str) -> int:
    """A whole number from 0."""
    return 0 if text == "0" else positive(text)


def numbers(kind: type) -> Callable[[str], tuple]:
    """The parser of a comma-separated list of `kind`: `0,0.5,1`."""

    def parse(text: str) -> tuple:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0,1,2") from None

    return parse


def load_genotype(text: str, space: str | None) -> Any:
    """The genotype that `text` denotes, with the ops that the file `space` defines."""
    import jdarts.genotype

    if space is not None:
        from jdarts.spaces.user_file import load_space

        load_space(space)
    return jdarts.genotype.load(text)
