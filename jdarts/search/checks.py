"""Checks before anything compiles: settings must fit the data, the method and each other."""

from jdarts import hypergrad
from jdarts.config import SearchConfig
from jdarts.data import SearchData
from jdarts.data.streaming import StreamedData
from jdarts.errors import UserError
from jdarts.methods import Method
from jdarts.search.conventions import hypergradient_of
from jdarts.search.task import Batches
from jdarts.spaces import LayerChoices, OneShotSpace
from jdarts.spaces.space import Space


def check_split(settings: SearchConfig, method: Method, data: SearchData | StreamedData) -> None:
    """Raise `UserError` if the method needs a validation split and there is none."""
    if isinstance(data, StreamedData) or not data.single:
        return
    hypergradient = hypergradient_of(settings, method)
    if (hypergradient != "single_level" and method.alpha_data != "train") or method.compares:
        raise UserError(
            f"data.val_fraction is 0, but {method.name} with hypergradient {hypergradient} needs validation images; "
            "use 0.5, or a single-level method"
        )


def check_rhythm(settings: SearchConfig, method: Method) -> None:
    """Raise `UserError` if the alphas shall rest in some steps, and the hypergradient does not allow it."""
    hypergradient = hypergradient_of(settings, method)
    if (method.alpha_every or 1) > 1 and hypergradient != "first_order":
        raise UserError(
            f"{method.name} moves the alphas in every step number {method.alpha_every} only, which needs hypergradient "
            f"first_order, not {hypergradient}"
        )


_OF_CELLS = {
    "darts_pt": "decides edge by edge",
    "drnas": "changes partial channels",
    "p_darts": "changes the number of cells",
    "stac_nas": "searches groups of the ops of DARTS cells",
}
"""Drivers that need cells, by what they do."""


def check_chain(space: Space, method: Method) -> None:
    """Raise `UserError` if the method does not fit a chain of layers, or the sums of paths of the One-Shot space."""
    if isinstance(space, OneShotSpace) and method.paths is None:
        raise UserError(
            f"space {space.name} selects several paths of a sum, and method {method.name} weighs the ops of an edge; "
            "use method one_shot, or --strategy"
        )
    if not isinstance(space, LayerChoices):
        return
    reason = ""
    if method.driver in _OF_CELLS:
        reason = f"it {_OF_CELLS[method.driver]}"
    elif method.edge_normalisation or method.edge.partial_channels > 1:
        reason = "partial channels and edge normalisation need several edges a node"
    elif dropped := sorted({"drop_path", "skip_dropout"} & set(method.edge_values)):
        reason = f"{dropped[0]} would cut the only edge of a layer"
    if reason:
        raise UserError(
            f"method {method.name} does not fit space {space.name}, where one edge leads to each layer: {reason}; "
            "use e.g. darts, darts_minus, gdas or spos"
        )


def check_batches(estimator: hypergrad.Estimator, batches: Batches) -> None:
    """Raise `UserError` if the hypergradient takes several training batches and the task cannot look ahead."""
    count = hypergrad.batches_of(estimator)
    if batches.one_at_a_time and count > 1:
        raise UserError(
            f"the hypergradient takes {count} training batches a step, but {batches.one_at_a_time}; "
            "use search.unroll_steps 1, or an estimator that takes one batch"
        )


def check_conventions(settings: SearchConfig, method: Method) -> None:
    """Raise `UserError` if a setting of `jdarts.search.conventions` would have no effect with this method."""
    hypergradient = hypergradient_of(settings, method)
    if hypergradient == "look_back" and method.own_weight_step:
        raise UserError(
            f"search.hypergradient is look_back, which differentiates the weight step by the alphas, but the weight "
            f"step of {method.name} has op weights of its own; use unrolled"
        )
    if not settings.virtual_clip and hypergradient not in ("unrolled", "finite_difference"):
        raise UserError(
            f"search.virtual_clip is false, but hypergradient {hypergradient} takes no virtual step; "
            "use search.hypergradient unrolled or finite_difference, or leave search.virtual_clip true"
        )
    if settings.unroll_steps > 1 and hypergradient != "unrolled":
        raise UserError(
            f"search.unroll_steps is {settings.unroll_steps}, but hypergradient {hypergradient} of {method.name} looks "
            "at most one step ahead; use search.hypergradient unrolled, or leave it at 1"
        )
    if settings.hypergradient_terms != SearchConfig().hypergradient_terms and hypergradient not in hypergrad.WITH_TERMS:
        raise UserError(
            f"search.hypergradient_terms is {settings.hypergradient_terms}, but hypergradient {hypergradient} has no "
            f"terms; it is for {', '.join(hypergrad.WITH_TERMS)}: leave it out"
        )
    if not settings.alpha_step_moves_statistics:
        return
    if method.alphas_fixed:
        raise UserError(
            f"search.alpha_step_moves_statistics is true, but {method.name} has no alpha step; leave it false"
        )
    if hypergradient not in ("first_order", "finite_difference"):
        raise UserError(
            f"search.alpha_step_moves_statistics is true, but hypergradient {hypergradient} makes other forward passes "
            "than the DARTS code; use search.hypergradient first_order or finite_difference, or leave it false"
        )
