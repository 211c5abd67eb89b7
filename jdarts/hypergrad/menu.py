"""The estimators by the names that configurations and methods use, those of the user included."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import optax

from jdarts.config import SearchConfig, options, own_estimators
from jdarts.config.ranges import check
from jdarts.errors import UserError, unknown
from jdarts.hypergrad.amended_darts import amended
from jdarts.hypergrad.amortised import amortised, warm_started
from jdarts.hypergrad.central_difference import finite_difference
from jdarts.hypergrad.implicit import conjugate_gradient, implicit, neumann
from jdarts.hypergrad.memory import like
from jdarts.hypergrad.one_step import first_order, look_back, single_level, unrolled
from jdarts.hypergrad.penalty import penalised
from jdarts.hypergrad.solvers import ConjugateGradient
from jdarts.hypergrad.types import Aux, Estimator, Loss

ESTIMATORS: dict[str, Callable[..., Estimator]] = {
    "first_order": first_order,
    "single_level": single_level,
    "unrolled": unrolled,
    "look_back": look_back,
    "finite_difference": finite_difference,
    "neumann": neumann,
    "conjugate_gradient": conjugate_gradient,
    "amended": amended,
    "implicit": implicit,
    "amortised": amortised,
    "warm_started": warm_started,
    "penalised": penalised,
}
_NOT_OPTIONS = {
    "microbatches": "search.microbatches sets microbatches",
    "axis_name": "the search sets axis_name",
    "steps": "search.unroll_steps sets steps",
    "solver": "register a function that passes a solver",
    "mode": "register a function that passes a mode",
}
"""Parameters of estimators that have a setting of their own or cannot be written as text, with what to do."""
WITH_TERMS = ("neumann", "conjugate_gradient", "implicit", "warm_started")
"""The estimators that `search.hypergradient_terms` acts on."""
_DAMPED = ("conjugate_gradient", "implicit", "amortised", "warm_started")


def register(factory: Callable[..., Estimator]) -> Callable[..., Estimator]:
    """Make an estimator of your own available to configurations and methods under its function's name.

    `factory(train_loss, val_loss, optimizer, *, microbatches=1, **options)` returns an estimator. It need not take
    `microbatches`. Its other keyword-only parameters with defaults are options (`search.hypergradient_options`), typed
    by their annotations. A configuration or `Method.hypergradient` may also hold the function itself.
    """
    if getattr(factory, "__name__", None) in ESTIMATORS:
        raise UserError(f"{factory.__name__} is an estimator of jdarts; choose another name for yours")
    return own_estimators.register(factory)


def find(name: str) -> Callable[..., Estimator]:
    """The estimator's factory of that name; raises `UserError` if there is none or it cannot be called as one."""
    every = {**own_estimators.OWN, **ESTIMATORS}
    if name not in every:
        raise unknown("hypergradient", name, every)
    factory = every[name]
    try:
        inspect.signature(factory).bind(None, None, None)
    except TypeError as error:
        raise UserError(
            f"the hypergradient {name} cannot be called with (train_loss, val_loss, optimizer): {error}"
        ) from None
    return factory


def is_known(name: str) -> bool:
    """True if `name` is an estimator of jdarts or a registered one."""
    return name in ESTIMATORS or name in own_estimators.OWN


def check_named(settings: SearchConfig) -> None:
    """Raise `UserError` unless the hypergradient that `settings` name is known and accepts its options."""
    if settings.hypergradient is not None:
        find(settings.hypergradient)
    read_options(settings.hypergradient or "unrolled", settings.hypergradient_options)


def read_options(name: str, texts: tuple[str, ...]) -> dict[str, Any]:
    """The values of options given as texts like `damping=0.1`; raises `UserError` for unknown ones and bad values."""
    factory = find(name)
    hints = typing.get_type_hints(factory, include_extras=True)
    parameters = inspect.signature(factory).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _NOT_OPTIONS]
    found = {}
    for text in texts:
        option, value = options.split(text, "search.hypergradient_options")
        if option in _NOT_OPTIONS:
            raise UserError(f"search.hypergradient_options has {text!r}; {_NOT_OPTIONS[option]}")
        if option not in known:
            if not known:
                raise UserError(f"hypergradient {name} has no options, but search.hypergradient_options has {text!r}")
            raise unknown(f"option of hypergradient {name}", option, known)
        hint = hints.get(option, str)
        kind = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
        found[option] = options.parse(value, kind, f"{option} of hypergradient {name}")
        check(f"{option} of hypergradient {name}", found[option], hint)
    return found


def by_name(
    settings: SearchConfig,
    train_loss: Loss,
    val_loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    options: Mapping[str, Any] | None = None,
) -> Estimator:
    """The estimator that a search configuration asks for.

    `hypergradient_terms` is the number of terms of the Neumann series, preconditioned by the optimiser, or the number
    of iterations of conjugate gradients. Conjugate gradients and the other implicit estimators are damped by the
    coupled weight decay, which belongs to the training objective but not to the training loss. `options` are further
    options of the estimator, given by a search method; those of `settings.hypergradient_options` win.
    """
    name = settings.hypergradient or "unrolled"
    factory = find(name)
    given: dict[str, Any] = {"microbatches": settings.microbatches, **(options or {})}
    if name == "unrolled":
        given["steps"] = settings.unroll_steps
    elif name == "neumann":
        given["terms"] = settings.hypergradient_terms
    elif name == "conjugate_gradient":
        given["iterations"] = settings.hypergradient_terms
    elif name in WITH_TERMS:
        given["solver"] = ConjugateGradient(settings.hypergradient_terms)
    if name in _DAMPED:
        given["damping"] = settings.weight_optimizer.weight_decay
    given |= read_options(name, settings.hypergradient_options)
    if name in ESTIMATORS:
        return factory(train_loss, val_loss, optimizer, **given)
    return _own(name, factory, train_loss, val_loss, optimizer, given)


def _own(name: str, factory: Callable, train_loss: Loss, val_loss: Loss, optimizer: Any, given: dict) -> Estimator:
    """An estimator of the user's own, whose result is checked while it is traced."""
    parameters = inspect.signature(factory).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if "microbatches" not in parameters and not takes_all and given.pop("microbatches") > 1:
        raise UserError(f"search.microbatches is above 1, but hypergradient {name} does not take microbatches; use 1")
    estimator: Any = factory(train_loss, val_loss, optimizer, **given)
    if not callable(estimator):
        raise UserError(f"hypergradient {name} returned {type(estimator).__name__}; it must return an estimator")

    def checked(w, alphas, *others):
        result: Any = estimator(w, alphas, *others)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Aux)):
            found = type(result).__name__
            raise UserError(f"hypergradient {name} must return (grads, jdarts.hypergrad.Aux), not {found}")
        found, wanted = (jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (result[0], alphas))
        if found != wanted:
            raise UserError(f"hypergradient {name} returned grads {found}; they must be like the alphas, {wanted}")
        return result

    return like(cast(Estimator, estimator), checked)
