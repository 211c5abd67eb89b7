"""Controllers: trainable distributions over the decisions of a space, and their policy gradient.

The strategies REINFORCE and PPO (`jdarts.strategies`) train a controller on the scores of finished trials; the method
ENAS (`jdarts.search.drivers.enas`) trains one on accuracies with shared weights.
"""

from jdarts.controllers.controller import Controller, Params, controller_of
from jdarts.controllers.policy_gradient import (
    batch_entropy,
    batch_log_probability,
    reinforce_loss,
    sampler,
    samples,
    step_along,
)

__all__ = [
    "Controller",
    "Params",
    "batch_entropy",
    "batch_log_probability",
    "controller_of",
    "reinforce_loss",
    "sampler",
    "samples",
    "step_along",
]
