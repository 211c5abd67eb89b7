"""The exact hypergradient of k optimiser steps on k batches, by reverse recursion or by forward propagation.

With s = (w, optimiser state), one step is `g = ∇_w L_train(w, α; B)`, `s⁺ = T(g, s)`. The reverse recursion starts from
`λ = (∇_w L_val(w_k, α), 0)` and `d = ∂_α L_val(w_k, α)`; then for the steps from last to first

    (u, λ) ← (∂T/∂(g, s))ᵀ λ                        one vjp through the optimiser
    λ_w    ← λ_w + ∇²_{ww} L_train(w, α; B) u       both products are tangents of one gradient:
    d      ← d   + ∇²_{αw} L_train(w, α; B) u       one jvp

so that the network is never reversed over reverse. What is kept of a step is (w, optimiser state, g), never
activations.

The forward propagation follows the tangents `∂s/∂α_j` through the same steps, for a few α_j at a time.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jdarts.errors import UserError
from jdarts.hypergrad.differentiable import twice
from jdarts.hypergrad.products import add, both_products, gradients, inner
from jdarts.hypergrad.types import Aux, Estimator
from jdarts.hypergrad.update import stateful_update


def stack_batches(batches: list | tuple) -> Any:
    """Batches of one structure stacked along a new leading axis, as `unrolled(steps=k)` wants them."""
    if not batches:
        raise UserError("no batches to stack; k steps need k of them")
    structures = {jax.tree.structure(batch) for batch in batches}
    if len(structures) > 1:
        raise UserError(f"batches of different structure cannot be stacked: {', '.join(map(str, structures))}")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)


def k_step(train_loss, val_loss, optimizer, *, steps, stacked, mode, checkpoint, chunk, microbatches) -> Estimator:
    """See `jdarts.hypergrad.unrolled`; `stacked` tells whether `train_batch` has the leading axis of steps."""
    train_gradients = gradients(train_loss, microbatches)
    val_gradients = gradients(val_loss, microbatches)
    if mode == "forward":
        train, pull = _forward(train_loss, train_gradients, optimizer, steps, chunk, microbatches)
        pull = twice(train_loss, pull, instead='mode="reverse" may be able to')
    else:
        recursion = _Recursion(train_loss, train_gradients, optimizer, steps, microbatches)
        train, pull = recursion.every() if checkpoint == "every" else recursion.sqrt()

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        batches = train_batch if stacked else jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], train_batch)
        w_k, kept, (train_value, train_aux) = train(w, alphas, opt_state, batches)
        (val_value, val_aux), (v, d) = val_gradients(w_k, alphas, val_batch)
        return pull(v, d, alphas, opt_state, kept), Aux(val_value, val_aux, train_value, train_aux)

    return estimator


class _Recursion:
    """The reverse recursion. Its ways of remembering are pairs of functions:

    `train(w, alphas, opt_state, batches) -> (w_k, kept, value and aux of the first step)` and
    `pull(v, d, alphas, opt_state, kept) -> grads`.
    """

    def __init__(self, train_loss, train_gradients, optimizer, steps, microbatches):
        products = both_products(train_loss, microbatches)

        def descend(w, alphas, batch, u, adjoint, d):
            by_w, by_alphas = products(w, alphas, batch, u)
            return add(adjoint, by_w), add(d, by_alphas)

        self.advance, self.pull_back, self.no_adjoint = stateful_update(optimizer)
        self.train_gradients, self.descend, self.steps = train_gradients, descend, steps

    def run(self, alphas, start, sequence, length):
        """`(end, points, seen)`: every step's (w, optimiser state, g), and its value and aux."""

        def body(carry, batch):
            w, opt_state = carry
            seen, (g, _) = self.train_gradients(w, alphas, batch)
            return self.advance(g, opt_state, w), ((w, opt_state, g), seen)

        end, (points, seen) = jax.lax.scan(body, start, sequence, length=length)
        return end, points, seen

    def back(self, alphas, carry, points, sequence):
        """The recursion over the steps at `points`; `carry` is (adjoint of w, of the state's reals, d)."""

        def body(carry, point_and_batch):
            (adjoint, state_adjoint, d), ((w, opt_state, g), batch) = carry, point_and_batch
            u, state_adjoint, adjoint = self.pull_back((adjoint, state_adjoint), g, opt_state, w)
            adjoint, d = self.descend(w, alphas, batch, u, adjoint, d)
            return (adjoint, state_adjoint, d), None

        return jax.lax.scan(body, carry, (points, sequence), reverse=True)[0]

    def every(self):
        """Keep every step's point."""

        def train(w, alphas, opt_state, batches):
            (w, _), points, seen = self.run(alphas, (w, opt_state), batches, self.steps)
            return w, (points, batches), _first(seen)

        def pull(v, d, alphas, opt_state, kept):
            return self.back(alphas, (v, self.no_adjoint(opt_state), d), *kept)[2]

        return train, pull

    def sqrt(self):
        """Keep the start of every segment of √k steps; take the steps of a segment again when its turn comes."""
        size = math.isqrt(self.steps - 1) + 1
        segments, rest = divmod(self.steps, size)

        def train(w, alphas, opt_state, batches):
            head, tail = _segments(batches, self.steps, size)

            def segment(start, part, length=size):
                end, _, seen = self.run(alphas, start, part, length)
                return end, (start, _first(seen))

            end, (starts, seen) = jax.lax.scan(segment, (w, opt_state), head, length=segments)
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
            carry = (v, self.no_adjoint(opt_state), d)
            if rest:
                carry, _ = segment(carry, (tail_start, tail), rest)
            return jax.lax.scan(segment, carry, (starts, head), reverse=True)[0][2]

        return train, pull


def _first(sequence):
    return jax.tree.map(lambda leaf: leaf[0], sequence)


def _segments(sequence, length, size):
    """`(head, tail)`: a sequence of sequences of `size`, and the rest of the `length` elements."""
    whole = length - length % size
    head = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, size, *leaf.shape[1:]), sequence)
    return head, jax.tree.map(lambda leaf: leaf[whole:], sequence)


def _forward(train_loss, train_gradients, optimizer, steps, chunk, microbatches):
    """The forward propagation, as the same pair of functions as `_Recursion`'s."""
    update = stateful_update(optimizer)[0]
    inside = gradients(train_loss, microbatches)

    def train(w, alphas, opt_state, batches):
        def body(carry, batch):
            seen, (g, _) = train_gradients(carry[0], alphas, batch)
            return update(g, carry[1], carry[0]), seen

        (w_k, _), seen = jax.lax.scan(body, (w, opt_state), batches, length=steps)
        return w_k, (w, batches), _first(seen)

    def pull(v, d, alphas, opt_state, kept):
        w, batches = kept

        def end(alphas):
            def body(carry, batch):
                _, (g, _) = inside(carry[0], alphas, batch)
                return update(g, carry[1], carry[0]), None

            return jax.lax.scan(body, (w, opt_state), batches, length=steps)[0][0]

        vector, unravel = ravel_pytree(alphas)

        def along(direction):
            return inner(v, jax.jvp(end, (alphas,), (unravel(direction),))[1])

        slopes = jax.lax.map(along, jnp.eye(vector.size, dtype=vector.dtype), batch_size=min(chunk, vector.size))
        return add(d, unravel(slopes.astype(vector.dtype)))

    return train, pull
