"""Randomly wired networks (Xie et al. 2019, arXiv:1904.01569) as genotypes: a generator, its parameters and a seed."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import Cell, Genotype, excerpt
from jdarts.genotypes.random_graphs import Wiring, check_generator, random_wiring

OPERATIONS = {
    "separable": "sep_conv_3x3",
    "conv": "conv_3x3",
    "max_pool": "max_pool_3x3",
    "avg_pool": "avg_pool_3x3",
}
"""The operation of all nodes, and the name of its op in the graph: pools are followed by a 1 × 1 convolution."""
REGIMES = {"small": (1, 1, 1), "regular": (2, 1, 1, 1)}
"""Random stages of the two regimes: N divided by this number is the number of nodes."""
MOST_NODES = 512
WIRED_TEXT = re.compile(r"random_wiring:[ \t]*(?P<words>[^\n'\"]*)")
_CALL = re.compile(r"(?P<generator>\w+)\((?P<numbers>[^()]*)\)")
_WORDS = {"nodes": int, "seed": int, "operation": str, "regime": str}


class WiredCell(Cell):
    """The graph of a random stage: node 0 is the output of the stage before."""

    def known_ops(self) -> tuple[str, ...]:
        """The ops of nodes."""
        return tuple(OPERATIONS.values())


@dataclass(frozen=True)
class RandomlyWired(Genotype):
    """A randomly wired network; every random stage has a graph of its own, drawn with `(seed, stage)`.

    Attributes:
      generator: `er`, `ba` or `ws` (`jdarts.genotypes.random_graphs`).
      parameters: of the generator: `(P,)`, `(M,)` or `(K, P)`.
      nodes: N, their number in a stage; the first random stage of the regular regime has half of them.
      seed: of the graphs.
      operation: of all nodes, a name of `OPERATIONS`.
      regime: `small`, three random stages behind two convolutions; or `regular`, four behind one.
      normal: the graph of the first random stage, for counts of ops; `reduce` is None.

    Raises `UserError` for another name and for parameters that the generator does not take.

    Example::

        RandomlyWired.read("random_wiring: ws(4,0.75) seed=3").stages[0][5]    # the sources of a node
    """

    normal: Cell = field(init=False, repr=False, compare=False)
    reduce: Cell | None = field(init=False, repr=False, compare=False)
    generator: str = "ws"
    parameters: tuple[float, ...] = (4.0, 0.75)
    nodes: int = 32
    seed: int = 0
    operation: str = "separable"
    regime: str = "small"

    def __post_init__(self):
        for name, known in (("operation", OPERATIONS), ("regime", REGIMES)):
            if getattr(self, name) not in known:
                raise unknown(f"{name} of a randomly wired network", getattr(self, name), known)
        for name, least, most in (("nodes", 4, MOST_NODES), ("seed", 0, 2**31 - 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise UserError(f"{name} is {excerpt(value)}; use a whole number of {least} to {most}")
        object.__setattr__(self, "parameters", tuple(map(float, self.parameters)))
        for divisor in set(REGIMES[self.regime]):
            check_generator(self.generator, self.parameters, self.nodes // divisor)
        op, first = OPERATIONS[self.operation], self.stages[0]
        edges = tuple(tuple((op, source + 1) for source in sources) or ((op, 0),) for sources in first)
        object.__setattr__(self, "normal", WiredCell(edges, tuple(node + 1 for node in sinks(first)), 1))
        object.__setattr__(self, "reduce", None)

    @cached_property
    def stages(self) -> tuple[Wiring, ...]:
        """The graph of each random stage."""
        return tuple(
            random_wiring(self.generator, self.parameters, self.nodes // divisor, (self.seed, stage))
            for stage, divisor in enumerate(REGIMES[self.regime])
        )

    @classmethod
    def read(cls, text: str) -> "RandomlyWired":
        """The network that `to_text` writes as `text`; words left out have their defaults. Raises `UserError`."""
        found = WIRED_TEXT.findall(text)
        if len(found) != 1:
            raise UserError(f"the text holds {len(found)} randomly wired networks; give one of them")
        words = found[0].split()
        call = _CALL.fullmatch(words[0]) if words else None
        if call is None:
            raise UserError(f"{excerpt(found[0])} names no generator; write random_wiring: ws(4,0.75) seed=0")
        values: dict[str, Any] = {}
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name not in _WORDS:
                raise unknown("word of a randomly wired network", name, _WORDS)
            values[name] = _value(name, value)
        numbers = [_number(part) for part in call["numbers"].split(",") if part.strip()]
        return cls(generator=call["generator"], parameters=tuple(numbers), **values)

    def to_text(self, *, without: str = "") -> str:
        """One line; `without` has no effect, as there are no cells."""
        del without
        numbers = ",".join(f"{number:g}" for number in self.parameters)
        words = " ".join(f"{name}={getattr(self, name)}" for name in _WORDS)
        return f"random_wiring: {self.generator}({numbers}) {words}"

    def to_nasbench201(self) -> str:
        """Raises `UserError`: a randomly wired network has no arch string."""
        raise UserError("a randomly wired network has no NAS-Bench-201 arch string; use to_text()")


def sinks(graph: Wiring) -> tuple[int, ...]:
    """The nodes that no other node reads; the output of a stage is their mean."""
    read = {source for sources in graph for source in sources}
    return tuple(node for node in range(len(graph)) if node not in read)


def refuse_wired(genotype: Any) -> None:
    """Raise `UserError` if `genotype` is a randomly wired network; for what needs cells."""
    if isinstance(genotype, RandomlyWired):
        raise UserError("a randomly wired network has stages and no cells; give a genotype of cells")


def _value(name: str, text: str) -> Any:
    if _WORDS[name] is str:
        return text
    if not text.isdecimal() or len(text) > 10:
        raise UserError(f"{name} is {excerpt(text)}; write a whole number, as in {name}=3")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{excerpt(text)} is no number; write random_wiring: ws(4,0.75) seed=0") from None
