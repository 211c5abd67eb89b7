"""Controllers: trainable distributions over the decisions of a space, and their policy gradient.

The strategies REINFORCE and PPO (`jdarts.strategies`) train a controller on the scores of finished trials; the method
ENAS (`jdarts.search.drivers.enas`) trains one on accuracies with shared weights.
"""

from jdarts.controllers.attention import AttentionSettings
from jdarts.controllers.controller import Controller, controller_of
from jdarts.controllers.enas_macro import MacroController
from jdarts.controllers.enas_micro import MicroController
from jdarts.controllers.enas_recurrent import RecurrentController
from jdarts.controllers.policy import Params, Policy
from jdarts.controllers.policy_gradient import (
    batch_bonus,
    batch_entropy,
    batch_log_probability,
    mean_penalty,
    reinforce_loss,
    sampler,
    samples,
    step_along,
)

__all__ = [
    "AttentionSettings",
    "Controller",
    "MacroController",
    "MicroController",
    "Params",
    "Policy",
    "RecurrentController",
    "batch_bonus",
    "batch_entropy",
    "batch_log_probability",
    "controller_of",
    "mean_penalty",
    "reinforce_loss",
    "sampler",
    "samples",
    "step_along",
]
