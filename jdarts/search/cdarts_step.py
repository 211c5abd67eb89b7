"""The pure functions of CDARTS (`jdarts.methods.cdarts`): steps of the search and of the evaluation network.

A weight of the evaluation network is on the path if its gradient is not 0; the others are the rest of the pool. They
neither move nor decay, so that an op that comes back to the path has the weights with which it left.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jdarts.config import Experiment
from jdarts.errors import UserError
from jdarts.losses import accuracy, cross_entropy
from jdarts.methods.cdarts import GROUPS, Cyclic, ensemble, interaction, joint_loss, penalty, strength
from jdarts.networks.reductions import reduction_cells
from jdarts.ops.plain import RUNNING_MOMENTUM
from jdarts.optimizers import of_alphas, weight_sgd
from jdarts.search.alpha_update import AlphaUpdate
from jdarts.search.objective import Batch
from jdarts.search.search import Search
from jdarts.search.state import METRICS, SearchState
from jdarts.search.vectors import VectorNetwork, vector_network
from jdarts.spaces import NASBench201Space

StepMetrics = dict[str, jax.Array]
SUMS = (*METRICS, "evaluation_loss", "evaluation_accuracy", "interaction")


@struct.dataclass
class CdartsState:
    """The state of a search by two networks.

    Attributes:
      step: finished steps of the loop, int32 scalar; an epoch has two passes.
      search: weights, alphas, optimisers and key of the search network.
      evaluation: `{"weights", "search", "evaluation"}`: the pool as one vector, and the two learned mixtures `[3]`.
      statistics: running averages of the evaluation network.
      opt_state: of the optimiser of `evaluation`.
      path: op weights of the present genotype.
      sums: sums of this epoch's metrics.
    """

    step: jax.Array
    search: SearchState
    evaluation: dict[str, jax.Array]
    statistics: jax.Array
    opt_state: Any
    path: Any
    sums: StepMetrics


@dataclass(frozen=True, eq=False)
class CdartsStep:
    """The steps of CDARTS; `cdarts_step` builds them.

    Attributes:
      base: the search that gives batches, clock and alphas.
      cyclic: the settings. epochs: of the whole search.
      search_net, evaluation_net: the two networks as functions of vectors.
      search_sgd, evaluation_sgd: their optimisers.
      update_alphas: the update of the alphas.
    """

    base: Search
    cyclic: Cyclic
    epochs: int
    search_net: VectorNetwork
    evaluation_net: VectorNetwork
    search_sgd: optax.GradientTransformation
    evaluation_sgd: Any
    update_alphas: AlphaUpdate

    @property
    def passes(self) -> int:
        """Steps of one pass over a split."""
        return self.base.steps_per_epoch

    def init(self, key: jax.Array, path: Any) -> CdartsState:
        """The state before the first step, with `path` as the first genotype."""
        alphas_key, search_key, pool_key, mixture_key, run_key = jax.random.split(key, 5)
        alphas = self.base.method.initial_alphas(self.base.space, alphas_key, self.base.config.search.alpha_init_scale)
        weights = self.search_net.initial_weights(search_key)
        mixtures = jax.random.uniform(mixture_key, (2, GROUPS)) / 3
        evaluation = {
            "weights": self.evaluation_net.initial_weights(pool_key),
            "search": mixtures[0],
            "evaluation": mixtures[1],
        }
        search = SearchState(
            step=jnp.zeros((), jnp.int32),
            weights=weights,
            batch_stats=self.search_net.initial_statistics(),
            alphas=alphas,
            weight_opt_state=self.search_sgd.init(weights),
            alpha_opt_state=self.update_alphas.optimizer.init(alphas),
            hypergradient_memory=None,
            carried=self.base.task.carried(self.base.config),
            key=run_key,
            sums={name: jnp.zeros(()) for name in METRICS},
        )
        return CdartsState(
            step=jnp.zeros((), jnp.int32),
            search=search,
            evaluation=evaluation,
            statistics=self.evaluation_net.initial_statistics(),
            opt_state=self.evaluation_sgd.init(evaluation),
            path=path,
            sums={name: jnp.zeros(()) for name in SUMS},
        )

    def alone(self, state: Any, arrays: Any) -> tuple[CdartsState, StepMetrics]:
        """A step of the search network on a training batch, before there is an evaluation network."""
        batch, _ = self.draw(state, arrays)
        search, metrics = self.trained(state.search, batch)
        return self.finished(state.replace(search=search), metrics)

    def warm(self, state: Any, arrays: Any) -> tuple[CdartsState, StepMetrics]:
        """A step of the evaluation network alone on a validation batch."""
        _, batch = self.draw(state, arrays)

        def loss(evaluation):
            logits, statistics = self.outputs_of_evaluation(state, evaluation, batch)
            return cross_entropy(logits[-1], batch["labels"]), (logits[-1], statistics)

        (value, (logits, statistics)), grads = jax.value_and_grad(loss, has_aux=True)(state.evaluation)
        moved = self.moved(state, grads).replace(statistics=statistics)
        seen = {"evaluation_loss": value, "evaluation_accuracy": accuracy(logits, batch["labels"])}
        return self.finished(moved, seen)

    def joint(self, state: Any, arrays: Any) -> tuple[CdartsState, StepMetrics]:
        """A step of the evaluation network and the alphas on a validation batch, then one of the search network."""
        train_batch, batch = self.draw(state, arrays)
        labels, now = batch["labels"], state.step // (2 * self.passes)

        def loss(alphas, evaluation):
            p = self.base.method.op_weights(self.base.space, alphas, batch["relax_key"], self.clock(state))
            ours, _ = outputs(self.search_net, state.search.weights, state.search.batch_stats, p, batch)
            theirs, statistics = self.outputs_of_evaluation(state, evaluation, batch)
            ends = ensemble(ours, evaluation["search"]), ensemble(theirs, evaluation["evaluation"])
            distance = interaction(*ends, self.cyclic.interaction, self.cyclic.temperature)
            losses = [cross_entropy(each[-1], labels) for each in (ours, theirs)]
            drawn = self.cyclic.penalty * strength(now, self.epochs, self.cyclic) * penalty(self.base.space, alphas)
            aux = {
                "val_loss": losses[0],
                "val_accuracy": accuracy(ours[-1], labels),
                "interaction": distance,
            }
            return joint_loss(losses, distance, self.cyclic) + drawn, (aux, statistics)

        (_, (seen, statistics)), (by_alphas, by_evaluation) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
            state.search.alphas, state.evaluation
        )
        moved: Any = self.moved(state, by_evaluation).replace(statistics=statistics)
        alphas, alpha_opt_state = self.update_alphas(
            by_alphas, state.search.alpha_opt_state, state.search.alphas, batch["relax_key"], state.search.step
        )
        search = state.search.replace(alphas=alphas, alpha_opt_state=alpha_opt_state)
        search, metrics = self.trained(search, train_batch)
        return self.finished(moved.replace(search=search), {**metrics, **seen})

    def draw(self, state: Any, arrays: Any) -> tuple[Batch, Batch]:
        """The training and the validation batch of the next step; the two passes of an epoch differ in augmentation."""
        epoch, inside = state.step // (2 * self.passes), state.step % (2 * self.passes)
        number, half = epoch * self.passes + inside % self.passes, inside // self.passes
        drawing = state.search.replace(step=number, key=jax.random.fold_in(state.search.key, half))
        return self.base.draw(drawing, arrays)

    def clock(self, state: Any) -> Any:
        """The clock of the relaxation."""
        return self.base.objective.clock(state.step // 2)

    def outputs_of_evaluation(self, state: Any, evaluation: Any, batch: Batch) -> tuple[list[jax.Array], jax.Array]:
        """Logits of the three classifiers of the evaluation network, and its moved running averages."""
        return outputs(self.evaluation_net, evaluation["weights"], state.statistics, state.path, batch)

    def trained(self, search: Any, batch: Batch) -> tuple[SearchState, StepMetrics]:
        """The search network after a step on a training batch, and its metrics."""
        now = self.base.objective.clock(search.step)
        p = self.base.method.op_weights(self.base.space, jax.lax.stop_gradient(search.alphas), batch["relax_key"], now)

        def loss(w):
            logits, statistics = outputs(self.search_net, w, search.batch_stats, p, batch)
            return cross_entropy(logits[-1], batch["labels"]), (logits[-1], statistics)

        (value, (logits, statistics)), grads = jax.value_and_grad(loss, has_aux=True)(search.weights)
        updates: Any
        updates, opt_state = self.search_sgd.update(grads, search.weight_opt_state, search.weights)
        moved = search.replace(weights=search.weights + updates, weight_opt_state=opt_state, batch_stats=statistics)
        return moved, {"train_loss": value, "train_accuracy": accuracy(logits, batch["labels"])}

    def moved(self, state: Any, grads: Any) -> Any:
        """The state after an update of the evaluation network; what has no gradient stays as it is."""
        decayed = jax.tree.map(lambda w, g: jnp.where(g != 0, w, 0), state.evaluation, grads)
        updates, opt_state = self.evaluation_sgd.update(grads, state.opt_state, state.evaluation, decayed=decayed)
        return state.replace(evaluation=optax.apply_updates(state.evaluation, updates), opt_state=opt_state)

    def finished(self, state: Any, metrics: StepMetrics) -> tuple[CdartsState, StepMetrics]:
        """The state with its counters moved, and the metrics with `finite`."""
        fresh = state.step % (2 * self.passes) == 0
        sums = {name: jnp.where(fresh, 0, state.sums[name]) + metrics.get(name, 0.0) for name in SUMS}
        leaves = jax.tree.leaves((state.search.weights, state.search.alphas, state.evaluation))
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
        step = state.step + 1
        search = state.search.replace(step=step // 2, sums={name: sums[name] for name in METRICS})
        return state.replace(step=step, search=search, sums=sums), {**metrics, "finite": finite}


def outputs(
    network: VectorNetwork, w: jax.Array, running: jax.Array, op_weights: Any, batch: Batch
) -> tuple[list[jax.Array], jax.Array]:
    """Logits of the three classifiers in training mode, and the moved running averages."""
    logits, changed = network.network.apply(
        network.packed(w, jnp.zeros_like(running)),
        op_weights,
        batch["images"],
        True,
        {},
        mutable=["batch_stats"],
        rngs={"noise": batch["key"]},
    )
    return list(logits), (1 - RUNNING_MOMENTUM) * running + network.statistics(changed["batch_stats"])


def cdarts_step(config: Experiment, base: Search) -> CdartsStep:
    """The steps of the search that `base` describes; raises `UserError` for settings that have no effect here."""
    settings, cyclic = config.search, base.method.options["cyclic"]
    for name, off in (("microbatches", 1), ("activations", "float32"), ("hessian_every", 0)):
        if getattr(settings, name) != off:
            raise UserError(f"search.{name} is {getattr(settings, name)!r}, which cdarts does not support; use {off}")
    if settings.hypergradient not in (None, "first_order"):
        raise UserError(
            f"search.hypergradient is {settings.hypergradient}, but the alphas of cdarts descend a joint loss of their "
            "own; leave it out (null)"
        )
    for cells in (config.space.cells, cyclic.evaluation_cells):
        if not isinstance(base.space, NASBench201Space) and cells < GROUPS:
            raise UserError(f"a network of cdarts has {cells} cells; three groups need at least {GROUPS}")
    optimizer = settings.weight_optimizer
    constant = optax.constant_schedule(optimizer.learning_rate)  # its optimiser starts again with every genotype
    sgd: Callable[..., Any] = partial(weight_sgd, optimizer, settings.epochs, base.steps_per_epoch)
    update = AlphaUpdate(base.method, base.space, of_alphas(settings.alpha_optimizer), base.objective.clock)
    return CdartsStep(
        base,
        cyclic,
        settings.epochs,
        search_net=_network(config, base, config.space.cells),
        evaluation_net=_network(config, base, cyclic.evaluation_cells),
        search_sgd=sgd(),
        evaluation_sgd=sgd(schedule=constant, chosen_decay=True),
        update_alphas=update,
    )


def _network(config: Experiment, base: Search, cells: int) -> VectorNetwork:
    """A weight-sharing network of so many cells, with a classifier behind each third of them."""
    space: Any = base.space
    network = space.supernet(
        channels=config.space.channels, cells=cells, classes=base.data.num_classes, remat=config.search.remat
    )
    network = network.clone(heads=True if isinstance(space, NASBench201Space) else _ends(cells))
    p, images = jax.eval_shape(lambda: (space.init_alphas(jax.random.key(0)), jnp.zeros((1, *base.data.image_shape))))
    return vector_network(network, p, images, True, {})


def _ends(cells: int) -> tuple[int, ...]:
    """The last cells of the first two groups, which are the reduction cells of CDARTS' networks."""
    ends = reduction_cells(cells)
    assert len(ends) == GROUPS - 1
    return ends


def with_genotype(step: CdartsStep, state: Any, path: Any) -> Any:
    """The state before an epoch with the evaluation network `path`: new optimisers, and the weights of the pool."""
    search = state.search.replace(alpha_opt_state=step.update_alphas.optimizer.init(state.search.alphas))
    return replace(state, search=search, opt_state=step.evaluation_sgd.init(state.evaluation), path=path)
