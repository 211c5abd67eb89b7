"""The exact hypergradient of k optimiser steps on k batches, by reverse recursion or by forward propagation.

With s = (w, optimiser state), one step is `g = ∇_w L_train(w, α; B)`, `s⁺ = T(g, s)`. The reverse recursion starts from
`λ = (∇_w L_val(w_k, α), 0)` and `d = ∂_α L_val(w_k, α)`. Then, for the steps from last to first:

    (u, λ) ← (∂T/∂(g, s))ᵀ λ                        one vjp through the optimiser (`jdarts.hypergrad.singular`)
    λ_w    ← λ_w + ∇²_{ww} L_train(w, α; B) u       both products are tangents of one gradient:
    d      ← d   + ∇²_{αw} L_train(w, α; B) u       one jvp

The network is never differentiated reverse over reverse. Each step keeps (w, optimiser state, g) and no activations.

The forward propagation carries the tangents `∂s/∂α_j` through the same steps, for a few α_j at a time.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jdarts.errors import UserError
from jdarts.hypergrad.checks import check_choice, check_count
from jdarts.hypergrad.differentiable import twice
from jdarts.hypergrad.infinite import along
from jdarts.hypergrad.products import add, both_products, gradients
from jdarts.hypergrad.singular import weighted_sum
from jdarts.hypergrad.types import Aux, Estimator
from jdarts.hypergrad.update import Step, no_adjoint


def stack_batches(batches: list | tuple) -> Any:
    """Batches of equal structure, stacked along a new leading axis for `unrolled(steps=k)`."""
    if not batches:
        raise UserError("no batches to stack; k steps need k of them")
    structures = {jax.tree.structure(batch) for batch in batches}
    if len(structures) > 1:
        raise UserError(f"batches of different structure cannot be stacked: {', '.join(map(str, structures))}")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)


@dataclass(frozen=True)
class Reverse:
    """Reverse mode of `unrolled`: the recursion from the last step to the first.

    Attributes:
      checkpoint: the points that are kept, each with weights, optimiser state and gradient: "every" step's, or "sqrt",
        every √k-th step's; the steps between are recomputed, at the cost of one more gradient per step.
      last: differentiate only the last steps (truncated back-propagation, Shaban et al. 2019); the weights before them
        count as constants, and nothing of the earlier steps is kept. None differentiates all steps.
    """

    checkpoint: Literal["every", "sqrt"] = "every"
    last: int | None = None

    def __post_init__(self):
        check_choice("checkpoint", self.checkpoint, ("every", "sqrt"))


@dataclass(frozen=True)
class Forward:
    """Forward mode of `unrolled`: the tangents of the alphas, carried through the steps.

    Attributes:
      chunk: number of alphas that are treated at once.
      last: as for `Reverse`.
    """

    chunk: int = 16
    last: int | None = None

    def __post_init__(self):
        check_count("chunk", self.chunk, 1)


def check_mode(mode: Reverse | Forward, steps: int) -> None:
    """Raise `UserError` unless `mode` is a mode that fits `steps`."""
    if not isinstance(mode, (Reverse, Forward)):
        raise UserError(f"mode is {mode!r}; use jdarts.hypergrad.Reverse() or Forward()")
    if mode.last is not None:
        check_count("last", mode.last, 1)
        if mode.last > steps:
            raise UserError(f"last is {mode.last}, but there are only {steps} steps; use {steps} or fewer")


def k_step(train_loss, val_loss, optimizer, *, steps, mode, microbatches) -> Estimator:
    """The estimator behind `jdarts.hypergrad.unrolled`; several steps have batches stacked along a leading axis."""
    train_gradients = gradients(train_loss, microbatches)
    val_gradients = gradients(val_loss, microbatches)
    step = Step(optimizer)
    last = steps if mode.last is None else mode.last
    recursion = _Recursion(both_products(train_loss, microbatches), train_gradients, step, last)
    if isinstance(mode, Forward):
        train, pull = _forward(train_gradients, step, last, mode.chunk)
        pull = twice(train_loss, pull, instead="mode=Reverse() may be able to")
    else:
        train, pull = recursion.every() if mode.checkpoint == "every" else recursion.sqrt()

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        batches = train_batch if steps > 1 else jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], train_batch)
        seen = None
        if last < steps:
            head, batches = _cut(batches, steps - last)
            opt_state = recursion.settled(w, alphas, opt_state, head)
            (w, opt_state), _, found = recursion.run(alphas, (w, opt_state), head, steps - last)
            seen = _first(found)
        w_k, kept, found = train(w, alphas, opt_state, batches)
        train_value, train_aux = seen or found
        (val_value, val_aux), (v, d) = val_gradients(w_k, alphas, val_batch)
        return pull(v, d, alphas, opt_state, kept), Aux(val_value, val_aux, train_value, train_aux)

    return estimator


class _Recursion:
    """The reverse recursion. `every` and `sqrt` keep different values of the steps; each returns two functions:

    `train(w, alphas, opt_state, batches) -> (w_k, kept, value and aux of the first step)` and
    `pull(v, d, alphas, opt_state, kept) -> grads`.
    """

    def __init__(self, products, train_gradients, step, steps):
        self.products, self.train_gradients, self.step, self.steps = products, train_gradients, step, steps

    def settled(self, w, alphas, opt_state, batches):
        """`opt_state` in the dtypes that it has after a step, so that a loop can carry it."""
        (value, _), (g, _) = jax.eval_shape(self.train_gradients, w, alphas, _first(batches))
        return self.step.settled(g, opt_state, w, value)

    def run(self, alphas, start, sequence, length):
        """`(end, points, seen)`: the last state, the point of every step, and the value and aux of every step."""

        def body(carry, batch):
            w, opt_state = carry
            seen, (g, slope) = self.train_gradients(w, alphas, batch)
            return self.step.advance(g, opt_state, w, seen[0]), (self.step.point(g, opt_state, w, seen[0], slope), seen)

        end, (points, seen) = jax.lax.scan(body, start, sequence, length=length)
        return end, points, seen

    def back(self, alphas, carry, points, sequence):
        """The recursion over the steps at `points`; `carry` is (adjoint of w, adjoint of the state's reals, d)."""

        def body(carry, point_and_batch):
            (adjoint, reals, d), (at, batch) = carry, point_and_batch
            u, reals, adjoint, by_value, singular = self.step.pull_back((adjoint, reals), at)
            by_w, by_alphas = along(lambda u: self.products(at.w, alphas, batch, u), u, singular)
            adjoint = at.through_value(by_value, add(adjoint, by_w), at.g)
            return (adjoint, reals, at.through_value(by_value, add(d, by_alphas))), None

        return jax.lax.scan(body, carry, (points, sequence), reverse=True)[0]

    def every(self):
        """Keep the point of every step."""

        def train(w, alphas, opt_state, batches):
            start = (w, self.settled(w, alphas, opt_state, batches))
            (w, _), points, seen = self.run(alphas, start, batches, self.steps)
            return w, (points, batches), _first(seen)

        def pull(v, d, alphas, opt_state, kept):
            points, batches = kept
            return self.back(alphas, (v, no_adjoint(_first(points).opt_state), d), points, batches)[2]

        return train, pull

    def sqrt(self):
        """Keep the start of every segment of √k steps; the recursion repeats the steps of each segment."""
        size = math.isqrt(self.steps - 1) + 1
        segments, rest = divmod(self.steps, size)

        def train(w, alphas, opt_state, batches):
            head, tail = _segments(batches, self.steps, size)

            def segment(start, part, length=size):
                end, _, seen = self.run(alphas, start, part, length)
                return end, (start, _first(seen))

            start = (w, self.settled(w, alphas, opt_state, batches))
            end, (starts, seen) = jax.lax.scan(segment, start, head, length=segments)
            last = end
            if rest:
                last, _ = segment(end, tail, rest)
            return last[0], (starts, head, end, tail), _first(seen)

        def pull(v, d, alphas, opt_state, kept):
            def segment(carry, start_and_part, length=size):
                start, part = start_and_part
                _, points, _ = self.run(alphas, start, part, length)
                return self.back(alphas, carry, points, part), None

            starts, head, tail_start, tail = kept
            carry = (v, no_adjoint(tail_start[1]), d)
            if rest:
                carry, _ = segment(carry, (tail_start, tail), rest)
            return jax.lax.scan(segment, carry, (starts, head), reverse=True)[0][2]

        return train, pull


def _first(sequence):
    return jax.tree.map(lambda leaf: leaf[0], sequence)


def _segments(sequence, length, size):
    """`(head, tail)`: the `length` elements of a sequence as segments of `size`, and the remaining elements."""
    head, tail = _cut(sequence, length - length % size)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), head), tail


def _cut(sequence, length):
    """`(the first `length` elements, the others)`."""
    return jax.tree.map(lambda leaf: leaf[:length], sequence), jax.tree.map(lambda leaf: leaf[length:], sequence)


def _forward(train_gradients, step, steps, chunk):
    """The forward propagation, as a pair of functions like those of `_Recursion`."""

    def train(w, alphas, opt_state, batches):
        (value, _), (g, _) = jax.eval_shape(train_gradients, w, alphas, _first(batches))
        opt_state = step.settled(g, opt_state, w, value)

        def body(carry, batch):
            w, opt_state = carry
            seen, (g, _) = train_gradients(w, alphas, batch)
            return step.advance(g, opt_state, w, seen[0]), seen

        (w_k, _), seen = jax.lax.scan(body, (w, opt_state), batches, length=steps)
        return w_k, (w, opt_state, batches), _first(seen)

    def pull(v, d, alphas, opt_state, kept):
        w, opt_state, batches = kept
        vector, unravel = ravel_pytree(alphas)

        def slope(direction):
            def body(carry, batch):
                (w, opt_state), (w_dot, reals_dot) = carry

                def seen(w, alphas):
                    (value, _), (g, _) = train_gradients(w, alphas, batch)
                    return g, value

                (g, value), (g_dot, value_dot) = jax.jvp(seen, (w, alphas), (w_dot, unravel(direction)))
                at = step.point(g, opt_state, w, value, None)
                return step.push_forward(at, (g_dot, reals_dot, w_dot, value_dot)), None

            still = (jax.tree.map(jnp.zeros_like, w), no_adjoint(opt_state))
            (_, (w_dot, _)), _ = jax.lax.scan(body, ((w, opt_state), still), batches, length=steps)
            return weighted_sum(v, w_dot)

        slopes = jax.lax.map(slope, jnp.eye(vector.size, dtype=vector.dtype), batch_size=min(chunk, vector.size))
        return add(d, unravel(slopes.astype(vector.dtype)))

    return train, pull
