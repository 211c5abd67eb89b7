"""Typed experiment configuration: frozen dataclasses, validated at construction.

A file in `configs/` holds data only: one module-level `config = Experiment(...)`. Every value can be overridden on
the command line (`--search.epochs 3`). Wrong values raise `UserError` (a `ValueError`) naming field, value and remedy
before anything is compiled. `jdarts.methods.loading` checks the names of method and space,
and the options of the method. Epochs, batch sizes and image sizes are counts; learning rates and decays
apply per step.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from jdarts.config import own_estimators
from jdarts.config.language import LanguageSearchConfig, LanguageTrainConfig
from jdarts.config.ranges import (
    Cells,
    Channels,
    CheckpointCount,
    CountOrOff,
    Epochs,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    Range,
    check_fields,
)
from jdarts.config.section import Section
from jdarts.config.training import BatchSize, SGDConfig, TrainConfig, check_microbatches, even, require


@dataclass(frozen=True)
class DataConfig(Section):
    """The images, their splits and their augmentation."""

    source: str = "digits"
    """Source: digits | tfds:NAME | cifar10 | cifar100 | folder | table | npz | synthetic:HxWxC:CLASSES:IMAGES; or, read
    in batches, stream:folder | stream:tfds:NAME; or, for detection, coco; or, for recurrent cells, ptb | wikitext2 |
    text."""
    path: str = ""
    """File or directory of the source (TFDS data directory, CIFAR folder or tar archive, image folder, .npz, folder of
    a text)."""
    train_fraction: Annotated[float, Range(above=0, most=1)] = 0.5
    """Share of the training images that trains the weights; taken from the front, in file order (streamed: from every
    class)."""
    val_fraction: Fraction = 0.5
    """Share of the training images that trains the alphas; taken from the back. Single-level methods train weights and
    alphas on one batch: they may use 1.0 and 0.0, or hold out a share that is only reported."""
    own_validation: bool = True
    """Train the alphas on the validation split of the source, if it has one (npz: x_val, y_val; folder, streamed or
    not: val/ next to test/; tfds: validation next to test). The images that val_fraction would hold out then stay in
    the training half. false ignores that split. It is not used where val_fraction is 0, nor for streamed TFDS."""
    shuffle: Annotated[int, Range(0)] | None = None
    """Seed of a permutation of the training images before `limit` and the splits apply (streamed: of the images drawn
    from each class). None keeps the order of the source."""
    stratify: bool = False
    """Order the training images so that every part of them has the classes in the same proportions, before `limit` and
    the splits apply. Streamed images are always split class by class."""
    limit: Annotated[int, Range(2)] | None = None
    """Use only this many of the first training images, before splitting; None uses all."""
    remap_labels: bool = False
    """Number the labels that occur in the training images 0 to K-1, in sorted order, and keep the old labels as class
    names. Otherwise whole-number labels must already be 0 to K-1."""
    color: Literal["rgb", "gray"] | None = None
    """Convert every image to RGB or to gray (ITU-R 601 luma). Transparent pixels are laid over white, 16-bit ones
    rounded to 8 bits. None keeps 8-bit gray and RGB images and refuses others. Streamed images are always RGB."""
    shrink: PositiveInt = 1
    """Average squares of this many pixels a side into one pixel: 2 turns CIFAR's 32x32 into 16x16 images; 1 is off."""
    crop_padding: CountOrOff = 4
    """Random crop: pixels of black padding on each side; 0 switches cropping off."""
    flip: bool = True
    """Random horizontal flip."""
    search_cutout: CountOrOff = 0
    """Cutout square side in pixels while searching; 0 is off."""
    image_size: Annotated[int | tuple[int, int], Range(1, 65_536)] | None = None
    """Side of the images in pixels, or height,width. Each image is scaled (bilinear, with antialiasing) until it covers
    that size, and its centre is cut out. None keeps the size of the source. Streamed images are cropped at random and
    resized to squares of that side; for them None means 224. For the source coco, the most of the longer and of the
    shorter side; None means 1333,800."""
    resize: Annotated[int, Range(1, 65_536)] | None = None
    """A training evaluates streamed images after scaling their shorter side to this many pixels and cutting out the
    centre, of image_size (ImageNet: 256 for 224). None scales the largest square in the centre to image_size."""
    read_threads: Annotated[int, Range(0, 1_024)] = 16
    """Threads of each process that read and decode image files; 0 uses only the main thread."""

    def __post_init__(self):
        check_fields(self, "data.")
        require(
            self.val_fraction > 0 or not self.source.startswith("stream:"),
            "data.val_fraction is 0, but streamed searches need validation images; use e.g. 0.025",
        )
        total = self.train_fraction + self.val_fraction
        require(
            total <= 1 + 1e-9,
            f"data.train_fraction + data.val_fraction is {total:g}; the two splits are disjoint, "
            "so the sum must be at most 1",
        )
        if self.source.startswith("stream:"):
            self._check_streamed()

    def _check_streamed(self) -> None:
        """Refuse options that streamed images do not support."""
        require(self.shrink == 1, f"data.shrink is {self.shrink}; set data.image_size instead for streamed images")
        require(self.color != "gray", "data.color is 'gray', but streamed images are always RGB; leave it out")
        side = self.image_size
        require(
            not isinstance(side, tuple) or side[0] == side[1],
            f"data.image_size is {side}, but streamed images are square; give one side",
        )
        require(
            (self.resize or self.streamed_side) >= self.streamed_side,
            f"data.resize is {self.resize}, below the image_size of {self.streamed_side} that is cut out; use more",
        )

    @property
    def streamed_side(self) -> int:
        """Side in pixels of streamed images."""
        return self.image_size[0] if isinstance(self.image_size, tuple) else self.image_size or 224


@dataclass(frozen=True)
class SpaceConfig(Section):
    """The search space and the size of its supernet."""

    name: str = "darts_cnn"
    """A registered search space (`jdarts spaces` lists them), or a file that defines one: path/to/space.py."""
    channels: Channels = 16
    """Channels of the first cell (even). Mobile spaces: no effect, their widths are fixed."""
    cells: Cells = 8
    """Number of cells; those at cells//3 and 2*cells//3 halve the image. nasbench201: cells per stage (5). enas_macro
    and mobile spaces: no effect, they have their own number of layers."""
    shared: bool = True
    """Share the alphas among all cells of a kind. false gives each cell alphas of its own, and the genotype a cell for
    every position, so that train.cells must be the number of cells. For DARTS cells and nasbench201."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """The layers in front of the cells of a DARTS supernet: cifar keeps the size of the image; imagenet, for images of
    64 pixels and more, divides its sides by 8."""

    def __post_init__(self):
        check_fields(self, "space.")
        even("space.channels", self.channels)


@dataclass(frozen=True)
class AdamConfig(Section):
    """Adam with coupled L2 (decay added to the gradient, not AdamW), as in the DARTS code; or SGD with coupled L2."""

    learning_rate: Positive = 3e-4
    b1: Fraction = 0.5
    """Decay of the first moment; of SGD the momentum."""
    b2: Fraction = 0.999
    """Decay of the second moment."""
    weight_decay: NonNegative = 1e-3
    gradient_clip: NonNegative = 0.0
    """Global-norm threshold applied before weight decay; 0 switches clipping off."""
    kind: Literal["adam", "sgd"] = "adam"
    """sgd: gradient descent at a constant learning rate, as in Single-DARTS' ablation; b1 and b2 then have no
    effect."""
    momentum: Fraction = 0.0
    """Momentum of sgd."""

    def __post_init__(self):
        check_fields(self)
        require(
            self.kind == "sgd" or self.momentum == 0,
            f"momentum is {self.momentum:g}, which adam does not have; leave it out, or set kind to sgd",
        )
        require(
            self.kind == "adam" or (self.b1, self.b2) == (0.5, 0.999),
            f"b1 and b2 are {self.b1:g} and {self.b2:g}, which sgd does not have; leave them at 0.5 and 0.999",
        )


@dataclass(frozen=True)
class SearchConfig(Section):
    """The search: its method, optimisers and length. The defaults are those of DARTS."""

    method: str = "darts"
    """A registered method (`jdarts methods` lists them), or several to compose: pc_darts+darts_minus."""
    method_options: tuple[str, ...] = ()
    """Options of the method, each as option=value; a value may be a list: cells=5,11,17,frozen=10."""
    epochs: Epochs = 50
    batch_size: BatchSize = 64
    """Images per step, for both the weight batch and the alpha batch; fairnas divides them among its paths."""
    hypergradient: str | None = None
    """Estimator of the alphas' gradient (`jdarts.hypergrad`), or a function of your own; None is the method's choice,
    for DARTS unrolled. first_order: xi = 0. single_level: the training batch for both. unrolled: exact second order
    through the real optimiser step. look_back: the same, but the weights move first, by the step that is
    differentiated; it costs one gradient less."""
    hypergradient_options: tuple[str, ...] = ()
    """Options of the estimator, each as option=value."""
    unroll_steps: Annotated[int, Range(1, 1_000)] = 1
    """Optimiser steps that unrolled looks ahead, each on its own training batch; the weights then take only one."""
    hypergradient_terms: Annotated[int, Range(0, 10_000, note="0 is first order")] = 3
    """Terms of Neumann's series, or iterations of conjugate gradients (also of implicit and warm_started)."""
    virtual_clip: bool = True
    """Clip the gradient in the virtual step of unrolled and finite_difference, as the real step does. The DARTS
    authors' code does not clip there: to reproduce it, use false, finite_difference and alpha_step_moves_statistics."""
    alpha_step_moves_statistics: bool = False
    """Let the forward passes of the alpha step also move the running averages of batch norm, as in the DARTS authors'
    code; only for first_order and finite_difference."""
    microbatches: PositiveInt = 1
    """Equal parts of each batch that are computed one after the other; batch norm sees one part at a time."""
    activations: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the network. bfloat16 is for accelerators; statistics of batch norm, losses, weights, alphas and
    all operations on gradients stay in float32."""
    remat: bool = False
    """Recompute the activations of a cell for its gradient instead of keeping them: less memory, more time."""
    weight_optimizer: SGDConfig = field(default_factory=SGDConfig)
    alpha_optimizer: AdamConfig = field(default_factory=AdamConfig)
    benchmark_table: str = ""
    """A table of NAS-Bench-201 or NAS-Bench-Macro (`jdarts.benchmarks`) in which to look up every epoch's genotype."""
    alpha_init_scale: NonNegative = 1e-3
    """Standard deviation of the initial alphas."""
    checkpoint_every: PositiveInt = 1
    """Save the whole state every N epochs."""
    checkpoint_every_steps: CountOrOff = 0
    """Also save every N steps inside an epoch; 0 is off."""
    keep_checkpoints: CheckpointCount = 3
    hessian_every: CountOrOff = 0
    """Measure the exact alpha-Hessian's eigenvalues every N epochs and after the last; 0 is off."""

    def __post_init__(self):
        object.__setattr__(self, "hypergradient", own_estimators.name_of(self.hypergradient))
        check_fields(self, "search.")
        require(
            self.unroll_steps == 1 or self.hypergradient in ("unrolled", None),
            f"search.unroll_steps is {self.unroll_steps} with hypergradient {self.hypergradient!r}; "
            "only unrolled looks more than one step ahead",
        )
        check_microbatches("search", self.microbatches, self.batch_size)


@dataclass(frozen=True)
class DevicesConfig(Section):
    """The devices of searches and trainings; results depend on them only through the order of sums."""

    backend: Literal["auto", "jit", "shard_map", "pmap"] = "auto"
    """auto: jit on one device, shard_map on more."""
    data: Annotated[int, Range(0, note="0 is all devices")] = 0
    """Replicas that share each batch; 0 uses all devices (divided by seed)."""
    seed: PositiveInt = 1
    """Groups of devices that share the searches of --seeds and --sweep."""
    members: Literal["auto", "vmap", "in_turn"] = "auto"
    """Sharing of one device by several searches. vmap: every operation serves all of them. in_turn: one compiled step
    is called for each search, which then computes the same bits as it would alone. auto: in_turn on a CPU, vmap
    elsewhere."""
    check_replicas_every: CountOrOff = 0
    """Compare all copies of the state bit for bit every N steps; 0 is off."""

    def __post_init__(self):
        check_fields(self, "devices.")


@dataclass(frozen=True)
class Experiment(Section):
    """One experiment: data, space, search, retraining, devices."""

    name: str = "experiment"
    """Name of the run folder: runs/NAME."""
    seed: Annotated[int, Range(0)] = 0
    data: DataConfig = field(default_factory=DataConfig)
    space: SpaceConfig = field(default_factory=SpaceConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    devices: DevicesConfig = field(default_factory=DevicesConfig)
    language_search: LanguageSearchConfig = field(default_factory=LanguageSearchConfig)
    language_train: LanguageTrainConfig = field(default_factory=LanguageTrainConfig)

    def __post_init__(self):
        check_fields(self)
        ok = self.name and all(c.isalnum() or c in "-_." for c in self.name) and self.name[0] != "."
        require(bool(ok), f"name is {self.name!r}; use letters, digits, '-', '_' and '.'")


def as_dict(config: Experiment) -> dict:
    """The configuration as nested plain dicts, ready for JSON."""
    return dataclasses.asdict(config)
