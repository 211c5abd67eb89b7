"""The ops on the edges out of one node, with batch norms that are computed together (`jdarts.kernels.joint_norm`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jdarts import kernels
from jdarts.kernels import by_image, mix_standardised, standardise_each
from jdarts.ops.layers import BatchNorm, Op


class _Member(NamedTuple):
    op: Op
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

    chunk: jax.Array
    targets: list[int]
    weights: jax.Array


class JointOps:
    """The ops, in training, that all edges to `targets` may have, each on some of them.

    Every op's first batch norm is computed in one go with all others that are ready then, and what ops on all edges end
    in becomes one weighted sum.
    """

    def __init__(self, targets: list[int], channels: int):
        self._targets, self._channels = targets, channels
        self._members: list[_Member] = []
        self._chunks: list[Weighted] = []

    def add(self, op: Op, norms: list[BatchNorm], targets: list[int], weights: jax.Array) -> None:
        """Add an op with batch norms on the edges to `targets`, `weights [len(targets)]`."""
        self._members.append(_Member(op, norms, targets, weights))

    def add_chunk(self, chunk: jax.Array, targets: list[int], weights: jax.Array) -> None:
        """Add what an op without batch norms gives."""
        self._chunks.append(Weighted(chunk, targets, weights))

    def mixed(self, x: jax.Array) -> tuple[list[jax.Array], list[Weighted]]:
        """For the node's value `x [N, H, W, C]`: weighted sums on all edges side by side, and what is not in them."""
        images = [self._first(member, x) for member in self._members]
        ends: list[_Image] = []
        while images:
            ends += [image for image in images if self._ends_everywhere(image)]
            images = self._standardise([image for image in images if not self._ends_everywhere(image)])
        whole, in_phases = ([image for image in ends if image.phases == phases] for phases in (False, True))
        sums, rest = [], self._chunks
        if whole:
            rest = [chunk for chunk in self._chunks if chunk.targets != self._targets]
            sums.append(self._sum(whole, [chunk for chunk in self._chunks if chunk.targets == self._targets], x.dtype))
        if in_phases:
            sums.append(kernels.from_phases(self._sum(in_phases, [], x.dtype)))
        return sums, rest

    def _first(self, member: _Member, x: jax.Array) -> _Image:
        if len(member.norms) == 1 and member.targets == self._targets:
            phases = member.op.in_phases(x)
            if phases:
                return _Image(member, 0, phases[0], True)
        return _Image(member, 0, member.op.before_norm(0, x)[0])

    def _sum(self, images: list[_Image], plain: list[Weighted], dtype) -> jax.Array:
        """The weighted sum of standardised images, and of chunks, over all edges side by side."""
        total, mean, var = mix_standardised(
            [image.value for image in images],
            [self._widened(image.member.weights) for image in images],
            [self._side_by_side(each.chunk) for each in plain],
            [self._widened(each.weights) for each in plain],
            images[0].norm.eps,
            images[0].norm.axis_name,
        )
        _record(images, mean, var)
        return total.astype(dtype)

    def _standardise(self, images: list[_Image]) -> list[_Image]:
        """Standardise jointly. What another batch norm takes next is returned, the rest is among the chunks."""
        if not images:
            return []
        norm = images[0].norm
        rectified = tuple(not image.last for image in images)
        results, mean, var = standardise_each([image.value for image in images], rectified, norm.eps, norm.axis_name)
        _record(images, mean, var)
        following = []
        for image, y in zip(images, results, strict=True):
            member, chunk, stage = image.member, y.astype(image.value.dtype), image.stage + 1
            if image.last:
                self.add_chunk(chunk, member.targets, member.weights)
            else:
                following.append(_Image(member, stage, member.op.before_norm(stage, [chunk])[0]))
        return following

    def _ends_everywhere(self, image: _Image) -> bool:
        """True if the op ends in this norm, with outputs of its own on all edges."""
        own = image.value.shape[-1] == len(self._targets) * self._channels
        return image.last and own and image.member.targets == self._targets

    def _side_by_side(self, chunk: jax.Array) -> jax.Array:
        return jnp.tile(chunk, (1, 1, 1, len(self._targets) * self._channels // chunk.shape[-1]))

    def _widened(self, weights: jax.Array) -> jax.Array:
        return jnp.repeat(weights, self._channels)


def _record(images: list[_Image], mean: jax.Array, var: jax.Array) -> None:
    values = [image.value for image in images]
    for image, m, v in zip(images, by_image(mean, values), by_image(var, values), strict=True):
        n, h, w, _ = image.value.shape
        image.norm.record(m, v, n * h * w)
