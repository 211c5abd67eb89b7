"""`jdarts plan` on text: arithmetic in closed form, traffic and all-reduces of every time step."""

from dataclasses import replace

import jax
import pytest
from support.tiny_text import BATCH, CONFIG, SPACE, UNITS, WORDS, text

from jdarts.config import DataConfig, SpaceConfig
from jdarts.errors import UserError
from jdarts.networks.recurrent.size import count_language_model
from jdarts.pipeline import plan_search
from jdarts.search import make_search
from jdarts.search import plan as planning
from jdarts.search.plan import measure

WINDOW = 7
"""An odd number of time steps: one of them is left behind a loop whose body has two."""
SHORT = replace(
    CONFIG,
    search=replace(CONFIG.search, hypergradient="first_order"),
    language_search=replace(CONFIG.language_search, bptt=WINDOW),
)


def test_a_plan_of_columns(monkeypatch):
    """The arithmetic in closed form, and an all-reduce for every batch norm of every time step.

    The weight step has the products of the forward pass and two of the same size for each in the backward pass. The
    alpha step has one, as the gradient by the weights is not needed.
    """
    costs, told = [], []

    def measured(*arguments, **options):
        costs.append(measure(*arguments, **options))
        return costs[-1]

    monkeypatch.setattr(planning, "measure", measured)
    words = planning.plan(SHORT, SPACE, text(), devices=2, kind="h100", tell=told.append)
    (cost,) = costs
    network = SPACE.supernet(vocabulary=WORDS, embedding=UNITS, units=UNITS)
    shape = jax.ShapeDtypeStruct(SPACE.alpha_shapes["recurrent"], "float32")
    size = count_language_model(network, shape)
    assert cost.flops == 2 * (3 + 2) * size.macs * WINDOW * BATCH // 2
    assert cost.traffic > 4 * (3 + 2) * size.modules[1].parameters * WINDOW, "each product reads its matrix"
    assert cost.images == BATCH // 2 and any("two time steps" in line for line in told)
    norms = 2 * WINDOW * (1 + SPACE.nodes)  # mean and variance
    assert cost.collectives.count >= 2 * norms and cost.collectives.chain >= norms, "in each of the two losses"
    assert f"{BATCH // 2} of {BATCH} columns per device" in words and "time steps of a window" in words
    assert f"2 epochs of {make_search(SHORT, SPACE, text()).steps_per_epoch} steps" in words


def test_what_has_no_search_step_and_what_is_no_text():
    config = replace(CONFIG, data=DataConfig(source="ptb"), space=SpaceConfig(name="enas_rnn"))
    config = replace(config, search=replace(config.search, method="enas"))
    with pytest.raises(UserError, match="space enas_rnn has no alphas, so that there is no search step to plan"):
        plan_search(config, devices=2, kind="h100")
    with pytest.raises(UserError, match=r"is a text, but space\.name is darts_cnn"):
        plan_search(replace(config, space=SpaceConfig(), search=CONFIG.search), devices=2, kind="h100")
