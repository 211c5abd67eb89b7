"""Tables of latencies: milliseconds for every block of a space on one device.

The file is that of the ProxylessNAS release (Cai et al. 2019): YAML, `{mean: milliseconds}` for each key. Comments in
front of it say where the numbers come from. FBNet's format is a text of numbers, one line a layer and one column an
option, in microseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.latency.blocks import Block, ChoiceCosts, blocks_of, choice_costs
from jdarts.spaces.decisions import DecisionSpace

_MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of blocks.

    Attributes:
      milliseconds: by key (`jdarts.latency.blocks`).
      source: where they were measured, one line each.
      name: of the file, for messages.
    """

    milliseconds: Mapping[str, float]
    source: tuple[str, ...] = ()
    name: str = "the table"

    def of_block(self, block: Block) -> float:
        """Milliseconds of a block; raises `UserError` for one that is not in the table."""
        if block.key not in self.milliseconds:
            raise UserError(
                f"{self.name} has no block {block.key}; measure a table for this space, number of classes and image "
                "size with jdarts latency"
            )
        return self.milliseconds[block.key]

    def predict(self, architecture: Any, *, classes: int = 1000, image_size: int | tuple[int, int] = 224) -> float:
        """Milliseconds of a mobile network: the sum over its blocks. Raises `UserError`."""
        blocks = blocks_of(architecture, classes=classes, image_size=image_size)
        return sum(self.of_block(block) for block in blocks if block is not None)

    def costs(
        self, space: DecisionSpace, *, classes: int = 1000, image_size: int | tuple[int, int] = 224
    ) -> ChoiceCosts:
        """Milliseconds of every option of a space with one decision a layer. Raises `UserError`."""
        return choice_costs(space, self.of_block, classes=classes, image_size=image_size)


def write_table(table: LatencyTable, path: str | Path) -> None:
    """Write a table as YAML, four significant digits; raises `UserError` if the file cannot be written."""
    lines = [f"# {line}" for line in table.source]
    lines += [f"{key}: {{mean: {value:.4g}}}" for key, value in table.milliseconds.items()]
    _write(lines, path)


def read_table(path: str | Path) -> LatencyTable:
    """The table of a YAML file; raises `UserError` for a file of another form, with the key that is wrong."""
    path = Path(path)
    text = _text(path)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where} is no YAML; expected lines such as KEY: {{mean: 1.5}}") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path} is no table of latencies; expected lines such as KEY: {{mean: 1.5}}")
    found = {}
    for key, value in content.items():
        mean = value.get("mean") if isinstance(value, dict) else value
        if isinstance(mean, bool) or not isinstance(mean, int | float) or not isfinite(mean) or mean < 0:
            raise UserError(f"{path}: the latency of {excerpt(key)} is {excerpt(mean)}; expected milliseconds")
        found[str(key)] = float(mean)
    source = tuple(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    return LatencyTable(found, source, path.name)


def write_fbnet(costs: ChoiceCosts, path: str | Path) -> None:
    """Write the latencies of all options as FBNet's text: microseconds, one line a layer, one column an option."""
    lines = [" ".join(f"{1000 * value:.2f}" for value in layer) for layer in costs.layers]
    _write(lines, path)


def read_fbnet(path: str | Path) -> ChoiceCosts:
    """The latencies of FBNet's text in milliseconds; the parts that all networks share are not in such a file.

    Raises `UserError` for what is not a number of at least 0.
    """
    rows = []
    for number, line in enumerate(_text(Path(path)).splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = tuple(float(word) / 1000 for word in words)
        except ValueError:
            raise UserError(f"{path}, line {number}: {excerpt(line)} has something that is not a number") from None
        if not all(isfinite(value) and value >= 0 for value in row):
            raise UserError(f"{path}, line {number}: a latency must be a number of at least 0")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} has no numbers; expected microseconds, one line a layer, one column an option")
    return ChoiceCosts(0.0, tuple(rows))


def _write(lines: Sequence[str], path: str | Path) -> None:
    try:
        Path(path).write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has over {_MOST_BYTES // 1_000_000} MB; it is no table of latencies")
        return path.read_text()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text") from None
