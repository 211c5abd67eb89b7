"""`jdarts predict`: use a trained network."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands.arguments import SPACE_HELP, Arguments, Parser, check_folder_of
from jdarts.errors import UserError

BEST_HELP = "the network of the best epoch by validation"
RUN_HELP = "the run folder of jdarts train or jdarts run"


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    predict = add("predict", _predict, "classify images with a trained network, or predict numbers, labels or masks")
    predict.add_argument("run", metavar="RUN", help=RUN_HELP)
    predict.add_argument(
        "images",
        metavar="IMAGES",
        nargs="+",
        help="image files, folders of them, or npz files with images [N, H, W, C]",
    )
    predict.add_argument("-o", "--output", metavar="FILE", help="write a .csv or .json file (default: csv, printed)")
    predict.add_argument("--masks", metavar="FOLDER", help="write the mask of each image as FOLDER/NUMBER.png")
    predict.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)

    predict.add_argument("--best", action="store_true", help=BEST_HELP)


def _predict(arguments: Arguments) -> None:
    suffix = Path(arguments.output).suffix.lower() if arguments.output else ".csv"
    if suffix not in (".csv", ".json"):
        raise UserError(f"cannot write {arguments.output!r}; give a name that ends in .csv or .json")
    check_folder_of(arguments.output)
    names, images = _images([Path(text) for text in arguments.images])

    from jdarts.train.trained import load, predicting

    network = load(arguments.run, space=arguments.space, best=arguments.best)
    if arguments.masks and network.task != "segmentation":
        raise UserError(f"--masks is for segmentation; {arguments.run} is a network for {network.task}")
    task = predicting(network.task)
    found, head = network.probabilities(images), ["image", *task.columns(network.classes)]
    rows = [[name, *task.row(values, network.classes)] for name, values in zip(names, found, strict=True)]
    if arguments.masks:
        _write_masks(Path(arguments.masks), [task.prediction(values, network.classes) for values in found])
    if suffix == ".csv":
        write_output(arguments.output, _csv(head, rows))
        return
    entries = [task.entry(values, network.classes) for values in found]
    records = [{"image": name} | entry for name, entry in zip(names, entries, strict=True)]
    write_output(arguments.output, json.dumps(records, indent=1) + "\n")


def _csv(head: list[str], rows: list[list[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows(rows)
    return text.getvalue()


def _write_masks(folder: Path, masks: list[Any]) -> None:
    """Gray PNG files whose values are the classes of the pixels."""
    from PIL import Image

    try:
        folder.mkdir(exist_ok=True)
        for number, mask in enumerate(masks):
            Image.fromarray(mask).save(folder / f"{number}.png")
    except OSError as error:
        raise UserError(f"cannot write masks to {folder}: {error.strerror or error}") from None


def _images(paths: list[Path]) -> tuple[list[str], list[Any]]:
    """The names and the files or arrays of all images; raises `UserError` for what is none."""
    from jdarts.data.decoding import SUFFIXES
    from jdarts.data.image_files import OddFiles, list_images, warn_unread

    names: list[str] = []
    images: list[Any] = []
    for path in paths:
        if path.is_dir():
            odd, unread = OddFiles(path), []
            files = list_images(path, odd, unread)
            odd.refuse(len(files))
            warn_unread(path, unread)
            if not files:
                raise UserError(f"{path} has no images; their names end in {', '.join(SUFFIXES)}")
            names, images = names + files, images + files
        elif path.suffix.lower() == ".npz":
            arrays = _arrays(path)
            names, images = names + [f"{path}[{i}]" for i in range(len(arrays))], images + list(arrays)
        elif path.is_file():
            names, images = [*names, str(path)], [*images, path]
        else:
            raise UserError(f"{path} does not exist; give image files, folders or npz files")
    return names, images


def _arrays(path: Path) -> Any:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            wanted = [name for name in ("images", "x", "x_test") if name in stored.files] or stored.files[:1]
            found = stored[wanted[0]] if wanted else np.zeros(0)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if found.ndim != 4 or found.dtype != np.uint8:
        raise UserError(
            f"{path} holds {found.dtype} {list(found.shape)}; give uint8 images [N, height, width, channels]"
        )
    return found


def write_output(output: str | None, content: str | bytes) -> None:
    """Write a file, or to standard output if `output` is None. Raises `UserError`."""
    if output is None:
        sys.stdout.write(str(content))
        return
    try:
        Path(output).write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from None
