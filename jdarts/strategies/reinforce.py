"""REINFORCE (Williams 1992) with a controller, the strategy of NAS (Zoph & Le 2017, arXiv:1611.01578, eq. 4)."""

from functools import cache

import jax

from jdarts.controllers import Controller, reinforce_loss, step_along
from jdarts.strategies.policy_gradient import Learning, PolicyGradient, Update


class Reinforce(PolicyGradient):
    """One step of Adam along the REINFORCE gradient for each batch of evaluations.

    With an LSTM the defaults are those of NASNet where Zoph & Le's are not public. NAS-Bench-201 (Dong & Yang 2020)
    uses `hidden=None, learning_rate=0.01, baseline_decay=0.9, entropy_weight=0, batch=1`; see
    `jdarts.bench.table_searches` for its other learning rates.
    """

    def update(self) -> Update:
        """The compiled update."""
        return _update(self.controller, self.learning)


@cache
def _update(controller: Controller, learning: Learning) -> Update:
    return jax.jit(step_along(lambda params, *batch: reinforce_loss(controller, params, *batch), learning.adam()))
