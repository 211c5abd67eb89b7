"""Spaces of recurrent cells: `darts_rnn` (Liu et al. 2019, §2.1) and those of ENAS (Pham et al. 2018, §2.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.genotypes import Genotype, RecurrentGenotype, excerpt
from jdarts.genotypes.recurrent import ACTIVATIONS, ENAS_FUNCTIONS, ENAS_LM_FUNCTIONS, RECURRENT_OPS
from jdarts.networks.recurrent import EnasSupernet, RecurrentSupernet
from jdarts.networks.recurrent.language_model import LanguageModel
from jdarts.networks.wiring import Edges, OpTable, OpWeights
from jdarts.spaces.decisions import Choices, Decision, FreeChoices, checked_choices, labelled
from jdarts.spaces.sampled import SampledSpace
from jdarts.spaces.weight_checks import finite_weights

CELL, FIRST = "recurrent", "first"
"""The names of the alphas of a recurrent cell, and of the choice at node 0."""

Output = Literal["nodes", "loose_ends"]
"""The nodes whose mean is the output: all but node 0, or those that no node reads."""


@dataclass(frozen=True)
class RecurrentSpace(FreeChoices, SampledSpace):
    """Recurrent cells in which every node has one predecessor and one activation.

    The decisions are those of the token lists of ENAS: the activation of node 0, if it has a choice, then for each
    node `node_{i}.input` and `node_{i}.op`. Node 1 has only node 0 to read.

    Attributes:
      name: of the space.
      nodes: their number, behind node 0.
      activations: in the order of the options.
      output: the nodes whose mean is the output.
      first: with a decision for the activation of node 0; otherwise it is tanh.
    """

    name: str
    nodes: int
    activations: tuple[str, ...]
    output: Output
    first: bool = False

    def make_decisions(self) -> tuple[Decision, ...]:
        """The decisions, node by node."""
        ops = self.activations
        found = [labelled("node_0.op", f"{CELL}/op", ops)] if self.first else []
        for i in range(1, self.nodes + 1):
            found += [labelled(f"node_{i}.input", f"{CELL}/input", range(i))] if i > 1 else []
            found.append(labelled(f"node_{i}.op", f"{CELL}/op", ops))
        return tuple(found)

    def genotype(self, nodes: Sequence[tuple[str, int]], first: str = "tanh") -> RecurrentGenotype:
        """The genotype with these nodes and the output of this space."""
        found = RecurrentGenotype(tuple(nodes), tuple(range(1, len(nodes) + 1)), first)
        return found if self.output == "nodes" else replace(found, concat=found.loose_ends)

    def decode(self, choices: Sequence[int]) -> RecurrentGenotype:
        """The genotype of the choices; raises `UserError` unless they are valid."""
        rest = iter(checked_choices(self, choices))
        first = self.activations[next(rest)] if self.first else "tanh"
        nodes = []
        for i in range(1, self.nodes + 1):
            source = next(rest) if i > 1 else 0
            nodes.append((self.activations[next(rest)], source))
        return self.genotype(nodes, first)

    def encode(self, genotype: Genotype) -> Choices:
        """The choices of a genotype; raises `UserError` for one of another space."""
        self._check(genotype)
        assert isinstance(genotype, RecurrentGenotype)
        found = [self.activations.index(genotype.first)] if self.first else []
        for i, (activation, source) in enumerate(genotype.recurrent, start=1):
            found += [source] if i > 1 else []
            found.append(self.activations.index(activation))
        return tuple(found)

    def supernet(
        self,
        *,
        vocabulary: int,
        embedding: int = 720,
        units: int = 720,
        axis_name: str | None = None,
        **dropouts: float,
    ) -> LanguageModel:
        """The weight-sharing language model of ENAS, called as `(tokens, hidden, arc, train)`.

        `dropouts` are the attributes `dropout_…` of `EnasSupernet`. The sizes are those of the release. With a choice
        at node 0 it is the network of the first release, otherwise that of enas_lm.
        """
        return EnasSupernet(
            vocabulary=vocabulary,
            embedding=embedding,
            units=units,
            decoder_bias=False,
            steps=self.nodes,
            functions=self.activations,
            first=self.first,
            output=self.output,
            norms=self.first,
            axis_name=axis_name,
            **dropouts,  # pyright: ignore[reportArgumentType]
        )

    @property
    def edges(self) -> Edges:
        """`(predecessor, node)` of every row of `one_hot`."""
        return tuple((source, node) for node in range(1, self.nodes + 1) for source in range(node))

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """The genotype as a search keeps it: `{"recurrent": [pairs of nodes, activations], "first": [activations]}`.

        A row is that of `edges`; the row of a node's predecessor has a 1 at its activation.
        """
        self._check(genotype)
        assert isinstance(genotype, RecurrentGenotype)
        chosen = np.zeros((len(self.edges), len(self.activations)), np.float32)
        for node, (activation, source) in enumerate(genotype.recurrent, start=1):
            chosen[self.edges.index((source, node)), self.activations.index(activation)] = 1
        first = np.eye(len(self.activations), dtype=np.float32)[self.activations.index(genotype.first)]
        return {CELL: jnp.asarray(chosen), FIRST: jnp.asarray(first)}

    def network_input(self, op_weights: OpWeights) -> jax.Array:
        """The token list `[2 · nodes + 1]` of `one_hot`, which the supernet reads: node 0, then all other nodes."""
        p, tokens = jnp.asarray(op_weights[CELL]), [jnp.argmax(jnp.asarray(op_weights[FIRST]))]
        for node in range(1, self.nodes + 1):
            start = node * (node - 1) // 2
            tokens += jnp.divmod(jnp.argmax(p[start : start + node]), len(self.activations))
        return jnp.stack(tokens).astype(jnp.int32)

    def _check(self, genotype: Genotype) -> None:
        expected = f"a recurrent cell of {self.nodes} nodes behind node 0"
        if not isinstance(genotype, RecurrentGenotype) or len(genotype.recurrent) != self.nodes:
            raise UserError(f"{excerpt(genotype)} does not belong to space {self.name}; expected {expected}")
        like = self.genotype(genotype.recurrent, genotype.first if self.first else "tanh")
        if genotype.first != like.first:
            raise UserError(f"node 0 has {genotype.first}; in space {self.name} it has {like.first}")
        if sorted(genotype.concat) != sorted(like.concat):
            raise UserError(
                f"the output is the mean of the nodes {list(genotype.concat)}; in space {self.name} it is that of "
                f"{list(like.concat)}"
            )


@dataclass(frozen=True)
class DartsRecurrentSpace(RecurrentSpace):
    """The recurrent space of DARTS, with its relaxation: a row of alphas for each pair of nodes."""

    @property
    def tables(self) -> dict[str, OpTable]:
        """The candidate activations, none included, of every pair of nodes."""
        return {CELL: (RECURRENT_OPS,) * len(self.edges)}

    @property
    def alpha_shapes(self) -> dict[str, tuple[int, int]]:
        """`{"recurrent": (pairs of nodes, 5)}`: 36 rows for 8 nodes."""
        return {CELL: (len(self.edges), len(RECURRENT_OPS))}

    def init_alphas(self, key: jax.Array, scale: float = 1e-3) -> dict[str, jax.Array]:
        """Alphas drawn from N(0, scale²), float32 (under `jax_enable_x64` float64)."""
        return {CELL: scale * jax.random.normal(key, self.alpha_shapes[CELL])}

    def supernet(
        self,
        *,
        vocabulary: int,
        embedding: int = 300,
        units: int = 300,
        axis_name: str | None = None,
        **dropouts: float,
    ) -> RecurrentSupernet:
        """The weight-sharing language model, called as `(tokens, hidden, op_weights["recurrent"], train)`.

        `dropouts` are the attributes `dropout_…` of `RecurrentSupernet`. The sizes are those of the paper's search.
        """
        return RecurrentSupernet(
            vocabulary=vocabulary,
            embedding=embedding,
            units=units,
            steps=self.nodes,
            axis_name=axis_name,
            **dropouts,  # pyright: ignore[reportArgumentType]
        )

    def derive(self, op_weights: OpWeights) -> RecurrentGenotype:
        """For each node the predecessor with the largest weight of an activation but none, and that activation.

        Ties go to the lower index (code of Liu et al. 2019). Raises `UserError` for other shapes, NaN and infinite
        weights.
        """
        p = finite_weights(self, op_weights)[CELL][:, 1:]
        nodes = []
        for node in range(1, self.nodes + 1):
            rows = p[[row for row, edge in enumerate(self.edges) if edge[1] == node]]
            source = int(np.argmax(rows.max(1)))
            nodes.append((ACTIVATIONS[int(np.argmax(rows[source]))], source))
        return self.genotype(nodes)

    def one_hot(self, genotype: Genotype) -> OpWeights:
        """Op weights that switch on exactly the activations of `genotype` inside the supernet."""
        self._check(genotype)
        assert isinstance(genotype, RecurrentGenotype)
        p = np.zeros(self.alpha_shapes[CELL], np.float32)
        for node, (activation, source) in enumerate(genotype.recurrent, start=1):
            p[self.edges.index((source, node)), RECURRENT_OPS.index(activation)] = 1.0
        return {CELL: jnp.asarray(p)}

    def network_input(self, op_weights: OpWeights) -> jax.Array:
        """The op weights `[pairs of nodes, 5]`, which the supernet reads."""
        return jnp.asarray(op_weights[CELL])


darts_rnn = DartsRecurrentSpace("darts_rnn", 8, ACTIVATIONS, "nodes")
enas_rnn = RecurrentSpace("enas_rnn", 11, ENAS_FUNCTIONS, "loose_ends", first=True)
"""ENAS's space of 12 nodes, node 0 included."""
enas_lm_rnn = RecurrentSpace("enas_lm_rnn", 8, ENAS_LM_FUNCTIONS, "nodes")
"""The space of enas_lm, the corrected release of ENAS: the cells of `darts_rnn`."""
