"""Networks of NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): a code of eight digits, and the layers it stands for.

Digit 0 is the identity (a strided 1 × 1 convolution where the width changes), 1 an inverted residual with kernel 3 and
expansion 3, 2 one with kernel 5 and expansion 6.
"""

from dataclasses import dataclass

from jdarts.errors import UserError
from jdarts.genotypes.genotype import Cell, excerpt
from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer

BLOCKS = ("identity", "mb3_k3", "mb6_k5")
WIDTHS = (64, 64, 128, 128, 128, 256, 256, 256)
"""The width of every layer; the first of each width has stride 2."""
LAYERS = len(WIDTHS)


@dataclass(frozen=True)
class MacroNetwork:
    """A network of the benchmark.

    Attributes:
      code: one digit for each layer, the index of its block in `BLOCKS`.

    Raises `UserError` for another text.
    """

    code: str

    def __post_init__(self):
        digits = {str(block) for block in range(len(BLOCKS))}
        if not isinstance(self.code, str) or len(self.code) != LAYERS or not set(self.code) <= digits:
            raise UserError(
                f"{excerpt(self.code)} is no network of NAS-Bench-Macro; expected {LAYERS} digits, each 0, 1 or 2"
            )

    @property
    def normal(self) -> Cell:
        """The whole network as a graph, for counts of ops."""
        return self.to_mobile().normal

    @property
    def reduce(self) -> None:
        """None: there is one graph."""
        return

    @property
    def cells(self) -> dict[str, Cell]:
        """`{"normal": …}`, the whole network."""
        return {"normal": self.normal}

    def to_text(self, *, without: str = "") -> str:
        """The code, as in `22212220`; `without` has no effect."""
        del without
        return self.code

    def to_mobile(self) -> MobileArchitecture:
        """The layers of the network: a stem of 32 channels, eight blocks, and 1 × 1 convolution to 1280 channels."""
        layers = [MobileLayer("conv", 32)]
        for digit, width in zip(self.code, WIDTHS, strict=True):
            stride = 2 if width != layers[-1].width else 1
            layers.append(
                MobileLayer("identity", width, stride=stride)
                if digit == "0"
                else MobileLayer("mb", width, (3, 5)[int(digit) - 1], expansion=3 * int(digit), stride=stride)
            )
        return MobileArchitecture("nasbench_macro", (*layers, MobileLayer("conv", 1280, kernel=1)))


def macro_of(architecture: object) -> MacroNetwork | None:
    """The network of NAS-Bench-Macro that is given as such or as its layers; None for every other architecture."""
    if isinstance(architecture, MacroNetwork):
        return architecture
    if not isinstance(architecture, MobileArchitecture) or len(architecture.layers) != LAYERS + 2:
        return None
    blocks = architecture.layers[1:-1]
    network = MacroNetwork("".join("0" if b.op == "identity" else "1" if b.kernel == 3 else "2" for b in blocks))
    return network if network.to_mobile() == architecture else None


def mobile_of(architecture: object) -> MobileArchitecture | None:
    """The layers of a mobile network or of a network of NAS-Bench-Macro; None for every other architecture."""
    if isinstance(architecture, MacroNetwork):
        return architecture.to_mobile()
    return architecture if isinstance(architecture, MobileArchitecture) else None
