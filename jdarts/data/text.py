"""Text as word numbers: Penn Treebank, WikiText-2, or files of the user's own.

A source is a folder with a file for training, validation and test, plain or gzipped, in UTF-8. Words are separated by
white space, and each line, also an empty one, ends in the word `<eos>`. The vocabulary are the words of the training
text in the order of their first occurrence.
"""

import gzip
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from jdarts.config import DataConfig
from jdarts.errors import DataWarning, UserError

EOS, UNKNOWN = "<eos>", "<unk>"
PARTS = ("train", "valid", "test")
FILES = {
    "ptb": tuple(f"ptb.{part}.txt" for part in PARTS),
    "wikitext2": tuple(f"wiki.{part}.tokens" for part in PARTS),
    "text": tuple(f"{part}.txt" for part in PARTS),
}
"""The names of the files of each source, in the order of `PARTS`; `ptb` and `wikitext2` may have those of `text`."""
PUBLISHED = {"ptb": (929_589, 73_760, 82_430, 10_000), "wikitext2": (2_088_628, 217_646, 245_569, 33_278)}
"""Words of the training, validation and test text, and the size of the vocabulary."""
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

    @property
    def class_names(self) -> tuple[str, ...]:
        """The words: the classes of a language model, in the order of its outputs."""
        return self.vocabulary


def columns(text: np.ndarray, batch: int, *, pad: int = 0) -> np.ndarray:
    """The text in `batch` columns of equal length, `[words + pad, batch]` int32; a remainder of the text is dropped.

    The last `pad` words of each column are zeros.
    """
    words = len(text) // batch
    return np.pad(text[: words * batch].reshape(batch, words).T, ((0, pad), (0, 0))).astype(np.int32)


def is_text(source: str) -> bool:
    """True if `data.source` is a text."""
    return source in FILES


def load_text(config: DataConfig) -> TextData:
    """Read the text of `config.source` from the folder `config.path`; `config.limit` keeps the first training words.

    A word of the validation or test text that the training text does not have becomes `<unk>` if the training text has
    that word. Warns with `DataWarning` if a published text has another size. Raises `UserError` for missing and empty
    files, other encodings, unknown words without `<unk>`, and settings that text does not have.
    """
    for field in fields(config):
        if field.name not in _OF_TEXT and getattr(config, field.name) != field.default:
            raise UserError(
                f"data.{field.name} is {getattr(config, field.name)}, but data.source {config.source} is a text, which "
                f"has only {', '.join(f'data.{name}' for name in _OF_TEXT)}; leave it out"
            )
    paths = [_file(config, *names) for names in zip(FILES[config.source], FILES["text"], strict=True)]
    numbers: dict[str, int] = {}
    train = np.array([numbers.setdefault(word, len(numbers)) for word in _words(paths[0])], np.int32)
    others = [_numbered(path, numbers) for path in paths[1:]]
    for path, text in zip(paths, (train, *others), strict=True):
        if np.all(text == numbers.get(EOS)):
            raise UserError(f"{path} has no words; it must hold text")
    _compare(config, (len(train), *map(len, others), len(numbers)))
    return TextData(
        name=config.source,
        train=train[: config.limit],
        valid=others[0],
        test=others[1],
        vocabulary=tuple(numbers),
    )


def random_text(source: str) -> TextData:
    """Random words in the sizes of a published text, to measure shapes without its files."""
    *words, vocabulary = PUBLISHED[source]
    rng = np.random.default_rng(0)
    parts = {part: rng.integers(0, vocabulary, count, np.int32) for part, count in zip(PARTS, words, strict=True)}
    return TextData(name=source, vocabulary=tuple(map(str, range(vocabulary))), **parts)


def _compare(config: DataConfig, found: tuple[int, ...]) -> None:
    """Warn if a published text has another size than the published one."""
    published = PUBLISHED.get(config.source, found)
    if found != published:
        sizes = "{:,} / {:,} / {:,} words and a vocabulary of {:,}"
        warnings.warn(
            f"{config.path} has {sizes.format(*found)}, the published {config.source} {sizes.format(*published)}; "
            "perplexities are not comparable",
            DataWarning,
            stacklevel=3,
        )


def _file(config: DataConfig, *names: str) -> Path:
    """The first of these files that exists, or the first gzipped one."""
    folder = Path(config.path)
    if not config.path or not folder.is_dir():
        raise UserError(
            f"data.path is {config.path!r}; data.source {config.source} needs a folder with "
            f"{', '.join(FILES[config.source])}"
        )
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise UserError(
        f"{folder} has no file {names[0]} (or {names[0]}.gz); data.source {config.source} needs "
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
                if "\0" in line:
                    raise UserError(f"{path} has NUL characters, so it is not UTF-8 text; convert it, e.g. with iconv")
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
