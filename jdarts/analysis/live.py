"""Access to a search for analyses: pure losses and batches, from a live `SearchState` or from a run folder.

live = open_run("runs/darts_cifar10")                      # the newest checkpoint
hessian = alpha_hessian(live.loss(train=True), live.w, live.alphas, live.batches(4))
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import hypergrad, spaces
from jdarts.analysis.dense_hessian import RelaxedLoss
from jdarts.config import Experiment, user_files
from jdarts.config.files import from_json
from jdarts.data import Augmentation, SearchData, load
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.hypergrad import Loss
from jdarts.methods import Method, registry
from jdarts.networks.edges import EDGES_SUFFIX
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import CONFIG, RunFolder
from jdarts.schedules import clock_at
from jdarts.search.batches import Split
from jdarts.search.search import Search, make_search
from jdarts.search.state import SearchState
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.nasbench201 import NASBench201Space
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
    data: SearchData
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
        """`count` disjoint random batches of `size` images (default: the search's batch size).

        The same seed gives the same batches. Raises `UserError` if the split has too few images.
        """
        size = size or self.config.search.batch_size
        images = getattr(self.data, split).images
        if count < 1 or count * size > len(images):
            raise UserError(
                f"{count} batches of {size} from the {len(images)} images of the {split} split; "
                f"ask for 1 to {len(images) // size}"
            )
        key = jax.random.key(seed)
        rows = np.asarray(jax.random.permutation(key, len(images)))[: count * size].reshape(count, size)
        keys = jax.random.split(jax.random.fold_in(key, 1), count)
        return [self._batch(split, r, k, augmented) for r, k in zip(rows, keys, strict=True)]

    def whole(self, split: Split = "val", *, size: int | None = None) -> list[dict[str, Any]]:
        """All whole batches of a split in file order, without augmentation."""
        size = min(size or self.config.search.batch_size, len(getattr(self.data, split)))
        n = len(getattr(self.data, split)) // size
        rows = np.arange(n * size).reshape(n, size)
        return [self._batch(split, r, jax.random.key(i), False) for i, r in enumerate(rows)]

    def last_alpha_batch(self, arrays: Any = None) -> dict[str, Any]:
        """The validation batch of the last alpha step, with the same augmentation (the choice of RobustDARTS).

        `arrays` are the arrays of that step (`jdarts.search.streams.last_arrays`), by default all images on the device.
        """
        state: Any = self.state
        before = state.replace(step=jnp.maximum(state.step - 1, 0))
        return self.search.draw(before, self.search.arrays if arrays is None else arrays)[-1]

    def _batch(self, split: Split, rows: np.ndarray, key: jax.Array, augmented: bool) -> dict[str, Any]:
        images = getattr(self.data, split)
        settings = self.config.data
        augmentation = Augmentation(
            mean=self.data.mean,
            std=self.data.std,
            crop_padding=settings.crop_padding if augmented else 0,
            flip=settings.flip and augmented,
            cutout=settings.search_cutout if augmented else 0,
        )
        return {
            "images": augmentation(key, jnp.asarray(images.images[rows])),
            "labels": jnp.asarray(images.labels[rows]),
            "key": jax.random.fold_in(key, 1),
            "relax_key": jax.random.fold_in(key, 2),
            "batch_stats": self.state.batch_stats,
            "step": self.state.step,
        }


def live(config: Experiment, state: SearchState, *, data: SearchData | None = None) -> LiveSearch:
    """The `LiveSearch` of a state reached with `config`; `data` defaults to the data that the configuration names."""
    space = spaces.get(config.space.name)
    data = data or load(config.data).for_search(config.data)
    return LiveSearch(config, space, data, make_search(config, space, data), state)


def open_run(
    path: str | Path, *, imports: Sequence[str | Path] = (), warn: Callable[[str], None] | None = None
) -> LiveSearch:
    """The search in a run folder (or in its `search` subfolder) at its newest readable checkpoint.

    The files in `imports` are executed first. If the user's method or space is still unknown, the file that defined it
    is executed, unless it has changed since the run started (`jdarts.config.user_files`).

    `warn` receives a line for each damaged checkpoint that is skipped (default: a Python warning). Raises `UserError`
    for a folder without a run or a checkpoint, for a configuration or checkpoint of another version, and for damaged
    files.
    """
    folder = find_run(path)
    config = read_config(folder)
    checkpoints = search_folder(folder).checkpoints_dir
    if not checkpoints.is_dir() or not any(entry.name.isdigit() for entry in checkpoints.iterdir()):
        raise UserError(f"run {folder} has no checkpoint of a search yet; analyse it after its first epoch")
    given = [vars(user_files.run(path)).get("space") for path in imports]
    known_method(folder, config)
    own = [space for space in given if isinstance(space, (CellSpace, NASBench201Space))]
    space = own[0] if own and config.space.name.endswith(".py") else known_space(folder, config)
    data = load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    like = jax.eval_shape(search.init, jax.random.key(0))
    with Checkpoints(checkpoints, warn=warn, read_only=True) as saved:
        restored = saved.restore_latest(like)
    if restored is None:
        raise UserError(f"run {folder} has no checkpoint of a search yet; analyse it after its first epoch")
    return LiveSearch(config, space, data, search, restored.state)


def known_method(folder: Path, config: Experiment) -> Method:
    """The method of a run; if this process does not know it, the user's unchanged file is executed first.

    Raises `UserError` if the file has changed or is gone, or if no file defines the method.
    """
    for part in registry.unknown_parts(config.search.method):
        user_files.run(user_files.original(folder, f"method {part!r}"))
    name = config.search.hypergradient
    if name is not None and not hypergrad.is_known(name):
        user_files.run(user_files.original(folder, f"hypergradient {name!r}"))
    return registry.build(config.search.method, config.search.method_options)


def known_space(folder: Path, config: Experiment) -> Space:
    """The space of a run; like `known_method`, it may execute the user's unchanged file."""
    name = config.space.name
    what = f"space {name!r}"
    if name.endswith(".py"):
        return spaces.get(str(user_files.original(folder, what)))
    if name not in spaces.names() and user_files.has_record(folder):
        user_files.run(user_files.original(folder, what))
    return spaces.get(name)


def find_run(path: str | Path) -> Path:
    """The run folder at `path` (also given as its `search` subfolder); `UserError` if there is none."""
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UserError(f"run folder {path} {what}; give the folder that jdarts run or jdarts search wrote")
    for folder in (path, path.parent):
        if (folder / CONFIG).is_file():
            return folder
    raise UserError(f"{path} is not a run folder (it has no {CONFIG}); give the folder that jdarts run wrote")


def read_config(folder: Path) -> Experiment:
    """The stored configuration of a run; `UserError` if it is damaged or of another version."""
    try:
        text = (folder / CONFIG).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from None
    try:
        return from_json(text)
    except UserError as error:
        reason = "is half written or damaged" if "not a JSON" in str(error) else "is of another version of jdarts"
        raise UserError(f"{folder / CONFIG} {reason}: {error}") from None


def search_folder(folder: Path) -> RunFolder:
    """The folder with the records of a run's search: the subfolder `search`, or the run folder itself."""
    return RunFolder(folder / "search" if (folder / "search").is_dir() else folder)
