"""Parameters and multiply–accumulates of randomly wired networks, by arithmetic."""

from jdarts.errors import UserError
from jdarts.genotypes.random_graphs import Wiring
from jdarts.genotypes.random_wiring import RandomlyWired
from jdarts.networks.counting import Count, ModuleCount
from jdarts.networks.derived import StemName
from jdarts.networks.image_sizes import check_whole, sides_of
from jdarts.networks.wired.network import HEAD


def check_wired(*, channels: int, image_size: int | tuple[int, int], auxiliary: bool = False) -> None:
    """Raise `UserError` unless a `RandomlyWiredNetwork` of so many channels can read such images; any size will do."""
    check_whole("channels", channels, 2)
    for name, side in zip(("image height", "image width"), sides_of(image_size), strict=True):
        check_whole(name, side)
    if auxiliary:
        raise UserError("randomly wired networks have no auxiliary head; set train.auxiliary_weight to 0")


def count_wired(
    wiring: RandomlyWired,
    *,
    channels: int,
    classes: int = 1000,
    image_size: int | tuple[int, int] = 224,
    stem: StemName = "imagenet",
) -> Count:
    """Size of a `RandomlyWiredNetwork` for images of three colours. Raises `UserError` like `check_wired`.

    Example::

        count_wired(RandomlyWired(), channels=78).parameters    # 5.6 million
    """
    check_wired(channels=channels, image_size=image_size)
    pixels, stride = sides_of(image_size), 2 if stem == "imagenet" else 1
    modules, width = [], 3
    stems = (channels // 2, channels) if wiring.regime == "small" else (channels // 2,)
    for i, outputs in enumerate(stems, start=1):
        pixels = _strided(pixels, stride)
        kernel = 9 * width * outputs
        modules.append(ModuleCount(f"conv{i}", kernel + 2 * outputs, kernel * pixels[0] * pixels[1]))
        width = outputs
    for i, graph in enumerate(wiring.stages):
        pixels = _strided(pixels, 2)
        parameters, macs = _stage(graph, wiring.operation, width, channels * 2**i)
        modules.append(ModuleCount(f"stage_{i}", parameters, macs * pixels[0] * pixels[1]))
        width = channels * 2**i
    modules.append(ModuleCount("head", width * HEAD + 2 * HEAD, width * HEAD * pixels[0] * pixels[1]))
    modules.append(ModuleCount("classifier", HEAD * classes + classes, HEAD * classes))
    return Count(tuple(modules))


def _strided(pixels: tuple[int, int], stride: int) -> tuple[int, int]:
    return -(-pixels[0] // stride), -(-pixels[1] // stride)


def _stage(graph: Wiring, operation: str, inputs: int, width: int) -> tuple[int, int]:
    """Parameters, and multiply–accumulates for each pixel of the output."""
    parameters = macs = 0
    for sources in graph:
        read = width if sources else inputs
        dense = 9 * read * width if operation == "conv" else read * width
        taps = dense + (9 * read if operation == "separable" else 0)
        parameters += taps + 2 * width + (len(sources) if len(sources) > 1 else 0)
        macs += taps
    return parameters, macs
