"""Text as word numbers: Penn Treebank, WikiText-2, or files of the user's own.

A source is a folder with a file for training, validation and test, plain or gzipped, in UTF-8. Words are separated by
white space, and each line, also an empty one, ends in the word `<eos>`. The vocabulary are the words of the training
text in the order of their first occurrence.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from jdarts.config import DataConfig
from jdarts.errors import UserError

EOS, UNKNOWN = "<eos>", "<unk>"
PARTS = ("train", "valid", "test")
FILES = {
    "ptb": tuple(f"ptb.{part}.txt" for part in PARTS),
    "wikitext2": tuple(f"wiki.{part}.tokens" for part in PARTS),
    "text": tuple(f"{part}.txt" for part in PARTS),
}
"""The names of the files of each source, in the order of `PARTS`."""
_OF_TEXT = ("source", "path", "limit")


@dataclass(frozen=True, eq=False, kw_only=True)
class TextData:
    """A text in three parts.

    Attributes:
      name: of the source.
      train, valid, test: word numbers, `[words]` int32.
      vocabulary: the words, by their numbers.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: tuple[str, ...]


def is_text(source: str) -> bool:
    """True if `data.source` is a text."""
    return source in FILES


def load_text(config: DataConfig) -> TextData:
    """Read the text of `config.source` from the folder `config.path`; `config.limit` keeps the first training words.

    A word of the validation or test text that the training text does not have becomes `<unk>` if the training text has
    that word. Raises `UserError` for missing and empty files, other encodings, unknown words without `<unk>`, and
    settings that text does not have.
    """
    for field in fields(config):
        if field.name not in _OF_TEXT and getattr(config, field.name) != field.default:
            raise UserError(
                f"data.{field.name} is {getattr(config, field.name)}, but data.source {config.source} is a text, which "
                f"has only {', '.join(f'data.{name}' for name in _OF_TEXT)}; leave it out"
            )
    paths = [_file(config, name) for name in FILES[config.source]]
    numbers: dict[str, int] = {}
    train = np.array([numbers.setdefault(word, len(numbers)) for word in _words(paths[0])], np.int32)
    others = [_numbered(path, numbers) for path in paths[1:]]
    for path, text in zip(paths, (train, *others), strict=True):
        if len(text) < 2:
            raise UserError(f"{path} has no words; it must hold text")
    return TextData(
        name=config.source,
        train=train[: config.limit],
        valid=others[0],
        test=others[1],
        vocabulary=tuple(numbers),
    )


def _file(config: DataConfig, name: str) -> Path:
    """The file of that name, or the gzipped one."""
    folder = Path(config.path)
    if not config.path or not folder.is_dir():
        raise UserError(
            f"data.path is {config.path!r}; data.source {config.source} needs a folder with "
            f"{', '.join(FILES[config.source])}"
        )
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(
        f"{folder} has no file {name} (or {name}.gz); data.source {config.source} needs "
        f"{', '.join(FILES[config.source])}"
    )


def _words(path: Path) -> Iterator[str]:
    """The words of a file, with `<eos>` at the end of each line."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as lines
        ):
            for line in lines:
                yield from line.split()
                yield EOS
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not in UTF-8 (byte 0x{error.object[error.start]:02x}); convert it, e.g. with iconv"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _numbered(path: Path, numbers: dict[str, int]) -> np.ndarray:
    """The words of a file by their numbers in the vocabulary."""
    unknown = numbers.get(UNKNOWN)
    text = []
    for word in _words(path):
        number = numbers.get(word, unknown)
        if number is None:
            raise UserError(
                f"{path} has the word {word[:40]!r}, which the training text does not have; write {UNKNOWN} for rare "
                "words of the training text, and unknown words become that word"
            )
        text.append(number)
    return np.array(text, np.int32)
