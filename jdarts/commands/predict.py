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

RUN_HELP = "the run folder of jdarts train or jdarts run"


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the command with `add(name, execute, help)`."""
    predict = add("predict", _predict, "classify images with a trained network")
    predict.add_argument("run", metavar="RUN", help=RUN_HELP)
    predict.add_argument(
        "images",
        metavar="IMAGES",
        nargs="+",
        help="image files, folders of them, or npz files with images [N, H, W, C]",
    )
    predict.add_argument("-o", "--output", metavar="FILE", help="write a .csv or .json file (default: csv, printed)")
    predict.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)


def _predict(arguments: Arguments) -> None:
    suffix = Path(arguments.output).suffix.lower() if arguments.output else ".csv"
    if suffix not in (".csv", ".json"):
        raise UserError(f"cannot write {arguments.output!r}; give a name that ends in .csv or .json")
    check_folder_of(arguments.output)
    names, images = _images([Path(text) for text in arguments.images])

    from jdarts.train.trained import load

    network = load(arguments.run, space=arguments.space)
    found = network.probabilities(images)
    rows = [
        {"image": name, "class": network.classes[int(p.argmax())], "probability": float(p.max())}
        | ({"probabilities": dict(zip(network.classes, p.tolist(), strict=True))} if suffix == ".json" else {})
        for name, p in zip(names, found, strict=True)
    ]
    write_output(
        arguments.output, json.dumps(rows, indent=1) + "\n" if suffix == ".json" else _csv(network, rows, found)
    )


def _csv(network: Any, rows: list[dict[str, Any]], found: Any) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "class", "probability", *network.classes])
    for row, p in zip(rows, found, strict=True):
        table.writerow([row["image"], row["class"], f"{row['probability']:.6f}", *(f"{value:.6f}" for value in p)])
    return text.getvalue()


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
