"""The hypergradient in use, and two conventions in which the DARTS authors' code differs from this library's defaults.

The virtual step of their code does not clip the gradient, although the real step does (`search.virtual_clip`). Every
forward pass of their network in training mode moves the running averages of its batch norms, also the passes of the
alpha step (`search.alpha_step_moves_statistics`). With `finite_difference` and both settings, a search step equals
theirs.
"""

import jax

from jdarts.config import SearchConfig
from jdarts.hypergrad import Aux
from jdarts.methods import Method
from jdarts.ops.plain import RUNNING_MOMENTUM


def hypergradient_of(settings: SearchConfig, method: Method) -> str:
    """The name of the estimator in use: from the settings, else from the method, else DARTS' unrolled step."""
    return str(settings.hypergradient or method.hypergradient or "unrolled")


def moved_statistics(hypergradient: str, seen: Aux, start: jax.Array, running: jax.Array) -> jax.Array:
    """`running` after the forward passes of an alpha step, in the order of the DARTS code.

    First order has one pass, on the validation batch. Second order has three passes on the training batch, at w, at
    w + εv and at w − εv; its validation pass at w' uses a copy of the network, whose running averages are discarded.

    Args:
      seen: the aux of the estimator. Each aux of a loss holds the running averages that its pass makes of `start`.
    """
    passes = [seen.train_aux, *seen.points_aux] if hypergradient == "finite_difference" else [seen.val_aux]
    for aux in passes:
        running = aux["batch_stats"] + (1 - RUNNING_MOMENTUM) * (running - start)
    return running
