"""Parameters and multiply–accumulates (MACs) of derived networks, by arithmetic alone.

The rules are those of the papers, who print MACs under the name FLOPs: convolutions and linear layers count,
batch norm, activations, pooling and additions do not. Parameters are all trainable scalars: convolution and
linear weights, linear bias, scale and shift of batch norm. The auxiliary head is left out unless asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jdarts.errors import UserError, unknown
from jdarts.genotypes import BlockGenotype, Cell, Genotype
from jdarts.genotypes.kinds import require_cells
from jdarts.genotypes.stacked import cells_in_order, reduction_cells
from jdarts.networks.image_sizes import check_whole, sides_of
from jdarts.ops import user_ops

Pair = tuple[int, int]  # parameters, MACs
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class ModuleCount:
    """Parameters and MACs (of one image) of one module of a network."""

    name: str
    parameters: int
    macs: int


@dataclass(frozen=True)
class _Features:
    """The output of a module. `halved`: the module has half the height and width of its input."""

    channels: int
    size: Size
    halved: bool = False


@dataclass(frozen=True)
class Count:
    """The size of a network, module by module in the order of the forward pass."""

    modules: tuple[ModuleCount, ...]

    @property
    def parameters(self) -> int:
        """Trainable scalars."""
        return sum(module.parameters for module in self.modules)

    @property
    def macs(self) -> int:
        """Multiply–accumulates for one image."""
        return sum(module.macs for module in self.modules)


def count_darts_cnn(
    genotype: Genotype,
    *,
    channels: int,
    cells: int,
    classes: int,
    image_size: int | Size = 32,
    stem: Literal["cifar", "imagenet"] = "cifar",
    auxiliary: bool | Literal["one_norm"] = False,
) -> Count:
    """Size of the evaluation network of a DARTS genotype (Liu et al., 2019).

    Args:
      genotype: with a normal and a reduction cell, or a cell for every position.
      channels: of the first cell; even.
      cells: their number. Those at `cells // 3` and `2 * cells // 3` are reduction cells.
      classes: outputs of the linear layer.
      image_size: height and width of the input in pixels, or the side of a square one.
      stem: "cifar", one convolution to 3 × channels; "imagenet", three of stride 2.
      auxiliary: count the auxiliary head too; "one_norm" is the ImageNet head of the DARTS authors, which lacks the
        second batch norm.

    Raises `UserError` for odd channels or an image too small or odd for the two reductions.

    Example::

        count = count_darts_cnn(parse("DARTS_V2"), channels=36, cells=20, classes=10)
        count.parameters, count.macs    # (3349342, 528359040)
    """
    require_cells(genotype)
    if genotype.reduce is None:
        raise UserError("genotype has no reduction cell; count it with count_nasbench201")
    if isinstance(genotype, BlockGenotype):
        raise UserError(f"a {genotype.family} genotype has a network of its own; count it with count_nasnet")
    image = _image(image_size)
    _check_positive(channels=channels, cells=cells, classes=classes)
    if channels % 2:
        raise UserError(f"channels is {channels}; it must be even: a reduction halves them between two convolutions")

    modules, before, last = _darts_stem(stem, channels, image)
    head: list[ModuleCount] = []
    counted: dict[tuple[Cell, bool, int], Pair] = {}
    width = channels
    for index, cell in enumerate(cells_in_order(genotype, cells)):
        reduction = index in reduction_cells(cells)
        if (reduction and _odd(last.size)) or (last.halved and _odd(before.size)):
            raise _cannot_halve(image, stem, index)
        width *= 2 if reduction else 1
        if (cell, reduction, width) not in counted:
            counted[cell, reduction, width] = _add(_darts_cell(cell, width, last.size, reduction))
        name = f"cell{index} ({'reduce' if reduction else 'normal'})"
        modules.append(ModuleCount(name, *_add([_preprocessing(before, last, width), counted[cell, reduction, width]])))
        size = _divided(last.size, 2) if reduction else last.size
        before, last = last, _Features(len(cell.concat) * width, size, halved=reduction)
        if auxiliary and index == 2 * cells // 3:
            head = [ModuleCount("auxiliary", *_auxiliary(last, classes, stem, second_norm=auxiliary != "one_norm"))]
    modules.append(ModuleCount("classifier", last.channels * classes + classes, last.channels * classes))
    return Count((*modules, *head))


def _darts_stem(stem: str, channels: int, image: Size) -> tuple[list[ModuleCount], _Features, _Features]:
    """The modules of a stem and the two inputs of the first cell."""
    if stem == "cifar":
        features = _Features(3 * channels, image)
        return [ModuleCount("stem", *_conv_bn(3, 3 * channels, 3, image))], features, features
    if stem == "imagenet":
        half, quarter, eighth = (_divided(image, 2**k) for k in (1, 2, 3))
        first, second = _conv_bn(3, channels // 2, 3, half), _conv_bn(channels // 2, channels, 3, quarter)
        modules = [
            ModuleCount("stem0", *_add([first, second])),
            ModuleCount("stem1", *_conv_bn(channels, channels, 3, eighth)),
        ]
        return modules, _Features(channels, quarter, halved=True), _Features(channels, eighth, halved=True)
    raise unknown("stem", stem, ("cifar", "imagenet"))


def count_nasbench201(
    genotype: Genotype,
    *,
    channels: int = 16,
    cells_per_stage: int = 5,
    classes: int = 10,
    image_size: int | Size = 32,
) -> Count:
    """Size of a NAS-Bench-201 network (Dong & Yang, 2020).

    MACs equal the benchmark's FLOPs, which count the addition of the classifier's bias too.

    Args:
      genotype: with one cell, or one for every position.
      channels: of the first stage; the second and third have two and four times as many.
      cells_per_stage: cells in each of the three stages.
      classes: outputs of the linear layer.
      image_size: height and width of the input in pixels, or the side of a square one, multiples of 4.

    Raises `UserError` for a genotype of another space or an image that cannot be halved twice.
    """
    require_cells(genotype)
    if genotype.reduce is not None:
        raise UserError("genotype has a reduction cell, so it is not of NAS-Bench-201; count it with count_darts_cnn")
    size, width = _image(image_size), channels
    _check_positive(channels=channels, cells_per_stage=cells_per_stage, classes=classes)
    if size[0] % 4 or size[1] % 4:
        raise UserError(f"image_size is {_words(size)}; use a multiple of 4: the network halves it twice")
    in_order = cells_in_order(genotype, 3 * cells_per_stage, "cells_per_stage")
    modules = [ModuleCount("stem", *_conv_bn(3, channels, 3, size))]
    for stage in range(3):
        if stage:
            size, width = _divided(size, 2), width * 2
            main = [_conv_bn(width // 2, width, 3, size), _conv_bn(width, width, 3, size)]
            shortcut = _conv(width // 2, width, 1, size)
            modules.append(ModuleCount(f"reduction{stage}", *_add([*main, shortcut])))
        for i, cell in enumerate(in_order[stage * cells_per_stage : (stage + 1) * cells_per_stage]):
            pair = _add(count_op(op, width, size, 1) for edges in cell.nodes for op, _ in edges)
            modules.append(ModuleCount(f"stage{stage} cell{i}", *pair))
    modules.append(ModuleCount("batch_norm", 2 * width, 0))
    modules.append(ModuleCount("classifier", (width + 1) * classes, (width + 1) * classes))
    return Count(tuple(modules))


# Building blocks: parameters and MACs; `size` is that of the output


def _image(image_size: int | Size) -> Size:
    sides = sides_of(image_size)
    for side in sides:
        check_whole("image_size", side)
    return sides


def _divided(size: Size, factor: int) -> Size:
    """The size after a stride of `factor`, rounded up."""
    return -(-size[0] // factor), -(-size[1] // factor)


def _odd(size: Size) -> bool:
    return bool(size[0] % 2 or size[1] % 2)


def _words(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        check_whole(name, value)


def _add(pairs: Iterable[Pair]) -> Pair:
    pairs = list(pairs)
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


def _conv(inputs: int, outputs: int, kernel: int, size: Size, groups: int = 1) -> Pair:
    weights = kernel * kernel * inputs // groups * outputs
    return weights, weights * size[0] * size[1]


def _batch_norm(channels: int) -> Pair:
    return 2 * channels, 0


def _conv_bn(inputs: int, outputs: int, kernel: int, size: Size) -> Pair:
    return _add([_conv(inputs, outputs, kernel, size), _batch_norm(outputs)])


def _relu_conv_bn(inputs: int, outputs: int, size: Size) -> Pair:
    return _conv_bn(inputs, outputs, 1, size)


def _factorized_reduce(inputs: int, outputs: int, size: Size) -> Pair:
    half = _conv(inputs, outputs // 2, 1, size)
    return _add([half, half, _batch_norm(outputs)])


def _cannot_halve(image: Size, stem: str, index: int) -> UserError:
    return UserError(
        f"image_size is {_words(image)}, which cell {index} cannot halve any more; "
        f"use a multiple of {32 if stem == 'imagenet' else 4} with stem {stem!r}"
    )


def _preprocessing(before: _Features, last: _Features, width: int) -> Pair:
    """The two layers at the inputs of a cell: the outputs of the cell before the last and of the last one."""
    first = _factorized_reduce if last.halved else _relu_conv_bn
    return _add([first(before.channels, width, last.size), _relu_conv_bn(last.channels, width, last.size)])


def _darts_cell(cell: Cell, width: int, size: Size, reduction: bool) -> Iterable[Pair]:
    """The ops of a cell with inputs of `size`; in a reduction cell an input is read with stride 2."""
    for edges in cell.live_nodes:
        for op, source in edges:
            stride = 2 if reduction and source < cell.inputs else 1
            yield count_op(op, width, _divided(size, 2) if reduction else size, stride)


def count_op(op: str, width: int, size: Size, stride: int) -> Pair:
    """Parameters and MACs of a candidate op of a derived network; `size` is that of its output in pixels.

    Raises `UserError` for ops that networks of DARTS cells do not have.
    """
    if user_ops.is_own(op):
        from jdarts.ops.user_module import count_own  # imports JAX

        return count_own(op, width, stride, size)
    match op.split("_"):
        case ["none"] | ["noise"] | ["max" | "avg", "pool", "3x3"]:
            return 0, 0
        case ["skip", "connect"]:
            return _factorized_reduce(width, width, size) if stride == 2 else (0, 0)
        case ["skip", "norm"]:
            return _factorized_reduce(width, width, size) if stride == 2 else _batch_norm(width)
        case ["sep" | "dil" as kind, "conv", kernel]:
            depthwise = _conv(width, width, int(kernel[0]), size, groups=width)
            stack = [depthwise, _conv(width, width, 1, size), _batch_norm(width)]
            return _add(stack * (2 if kind == "sep" else 1))
        case ["nor", "conv", kernel]:
            return _conv_bn(width, width, int(kernel[0]), size)
        case ["conv", "7x1", "1x7"]:
            weights = 7 * width * width  # of each; the first strides over the width alone
            return 2 * weights + 2 * width, weights * size[0] * size[1] * (stride + 1)
    raise UserError(f"op {op} is one of the networks of blocks (BlockGenotype); networks of DARTS cells do not have it")


def _auxiliary(inputs: _Features, classes: int, stem: str, *, second_norm: bool) -> Pair:
    stride, sides, image = (3, "8 to 10", 32) if stem == "cifar" else (2, "7 or 8", 224)
    height, width = inputs.size
    if any((side - 5) // stride + 1 != 2 for side in inputs.size):
        raise UserError(
            f"the auxiliary head sees {height}×{width} pixels, not {sides}: use image_size {image} or auxiliary=False"
        )
    features = [_conv_bn(inputs.channels, 128, 1, (2, 2)), (_conv_bn if second_norm else _conv)(128, 768, 2, (1, 1))]
    return _add([*features, (768 * classes + classes, 768 * classes)])
