"""One update of any optax chain as a differentiable map, and its pull-back by vjp.

States hold integer counters and the like beside arrays of reals; derivatives exist for the reals only, so the maps here
carry adjoints for the list of a state's floating leaves.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def one_update(optimizer: optax.GradientTransformation) -> tuple[Callable, Callable]:
    """`(move, pull_back)` for one step from a constant state.

    `move(g, opt_state, w) -> w'`; `pull_back(v, g, opt_state, w) -> (∂U/∂g)ᵀ v` for the update `U(g)`.
    """

    def move(g, opt_state, w):
        return optax.apply_updates(w, optimizer.update(g, opt_state, w)[0])

    def pull_back(v, g, opt_state, w):
        return jax.vjp(lambda g_: optimizer.update(g_, opt_state, w)[0], g)[1](v)[0]

    return move, pull_back


def stateful_update(optimizer: optax.GradientTransformation) -> tuple[Callable, Callable, Callable]:
    """`(advance, pull_back, no_adjoint)` for a chain of steps in which the state moves too.

    `advance(g, opt_state, w) -> (w', opt_state')`. `pull_back(adjoints, g, opt_state, w) -> (by g, by floating leaves
    of opt_state, by w)` with `adjoints = (of w', of the floating leaves of opt_state')`. `no_adjoint(opt_state)`:
    zeros.
    """

    def advance(g, opt_state, w):
        updates, opt_state = optimizer.update(g, opt_state, w)
        return optax.apply_updates(w, updates), opt_state

    def pull_back(adjoints, g, opt_state, w):
        reals, rebuild = _floating(opt_state)

        def step(g_, reals_, w_):
            moved, new_state = advance(g_, rebuild(reals_), w_)
            return moved, _floating(new_state)[0]

        return jax.vjp(step, g, reals, w)[1](adjoints)

    def no_adjoint(opt_state):
        return [jnp.zeros_like(leaf) for leaf in _floating(opt_state)[0]]

    return advance, pull_back, no_adjoint


def _floating(state: Any) -> tuple[list[jax.Array], Callable]:
    """The floating leaves of `state` and the function that puts others in their place."""
    leaves, structure = jax.tree.flatten(state)
    is_real = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]

    def rebuild(reals):
        remaining = iter(reals)
        filled = [next(remaining) if real else leaf for leaf, real in zip(leaves, is_real, strict=True)]
        return jax.tree.unflatten(structure, filled)

    return [jnp.asarray(leaf) for leaf, real in zip(leaves, is_real, strict=True) if real], rebuild
