"""The cost of the alpha gradient by every hypergradient estimator, against one plain weight step on the same batch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax

from jdarts import hypergrad, staging
from jdarts.bench.steps import Say, first_call
from jdarts.bench.timing import Spread, interleave, ratio, spread
from jdarts.config import Experiment
from jdarts.config.swept import unchecked
from jdarts.data import SearchData
from jdarts.hypergrad.microbatch import averaged
from jdarts.optimizers import weight_sgd
from jdarts.search.search import Search, make_search
from jdarts.spaces.space import Space

REFERENCE = "weight_step"

# With this damping, no direction of negative curvature ends the iteration early, so all iterations are measured.
_CG_DAMPING = 1e3


@dataclass(frozen=True)
class GradientCost:
    """Cost of one way to compute the alpha gradient.

    Attributes:
      description: a few words for the table.
      trace_seconds, compile_seconds: of the program that has batches and weights as arguments and the gradient as its
        only result; values that the gradient does not need are not computed.
      seconds: over the interleaved rounds.
      steps: seconds as a multiple of those of a weight step, from the ratios within each round.
      temporary_bytes: most bytes that XLA allocates beyond the arguments.
      memory_ratio: temporary_bytes as a multiple of that of one weight gradient; None without that row.
      resident_bytes: largest growth of the process during the first call (Linux hosts), otherwise None.
    """

    description: str
    trace_seconds: float
    compile_seconds: float
    seconds: Spread
    steps: Spread
    temporary_bytes: int
    memory_ratio: float | None
    resident_bytes: int | None


def gradient_names() -> dict[str, str]:
    """The rows of the table, in order, with their descriptions."""
    return {
        REFERENCE: "weight step (plain training)",
        "weight_gradient": "weight gradient",
        "first_order": "first order",
        "single_level": "single level",
        "unrolled": "unrolled, exact",
        "finite_difference": "finite difference (approximate)",
        "unrolled_2": "unrolled, k = 2",
        "unrolled_5": "unrolled, k = 5",
        "neumann_3": "Neumann, 3 terms",
        "conjugate_gradient_5": "conjugate gradient, 5 iterations",
        "amended": "amended",
    }


def measure_gradients(
    config: Experiment,
    space: Space,
    data: SearchData,
    *,
    names: Iterable[str],
    repetitions: int = 5,
    say: Say = lambda text: None,
) -> dict[str, GradientCost]:
    """Compile the rows `names` of `gradient_names`, and always the weight step, and time them in turn."""
    chosen = {REFERENCE, *names}
    wanted = [name for name in gradient_names() if name in chosen]
    programs, runs, resident = {}, {}, {}
    for name in wanted:
        say(f"compiling {gradient_names()[name]} …")
        function, arguments = build_gradient(config, space, data, name)
        programs[name] = staging.compile(function, *arguments)
        runs[name] = lambda program=programs[name], arguments=arguments: program(*arguments)
        _, resident[name], _ = first_call(runs[name])
        traced, compiled = programs[name].trace_seconds, programs[name].compile_seconds
        say(f"  traced in {traced:.1f} s, compiled in {compiled:.1f} s")
    seconds = interleave(runs, repetitions, on_round=lambda done: say(f"round {done} of {repetitions}"))
    gradient = programs.get("weight_gradient")
    return {
        name: GradientCost(
            description=gradient_names()[name],
            trace_seconds=program.trace_seconds,
            compile_seconds=program.compile_seconds,
            seconds=spread(seconds[name]),
            steps=ratio(seconds[name], seconds[REFERENCE]),
            temporary_bytes=int(program.peak_bytes),
            memory_ratio=program.peak_bytes / gradient.peak_bytes if gradient else None,
            resident_bytes=resident[name],
        )
        for name, program in programs.items()
    }


def build_gradient(config: Experiment, space: Space, data: SearchData, name: str) -> tuple[Callable, tuple[Any, ...]]:
    """The function of a row and its arguments: weights, alphas, optimiser state, training batch, validation batch.

    The functions are rebuilt for every row, so that rows share no trace. k steps get k batches, stacked.
    """
    search = make_search(config, space, data)
    optimizer = weight_sgd(config.search.weight_optimizer, config.search.epochs, search.steps_per_epoch)
    steps = int(name.removeprefix("unrolled_")) if name.startswith("unrolled_") else 1
    arguments = _arguments(config, search, steps)
    if name in (REFERENCE, "weight_gradient"):
        gradient = averaged(jax.grad(search.loss, has_aux=True), config.search.microbatches)

        def of_weights(vector, alphas, opt_state, batch, val_batch):
            del val_batch
            grads, aux = gradient(vector, alphas, batch)
            if name == "weight_gradient":
                return grads
            updates, opt_state = optimizer.update(grads, opt_state, vector)
            return vector + updates, opt_state, aux["batch_stats"]

        return of_weights, arguments
    estimator = _estimator(name, config, search, optimizer, steps)

    def of_alphas(*arguments):
        return estimator(*arguments)[0]

    return of_alphas, arguments


def _estimator(name: str, config: Experiment, search: Search, optimizer, steps: int) -> hypergrad.Estimator:
    if name == "conjugate_gradient_5":
        return hypergrad.conjugate_gradient(
            search.loss,
            search.loss,
            optimizer,
            iterations=5,
            damping=_CG_DAMPING,
            microbatches=config.search.microbatches,
        )
    kind: Any = {"unrolled_2": "unrolled", "unrolled_5": "unrolled", "neumann_3": "neumann"}.get(name, name)
    settings = unchecked(config.search, hypergradient=kind, unroll_steps=steps, hypergradient_terms=3)
    return hypergrad.by_name(settings, search.loss, search.loss, optimizer)


def _arguments(config: Experiment, search: Search, steps: int):
    @jax.jit
    def build(key, arrays):
        state: Any = search.init(key)
        drawn = [search.draw(state.replace(step=state.step + i), arrays) for i in range(steps)]
        batches = [train_batch for train_batch, _ in drawn]
        train_batch = batches[0] if steps == 1 else hypergrad.stack_batches(batches)
        return state.weights, state.alphas, state.weight_opt_state, train_batch, drawn[0][1]

    return build(jax.random.key(config.seed), search.arrays)
