"""The ops on the edges out of one node, with batch norms that are computed together (`jdarts.kernels.joint_norm`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jdarts import kernels
from jdarts.kernels import by_image, mix_standardised, standardise_each
from jdarts.networks.fast.layers import edge_by_edge
from jdarts.networks.fast.ops import NormedOp
from jdarts.ops.batch_norm import BatchNorm


class _Member(NamedTuple):
    op: NormedOp
    norms: list[BatchNorm]
    targets: list[int]
    weights: jax.Array


class _Image(NamedTuple):
    """The input of a batch norm of an op."""

    member: _Member
    stage: int
    value: jax.Array
    phases: bool = False  # in the order of `kernels.to_phases`

    @property
    def norm(self) -> BatchNorm:
        return self.member.norms[self.stage]

    @property
    def last(self) -> bool:
        return self.stage == len(self.member.norms) - 1


class Weighted(NamedTuple):
    """The output of an op, `[N, H', W', t·C]` or `[N, H', W', C]` for all edges, and its weights, one a target."""

    value: jax.Array
    targets: list[int]
    weights: jax.Array


class JointOps:
    """The ops on the edges to `targets`, each on some of them, and their weighted sums.

    Of the ops that are added with their batch norms, those that are ready at the same time are normalised at the same
    time, and what ops on all edges end in becomes one weighted sum.
    """

    def __init__(self, targets: list[int], channels: int):
        self._targets, self._channels = targets, channels
        self._members: list[_Member] = []
        self._outputs: list[Weighted] = []

    def add(self, op: NormedOp, targets: list[int], weights: jax.Array) -> None:
        """Add an op with batch norms on the edges to `targets`, `weights [len(targets)]`; in training only."""
        self._members.append(_Member(op, op.norms(), targets, weights))

    def add_output(self, y: jax.Array, targets: list[int], weights: jax.Array) -> None:
        """Add what another op gives: `[N, H', W', t·C]`, or `[N, H', W', C]` for all edges."""
        self._outputs.append(Weighted(y, targets, weights))

    def mixed(self, x: jax.Array, zeros: jax.Array) -> dict[int, jax.Array]:
        """The mixed op of every edge, by its target, for the node's value `x`; `zeros` where an edge has no op."""
        images = [self._first(member, x) for member in self._members]
        ends: list[_Image] = []
        while images:
            ends += [image for image in images if self._ends_everywhere(image)]
            images = self._standardise([image for image in images if not self._ends_everywhere(image)])
        whole, in_phases = ([image for image in ends if image.phases == phases] for phases in (False, True))
        everywhere = [each for each in self._outputs if each.targets == self._targets]
        others = [each for each in self._outputs if each.targets != self._targets]
        sums = []
        if whole:
            sums.append(self._sum(whole, everywhere, x.dtype))
        else:
            sums += [self._side_by_side(each.value) * self._widened(each.weights) for each in everywhere]
        if in_phases:
            sums.append(kernels.from_phases(self._sum(in_phases, [], x.dtype)))
        return self._by_target(sums, others, zeros)

    def _by_target(self, sums: list[jax.Array], others: list[Weighted], zeros: jax.Array) -> dict[int, jax.Array]:
        """Sums over all edges side by side, and outputs on single edges, added up on each edge."""
        terms: dict[int, list[jax.Array]] = {target: [] for target in self._targets}
        for value, targets, weights in others:
            images = edge_by_edge(value, value.shape[-1] // self._channels)
            for i, target in enumerate(targets):
                terms[target].append(weights[i] * images[i % len(images)])
        if sums:
            parts = edge_by_edge(kernels.cut(_total(sums)), len(self._targets))
            for target, part in zip(self._targets, parts, strict=True):
                terms[target].append(part)
        return {target: _total(images) if images else zeros for target, images in terms.items()}

    def _first(self, member: _Member, x: jax.Array) -> _Image:
        if len(member.norms) == 1 and member.targets == self._targets:
            phases = member.op.in_phases(x)
            if phases is not None:
                return _Image(member, 0, phases, True)
        return _Image(member, 0, member.op.before_norm(0, x))

    def _sum(self, images: list[_Image], plain: list[Weighted], dtype) -> jax.Array:
        """The weighted sum of standardised images, and of outputs, over all edges side by side."""
        total, mean, var = mix_standardised(
            [image.value for image in images],
            [self._widened(image.member.weights) for image in images],
            [self._side_by_side(each.value) for each in plain],
            [self._widened(each.weights) for each in plain],
            images[0].norm.eps,
            images[0].norm.axis_name,
        )
        _record(images, mean, var)
        return total.astype(dtype)

    def _standardise(self, images: list[_Image]) -> list[_Image]:
        """Standardise jointly. What another batch norm takes next is returned, the rest is among the outputs."""
        if not images:
            return []
        norm = images[0].norm
        rectified = tuple(not image.last for image in images)
        results, mean, var = standardise_each([image.value for image in images], rectified, norm.eps, norm.axis_name)
        _record(images, mean, var)
        following = []
        for image, y in zip(images, results, strict=True):
            member, y, stage = image.member, y.astype(image.value.dtype), image.stage + 1
            if image.last:
                self.add_output(y, member.targets, member.weights)
            else:
                following.append(_Image(member, stage, member.op.before_norm(stage, y)))
        return following

    def _ends_everywhere(self, image: _Image) -> bool:
        """True if the op ends in this norm, with outputs of its own on all edges."""
        own = image.value.shape[-1] == len(self._targets) * self._channels
        return image.last and own and image.member.targets == self._targets

    def _side_by_side(self, y: jax.Array) -> jax.Array:
        return jnp.tile(y, (1, 1, 1, len(self._targets) * self._channels // y.shape[-1]))

    def _widened(self, weights: jax.Array) -> jax.Array:
        return jnp.repeat(weights, self._channels)


def _total(terms: list[jax.Array]) -> jax.Array:
    return sum(terms[1:], terms[0])


def _record(images: list[_Image], mean: jax.Array, var: jax.Array) -> None:
    values = [image.value for image in images]
    for image, m, v in zip(images, by_image(mean, values), by_image(var, values), strict=True):
        n, h, w, _ = image.value.shape
        image.norm.record(m, v, n * h * w)
