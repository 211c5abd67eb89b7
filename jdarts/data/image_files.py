"""Many image files: listing them, reading their pixels, and one report of all unusable ones.

Letters: N images, H height, W width, C channels.
"""

import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jdarts.data.decoding import SUFFIXES, ImageForm, OddImage, Remedy
from jdarts.data.progress import counted
from jdarts.errors import DataWarning, UserError

UNREAD_SUFFIXES = (".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".jfif")
HEADERS_FROM = 20_000  # files; from this many on, one wrong shape ends the decoding, and only headers are read
_CHUNK = 64  # files a task of the thread pool
_NAMED = 3  # files named for each kind


@dataclass
class OddFiles:
    """Files below `root` that cannot be used, by kind, and possible remedies."""

    root: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    remedies: set[Remedy] = field(default_factory=set)

    def add(self, kind: str, file: str, remedy: Remedy = "") -> None:
        """Count `file` as one of `kind`."""
        self.files.setdefault(kind, []).append(file)
        self.remedies.add(remedy)

    def refuse(self, total: int) -> None:
        """Raise one `UserError` about all files, with counts by kind and three names each; nothing if there are none.

        `total` is the number of files that were read.
        """
        if not self.files:
            return
        advice = [
            *(["--data.color rgb (or gray) converts colours"] if "color" in self.remedies else []),
            *(["--data.image_size SIDE (or HEIGHT,WIDTH) resizes"] if "size" in self.remedies else []),
            *(["replace or remove unusable files"] if "" in self.remedies else []),
        ]
        count = sum(map(len, self.files.values()))
        kinds = sorted(self.files, key=lambda kind: (-len(self.files[kind]), kind))
        listed = ", ".join(f"{len(self.files[kind]):,} {kind} ({self._names(self.files[kind])})" for kind in kinds)
        raise UserError(f"{self.root}: {count:,} of {total:,} images cannot be used: {listed}; {'; '.join(advice)}")

    def _names(self, files: Iterable[str]) -> str:
        return names_below(self.root, files)


def names_below(root: Path, files: Iterable[str]) -> str:
    """The first three of `files`, sorted, without `root`."""
    names = sorted(os.path.relpath(file, root) for file in files)
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])


def list_images(folder: Path, odd: OddFiles, unread: list[str]) -> list[str]:
    """The image files in `folder` and the folders inside it, sorted by name, without hidden ones.

    Broken links, empty files and folders with names of images go to `odd`; images of unsupported formats go to
    `unread`; other files are ignored. Raises `UserError` for a folder that cannot be listed.
    """
    files: list[str] = []
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}; check its permissions") from error
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()
        is_image = suffix in SUFFIXES
        if entry.is_dir():
            if is_image:
                odd.add("a folder, not a file", entry.path)
            elif entry.is_symlink():
                odd.add("a link to a folder", entry.path)
            else:
                files += list_images(Path(entry.path), odd, unread)
        elif is_image and not entry.is_file():
            odd.add("a broken link" if entry.is_symlink() else "not a regular file", entry.path)
        elif is_image and entry.stat().st_size == 0:
            odd.add("empty", entry.path)
        elif is_image:
            files.append(entry.path)
        elif suffix in UNREAD_SUFFIXES:
            unread.append(entry.path)
    return files


def warn_unread(root: Path, unread: list[str]) -> None:
    """Warn about images of unsupported formats."""
    if unread:
        warnings.warn(
            f"{root}: {len(unread):,} images are skipped, as their format is not read ({names_below(root, unread)}); "
            f"convert them to one of {', '.join(SUFFIXES)}",
            DataWarning,
            stacklevel=3,
        )


def read_images(files: list[str], rows: np.ndarray, odd: OddFiles, form: ImageForm, *, threads: int) -> np.ndarray:
    """The pixels of all `files`, uint8 [N, H, W, C]: file i in row `rows[i]`.

    All files are read before the `UserError` about the unusable ones, which includes those already in `odd`. With
    20,000 files or more, the first image of another shape ends the decoding, and only headers are read from there.
    """
    total = len(files) + sum(map(len, odd.files.values()))
    shape = _first_shape(files, form)
    pixels = _allocate(odd.root, len(files), shape) if shape else np.empty((0, 0, 0, 0), np.uint8)
    shapes: dict[tuple[int, ...], list[str]] = {}
    headers_only = False

    def read(start: int) -> int:
        nonlocal headers_only
        for i in range(start, min(start + _CHUNK, len(files))):
            try:
                content = _content(files[i])
                if headers_only:
                    found = form.shape(content)
                else:
                    image = form.decode(content)
                    found = image.shape
                    if found == shape:
                        pixels[rows[i]] = image
                    elif len(files) >= HEADERS_FROM:
                        headers_only = True
                shapes.setdefault(found, []).append(files[i])
            except OddImage as problem:
                odd.add(problem.kind, files[i], problem.remedy)
        return min(_CHUNK, len(files) - start)

    starts = range(0, len(files), _CHUNK)
    with counted(f"reading {odd.root.name}", len(files)) as advance:
        if threads <= 1:
            for start in starts:
                advance(read(start))
        else:
            with ThreadPoolExecutor(threads) as pool:
                for count in pool.map(read, starts):
                    advance(count)
    _add_shapes(odd, shapes)
    odd.refuse(total)
    return pixels


def _content(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise OddImage(f"not readable ({error.strerror})") from error


def _first_shape(files: list[str], form: ImageForm) -> tuple[int, int, int] | None:
    """The shape of the first usable file."""
    for file in files:
        try:
            return form.shape(_content(file))
        except OddImage:
            continue
    return None


def _allocate(root: Path, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    size = count * math.prod(shape)
    names = getattr(os, "sysconf_names", {})
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in names else size
    too_large = f"{root}: {count:,} images of {_describe(shape)} take {size / 2**30:,.1f} GiB"
    advice = "make them smaller with --data.image_size, or search with data.source stream:folder"
    if size > memory:
        raise UserError(f"{too_large}, more than the memory of this machine ({memory / 2**30:,.1f} GiB); {advice}")
    try:
        return np.empty((count, *shape), np.uint8)
    except MemoryError as error:
        raise UserError(f"{too_large}, which cannot be allocated; {advice}") from error


def _add_shapes(odd: OddFiles, shapes: dict[tuple[int, ...], list[str]]) -> None:
    """Count the files whose shape is not the most frequent one."""
    if len(shapes) < 2:
        return
    colours = Counter[int]()
    sizes = Counter[tuple[int, ...]]()
    for shape, files in shapes.items():
        colours[shape[2]] += len(files)
        sizes[shape[:2]] += len(files)
    (channels, _), (size, _) = colours.most_common(1)[0], sizes.most_common(1)[0]
    colour, other = ("gray", "RGB") if channels == 1 else ("RGB", "gray")
    for shape, files in shapes.items():
        for file in files if shape[2] != channels else ():
            odd.add(f"{other} where most are {colour}", file, "color")
        for file in files if shape[2] == channels and shape[:2] != size else ():
            odd.add(f"not of the most frequent size {size[0]}x{size[1]}", file, "size")
    if len(sizes) > 1:
        odd.remedies.add("size")


def _describe(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]} {'gray' if shape[2] == 1 else 'RGB'}"
