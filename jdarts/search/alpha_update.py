"""The update of the alphas by their gradient: regulariser, optimiser, hook, and the epoch from which they move."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jdarts.methods import Method
from jdarts.schedules import Clock
from jdarts.spaces.space import Space


@dataclass(frozen=True, eq=False)
class AlphaUpdate:
    """One update of the alphas from their gradient, with the choices of the method."""

    method: Method
    space: Space
    optimizer: optax.GradientTransformation
    clock: Callable[[jax.Array], Clock]

    def __call__(self, grads: Any, opt_state: Any, alphas: Any, key: jax.Array, step: jax.Array) -> tuple[Any, Any]:
        """`(new alphas, new state of their optimiser)`; `key` is the key of the relaxation in this step."""
        now = self.clock(step)
        grads = self.regularized(grads, alphas, key, now)
        updates, new_opt_state = self.optimizer.update(grads, opt_state, alphas)
        new: Any = optax.apply_updates(alphas, updates)
        new = self.method.after_update(self.space, alphas, new, key, now)
        return self.once_started(now, (new, new_opt_state), (alphas, opt_state))

    def regularized(self, grads: Any, alphas: Any, key: jax.Array, now: Clock) -> Any:
        """`grads` with the gradient of the method's regulariser added."""
        if self.method.regularizer is None:
            return grads
        more = jax.grad(lambda a: self.method.penalty(self.space, a, key, now))(alphas)
        return jax.tree.map(jnp.add, grads, more)

    def once_started(self, now: Clock, new: Any, old: Any) -> Any:
        """`new` from epoch `Method.alpha_start` on, `old` before that epoch."""
        if not self.method.alpha_start:
            return new
        moving = now.epoch >= self.method.alpha_start
        return jax.tree.map(lambda a, b: jnp.where(moving, a, b), new, old)
