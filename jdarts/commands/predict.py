"""`jdarts predict` and `jdarts export`: use a trained network, and take it away."""

import csv
import importlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands.arguments import SPACE_HELP, Arguments, Parser, check_folder_of
from jdarts.errors import UserError

RUN_HELP = "the run folder of jdarts train or jdarts run"
PLATFORMS = ("cpu", "cuda", "tpu")
_PACKAGES = {"stablehlo": "flatbuffers", "safetensors": "safetensors.numpy"}
FORMATS = ("stablehlo", "safetensors", "npz")


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the commands with `add(name, execute, help)`."""
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

    export = add("export", _export, "write a trained network in a form that needs no jdarts")
    export.add_argument("run", metavar="RUN", help=RUN_HELP)
    export.add_argument(
        "--format",
        choices=FORMATS,
        default="stablehlo",
        help="stablehlo (default): a program with its weights, for jax.export, of any batch size; safetensors, npz: "
        "weights",
    )
    export.add_argument("-o", "--output", metavar="FILE", required=True, help="the file; FILE.json describes it")
    export.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)
    for command in (predict, export):
        command.add_argument("--best", action="store_true", help="the network of the best epoch by validation")
    export.epilog = (
        "FILE.json has the genotype, the classes, and the size, mean and std of the images. The program takes uint8 "
        "images and returns logits."
    )


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
        _write(arguments.output, _csv(head, rows))
        return
    entries = [task.entry(values, network.classes) for values in found]
    records = [{"image": name} | entry for name, entry in zip(names, entries, strict=True)]
    _write(arguments.output, json.dumps(records, indent=1) + "\n")


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


def _export(arguments: Arguments) -> None:
    check_folder_of(arguments.output)
    if arguments.format in _PACKAGES:
        _required(arguments.format)

    from jdarts.train.trained import about_network, flat_variables, load

    network = load(arguments.run, space=arguments.space, best=arguments.best)
    if arguments.format == "stablehlo":
        content = _program(network)
    elif arguments.format == "safetensors":
        content = _required("safetensors").save(flat_variables(network))
    else:
        import numpy as np

        held = io.BytesIO()
        np.savez(held, allow_pickle=False, **flat_variables(network))  # pyright: ignore[reportArgumentType]
        content = held.getvalue()
    _write(arguments.output, content)
    _write(f"{arguments.output}.json", json.dumps(about_network(network), indent=1) + "\n")
    print(arguments.output)
    print(f"{arguments.output}.json")


def _program(network: Any) -> bytes:
    """The serialized program `uint8 images [batch, height, width, channels] -> logits`, for every batch size.

    It runs on all `PLATFORMS`. The form of its operations is that which suits the platform of this process.
    """
    import jax
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), "uint8")
    return bytes(export.export(jax.jit(network.logits), platforms=PLATFORMS)(images).serialize())


def _required(kind: str) -> Any:
    """The module that a format needs; raises `UserError` if it is not installed."""
    try:
        return importlib.import_module(_PACKAGES[kind])
    except ImportError:
        raise UserError(f'--format {kind} needs a package: pip install "jdarts[export]"') from None


def _write(output: str | None, content: str | bytes) -> None:
    if output is None:
        sys.stdout.write(str(content))
        return
    try:
        Path(output).write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from None
