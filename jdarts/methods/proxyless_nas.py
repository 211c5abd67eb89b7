"""ProxylessNAS (Cai et al., ICLR 2019, arXiv:1812.00332): binary gates, one active path, and a latency in the loss.

A weight step runs one path, drawn from p = softmax(α); only its weights move. An alpha step draws gates g, one-hot
rows, and uses `∂L/∂α_i = Σ_j ∂L/∂g_j · p_j (δ_ij − p_i)`, where `∂L/∂g_j` is the output of op j times the gradient by
the output of its layer (eq. 4). With `mode=two`, the paper's, two ops of every layer are drawn from p without
replacement
and one of them is active; p is their softmax alone. After the update both alphas are shifted by one number, so that
the probabilities of all other ops stay as they were. With `mode=full` every op has its gate. If the active op of a
layer leaves the layer out, the alphas of the layer do not learn in that step, as in the authors' code.

The latency of a network is the sum over its blocks in a table (`jdarts.latency`); its expectation is `E = Σ Σ_j p_j ·
F_j`, with the probabilities of the gates (of two, in `mode=two`). `latency_loss=mul_log` multiplies the cross-entropy
by `0.2 · (ln E / ln T)^0.3`; `add_linear` adds `0.1 · (E − T) / T`; T is `latency_reference` in milliseconds.

Published on ImageNet: 40 epochs of warm-up, in which only weights move, at a learning rate of 0.05; then 120 epochs at
0.025, with an alpha update behind every fifth weight step but in the first of these epochs. 74.2 % top-1 at 79 ms on a
phone. DIFF: one cosine of 160 epochs from 0.05; without label smoothing (0.1).

`proxyless_nas_reinforce` moves the alphas by rewards (§3.3): an update draws 10 networks from p, each with the reward
`accuracy · (T / LAT)^0.1` on one validation batch, where LAT is the latency of that network by the table. The baseline
b ← b + 0.99 (mean − b), the first mean itself, enters the estimate `(1/10) Σ (R − b) ∇ log p`. Published: 300 updates
an epoch; 74.6 % top-1 at 78 ms. DIFF: the validation batch has `search.batch_size` images, not 1,000.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jdarts.config.options import Unless
from jdarts.config.ranges import CountOrOff, NonNegative, Positive, PositiveInt
from jdarts.errors import UserError
from jdarts.latency import LatencyTable, read_table
from jdarts.methods.method import Method
from jdarts.methods.paths import drawn_path, likely_paths
from jdarts.methods.published import Published
from jdarts.methods.registry import register
from jdarts.methods.rewards import RewardUpdate
from jdarts.methods.single_paths import IMAGENET
from jdarts.networks.edges import EdgeSettings
from jdarts.networks.wiring import OpWeights
from jdarts.relaxation import Alphas, softmax
from jdarts.spaces import LayerChoices
from jdarts.spaces.space import Space

Mode = Literal["two", "full"]
Matrices = tuple[float, dict[str, np.ndarray]]
"""`(milliseconds of the fixed parts, {matrix: [layers, ops]})`."""
_WITH_TABLE = Unless("latency_table", "")
_AS_FACTOR, _AS_TERM = Unless("latency_loss", "add_linear"), Unless("latency_loss", "mul_log")


_ON_A_PHONE = "ImageNet top-1 accuracy {} % at {} ms on a phone"
_SETTINGS = {
    **IMAGENET,
    "data.train_fraction": 0.961,
    "data.val_fraction": 0.039,
    "search.epochs": 160,
    "search.batch_size": 256,
    "search.weight_optimizer.learning_rate": 0.05,
    "search.weight_optimizer.nesterov": True,
    "search.alpha_optimizer.learning_rate": 1e-3,
    "search.alpha_optimizer.b1": 0.0,
    "search.alpha_optimizer.weight_decay": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class LatencyLoss:
    """The latency in the loss of the alphas.

    Attributes:
      latency_table: the file of a table of the space, as `jdarts latency` writes it; empty for no latency.
      latency_reference: T in milliseconds.
      latency_loss: see above.
      latency_alpha, latency_beta: factor and exponent of "mul_log".
      latency_lambda: factor of "add_linear".
      size, classes: side of the images in pixels, and number of classes, for which the table was measured.
    """

    latency_table: str = ""
    latency_reference: Annotated[Positive, _WITH_TABLE] = 80.0
    latency_loss: Annotated[Literal["mul_log", "add_linear"], _WITH_TABLE] = "mul_log"
    latency_alpha: Annotated[Positive, _WITH_TABLE, _AS_FACTOR] = 0.2
    latency_beta: Annotated[Positive, _WITH_TABLE, _AS_FACTOR] = 0.3
    latency_lambda: Annotated[NonNegative, _WITH_TABLE, _AS_TERM] = 0.1
    size: Annotated[PositiveInt, _WITH_TABLE] = 224
    classes: Annotated[PositiveInt, _WITH_TABLE] = 1000

    def matrices(self, space: Any) -> Matrices:
        """The latencies of a space; raises `UserError`."""
        return latency_matrices(space, _table(self.latency_table), classes=self.classes, size=self.size)

    def check(self, space: Any) -> None:
        """Raise `UserError` if the logarithms of "mul_log" would not be positive."""
        fixed, matrices = self.matrices(space)
        least = fixed + sum(float(np.sum(np.min(matrix, axis=1))) for matrix in matrices.values())
        for what, value in (("latency_reference", self.latency_reference), ("the fastest network of the table", least)):
            if self.latency_loss == "mul_log" and value <= 1:
                raise UserError(
                    f"{what} is {value:g} ms, but mul_log takes logarithms of numbers above 1; use "
                    "latency_loss=add_linear"
                )

    def expected(self, p: OpWeights, space: Any) -> jax.Array:
        """E, the expected latency in milliseconds, for probabilities of the ops `{matrix: [layers, ops]}`."""
        return expected_latency(p, self.matrices(space))

    def factor(self, expected: jax.Array) -> jax.Array:
        """The factor of "mul_log"."""
        relative = jnp.log(expected) / np.log(self.latency_reference)
        return self.latency_alpha * relative**self.latency_beta

    def term(self, expected: jax.Array) -> jax.Array:
        """The summand of "add_linear"."""
        return self.latency_lambda * (expected - self.latency_reference) / self.latency_reference


@dataclass(frozen=True, kw_only=True)
class LatencyReward:
    """The reward `accuracy · (T / LAT)^exponent` of a network.

    Attributes:
      latency_table: the file of a table of the space; empty for the accuracy alone.
      latency_reference: T in milliseconds.
      latency_exponent: 0.1 in the paper's search.
      size, classes: side of the images in pixels, and number of classes, for which the table was measured.
    """

    latency_table: str = ""
    latency_reference: Annotated[Positive, _WITH_TABLE] = 80.0
    latency_exponent: Annotated[NonNegative, _WITH_TABLE] = 0.1
    size: Annotated[PositiveInt, _WITH_TABLE] = 224
    classes: Annotated[PositiveInt, _WITH_TABLE] = 1000

    def __call__(self, accuracy: jax.Array, path: OpWeights, space: Any) -> jax.Array:
        """The reward of a path `{matrix: [layers, ops]}` with this accuracy, of 0 to 1."""
        if not self.latency_table:
            return accuracy
        return (
            accuracy * (self.latency_reference / expected_latency(path, self.matrices(space))) ** self.latency_exponent
        )

    def matrices(self, space: Any) -> Matrices:
        """The latencies of a space; raises `UserError`."""
        return latency_matrices(space, _table(self.latency_table), classes=self.classes, size=self.size)

    def check(self, space: Any) -> None:
        """Raise `UserError` if the table does not fit the space."""
        self.matrices(space)


def expected_latency(p: OpWeights, latencies: Matrices) -> jax.Array:
    """The latency in milliseconds, expected for probabilities of the ops or that of a one-hot path."""
    fixed, matrices = latencies
    return sum((jnp.sum(p[name] * jnp.asarray(f, p[name].dtype)) for name, f in matrices.items()), jnp.array(fixed))


def latency_matrices(space: Any, table: LatencyTable, *, classes: int, size: int) -> Matrices:
    """The latencies of a chain of layers, ordered as its op weights; raises `UserError` for other spaces."""
    if not isinstance(space, LayerChoices):
        raise UserError(f"space {space.name} has no layers to choose from, which a table of latencies needs")
    costs = table.costs(space, classes=classes, image_size=size)
    found = {name: np.zeros(shape) for name, shape in space.alpha_shapes.items()}
    for (name, row), layer in zip(space.rows, costs.layers, strict=True):
        found[name][row] = layer
    return costs.fixed, found


def draw_gates(alphas: Alphas, key: jax.Array, space: Any, mode: Mode) -> tuple[OpWeights, OpWeights]:
    """`(gates, probabilities)` of one alpha step, both `{matrix: [layers, ops]}`.

    The gates of a row are 1 for the active op and 1/2 for the others that learn, with the derivative of the
    probabilities. The probabilities are 0 for ops that were not drawn; they have no derivative where the active op is
    the identity.
    """
    gates, probabilities = {}, {}
    for k, (name, a) in zip(jax.random.split(key, len(alphas)), sorted(alphas.items()), strict=True):
        pair_key, active_key = jax.random.split(k)
        drawn = _drawn(a, pair_key) if mode == "two" else jnp.ones(a.shape, bool)
        inside = jnp.where(drawn, a, -jnp.inf)
        active = jax.nn.one_hot(jax.random.categorical(active_key, inside), a.shape[1], dtype=bool)
        p = jax.nn.softmax(inside)
        learns = ~jnp.any(active & _left_out(space, name), axis=1, keepdims=True)
        p = jnp.where(learns, p, lax.stop_gradient(p))
        value = jnp.where(active, 1.0, jnp.where(drawn, 0.5, 0.0)).astype(a.dtype)
        gates[name], probabilities[name] = value + (p - lax.stop_gradient(p)), p
    return gates, probabilities


def rescaled(old: Alphas, new: Alphas, key: jax.Array) -> Alphas:
    """New alphas, of which the two drawn in a row are shifted: the sum of their exponentials is the old one."""
    found = {}
    for k, (name, a) in zip(jax.random.split(key, len(old)), sorted(old.items()), strict=True):
        drawn = _drawn(a, jax.random.split(k)[0])
        before, after = (
            jax.nn.logsumexp(jnp.where(drawn, each, -jnp.inf), axis=1, keepdims=True) for each in (a, new[name])
        )
        found[name] = jnp.where(drawn, new[name] - (after - before), new[name])
    return found


@register
def proxyless_nas(
    *, mode: Mode = "two", warm_up: CountOrOff = 40, alpha_every: PositiveInt = 5, latency: LatencyLoss = LatencyLoss()
) -> Method:
    """ProxylessNAS; alphas move from the epoch after the warm-up on, behind every `alpha_every`-th weight step."""

    def probabilities(alphas: Alphas, key: jax.Array, space: Space) -> jax.Array:
        return latency.expected(draw_gates(alphas, key, space, mode)[1], space)

    terms = {}
    if latency.latency_table and latency.latency_loss == "mul_log":
        terms["loss_factor"] = lambda alphas, key, clock, space: latency.factor(probabilities(alphas, key, space))
    elif latency.latency_table:
        terms["regularizer"] = lambda alphas, key, clock, space: latency.term(probabilities(alphas, key, space))
    if mode == "two":
        terms["post_update"] = lambda old, new, key, clock, space: rescaled(old, new, key)
    return Method(
        name="proxyless_nas",
        paper="Cai et al., ICLR 2019, arXiv:1812.00332",
        summary="one path runs; two ops of a layer learn their gates; expected latency in the loss",
        relax=lambda alphas, key, clock, space: draw_gates(alphas, key, space, mode)[0],
        derive_weights=softmax,
        paths=likely_paths(),
        edge=EdgeSettings(sampled=True, gates=True),
        hypergradient="first_order",
        order="weights_first",
        alpha_start=warm_up + 1 if warm_up else 0,
        alpha_every=alpha_every,
        check=latency.check if latency.latency_table else None,
        options={"sizes": {"size": latency.size, "classes": latency.classes}} if latency.latency_table else {},
        published=(Published("proxyless", f"{_ON_A_PHONE.format(74.2, 79)}, the latency in the loss", _SETTINGS),),
        **terms,
    )


@register
def proxyless_nas_reinforce(
    *,
    samples: PositiveInt = 10,
    warm_up: CountOrOff = 40,
    alpha_every: PositiveInt = 16,
    reward: LatencyReward = LatencyReward(),
) -> Method:
    """ProxylessNAS by REINFORCE; alphas move behind every `alpha_every`-th weight step, by rewards of `samples` paths.

    16 makes 300 updates an epoch of ImageNet with batches of 256 images.
    """
    return Method(
        name="proxyless_nas_reinforce",
        paper="Cai et al., ICLR 2019, arXiv:1812.00332",
        summary="one path runs; alphas climb the mean reward of sampled networks, accuracy and latency",
        relax=lambda alphas, key, clock, space: drawn_path(space, alphas, key),
        derive_weights=softmax,
        paths=likely_paths(),
        reinforce=RewardUpdate(samples, reward),
        edge=EdgeSettings(sampled=True),
        hypergradient="first_order",  # never computed
        order="weights_first",
        alpha_start=warm_up + 1 if warm_up else 0,
        alpha_every=alpha_every,
        check=reward.check if reward.latency_table else None,
        options={"sizes": {"size": reward.size, "classes": reward.classes}} if reward.latency_table else {},
        published=(Published("proxyless", f"{_ON_A_PHONE.format(74.6, 78)}, by REINFORCE", _SETTINGS),),
    )


def _drawn(alphas: jax.Array, key: jax.Array) -> jax.Array:
    """Two ops of every row, drawn from the softmax without replacement, as a mask (Gumbel top-2)."""
    noisy = lax.stop_gradient(alphas) + jax.random.gumbel(key, alphas.shape, alphas.dtype)
    _, pair = lax.top_k(noisy, min(2, alphas.shape[1]))
    return jnp.any(jax.nn.one_hot(pair, alphas.shape[1], dtype=bool), axis=1)


def _left_out(space: Any, name: str) -> np.ndarray:
    """True for the ops that leave their layer out, `[layers, ops]`."""
    return np.array([[op == "skip_connect" for op in ops] for ops in space.tables[name]])


@lru_cache(maxsize=8)
def _table(file: str) -> LatencyTable:
    return read_table(file)
