"""The ResNet-β experiment of DARTS- (Chu et al. 2021, §3 and Fig. 2): a network learns the weight of its skips.

Every block is `x ↦ f(x) + β · skip(x)` with a learnable scalar β, shared by all blocks or one per block. In the paper's
ResNet-50, β ends near 1 from initial values of 0, 0.5 and 1: a network prefers skips regardless of their purpose. A
softmax over ops that contains a skip therefore collapses to it, and DARTS- adds the skip outside the softmax. The
gradient gives a reason: through n blocks of slope a it is `(a + β)ⁿ`, which vanishes for small β.

β can leave 0: its gradient is the sum over blocks of ⟨∂L/∂output, skip(x)⟩, which is not 0 there. Only the projections
on skips (where the shape changes) have no gradient while β is 0.

Recipe (not published): SGD with learning rate 0.01, cosine schedule, momentum 0.9, weight decay 5e-4 on the weights but
not on β. The defaults are a 14-layer network on 5,000 images, for a CPU. ResNet-50 is `--blocks 3,4,6,3 --bottleneck
--channels 64 --epochs 200 --limit 50000`. Behind batch norms only the ratio of β to the scales of f's last norms
matters, and these have weight decay: `scales` in the result records them.

**Depth and learning rate decide where β goes.** 5,000 images of CIFAR-10, averaged to 16 × 16 (`--shrink 2`), one seed
(2026-11-30). β after the last epoch, and the mean scale of f's last norms:

    layers  learning rate  batch  steps   β from 0, 0.5, 1        scale
    14      0.1            128      780   −0.74   −0.12   −0.15   0.83
    14      0.1             32    3,120   −1.79   −1.37   −1.53   0.59
    14      0.03           128      780    0.05       –    0.83   0.95
    14      0.01           128      780    0.16    0.68    0.96   0.98   the default
    14      0.01           128      780    0.14    0.69    0.94   0.98   weight decay of β, too
    14      0.01           128      780    0.05    0.62    1.00   0.98   a β for each block, means
    14      0.01           128      780    0.17       –    0.90   1.00   no weight decay
    14      0.01            32    4,836   −0.04       –    0.83      –   31 of 40 epochs
    50      0.01           128      780   −6.8        –       –      –   8 channels; −6.3 in the first epoch
    50      0.003          128      156    1.30       –    0.67   1.00   8 channels
    50      0.001          128      468    0.91    0.99    0.81   1.00   8 channels
    50      0.001          128      156   −0.35    0.92    0.94   1.00   8 channels, seed 1

In 14 layers every start stays near its place at a small rate, however long. Weight decay of β, none of the weights, or
a β for each block does not change this. In 50 layers, as in the paper, β moves much faster at a tenth of the rate,
since its gradient is a sum over all blocks and pixels: starts of 0.5 and 1 meet near 0.9. The first epoch throws a
start of 0 to between −0.35 and 1.3, at 0.01 to −6.3, where it stays. So the paper's picture needs its depth, and a rate
that is small for that depth. The narrow network of 50 layers hardly learns here (11 to 23 % test accuracy), so it shows
how β moves, not what an accurate network needs. Images of 32 × 32 (14 layers, 0.1) gave 0, 0.31 and 0.46. Not measured:
the width of ResNet-50, the whole set.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jdarts.config import DataConfig
from jdarts.data import (
    Augmentation,
    TrainingData,
    batch_indices,
    epoch_permutation,
    load,
    normalize,
    steps_per_epoch,
)
from jdarts.errors import UserError
from jdarts.losses import accuracy, cross_entropy
from jdarts.ops.batch_norm import BatchNorm
from jdarts.runs.folder import RunFolder
from jdarts.staging import compiler_options


@dataclass(frozen=True)
class BetaConfig:
    """One experiment: the same network trained once for every initial β.

    `blocks` has the number of residual blocks of each stage. Each stage after the first halves the image and doubles
    the channels.
    """

    data: DataConfig = field(default_factory=lambda: DataConfig(source="cifar10", limit=5000))
    betas: tuple[float, ...] = (0.0, 0.5, 1.0)
    per_block: bool = False
    decay_beta: bool = False
    blocks: tuple[int, ...] = (2, 2, 2)
    bottleneck: bool = False
    channels: int = 16
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    seed: int = 0

    def __post_init__(self):
        if not self.betas:
            raise UserError("betas is empty; give at least one initial value")
        if not self.blocks or min(self.blocks) < 1:
            raise UserError(f"blocks is {self.blocks}; use at least one block per stage")
        if self.epochs < 1 or self.channels < 1:
            raise UserError(f"epochs is {self.epochs} and channels {self.channels}; use at least 1")
        if not np.isfinite(self.betas).all():
            raise UserError(f"betas is {self.betas}; every initial value must be a finite number")
        if not 0 < self.learning_rate < np.inf:
            raise UserError(f"learning_rate is {self.learning_rate}; use a positive number, e.g. 0.01")
        if not 0 <= self.weight_decay < np.inf:
            raise UserError(f"weight_decay is {self.weight_decay}; use 0 or more, e.g. 5e-4")


def residual(x: jax.Array, f: Callable, beta: jax.Array | float, skip: Callable = lambda x: x) -> jax.Array:
    """`f(x) + β · skip(x)`."""
    return f(x) + beta * skip(x)


class ResNet(nn.Module):
    """A residual network with learnable β: `(images [N, H, W, C], train) → logits`."""

    config: BetaConfig
    initial_beta: float
    classes: int

    @nn.compact
    def __call__(self, images, train: bool):
        """Logits `[N, classes]`."""
        config = self.config
        count = sum(config.blocks) if config.per_block else 1
        betas = self.param("beta", nn.initializers.constant(self.initial_beta), (count,))
        x = nn.relu(self._conv_norm(images, config.channels, 3, 1, train, "stem"))
        index = 0
        for stage, blocks in enumerate(config.blocks):
            channels = config.channels * 2**stage
            for block in range(blocks):
                stride = 2 if stage and block == 0 else 1
                beta = betas[index if config.per_block else 0]
                x = self._block(x, channels, stride, beta, train, f"stage{stage}_block{block}")
                index += 1
        return nn.Dense(self.classes, name="classifier")(x.mean((1, 2)))

    def _block(self, x, channels: int, stride: int, beta, train: bool, name: str):
        wide = 4 * channels if self.config.bottleneck else channels

        def f(x):
            if self.config.bottleneck:
                y = nn.relu(self._conv_norm(x, channels, 1, 1, train, f"{name}_1"))
                y = nn.relu(self._conv_norm(y, channels, 3, stride, train, f"{name}_2"))
                return self._conv_norm(y, wide, 1, 1, train, f"{name}_3")
            y = nn.relu(self._conv_norm(x, channels, 3, stride, train, f"{name}_1"))
            return self._conv_norm(y, channels, 3, 1, train, f"{name}_2")

        def skip(x):
            if stride == 1 and x.shape[-1] == wide:
                return x
            return self._conv_norm(x, wide, 1, stride, train, f"{name}_skip")

        return nn.relu(residual(x, f, beta, skip))

    def _conv_norm(self, x, channels: int, size: int, stride: int, train: bool, name: str):
        conv = nn.Conv(channels, (size, size), (stride, stride), padding=size // 2, use_bias=False, name=name)
        return BatchNorm(channels, name=f"{name}_norm")(conv(x), train)


@dataclass(frozen=True)
class BetaTraining:
    """The functions of one training from the initial value `initial` of β.

    A state is `(params, batch_stats, opt_state)`. Images are uint8, `[N, H, W, C]`.
    """

    config: BetaConfig
    initial: float
    data: TrainingData

    @property
    def network(self) -> ResNet:
        """The network with its initial β."""
        return ResNet(self.config, self.initial, self.data.num_classes)

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in an epoch."""
        return steps_per_epoch(len(self.data.train), self.config.batch_size)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """SGD with momentum and a cosine schedule; β has weight decay only with `decay_beta`."""
        config = self.config

        def decayed(params):
            return {
                name: jax.tree.map(lambda _, name=name: name != "beta" or config.decay_beta, part)
                for name, part in params.items()
            }

        schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * self.steps_per_epoch)
        decay = optax.add_decayed_weights(config.weight_decay, mask=decayed)
        return optax.chain(decay, optax.sgd(schedule, momentum=0.9))

    def init(self) -> Any:
        """The state before the first step."""
        dummy = jnp.zeros((2, *self.data.train.images.shape[1:]))
        key = jax.random.fold_in(jax.random.key(self.config.seed), 2)
        variables = jax.jit(lambda key: self.network.init(key, dummy, True))(key)
        return variables["params"], variables["batch_stats"], self.optimizer.init(variables["params"])

    def step(self, state, index, images, labels):
        """`(state, (loss, accuracy))` after step `index`, on the batch that it draws."""
        params, stats, opt_state = state
        config, per_epoch, run_key = self.config, self.steps_per_epoch, jax.random.key(self.config.seed)
        order = epoch_permutation(jax.random.fold_in(run_key, index // per_epoch), len(labels))
        rows = batch_indices(order, index, config.batch_size)
        prepare = Augmentation(
            mean=self.data.mean,
            std=self.data.std,
            crop_padding=config.data.crop_padding,
            flip=config.data.flip,
            cutout=0,
        )
        batch = prepare(jax.random.fold_in(jax.random.fold_in(run_key, 1), index), images[rows])

        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, changed = self.network.apply(variables, batch, True, mutable=["batch_stats"])
            return cross_entropy(logits, labels[rows]), (changed["batch_stats"], accuracy(logits, labels[rows]))

        (value, (stats, right)), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = self.optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), stats, opt_state), (value, right)

    def right(self, state, images, labels):
        """The accuracy on these images, with running statistics."""
        inputs = normalize(images, mean=self.data.mean, std=self.data.std)
        logits: Any = self.network.apply({"params": state[0], "batch_stats": state[1]}, inputs, False)
        return accuracy(logits, labels)


def train_beta(config: BetaConfig, initial: float, data: TrainingData, *, tell: Callable[[str], None] = print) -> dict:
    """Train once; return `{"initial", "betas", "scales", "train_accuracy", …}`.

    `betas` and `scales` have a row for the start and one for each epoch. A row of `scales` has a number for each block:
    the mean absolute scale of the last norm of f, beside which β is to be read.
    """
    training = BetaTraining(config, initial, data)
    per_epoch, options = training.steps_per_epoch, compiler_options()
    images, labels = jnp.asarray(data.train.images), jnp.asarray(data.train.labels)
    step = jax.jit(training.step, donate_argnums=0, compiler_options=options)
    state = training.init()
    found: dict[str, Any] = {"initial": initial, "betas": [_betas(state)], "scales": [_scales(state, config)]}
    found |= {"train_loss": [], "train_accuracy": []}
    started = time.monotonic()
    for epoch in range(config.epochs):
        sums = np.zeros(2)
        for index in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            state, seen = step(state, jnp.asarray(index, jnp.int32), images, labels)
            sums += [float(value) for value in seen]
        value, share = sums / per_epoch
        if not np.isfinite(value):
            raise UserError(
                f"training with β started at {initial} diverged in epoch {epoch + 1}; lower the learning rate "
                f"({config.learning_rate})"
            )
        found["betas"].append(_betas(state))
        found["scales"].append(_scales(state, config))
        found["train_loss"].append(float(value))
        found["train_accuracy"].append(float(share))
        mean = float(np.mean(found["betas"][-1]))
        tell(f"β₀ {initial:g}, epoch {epoch + 1}/{config.epochs}: loss {value:.3f}, accuracy {share:.2%}, β {mean:.3f}")
    found["seconds"] = round(time.monotonic() - started, 2)
    found["test_accuracy"] = _test_accuracy(jax.jit(training.right, compiler_options=options), state, data)
    return found


def _test_accuracy(right: Callable, state: Any, data: TrainingData) -> float:
    """The mean accuracy on the test images, in whole batches of at most 250; `right` is `BetaTraining.right`."""
    size = min(250, len(data.test))
    whole = range(0, len(data.test) - size + 1, size)
    parts = [right(state, data.test.images[i : i + size], data.test.labels[i : i + size]) for i in whole]
    return float(np.mean([float(part) for part in parts]))


def run_beta(config: BetaConfig, folder: str | Path, *, tell: Callable[[str], None] = print) -> Path:
    """Train from all initial values; write `resnet_beta.json`, `.svg` and `.png`; return the path of the JSON file."""
    data = load(config.data).for_training()
    steps_per_epoch(len(data.train), config.batch_size)
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    runs = [train_beta(config, beta, data, tell=tell) for beta in config.betas]

    from jdarts.analysis import figures

    figures.save(beta_figure(runs), place, "resnet_beta")
    return RunFolder(place).write_json("resnet_beta.json", {"settings": asdict(config), "runs": runs})


def beta_figure(runs: list[dict]) -> Any:
    """β over the epochs for every initial value; if each block has its own β, a band shows their range."""
    from jdarts.analysis import figures

    fig, (axis,) = figures.figure()
    for i, run in enumerate(runs):
        betas = np.array(run["betas"])
        epochs, colour = np.arange(len(betas)), figures.COLOURS[i % 8]
        if betas.shape[1] > 1:
            axis.fill_between(epochs, betas.min(1), betas.max(1), color=colour, alpha=0.15, lw=0)
        axis.plot(epochs, betas.mean(1), "os^Dv"[i % 5] + "-", ms=4, color=colour, label=f"β₀ = {run['initial']:g}")
    axis.axhline(1, color="#9aa3ad", lw=0.8, ls="--")
    axis.set(xlabel="epoch", ylabel="weight β of the skip")
    axis.legend(frameon=False, fontsize=11)
    return fig


def _betas(state) -> list[float]:
    return np.asarray(state[0]["beta"], np.float64).tolist()


def _scales(state, config: BetaConfig) -> list[float]:
    last = 3 if config.bottleneck else 2
    names = [f"stage{i}_block{j}_{last}_norm" for i, blocks in enumerate(config.blocks) for j in range(blocks)]
    return [float(np.abs(np.asarray(state[0][name]["scale"], np.float64)).mean()) for name in names]
