"""CIFAR-10 and CIFAR-100 from the official files: binary or python version, folder or .tar.gz."""

import gzip
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from jdarts.data.arrays import assemble
from jdarts.data.cifar_pickle import read_batch
from jdarts.data.dataset import Dataset, ImagesAndLabels
from jdarts.errors import UserError

PIXELS = 3 * 32 * 32
MAX_FILE_BYTES = 2**29  # the largest official file is 155 MB
CIFAR10_MEAN, CIFAR10_STD = (0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class _Version:
    """One official distribution: the names of its train and test files, and the reader of one file."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    read: Callable[[bytes, str], ImagesAndLabels]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test)


def load_cifar10(path: str) -> Dataset:
    """CIFAR-10, binary or python version: `path` is the official folder, one around it, or the .tar.gz."""
    batches = tuple(f"data_batch_{i}" for i in range(1, 6))
    versions = (
        _Version(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            tuple(f"{name}.bin" for name in batches),
            "test_batch.bin",
            lambda content, where: _read_binary(content, where, label_bytes=1, num_classes=10),
        ),
        _Version(
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            batches,
            "test_batch",
            lambda content, where: _read_python(content, where, key="labels", num_classes=10),
        ),
    )
    return _load("cifar10", path, versions, 10, CIFAR10_MEAN, CIFAR10_STD)


def load_cifar100(path: str) -> Dataset:
    """CIFAR-100 with its fine labels, from the same kinds of `path` as CIFAR-10."""
    versions = (
        _Version(
            "cifar-100-binary",
            "cifar-100-binary.tar.gz",
            ("train.bin",),
            "test.bin",
            lambda content, where: _read_binary(content, where, label_bytes=2, num_classes=100),
        ),
        _Version(
            "cifar-100-python",
            "cifar-100-python.tar.gz",
            ("train",),
            "test",
            lambda content, where: _read_python(content, where, key="fine_labels", num_classes=100),
        ),
    )
    return _load("cifar100", path, versions, 100, CIFAR100_MEAN, CIFAR100_STD)


def _load(
    name: str,
    path: str,
    versions: tuple[_Version, _Version],
    num_classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Dataset:
    archives = " or ".join(version.archive for version in versions)
    if not path:
        raise UserError(f"source {name} needs data.path: {archives}, or the folder unpacked from it")
    if not Path(path).exists():
        raise UserError(f"data.path is {path!r}, which does not exist; give {archives}, or the folder unpacked from it")
    for version in versions:
        found = _find_files(Path(path), version)
        if not found:
            continue
        missing = [file for file in version.files if file not in found]
        if missing:
            raise UserError(f"{path} has {next(iter(found))} but no {missing[0]}; unpack or download {name} again")
        parts = [version.read(found[file], f"{path}: {file}") for file in version.train]
        odd = [f for f, part in zip(version.train, parts, strict=True) if len(part[1]) != len(parts[0][1])]
        if odd:
            raise UserError(
                f"{path}: {odd[0]} does not hold as many images as {version.train[0]}; "
                f"one of them is truncated, download {name} again"
            )
        train = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        test = version.read(found[version.test], f"{path}: {version.test}")
        return assemble(
            name,
            {"train": train, "test": test},
            num_classes=num_classes,
            mean=mean,
            std=std,
            class_names=CIFAR10_CLASSES if name == "cifar10" else (),
        )
    raise UserError(f"{path} holds no {name} files; give {archives}, or the folder unpacked from it")


def _find_files(path: Path, version: _Version) -> dict[str, bytes]:
    """The contents of those files of the version that exist at `path`, by name; empty if there are none."""
    if path.is_file():
        return _files_in_tar(path, version)
    for folder in (path, path / version.folder):
        present = {file: folder / file for file in version.files if (folder / file).is_file()}
        if present:
            return {file: where.read_bytes() for file, where in present.items()}
    if (path / version.archive).is_file():
        return _files_in_tar(path / version.archive, version)
    return {}


def _files_in_tar(path: Path, version: _Version) -> dict[str, bytes]:
    """Read the wanted regular files of the archive into memory; nothing is extracted to disk."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                file = PurePosixPath(member.name).name
                if not member.isreg() or file not in version.files or file in found:
                    continue
                if member.size > MAX_FILE_BYTES:
                    raise UserError(f"{path}: {file} claims {member.size} bytes; this is not a CIFAR archive")
                handle = archive.extractfile(member)
                found[file] = handle.read() if handle else b""
                if len(found[file]) != member.size:
                    raise UserError(f"{path}: {file} is truncated; download the archive again")
            _require_end(archive, path)
    except (tarfile.TarError, EOFError, OSError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path} is not a complete tar archive; download it again, or give the unpacked folder"
        ) from error
    return found


def _require_end(archive: tarfile.TarFile, path: Path) -> None:
    """Refuse an archive whose end is missing; reading to the end also verifies the checksum of a compressed one."""
    stream = archive.fileobj
    if stream is None:
        return
    if stream.tell() < archive.offset + tarfile.BLOCKSIZE:  # the block of zeros after the last file was not there
        raise UserError(f"{path} ends before its end mark; it is truncated, download it again")
    while stream.read(2**20):
        pass


def _images(planes: np.ndarray) -> np.ndarray:
    """Rows of red, green and blue planes, uint8 [N, 3072], as images [N, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _read_binary(content: bytes, where: str, *, label_bytes: int, num_classes: int) -> ImagesAndLabels:
    """Records of `label_bytes` labels (the last one is the fine label) and 3,072 pixels."""
    record = label_bytes + PIXELS
    if not content or len(content) % record:
        raise UserError(
            f"{where} has {len(content)} bytes, not a multiple of {record} (one image); "
            "it is truncated, download it again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = rows[:, label_bytes - 1].astype(np.int32)
    return _images(rows[:, label_bytes:]), _valid_labels(labels, where, num_classes)


def _read_python(content: bytes, where: str, *, key: str, num_classes: int) -> ImagesAndLabels:
    batch = read_batch(content, where)
    data, labels = batch.get("data"), batch.get(key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        raise UserError(f"{where} has no uint8 array 'data' of shape [N, {PIXELS}]; it is not a CIFAR batch")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise UserError(f"{where} has no list of integers {key!r}; it is not a batch of this CIFAR version")
    if len(labels) != len(data) or not labels:
        raise UserError(f"{where} has {len(data)} images and {len(labels)} labels; download it again")
    return _images(data), _valid_labels(np.array(labels, np.int64), where, num_classes)


def _valid_labels(labels: np.ndarray, where: str, num_classes: int) -> np.ndarray:
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"{where} has labels {labels.min()} to {labels.max()}, not 0 to {num_classes - 1}; it is damaged"
        )
    return labels.astype(np.int32)
