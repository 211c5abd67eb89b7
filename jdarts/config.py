"""Typed experiment configuration: frozen dataclasses, validated at construction.

A file in `configs/` holds data only: one module-level `config = Experiment(...)`. Every value can be overridden on
the command line (`--search.epochs 3`). Wrong values raise `UserError` (a `ValueError`) naming field, value and remedy
before anything is compiled. Epochs, batch sizes and image sizes are counts; learning rates and decays are per step.
"""

import copy
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from jdarts.errors import UserError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


@dataclass(frozen=True)
class DataConfig:
    """Which images, how they are split, and how they are augmented."""

    source: str = "digits"
    """What to load: digits | tfds:NAME | cifar10 | cifar100 | folder | npz | synthetic:HxWxC:CLASSES:IMAGES; or, read a
    batch at a time, stream:folder | stream:tfds:NAME."""
    path: str = ""
    """File or directory of the source (TFDS data directory, CIFAR folder or tar archive, image folder, .npz)."""
    train_fraction: float = 0.5
    """Share of the training images that trains the weights; taken from the front, in file order (streamed: of every
    class)."""
    val_fraction: float = 0.5
    """Share of the training images that trains the alphas; taken from the back. Single-level methods take weights and
    alphas from one batch: they may use 1.0 and 0.0, or hold a share out that is only reported."""
    limit: int | None = None
    """Use only the first so many training images before splitting; None uses all."""
    shrink: int = 1
    """Average squares of so many pixels a side into one: 2 makes 16x16 images of CIFAR's 32x32. 1 leaves them."""
    crop_padding: int = 4
    """Random crop: pixels of black padding on each side; 0 switches cropping off."""
    flip: bool = True
    """Random horizontal flip."""
    search_cutout: int = 0
    """Cutout square side in pixels while searching; 0 is off."""
    image_size: int = 224
    """Side in pixels that streamed images are cropped and resized to; other sources keep their size."""
    read_threads: int = 16
    """Threads of each process that read and decode streamed images."""

    def __post_init__(self):
        _require(self.image_size >= 1, f"data.image_size is {self.image_size}; use at least 1 pixel")
        _require(self.read_threads >= 0, f"data.read_threads is {self.read_threads}; use 0 (none beside) or more")
        _require(
            0 < self.train_fraction <= 1,
            f"data.train_fraction is {self.train_fraction}; it must be above 0 and at most 1",
        )
        _require(0 <= self.val_fraction < 1, f"data.val_fraction is {self.val_fraction}; it must lie in [0, 1)")
        _require(
            self.val_fraction > 0 or not self.source.startswith("stream:"),
            "data.val_fraction is 0, but streamed searches need validation images; use e.g. 0.025",
        )
        total = self.train_fraction + self.val_fraction
        _require(
            total <= 1 + 1e-9,
            f"data.train_fraction + data.val_fraction is {total:g}; the two splits are disjoint, "
            "so the sum must be at most 1",
        )
        _require(
            self.limit is None or self.limit >= 2,
            f"data.limit is {self.limit}; use at least 2 images or None",
        )
        _require(self.shrink >= 1, f"data.shrink is {self.shrink}; use 1 (images as they are) or more")
        _require(self.crop_padding >= 0, f"data.crop_padding is {self.crop_padding}; use 0 or more pixels")
        _require(self.search_cutout >= 0, f"data.search_cutout is {self.search_cutout}; use 0 or more pixels")


@dataclass(frozen=True)
class SpaceConfig:
    """The search space and the size of its supernet."""

    name: str = "darts_cnn"
    """A registered search space (`jdarts spaces` lists them), or a file that defines one: path/to/space.py."""
    channels: int = 16
    """Channels of the first cell (even)."""
    cells: int = 8
    """Number of cells; those at cells//3 and 2*cells//3 reduce the image by two. nasbench201: cells a stage (5)."""

    def __post_init__(self):
        _require(
            self.channels > 0 and self.channels % 2 == 0,
            f"space.channels is {self.channels}; FactorizedReduce needs an even, positive number",
        )
        _require(self.cells >= 1, f"space.cells is {self.cells}; use at least 1")


@dataclass(frozen=True)
class SGDConfig:
    """PyTorch-order SGD: clip, coupled weight decay, momentum, learning rate (cosine, constant inside an epoch)."""

    learning_rate: float = 0.025
    learning_rate_min: float = 0.001
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    """Global-norm threshold applied before weight decay; 0 switches clipping off."""

    def __post_init__(self):
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it must be positive")
        _require(
            0 <= self.learning_rate_min <= self.learning_rate,
            f"learning_rate_min is {self.learning_rate_min}; it must lie between 0 and learning_rate "
            f"({self.learning_rate})",
        )
        _require(0 <= self.momentum < 1, f"momentum is {self.momentum}; it must lie in [0, 1)")
        _require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it must be 0 or more")
        _require(self.gradient_clip >= 0, f"gradient_clip is {self.gradient_clip}; use 0 (off) or more")


@dataclass(frozen=True)
class AdamConfig:
    """Adam with coupled L2 (decay added to the gradient, not AdamW), as in the DARTS code."""

    learning_rate: float = 3e-4
    b1: float = 0.5
    b2: float = 0.999
    weight_decay: float = 1e-3
    gradient_clip: float = 0.0
    """Global-norm threshold applied before weight decay; 0 switches clipping off."""

    def __post_init__(self):
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it must be positive")
        for name in ("b1", "b2"):
            _require(0 <= getattr(self, name) < 1, f"{name} is {getattr(self, name)}; it must lie in [0, 1)")
        _require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it must be 0 or more")
        _require(self.gradient_clip >= 0, f"gradient_clip is {self.gradient_clip}; use 0 (off) or more")


@dataclass(frozen=True)
class SearchConfig:
    """How to search: the method, its optimisers and its length. The defaults are those of DARTS."""

    method: str = "darts"
    """A registered method (`jdarts methods` lists them), or several to compose: pc_darts+darts_minus."""
    method_options: tuple[str, ...] = ()
    """Options of the method, each as option=value."""
    epochs: int = 50
    batch_size: int = 64
    """Images a step, for the weight batch and for the alpha batch alike."""
    hypergradient: (
        Literal[
            "first_order", "single_level", "unrolled", "finite_difference", "neumann", "conjugate_gradient", "amended"
        ]
        | None
    ) = None
    """How the alphas' gradient is computed (`jdarts.hypergrad`); None is what the method says, for DARTS unrolled.
    first_order: xi = 0. single_level: the training batch for both. unrolled: exact second order through the real
    optimiser step."""
    unroll_steps: int = 1
    """Optimiser steps that unrolled looks ahead, each on its own training batch; the weights then take the first."""
    hypergradient_terms: int = 3
    """Terms of Neumann's series, or iterations of the conjugate gradients."""
    virtual_clip: bool = True
    """Whether the virtual step of unrolled and finite_difference clips the gradient, as the real step does. The DARTS
    authors' code does not clip there: use false, finite_difference and alpha_step_moves_statistics to repeat it."""
    alpha_step_moves_statistics: bool = False
    """Whether the forward passes of the alpha step, too, move the running averages of batch norm, as in the DARTS
    authors' code; only for first_order and finite_difference."""
    microbatches: int = 1
    """Equal parts of each batch that are computed one after the other; batch norm sees one part at a time."""
    activations: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the network. bfloat16 is for accelerators; statistics of batch norm, losses, weights, alphas and
    all that is done with gradients stay in float32."""
    remat: bool = False
    """Compute the activations of a cell again when its gradient is, instead of keeping them: less memory, more time."""
    weight_optimizer: SGDConfig = field(default_factory=SGDConfig)
    alpha_optimizer: AdamConfig = field(default_factory=AdamConfig)
    benchmark_table: str = ""
    """A table of NAS-Bench-201 (`jdarts.benchmarks.nasbench201`): look up every epoch's genotype in it."""
    alpha_init_scale: float = 1e-3
    """Standard deviation of the initial alphas."""
    checkpoint_every: int = 1
    """Save the whole state every so many epochs."""
    checkpoint_every_steps: int = 0
    """Also save every so many steps inside an epoch; 0 is off."""
    keep_checkpoints: int = 3
    hessian_every: int = 0
    """Measure the exact alpha-Hessian's eigenvalues every so many epochs and after the last; 0 is off."""

    def __post_init__(self):
        _require(self.epochs >= 1, f"search.epochs is {self.epochs}; use at least 1")
        _require(self.batch_size >= 2, f"search.batch_size is {self.batch_size}; batch norm needs at least 2")
        _require(self.unroll_steps >= 1, f"search.unroll_steps is {self.unroll_steps}; use at least 1")
        if self.method != "darts" or self.method_options:
            from jdarts.methods import build  # imports JAX, which a plain configuration does without

            build(self.method, self.method_options)
        _require(
            self.unroll_steps == 1 or self.hypergradient in ("unrolled", None),
            f"search.unroll_steps is {self.unroll_steps} with hypergradient {self.hypergradient!r}; "
            "only unrolled looks more than one step ahead",
        )
        _require(
            self.hypergradient_terms >= 0,
            f"search.hypergradient_terms is {self.hypergradient_terms}; use 0 (first order) or more",
        )
        _require(self.microbatches >= 1, f"search.microbatches is {self.microbatches}; use at least 1")
        _require(
            self.batch_size % self.microbatches == 0 and self.batch_size // self.microbatches >= 2,
            f"search.microbatches is {self.microbatches} with batch_size {self.batch_size}; "
            "use a number that divides it into parts of at least 2",
        )
        _require(self.alpha_init_scale >= 0, f"search.alpha_init_scale is {self.alpha_init_scale}; use 0 or more")
        _require(self.checkpoint_every >= 1, f"search.checkpoint_every is {self.checkpoint_every}; use at least 1")
        _require(
            self.checkpoint_every_steps >= 0,
            f"search.checkpoint_every_steps is {self.checkpoint_every_steps}; use 0 (off) or more",
        )
        _require(self.keep_checkpoints >= 2, f"search.keep_checkpoints is {self.keep_checkpoints}; keep at least 2")
        _require(self.hessian_every >= 0, f"search.hessian_every is {self.hessian_every}; use 0 (off) or more epochs")


@dataclass(frozen=True)
class TrainConfig:
    """Training a derived network from scratch (DARTS evaluation protocol, CIFAR)."""

    epochs: int = 600
    batch_size: int = 96
    channels: int = 36
    cells: int = 20
    optimizer: SGDConfig = field(default_factory=lambda: SGDConfig(learning_rate_min=0.0))
    auxiliary_weight: float = 0.4
    """Weight of the auxiliary head's loss; 0 removes the head."""
    drop_path: float = 0.2
    """Drop-path probability at the last epoch; grows linearly from 0."""
    cutout: int = 16
    """Cutout square side in pixels; 0 is off."""
    val_fraction: float = 0.0
    """Share of the training images (from the back) held out for monitoring; 0 trains on all of them."""
    label_smoothing: float = 0.0
    random_cells: int = 1
    """Random cells that `jdarts run` trains beside the found one; several are reported as mean ± standard deviation."""
    activations: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the network while it trains. bfloat16 is for accelerators; statistics of batch norm, losses,
    weights and their updates stay in float32, and so do all evaluations."""
    checkpoint_every: int = 1
    keep_checkpoints: int = 3

    def __post_init__(self):
        _require(self.epochs >= 1, f"train.epochs is {self.epochs}; use at least 1")
        _require(self.batch_size >= 2, f"train.batch_size is {self.batch_size}; batch norm needs at least 2")
        _require(
            self.channels > 0 and self.channels % 2 == 0,
            f"train.channels is {self.channels}; FactorizedReduce needs an even, positive number",
        )
        _require(self.cells >= 1, f"train.cells is {self.cells}; use at least 1")
        _require(0 <= self.drop_path < 1, f"train.drop_path is {self.drop_path}; it must lie in [0, 1)")
        _require(self.auxiliary_weight >= 0, f"train.auxiliary_weight is {self.auxiliary_weight}; use 0 or more")
        _require(0 <= self.val_fraction < 1, f"train.val_fraction is {self.val_fraction}; it must lie in [0, 1)")
        _require(0 <= self.label_smoothing < 1, f"train.label_smoothing is {self.label_smoothing}; use [0, 1)")
        _require(self.random_cells >= 1, f"train.random_cells is {self.random_cells}; use at least 1")
        _require(self.cutout >= 0, f"train.cutout is {self.cutout}; use 0 or more pixels")
        _require(self.checkpoint_every >= 1, f"train.checkpoint_every is {self.checkpoint_every}; use at least 1")
        _require(self.keep_checkpoints >= 2, f"train.keep_checkpoints is {self.keep_checkpoints}; keep at least 2")


@dataclass(frozen=True)
class DevicesConfig:
    """On which devices a search runs; results do not depend on it, beyond the order in which sums are made."""

    backend: Literal["auto", "jit", "shard_map", "pmap"] = "auto"
    """auto: jit on one device, shard_map on more."""
    data: int = 0
    """Replicas that share each batch; 0 takes all devices (divided by seed)."""
    seed: int = 1
    """Groups of devices that share the searches of --seeds and --sweep."""
    members: Literal["auto", "vmap", "in_turn"] = "auto"
    """How several searches share one device. vmap: every operation serves all of them. in_turn: one compiled step,
    called for each; a lone search and a member then compute the same bits. auto: in_turn on a CPU, vmap elsewhere."""
    check_replicas_every: int = 0
    """Compare all copies of the state bit for bit every so many steps; 0 is off."""

    def __post_init__(self):
        _require(self.data >= 0, f"devices.data is {self.data}; use 0 (all devices) or more")
        _require(self.seed >= 1, f"devices.seed is {self.seed}; use at least 1")
        _require(
            self.check_replicas_every >= 0,
            f"devices.check_replicas_every is {self.check_replicas_every}; use 0 (off) or more steps",
        )


@dataclass(frozen=True)
class Experiment:
    """One experiment: data, space, search, retraining, devices."""

    name: str = "experiment"
    """Names the run folder: runs/NAME."""
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    space: SpaceConfig = field(default_factory=SpaceConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    devices: DevicesConfig = field(default_factory=DevicesConfig)

    def __post_init__(self):
        ok = self.name and all(c.isalnum() or c in "-_." for c in self.name) and self.name[0] != "."
        _require(bool(ok), f"name is {self.name!r}; use letters, digits, '-', '_' and '.'")
        _require(0 <= self.seed < 2**31, f"seed is {self.seed}; use 0 <= seed < 2**31")


def unchecked(section: Any, **fields: Any) -> Any:
    """`section` with other values in some fields, its rules not applied: they cannot look into a traced array."""
    changed = copy.copy(section)
    for name, value in fields.items():
        object.__setattr__(changed, name, value)
    return changed


def is_off(value: Any) -> bool:
    """Whether a hyper-parameter is the number 0, which switches something off while a step is built.

    The traced array of a sweep never is, because it holds one number for each search.
    """
    return isinstance(value, (int, float)) and value == 0


def as_dict(config: Experiment) -> dict:
    """The configuration as nested plain dicts, ready for JSON."""
    return dataclasses.asdict(config)
