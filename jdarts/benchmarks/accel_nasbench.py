"""Accel-NASBench (Ahmad et al. 2024, arXiv:2404.08005): 5,125 networks of space `mnasnet`, trained on ImageNet.

The public archive `anb_dataset_jsons.tar.gz` holds one JSON file a training. Its columns here:

    val_top1, val_top5            validation accuracies in %
    train_time                    seconds of the training
    macs, params                  in millions
    latency_{zcu102,vck190}       milliseconds for one image
    throughput_{a100,3090,tpuv2,tpuv3,zcu102,vck190}    images a second; NaN where it was not measured

Thirteen networks were trained twice; their row is the mean of both trainings.
"""

import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.benchmarks.table import ArchitectureTable, column
from jdarts.errors import UserError
from jdarts.spaces.mnasnet import BLOCKS, MnasBlock, MnasNetwork

ACCURACIES = ("val_top1", "val_top5")
LATENCIES = ("latency_zcu102", "latency_vck190")
THROUGHPUTS = tuple(f"throughput_{device}" for device in ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190"))
_LARGEST_MEMBER = 1_000_000  # bytes; the files have 1.3 kB
_MOST_MEMBERS = 100_000


def load_accel_table(path: str | Path) -> ArchitectureTable:
    """The table in the public archive; raises `UserError`, one line, for a file of another kind or damaged values."""
    path = Path(path)
    names, rows = [], []
    for name, content in _members(path):
        where = f"{path}, {name}"
        network = _network(content.get("architecture"), where)
        names.append((name, network.to_text()))
        rows.append(_values(content, where))
    if not rows:
        raise UserError(f"{path} holds no .json file; give anb_dataset_jsons.tar.gz")
    columns = {
        key: column(
            [row[key] for row in rows],
            key,
            path,
            most=100.0 if key in ACCURACIES else 1e12,
            rows=lambda i: names[i][0],
        )
        for key in rows[0]
    }
    texts = [text for _, text in names]
    return ArchitectureTable(*_means(columns, texts), ACCURACIES, "val_top1")


def _members(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(name, content)` of the JSON files, in the order of the archive. Nothing is written to the disk."""
    try:
        with tarfile.open(path) as archive:
            for count, member in enumerate(archive):
                if count >= _MOST_MEMBERS or member.size > _LARGEST_MEMBER:
                    raise UserError(f"{path}, {member.name}: too large for this benchmark; is it the right archive?")
                file = archive.extractfile(member) if member.name.endswith(".json") else None
                if file is None:
                    continue
                content = json.loads(file.read())
                if not isinstance(content, dict):
                    raise UserError(f"{path}, {member.name}: expected an object with architecture and metrics")
                yield member.name, content
    except (OSError, EOFError, ValueError, RecursionError, tarfile.TarError, zlib.error) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {str(path)!r}: {reason}; give an undamaged anb_dataset_jsons.tar.gz") from None


def _network(fields: Any, where: str) -> MnasNetwork:
    blocks = []
    for i in range(BLOCKS):
        keys = [f"block{i}_{key}" for key in ("e", "k", "l", "se")]
        if not isinstance(fields, dict) or not all(key in fields for key in keys):
            raise UserError(f"{where}: architecture needs {', '.join(keys)}")
        blocks.append(MnasBlock(*(fields[key] for key in keys)))
    try:
        return MnasNetwork(tuple(blocks))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _values(content: dict[str, Any], where: str) -> dict[str, Any]:
    places: dict[str, tuple[str, ...]] = {name: ("metrics", name) for name in (*ACCURACIES, "train_time")}
    places |= {name: ("model_info", name) for name in ("macs", "params")}
    for name in (*LATENCIES, *THROUGHPUTS):
        places[name] = ("platform_perf", name, f"{name.partition('_')[0]}_mean")
    found = {}
    for name, keys in places.items():
        value: Any = content
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                raise UserError(f"{where}: {'.'.join(keys)} is missing")
            value = value[key]
        found[name] = value
    return found


def _means(columns: dict[str, np.ndarray], texts: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """One row for each different text, in the order of their first occurrence; values are means."""
    known = list(dict.fromkeys(texts))
    index = {text: row for row, text in enumerate(known)}
    rows = np.array([index[text] for text in texts])
    counts = np.bincount(rows)
    return {name: np.bincount(rows, weights=values) / counts for name, values in columns.items()}, known
