"""Going through k steps: as one `lax.scan` inside a traced program, or as a Python loop over compiled pieces.

A scan keeps the program small whatever k is. A loop lets each piece be an executable of its own (`jdarts.staging`); it
computes nothing itself. Both offer the same few operations, so that a recursion is written once.
"""

from typing import Any

import jax

from jdarts.hypergrad.types import Stage, no_stage


class Scan:
    """Sequences are pytrees with a leading axis."""

    def sequence(self, stacked: Any) -> Any:
        """A stacked pytree as a sequence."""
        return stacked

    def scan(self, body, carry, sequence, reverse=False):
        """`jax.lax.scan`."""
        return jax.lax.scan(body, carry, sequence, reverse=reverse)

    def zip(self, a, b):
        """The sequence of pairs."""
        return a, b

    def unzip(self, pairs):
        """The two sequences of a sequence of pairs."""
        return pairs

    def first(self, sequence):
        """The first element."""
        return jax.tree.map(lambda leaf: leaf[0], sequence)

    def segments(self, sequence, length, size):
        """`(head, tail)`: a sequence of sequences of `size`, and the rest of the `length` elements (None if empty)."""
        whole = length - length % size
        head = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, size, *leaf.shape[1:]), sequence)
        return head, jax.tree.map(lambda leaf: leaf[whole:], sequence) if whole < length else None


class Loop:
    """Sequences are lists."""

    def __init__(self, stage: Stage, steps: int):
        def split(stacked):
            leaves, structure = jax.tree.flatten(stacked)
            return [jax.tree.unflatten(structure, [leaf[i] for leaf in leaves]) for i in range(steps)]

        self._split = stage(split)

    def sequence(self, stacked: Any) -> list:
        """A stacked pytree as a sequence."""
        return self._split(stacked)

    def scan(self, body, carry, sequence, reverse=False):
        """`jax.lax.scan` in Python."""
        results = []
        for element in reversed(sequence) if reverse else sequence:
            carry, result = body(carry, element)
            results.append(result)
        return carry, results[::-1] if reverse else results

    def zip(self, a, b):
        """The sequence of pairs."""
        return list(zip(a, b, strict=True))

    def unzip(self, pairs):
        """The two sequences of a sequence of pairs."""
        return [a for a, _ in pairs], [b for _, b in pairs]

    def first(self, sequence):
        """The first element."""
        return sequence[0]

    def segments(self, sequence, length, size):
        """`(head, tail)`: a sequence of sequences of `size`, and the rest of the `length` elements (None if empty)."""
        whole = length - length % size
        return [sequence[i : i + size] for i in range(0, whole, size)], sequence[whole:] or None


def walk(stage: Stage, steps: int) -> Scan | Loop:
    """The scan without a stage, else the loop."""
    return Scan() if stage is no_stage else Loop(stage, steps)
