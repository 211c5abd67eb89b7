"""`jdarts detect`: find objects with a trained detector, and measure it by COCO's metrics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jdarts.commands.arguments import SPACE_HELP, Arguments, Parser, check_folder_of, number
from jdarts.commands.predict import RUN_HELP
from jdarts.config.ranges import Fraction
from jdarts.errors import UserError


def add_commands(add: Callable[..., Parser]) -> None:
    """Define the commands with `add(name, execute, help)`."""
    command = add("detect", _detect, "find objects with a trained detector, or measure it on annotated images")
    command.add_argument("action", metavar="predict|evaluate", choices=("predict", "evaluate"))
    command.add_argument("run", metavar="RUN", help=RUN_HELP)
    command.add_argument("images", metavar="IMAGE", nargs="*", help="predict: image files")
    command.add_argument(
        "-o", "--output", metavar="PLACE", help="folder of pictures (predict), file of detections (evaluate)"
    )
    command.add_argument(
        "--least-score",
        metavar="P",
        type=number(Fraction, float),
        help="predict: show objects from this score on (0.3)",
    )
    command.add_argument("--data", metavar="DIR", help="evaluate: the folder with instances_train*.json and val*.json")
    command.add_argument("--split", metavar="NAME", help="evaluate: the images of instances_NAME*.json (default: val)")
    command.add_argument("--best", action="store_true", help="the network of the best epoch by validation")
    command.add_argument("--space", metavar="FILE.py", help=SPACE_HELP)
    command.epilog = (
        "A detector is trained by jdarts train with train.task detection (configs/coco_retinanet.py). predict prints "
        "the objects as JSON lines; evaluate prints COCO's average precisions and writes the detections in its format."
    )


def _detect(arguments: Arguments) -> None:
    unused = {"predict": ("data", "split"), "evaluate": ("images", "least_score")}[arguments.action]
    for name in unused:
        if getattr(arguments, name):
            option = "IMAGE" if name == "images" else f"--{name.replace('_', '-')}"
            raise UserError(f"{option} has no effect in jdarts detect {arguments.action}; leave it out")
    (_predict if arguments.action == "predict" else _evaluate)(arguments)


def _detector(arguments: Arguments) -> Any:
    from jdarts.train.detector import Detector
    from jdarts.train.trained import load

    return Detector(load(arguments.run, space=arguments.space, best=arguments.best))


def _predict(arguments: Arguments) -> None:
    if not arguments.images:
        raise UserError("give image files: jdarts detect predict RUN IMAGE …")
    missing = [name for name in arguments.images if not Path(name).is_file()]
    if missing:
        raise UserError(f"{missing[0]} does not exist; give image files")
    check_folder_of(arguments.output)
    detector, least = _detector(arguments), 0.3 if arguments.least_score is None else arguments.least_score

    from jdarts.detection.drawing import save_boxes
    from jdarts.train.detector import read_image

    for name in arguments.images:
        image = read_image(name)
        kept = [found for found in detector.detect(image) if found.score >= least]
        objects = [{"class": each.name, "score": each.score, "box": list(each.box)} for each in kept]
        print(json.dumps({"image": name, "objects": objects}))
        if arguments.output:
            shown = [(each.box, f"{each.name} {each.score:.2f}", each.number) for each in kept]
            try:
                Path(arguments.output).mkdir(exist_ok=True)
                save_boxes(Path(arguments.output) / f"{Path(name).stem}.png", image, shown)
            except OSError as error:
                raise UserError(f"cannot write to {arguments.output}: {error.strerror or error}") from None


def _evaluate(arguments: Arguments) -> None:
    import numpy as np

    from jdarts.detection.coco import CocoSplit, find_source
    from jdarts.detection.metrics import coco_metrics, coco_results

    if not arguments.data:
        raise UserError("give the folder of the annotated images: --data DIR")
    check_folder_of(arguments.output)
    source = find_source(arguments.data, arguments.split or "val")
    detector = _detector(arguments)
    if source.class_names != detector.network.classes:
        raise UserError(
            f"the detector knows {len(detector.network.classes)} classes and {source.file} has "
            f"{len(source.class_names)} (or others); give annotations of the same classes"
        )
    most = max(1, int(source.labels().max()))
    split = CocoSplit(source, np.arange(len(source)), fitting=detector.fitting, most=most)
    results = coco_results(detector.on_split(split), split)
    for name, value in coco_metrics(results, split).items():
        print(f"{name:10} {100 * value:6.2f}")
    if arguments.output:
        try:
            Path(arguments.output).write_text(json.dumps(results))
        except OSError as error:
            raise UserError(f"cannot write {arguments.output}: {error.strerror or error}") from None
