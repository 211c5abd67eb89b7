"""A search method: choices at five seams, as one frozen value.

    relaxation      alphas → op weights; the weight step may have one of its own, and a perturbation on top
    edge            parts of a mixed edge: auxiliary skip, partial channels, drop-path (`jdarts.networks.edges`)
    hypergradient   the estimator of the alphas' gradient, its data, the order of the two updates
    regulariser     a term of the alphas' loss, and a hook after their update
    stop, derive    the end of the search, the epoch whose genotype is returned, the derivation from the alphas

A field left at None is DARTS' choice. `compose` puts methods together that touch different seams.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import own_estimators
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.methods.paths import Paths
from jdarts.methods.published import Published
from jdarts.methods.rewards import RewardUpdate
from jdarts.networks.edges import EDGES_SUFFIX, PLAIN, EdgeSettings
from jdarts.networks.wiring import OpTable, OpWeights
from jdarts.relaxation import Alphas, node_softmax, softmax
from jdarts.schedules import Clock, Schedule
from jdarts.spaces.space import Space
from jdarts.stopping import Stop

Relax = Callable[[Alphas, jax.Array, Clock, Space], OpWeights]
Perturb = Callable[[OpWeights, jax.Array, Clock, Callable[[OpWeights], jax.Array]], OpWeights]
Regularizer = Callable[[Alphas, jax.Array, Clock, Space], jax.Array]
PostUpdate = Callable[[Alphas, Alphas, jax.Array, Clock, Space], Alphas]
InitAlphas = Callable[[Space, jax.Array, float], Alphas]
Evaluate = Callable[[OpWeights], float]
Derive = Callable[..., Genotype]


@dataclass(frozen=True)
class Method:
    """A search method. Functions that take a key and a clock are traced: no Python branches on them.

    They see alphas and op weights as `[edges, ops]` matrices by cell type. The parameters of the edge normalisation are
    handled here, so that it combines with every relaxation.

    Attributes:
      name, paper, summary: shown by `jdarts methods`: the name; authors, venue, arXiv number; one line.

    Relaxation:
      relax: `(alphas, key, clock, space) -> op_weights`. The key is the same on all devices and in all evaluations of
        one hypergradient, and differs between the alpha step and the weight step.
      relax_weights: the relaxation of the weight step only, where it differs (SETN, RSPS). No gradient passes.
      perturb: `(op_weights, key, clock, loss) -> op_weights`, applied in the weight step only (SmoothDARTS).
        `loss(op_weights)` is the training loss on the step's batch at the present weights, with running averages in
        the batch norms.
      paths: the paths that train the weights (SPOS, FairNAS, One-Shot), in place of `relax_weights`.
      derive_weights: `alphas -> op_weights`, deterministic; genotypes are derived from them.
      init_alphas: `(space, key, scale) -> alphas`.

    Edge:
      edge: static settings of the supernet's edges.
      edge_values: schedules of the settings that change during the search, by name.
      edge_normalisation: every edge gets one more parameter; the softmax of these over the edges that enter a node
        multiplies the edges' outputs (PC-DARTS). They are the entries `{cell type}_edges` of the alphas.

    Hypergradient:
      hypergradient: name of the estimator, or a function that builds one (`jdarts.hypergrad.register`), unless the
        configuration names one; `hypergradient_options`, its options.
      alpha_data: the split from which the alphas' batch is drawn.
      order: the update that comes first. The second update uses the result of the first. With "single_level" both
        move by the gradients of one loss at the old values.
      alpha_start: first epoch in which the alphas move; before it the state of their optimiser does not move either.
      alpha_every: the alphas move in every `alpha_every`-th step of an epoch only; in the other steps, and before
        `alpha_start`, no alpha gradient is computed. Only for `first_order`.
      reinforce: the alphas move by rewards of paths, and no hypergradient is computed; needs `paths`.
      alphas_fixed: the alphas never move, and no alpha gradient is compiled.
      cutout_probability: schedule of the share of training images that `data.search_cutout` is applied to.
      linear_rate: the learning rate of the weights falls linearly, step by step, instead of as a cosine by epochs.

    Regulariser:
      loss_factor: `(alphas, key, clock, space) -> scalar`, which multiplies the loss that the alphas descend.
      regularizer: `(alphas, key, clock, space) -> scalar`, added to the loss that the alphas descend.
      post_update: `(old, new, key, clock, space) -> alphas`, called after the alphas' update with the key of their
        relaxation.

    Stop and derive:
      stop: `(records, space) -> epoch or None`. Given the records of all finished epochs (each a mapping with `epoch`,
        `alphas`, `genotype` and the metrics), it returns the number of finished epochs whose genotype is the result,
        or None to continue. As a function of the records it needs no state and survives every resume.
      probes: names of further measurements that records must hold ("dominant_eigenvalue").
      derive: `(space, op_weights, evaluate, key) -> Genotype` from the deterministic weights. `evaluate(op_weights)`
        is the accuracy on a validation batch at the search's end; it and the key are None during the search.
      compares: `derive` calls `evaluate`.
      recalibration: `evaluate` takes the statistics of batch norm from so many training batches, for every
        candidate by itself, instead of the running averages.
      batch_statistics: `evaluate` takes the statistics of batch norm from the images that it scores.
      log_scores: `derive` takes the natural logarithms of the op weights (float64, finite) instead. They do not
        underflow where a softmax does.
      without_none: no edge is derived as `none`. With op weights that do not depend on each other the one of `none` has
        no gradient: the op adds zero.

    Above the seams:
      check: `space -> None`, raises `UserError` for a space that the method or one of its options does not fit.
      driver: name of the driver (`jdarts.search.drivers`) of a method that needs more than one loop; None is the plain
        loop.
      options: the options that the method was built with.
      published: settings of published searches, which `--method NAME` applies.
    """

    name: str
    paper: str
    summary: str
    # relaxation
    relax: Relax | None = None
    relax_weights: Relax | None = None
    perturb: Perturb | None = None
    paths: Paths | None = None
    derive_weights: Callable[[Alphas], OpWeights] | None = None
    init_alphas: InitAlphas | None = None
    # edge
    edge: EdgeSettings = PLAIN
    edge_values: Mapping[str, Schedule] = field(default_factory=dict)
    edge_normalisation: bool | None = None
    # hypergradient
    hypergradient: str | Callable[..., Any] | None = None
    hypergradient_options: Mapping[str, Any] = field(default_factory=dict)
    alpha_data: Literal["val", "train"] | None = None
    order: Literal["alphas_first", "weights_first"] | None = None
    alpha_start: int | None = None
    alpha_every: int | None = None
    reinforce: RewardUpdate | None = None
    alphas_fixed: bool | None = None
    cutout_probability: Schedule | None = None
    linear_rate: bool | None = None
    # regulariser
    loss_factor: Regularizer | None = None
    regularizer: Regularizer | None = None
    post_update: PostUpdate | None = None
    # stop and derive
    stop: Stop | None = None
    probes: tuple[str, ...] = ()
    derive: Derive | None = None
    compares: bool | None = None
    recalibration: int | None = None
    batch_statistics: bool | None = None
    log_scores: bool | None = None
    without_none: bool | None = None
    # above the seams
    check: Callable[[Space], None] | None = None
    driver: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "hypergradient", own_estimators.name_of(self.hypergradient))
        if self.order not in (None, "alphas_first", "weights_first"):
            raise UserError(f"order is {self.order!r}; it must be 'alphas_first' or 'weights_first'")
        if self.alpha_data not in (None, "val", "train"):
            raise UserError(f"alpha_data is {self.alpha_data!r}; it must be 'val' or 'train'")
        if (self.alpha_start or 0) < 0:
            raise UserError(f"alpha_start is {self.alpha_start}; use 0 or a later epoch")
        if (self.alpha_every or 1) < 1:
            raise UserError(f"alpha_every is {self.alpha_every}; use 1 for every step, or more")
        if self.order == "weights_first" and self.hypergradient == "single_level":
            raise UserError(
                "single_level moves weights and alphas at once; order 'weights_first' has no meaning with it"
            )

    def op_weights(self, space: Space, alphas: Alphas, key: jax.Array, clock: Clock) -> OpWeights:
        """The relaxation of the alpha step."""
        ops = _ops(alphas)
        return self._with_edges(
            space, alphas, softmax(ops) if self.relax is None else self.relax(ops, key, clock, space)
        )

    def weight_step_weights(
        self, space: Space, alphas: Alphas, key: jax.Array, clock: Clock, loss: Callable[[OpWeights], jax.Array]
    ) -> OpWeights:
        """The op weights of the weight step, perturbation included; `loss` as `perturb` needs it."""
        if self.relax_weights is None:
            p = self.op_weights(space, alphas, key, clock)
        else:
            p = self._with_edges(space, alphas, self.relax_weights(_ops(alphas), key, clock, space))
        if self.perturb is None:
            return p
        edges = {name: q for name, q in p.items() if name.endswith(EDGES_SUFFIX)}
        ops = self.perturb(_ops(p), jax.random.fold_in(key, 1), clock, lambda q: loss({**q, **edges}))
        return {**ops, **edges}

    @property
    def own_weight_step(self) -> bool:
        """True if the op weights of the weight step differ from those of the alpha step."""
        return self.relax_weights is not None or self.perturb is not None

    def deterministic_weights(self, space: Space, alphas: Alphas) -> OpWeights:
        """The op weights from which genotypes are derived, also shown in records."""
        ops = _ops(alphas)
        p = softmax(ops) if self.derive_weights is None else self.derive_weights(ops)
        return self._with_edges(space, alphas, p)

    def _with_edges(self, space: Space, alphas: Alphas, ops: OpWeights) -> OpWeights:
        if not self.edge_normalisation:
            return ops
        targets = [target for _, target in space.edges]
        names = [name for name in alphas if name.endswith(EDGES_SUFFIX)]
        return {**ops, **{name: node_softmax(alphas[name], targets) for name in names}}

    def initial_alphas(self, space: Space, key: jax.Array, scale: float) -> Alphas:
        """Alphas at the start of the search."""
        alphas = space.init_alphas(key, scale) if self.init_alphas is None else self.init_alphas(space, key, scale)
        if not self.edge_normalisation:
            return alphas
        noise = scale * jax.random.normal(jax.random.fold_in(key, 1), (len(alphas), len(space.edges)))
        return {**alphas, **{name + EDGES_SUFFIX: noise[i] for i, name in enumerate(sorted(alphas))}}

    def penalty(self, space: Space, alphas: Alphas, key: jax.Array, clock: Clock) -> jax.Array:
        """The value of the regulariser, a scalar; the method must have one."""
        assert self.regularizer is not None
        return self.regularizer(_ops(alphas), key, clock, space)

    def factor(self, space: Space, alphas: Alphas, key: jax.Array, clock: Clock) -> jax.Array | float:
        """The factor of the alphas' loss, 1 unless the method has one."""
        return 1.0 if self.loss_factor is None else self.loss_factor(_ops(alphas), key, clock, space)

    def after_update(self, space: Space, old: Alphas, new: Alphas, key: jax.Array, clock: Clock) -> Alphas:
        """The new alphas, changed by `post_update` if the method has one."""
        if self.post_update is None:
            return new
        return {**new, **self.post_update(_ops(old), _ops(new), key, clock, space)}

    def genotype(
        self, space: Space, alphas: Alphas, evaluate: Evaluate | None = None, key: jax.Array | None = None
    ) -> Genotype:
        """The genotype of `alphas`."""
        if self.log_scores and self.derive is not None:
            return self.derive(space, self._log_scores(space, alphas), evaluate, key)
        weights = self.deterministic_weights(space, alphas)
        scores = {c: weights[c] * weights.get(c + EDGES_SUFFIX, jnp.ones(1))[:, None] for c in space.alpha_shapes}
        if self.without_none:
            scores = {c: jnp.where(_is_none(space.tables[c]), 0, p) for c, p in scores.items()}
        if self.derive is None:
            return space.derive(scores)
        return self.derive(space, scores, evaluate, key)

    def _log_scores(self, space: Space, alphas: Alphas) -> dict[str, np.ndarray]:
        """Logarithms of the scores of `genotype`: exact for a softmax, of at least the smallest float32 otherwise."""
        weights = self.deterministic_weights(space, alphas)
        least = np.finfo(np.float32).tiny
        scores = {}
        for name in space.alpha_shapes:
            if self.derive_weights is None:
                rows = np.asarray(alphas[name], np.float64)
                scores[name] = rows - np.logaddexp.reduce(rows, axis=-1, keepdims=True)
            else:
                scores[name] = np.log(np.maximum(np.asarray(weights[name], np.float64), least))
            if name + EDGES_SUFFIX in weights:
                edges = np.asarray(weights[name + EDGES_SUFFIX], np.float64)
                scores[name] = scores[name] + np.log(np.maximum(edges, least))[:, None]
            if self.without_none:
                scores[name] = np.where(_is_none(space.tables[name]), np.log(least), scores[name])
        return scores


def _is_none(table: OpTable) -> np.ndarray:
    """A mask of the op `none`, bool [edges, ops]."""
    return np.array([[op == "none" for op in ops] for ops in table])


def _ops(alphas: Alphas) -> Alphas:
    return {name: a for name, a in alphas.items() if not name.endswith(EDGES_SUFFIX)}


SEAMS = {
    "relax": "relaxation",
    "relax_weights": "relaxation of the weight step",
    "perturb": "perturbation of the weight step",
    "paths": "paths of the weight step",
    "derive_weights": "deterministic op weights",
    "cutout_probability": "cutout probability",
    "linear_rate": "learning rate of the weights",
    "hypergradient": "hypergradient",
    "alpha_data": "data of the alpha step",
    "order": "order of updates",
    "alpha_start": "warm-up of the alphas",
    "alpha_every": "steps between updates of the alphas",
    "reinforce": "rewards of the alphas",
    "alphas_fixed": "fixed alphas",
    "edge_normalisation": "edge normalisation",
    "loss_factor": "factor of the alphas' loss",
    "post_update": "hook after the alphas' update",
    "init_alphas": "initial alphas",
    "stop": "stop rule",
    "derive": "derivation",
    "compares": "comparison of candidates",
    "recalibration": "statistics of candidates",
    "batch_statistics": "batch statistics of candidates",
    "log_scores": "logarithms in the derivation",
    "without_none": "no derived none",
    "check": "check of the space",
    "driver": "driver",
}


def compose(*methods: Method) -> Method:
    """One method that makes the choices of all `methods`, e.g. `compose(pc_darts(), darts_minus(), sdarts_rs())`.

    Regularisers add up; edge settings and schedules join. Raises `UserError` naming the seam and the two methods if
    two of them decide the same thing differently.
    """
    if not methods:
        raise UserError("compose needs at least one method")
    made = methods[0]
    for other in methods[1:]:
        made = _join(made, other)
    return made


def _join(a: Method, b: Method) -> Method:
    changes: dict[str, Any] = {
        "name": f"{a.name}+{b.name}",
        "paper": "; ".join(dict.fromkeys((a.paper, b.paper))),
        "summary": f"{a.summary} With: {b.summary}",
        "probes": tuple(dict.fromkeys((*a.probes, *b.probes))),
        "published": (),
    }
    for seam, words in SEAMS.items():
        changes[seam] = _one(getattr(a, seam), getattr(b, seam), None, words, a, b)
    settings = {f.name: f for f in fields(EdgeSettings)}
    changes["edge"] = EdgeSettings(
        **{
            name: _one(getattr(a.edge, name), getattr(b.edge, name), f.default, f"edge setting {name}", a, b)
            for name, f in settings.items()
        }
    )
    for mapping in ("edge_values", "hypergradient_options", "options"):
        first, second = getattr(a, mapping), getattr(b, mapping)
        shared = {k for k in first if k in second and mapping != "options" and first[k] is not second[k]}
        if shared:
            raise _clash(f"{mapping.replace('_', ' ')} {sorted(shared)[0]!r}", a, b)
        changes[mapping] = {**first, **second}
    regularizers = [m.regularizer for m in (a, b) if m.regularizer is not None]
    if len(regularizers) == 2:
        changes["regularizer"] = lambda *inputs: sum(r(*inputs) for r in regularizers)
    else:
        changes["regularizer"] = regularizers[0] if regularizers else None
    return replace(a, **changes)


def _one(first: Any, second: Any, default: Any, words: str, a: Method, b: Method) -> Any:
    if first == default or first is default:
        return second
    if second == default or second is default or first == second:
        return first
    raise _clash(words, a, b)


def _clash(words: str, a: Method, b: Method) -> UserError:
    return UserError(f"{a.name} and {b.name} both decide the {words}; leave one of them out")
