"""Access to a search for analyses: pure losses and batches at a `SearchState`.

    run = live(config, state)
    hessian = alpha_hessian(run.loss(train=True), run.w, run.alphas, run.batches(4))

`jdarts.analysis.run_folders` opens the searches in run folders.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import spaces
from jdarts.analysis.dense_hessian import RelaxedLoss
from jdarts.analysis.examples import Examples, examples_of
from jdarts.config import Experiment
from jdarts.data import SearchData, load
from jdarts.data.text import TextData
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.hypergrad import Loss
from jdarts.networks.edges import EDGES_SUFFIX
from jdarts.schedules import clock_at
from jdarts.search.batches import Split
from jdarts.search.search import Search, make_search
from jdarts.search.state import SearchState
from jdarts.spaces.space import Space


@dataclasses.dataclass(frozen=True, eq=False)
class LiveSearch:
    """A search at one state, as analyses use it.

    Attributes:
      config, space, data: arguments with which the search was built.
      search: the pure functions of the search.
      state: weights, alphas and all else at one step.
    """

    config: Experiment
    space: Space
    data: SearchData | TextData
    search: Search
    state: SearchState

    @property
    def w(self) -> jax.Array:
        """The weights as one vector."""
        return self.state.weights

    def tree(self, vector: jax.Array) -> Any:
        """A vector like `w`, such as a gradient, as the tree of the supernet's parameters."""
        state: Any = self.state
        return self.search.variables(state.replace(weights=vector))["params"]

    @property
    def alphas(self) -> Any:
        """The alphas of the state."""
        return self.state.alphas

    @property
    def op_weights(self) -> Any:
        """The alphas relaxed without randomness, from which genotypes are derived."""
        return self.search.method.deterministic_weights(self.space, self.state.alphas)

    @property
    def genotype(self) -> Genotype:
        """The genotype that the method derives from the alphas."""
        return self.search.method.genotype(self.space, self.state.alphas)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self.state.step) // self.search.steps_per_epoch

    def at(self, state: SearchState) -> "LiveSearch":
        """The same search at another state; it uses the same compiled losses."""
        other = dataclasses.replace(self, state=state)
        other.__dict__["_losses"] = self._losses
        return other

    @functools.cached_property
    def _losses(self) -> dict:
        return {}

    def loss(self, *, train: bool, takes: Literal["alphas", "op_weights"] = "alphas") -> Loss:
        """`loss(w, alphas, batch) -> (cross-entropy, {"accuracy", "batch_stats"})`; equal calls return the same object.

        The relaxation is that of the method, with the key of the batch. With `train`, batch norm uses batch statistics,
        otherwise the running statistics `batch["batch_stats"]`. With `takes="op_weights"`, the second argument is the
        op weights of the network.
        """
        search, method, epochs = self.search, self.search.method, self.config.search.epochs

        def relax(alphas, batch):
            clock = clock_at(batch["step"], search.steps_per_epoch, epochs)
            return method.op_weights(search.space, alphas, batch["relax_key"], clock)

        def network(w, p, batch):
            return search.network_loss(w, p, batch, train)

        if takes == "op_weights":
            return self._losses.setdefault((train, takes), network)
        return self._losses.setdefault((train, takes), RelaxedLoss(relax, network, self._idle, self._nodes))

    @property
    def _idle(self) -> dict[str, np.ndarray]:
        """Masks of the op weights that the network ignores: those of `none`, unless edges run one sampled op."""
        if self.search.method.edge.sampled:
            return {}
        return {c: np.array([[op == "none" for op in ops] for ops in table]) for c, table in self.space.tables.items()}

    @property
    def _nodes(self) -> dict[str, tuple[int, ...]]:
        """The node that the edge of every row of the op weights enters."""
        targets = tuple(target for _, target in self.space.edges)
        return {name: targets for cell in self.space.tables for name in (cell, cell + EDGES_SUFFIX)}

    def batches(
        self, count: int, *, split: Split = "val", size: int | None = None, seed: int = 0, augmented: bool = False
    ) -> list[dict[str, Any]]:
        """`count` disjoint random batches of `size` images, or columns of text (default: the search's batch size).

        The same seed gives the same batches. Raises `UserError` if the split has too few examples.
        """
        size = size or self.config.search.batch_size
        key = jax.random.key(seed)
        rows = self.examples.rows(split, size, key)
        if not 1 <= count <= len(rows):
            raise UserError(
                f"{count} batches of {size} {self.examples.unit} from the {split} split, which has {len(rows)}; ask "
                "for fewer or smaller ones"
            )
        keys = jax.random.split(jax.random.fold_in(key, 1), count)
        return [self._batch(split, size, r, k, augmented) for r, k in zip(rows[:count], keys, strict=True)]

    def whole(self, split: Split = "val", *, size: int | None = None) -> list[dict[str, Any]]:
        """All whole batches of a split in file order, without augmentation."""
        size = size or self.config.search.batch_size
        if isinstance(self.data, SearchData):
            size = min(size, len(getattr(self.data, split)))
        rows = self.examples.rows(split, size, None)
        return [self._batch(split, size, r, jax.random.key(i), False) for i, r in enumerate(rows)]

    def last_alpha_batch(self, arrays: Any = None) -> dict[str, Any]:
        """The validation batch of the last alpha step, with the same augmentation (the choice of RobustDARTS).

        `arrays` are the arrays of that step (`jdarts.search.streams.last_arrays`), by default all images on the device.
        """
        state: Any = self.state
        before = state.replace(step=jnp.maximum(state.step - 1, 0))
        return self.search.draw(before, self.search.arrays if arrays is None else arrays)[-1]

    def _batch(self, split: Split, size: int, rows: np.ndarray, key: jax.Array, augmented: bool) -> dict[str, Any]:
        return {
            **self.examples.batch(split, size, rows, key, augmented),
            "key": jax.random.fold_in(key, 1),
            "relax_key": jax.random.fold_in(key, 2),
            "batch_stats": self.state.batch_stats,
            "step": self.state.step,
        }

    @functools.cached_property
    def examples(self) -> Examples:
        """The examples of both splits."""
        return examples_of(self.config, self.data, self.space)


def live(config: Experiment, state: SearchState, *, data: SearchData | None = None) -> LiveSearch:
    """The `LiveSearch` of a state reached with `config`; `data` defaults to the data that the configuration names."""
    space = spaces.configured(config.space)
    data = data or load(config.data).for_search(config.data)
    return LiveSearch(config, space, data, make_search(config, space, data), state)
