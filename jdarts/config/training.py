"""The settings of a training from scratch, and of SGD."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

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
from jdarts.errors import UserError

BatchSize = Annotated[int, Range(2, 1_000_000, note="batch norm needs 2")]
PYRAMID_CHANNELS = 256
"""Of RetinaNet (Lin et al. 2017, arXiv:1708.02002)."""
LAST_EPOCHS = 5
"""Epochs in which the linear schedule falls more slowly."""


def require(condition: bool, message: str) -> None:
    """Raise `UserError` unless the condition holds."""
    if not condition:
        raise UserError(message)


def check_microbatches(section: str, microbatches: int, batch_size: int) -> None:
    """Raise `UserError` unless the batch has equal parts of at least 2."""
    require(
        batch_size % microbatches == 0 and batch_size // microbatches >= 2,
        f"{section}.microbatches is {microbatches} with batch_size {batch_size}; "
        "use a number that divides it into parts of at least 2",
    )


def even(name: str, channels: int) -> None:
    """Raise `UserError` for an odd number of channels."""
    require(channels % 2 == 0, f"{name} is {channels}; FactorizedReduce needs an even, positive number")


@dataclass(frozen=True)
class SGDConfig(Section):
    """PyTorch-order SGD: clip, coupled weight decay, momentum, learning rate (cosine, constant inside an epoch)."""

    learning_rate: Positive = 0.025
    learning_rate_min: NonNegative = 0.001
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 3e-4
    gradient_clip: NonNegative = 5.0
    """Global-norm threshold applied before weight decay; 0 switches clipping off."""

    def __post_init__(self):
        check_fields(self)
        require(
            self.learning_rate_min <= self.learning_rate,
            f"learning_rate_min is {self.learning_rate_min}; it must not exceed learning_rate ({self.learning_rate})",
        )


@dataclass(frozen=True)
class TrainConfig(Section):
    """Training a derived network from scratch (DARTS evaluation protocol, CIFAR)."""

    epochs: Epochs = 600
    batch_size: BatchSize = 96
    channels: Channels = 36
    cells: Cells = 20
    width_multiplier: Annotated[float, Range(above=0, most=100)] = 1.0
    """Factor on all widths of a mobile network, rounded to multiples of 8; channels and cells do not act on it."""
    optimizer: SGDConfig = field(default_factory=lambda: SGDConfig(learning_rate_min=0.0))
    auxiliary_weight: NonNegative = 0.4
    """Weight of the auxiliary head's loss; 0 removes the head."""
    drop_path: Fraction = 0.2
    """Drop-path probability at the last epoch; grows linearly from 0."""
    cutout: CountOrOff = 16
    """Cutout square side in pixels; 0 is off."""
    val_fraction: Fraction = 0.0
    """Share of the training images (from the back) held out for monitoring; 0 trains on all of them."""
    label_smoothing: Fraction = 0.0
    stem: Literal["cifar", "imagenet"] = "cifar"
    """First layers of networks of cells: cifar keeps the size of the images, imagenet divides it by 8. Mobile networks
    have their own."""
    schedule: Literal["cosine", "cosine_by_step", "linear", "exponential", "steps"] = "cosine"
    """Decay of the learning rate, constant within an epoch but for cosine_by_step. linear: that of P-DARTS and PC-DARTS
    on ImageNet, which is small in the last five epochs. exponential: times decay_rate after every epoch. steps: times
    decay_rate after each of decay_epochs."""
    decay_rate: Annotated[float, Range(above=0, most=1)] = 0.97
    """Factor of the learning rate, for the schedules exponential and steps."""
    decay_epochs: tuple[int, ...] = ()
    """Finished epochs after which the learning rate falls, for the schedule steps: 8,11."""
    warmup_epochs: CountOrOff = 0
    """Epochs in which the learning rate grows linearly to its schedule; 0 is off."""
    warmup_steps: CountOrOff = 0
    """Steps in which the learning rate grows linearly from a thousandth of its schedule; 0 is off."""
    decay_norms: bool = True
    """Weight decay also acts on the scales and shifts of batch norms and on biases."""
    average: Fraction = 0.0
    """Decay of the moving average of weights and batch statistics, which is then evaluated; 0 is off. After t steps it
    is at most (1 + t) / (10 + t), as in TensorFlow."""
    color_jitter: Annotated[float, Range(0, most=1)] = 0.0
    """Largest change of brightness, contrast and saturation of training images, each by a factor of 1 ± the number; 0
    is off."""
    hue_jitter: Annotated[float, Range(0, most=0.5)] = 0.0
    """Largest change of their hue, as a part of the colour circle; 0 is off."""
    policy: Literal["none", "rand_augment", "auto_augment"] = "none"
    """Augmentation policy of streamed training images (Cubuk et al. 2019, 2020)."""
    policy_ops: Annotated[int, Range(1, 14)] = 2
    """Operations on every image, for the policy rand_augment."""
    policy_magnitude: Annotated[int, Range(0, 30)] = 9
    """Strength of its operations, 0 to 30."""
    mixup: NonNegative = 0.0
    """Parameter α of mixup (Zhang et al. 2018), which mixes neighbours in the batch; 0 is off."""
    cutmix: NonNegative = 0.0
    """Parameter α of cutmix (Yun et al. 2019); 0 is off. With mixup too, each step takes one of them at random."""
    random_cells: Annotated[int, Range(1, 1_000)] = 1
    """Random cells that `jdarts run` also trains; several are reported as mean ± standard deviation."""
    activations: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the network while it trains. bfloat16 is for accelerators; statistics of batch norm, losses,
    weights and their updates stay in float32, and so do all evaluations."""
    microbatches: PositiveInt = 1
    """Equal parts of each batch that are computed one after the other; batch norm sees one part at a time."""
    remat: bool = False
    """Recompute the activations of a cell for its gradient instead of keeping them: less memory, more time."""
    checkpoint_every: PositiveInt = 1
    """Save the whole state every N epochs."""
    checkpoint_every_steps: CountOrOff = 0
    """Also save every N steps inside an epoch; 0 is off."""
    keep_checkpoints: CheckpointCount = 3
    task: Literal["classification", "regression", "multilabel", "segmentation", "detection"] = "classification"
    """Targets of the images: one class; numbers; labels that are 0 or 1; a class for every pixel; objects with boxes.
    The last one needs the source coco, the three in the middle table or npz."""
    start: str = ""
    """Run folder of a trained network whose weights are the start (--from RUN); empty is a random start. The head is
    new if classes or task differ."""
    frozen: tuple[str, ...] = ()
    """Parts that do not train: body (all but the head), statistics (batch norms use their running averages, which do
    not move), or modules such as stem_0, cell_3, layer_7."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the loss of a class counts in inverse proportion to its training images (segmentation: pixels), one in
    the mean over all of them."""
    pyramid_channels: PositiveInt = PYRAMID_CHANNELS
    """Channels of a detector's feature pyramid and heads. 256 suits a backbone of ResNet-50's size; 64 makes it about
    nine times cheaper."""

    @property
    def network_sizes(self) -> dict[str, Any]:
        """The sizes that the data do not decide: channels, cells, width multiplier and stem; pyramid of detectors."""
        names = ("channels", "cells", "width_multiplier", "stem")
        more = ("pyramid_channels",) if self.task == "detection" else ()
        return {name: getattr(self, name) for name in names + more}

    def __post_init__(self):
        check_fields(self, "train.")
        check_microbatches("train", self.microbatches, self.batch_size)
        even("train.channels", self.channels)
        require(
            self.task == "detection" or self.pyramid_channels == PYRAMID_CHANNELS,
            f"train.pyramid_channels is {self.pyramid_channels}, which has no effect on {self.task}; leave it out",
        )
        require(
            self.warmup_epochs <= self.epochs,
            f"train.warmup_epochs is {self.warmup_epochs} with {self.epochs} epochs; use at most as many",
        )
        require(
            self.schedule != "linear" or self.epochs > LAST_EPOCHS,
            f"train.schedule is linear with {self.epochs} epochs; it needs more than {LAST_EPOCHS}",
        )
        require(
            (self.schedule == "steps") == bool(self.decay_epochs) and all(epoch > 0 for epoch in self.decay_epochs),
            f"train.decay_epochs is {self.decay_epochs or 'empty'} with schedule {self.schedule}; the schedule steps "
            "needs epochs above 0, and the others none",
        )
        pairs = (self.mixup or self.cutmix) and self.batch_size // self.microbatches % 2
        require(
            not pairs,
            f"train.batch_size is {self.batch_size} in {self.microbatches} part(s); mixup and cutmix mix pairs, so a "
            "part needs an even number",
        )
