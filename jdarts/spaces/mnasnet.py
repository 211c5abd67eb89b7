"""The MnasNet space (Tan et al. 2019, arXiv:1807.11626) as Accel-NASBench samples it (arXiv:2404.08005).

A network is a stem, seven blocks of MBConv layers and a head. Each block decides its expansion, kernel, number of
layers and squeeze-and-excitation; widths and strides are fixed. The numbers of layers are those that occur in the
benchmark: 1 to 3, in the sixth block 1 to 4. The space has decisions only; jdarts builds no network for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jdarts.errors import UserError
from jdarts.genotypes import excerpt
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices, labelled

BLOCKS = 7
FIELDS = ("expansion", "kernel", "layers", "squeeze_excite")
_TEXT = re.compile(r"r(\d+)_k(\d+)_e(\d+)(_se)?")


def options(block: int) -> tuple[tuple[Any, ...], ...]:
    """The options of a block's decisions, in the order of `FIELDS`."""
    return (1, 4, 6), (3, 5), (1, 2, 3, 4) if block == 5 else (1, 2, 3), (False, True)


@dataclass(frozen=True)
class MnasBlock:
    """One block: `layers` MBConv layers with the same expansion, kernel size and squeeze-and-excitation."""

    expansion: int
    kernel: int
    layers: int
    squeeze_excite: bool

    def to_text(self) -> str:
        """The code of MnasNet, as in `r2_k5_e4` and `r3_k3_e6_se`."""
        return f"r{self.layers}_k{self.kernel}_e{self.expansion}" + ("_se" if self.squeeze_excite else "")


@dataclass(frozen=True)
class MnasNetwork:
    """Seven blocks. Raises `UserError` for another number, and for a value that is not an option of its block."""

    blocks: tuple[MnasBlock, ...]

    def __post_init__(self):
        if len(self.blocks) != BLOCKS:
            raise UserError(f"a network of space mnasnet has {BLOCKS} blocks; found {len(self.blocks)}")
        for i, block in enumerate(self.blocks):
            for field, known in zip(FIELDS, options(i), strict=True):
                if getattr(block, field) not in known:
                    raise UserError(f"{field} of block {i} is {excerpt(getattr(block, field))}; use one of {known}")

    def to_text(self) -> str:
        """The codes of the blocks, separated by blanks; `read` returns an equal network from it."""
        return " ".join(block.to_text() for block in self.blocks)


def read(text: str) -> MnasNetwork:
    """The network that `to_text` wrote; raises `UserError` for another text."""
    matches = [_TEXT.fullmatch(word) for word in text.split()]
    if not matches or not all(matches):
        raise UserError(f"cannot read {excerpt(text)} as a network of space mnasnet; expected r2_k5_e4 r3_k3_e6_se …")
    return MnasNetwork(
        tuple(MnasBlock(int(m[3]), int(m[2]), int(m[1]), m[4] is not None) for m in matches if m is not None)
    )


@dataclass(frozen=True)
class MnasNetSpace(FreeChoices):
    """36⁶ · 48 ≈ 1.04·10¹¹ networks."""

    name: str = "mnasnet"

    def make_decisions(self) -> tuple[Decision, ...]:
        """Four decisions a block, `block_0.expansion` and so on."""
        return tuple(
            labelled(f"block_{block}.{field}", f"network/{field}", known)
            for block in range(BLOCKS)
            for field, known in zip(FIELDS, options(block), strict=True)
        )

    def decode(self, choices: Sequence[int]) -> MnasNetwork:
        """The network; raises `UserError` unless the choices are valid."""
        rest = iter(checked_choices(self, choices))
        blocks = [[known[next(rest)] for known in options(block)] for block in range(BLOCKS)]
        return MnasNetwork(tuple(MnasBlock(*values) for values in blocks))

    def encode(self, network: MnasNetwork) -> Choices:
        """The choices of a network."""
        if not isinstance(network, MnasNetwork):
            raise UserError(f"{excerpt(network)} is no network of space mnasnet; expected a MnasNetwork")
        return tuple(
            known.index(getattr(block, field))
            for i, block in enumerate(network.blocks)
            for field, known in zip(FIELDS, options(i), strict=True)
        )


mnasnet = MnasNetSpace()
