"""Convergence of the estimators on the bilevel problems of `jdarts.bench.bilevel_problems`.

Every estimator gets the same algorithm: from the last weights, `inner` steps of gradient descent on the training loss;
then one step of Adam on the alphas with the estimator's gradient. The estimators differ only in this gradient. The
error of the alphas is `(h(α) − h*) / (h(α_0) − h*)`, with the exact value function h and its optimum h*.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdarts import hypergrad
from jdarts.bench.bilevel_problems import PROBLEMS, BilevelProblem
from jdarts.hypergrad import WithMemory, batches_of

TOLERANCES = (0.1, 0.01)
LINEAX = "gmres_10"
"""The entry that needs the package lineax."""
_HALF = 2  # the fresh batches of stocBiO are halves of the training data


@dataclass(frozen=True)
class BilevelEntry:
    """One way to compute the hypergradient.

    Attributes:
      description: in words.
      build: `(problem, train_loss, val_loss) -> estimator` for the whole training data as `train_batch`,
        or for stacked batches (`jdarts.hypergrad.memory.batches_of`).
      fresh: the stacked batches are random halves of the training data; otherwise each is the whole.
    """

    description: str
    build: Callable[..., Any]
    fresh: bool = False


def _implicit(make_solver: Callable[[BilevelProblem], Any]) -> Callable[..., Any]:
    return lambda problem, train, val: hypergrad.implicit(train, val, solver=make_solver(problem))


def _gmres(problem: BilevelProblem) -> Any:
    import lineax

    del problem
    return lineax.GMRES(rtol=1e-3, atol=1e-3, max_steps=10)


ENTRIES: dict[str, BilevelEntry] = {
    "first_order": BilevelEntry("first order", lambda p, train, val: hypergrad.first_order(train, val)),
    "amended": BilevelEntry(
        "amended, η = γ", lambda p, train, val: hypergrad.amended(train, val, coefficient=p.inner_step)
    ),
    "unrolled": BilevelEntry(
        "unrolled, 1 step", lambda p, train, val: hypergrad.unrolled(train, val, optax.sgd(p.inner_step))
    ),
    "unrolled_10": BilevelEntry(
        "unrolled, 10 steps",
        lambda p, train, val: hypergrad.unrolled(train, val, optax.sgd(p.inner_step), steps=10),
    ),
    "finite_difference": BilevelEntry(
        "finite difference", lambda p, train, val: hypergrad.finite_difference(train, val, optax.sgd(p.inner_step))
    ),
    "neumann_10": BilevelEntry("Neumann, 10 terms", _implicit(lambda p: hypergrad.Neumann(10, p.inner_step))),
    "stocbio_10": BilevelEntry(
        "Neumann, 10 terms, a half of the data each",
        _implicit(lambda p: hypergrad.Neumann(10, p.inner_step / 2, fresh=True)),
        fresh=True,
    ),
    "conjugate_gradient_10": BilevelEntry(
        "conjugate gradients, 10 iterations", _implicit(lambda p: hypergrad.ConjugateGradient(10))
    ),
    LINEAX: BilevelEntry("GMRES of lineax, to 0.1 %", _implicit(_gmres)),
    "nystrom_10": BilevelEntry(
        "Nyström, 10 columns, δ = 0.1",
        lambda p, train, val: hypergrad.implicit(train, val, solver=hypergrad.Nystrom(10), damping=0.1),
    ),
    "warm_started_2": BilevelEntry(
        "conjugate gradients, 2 iterations, warm start",
        lambda p, train, val: hypergrad.warm_started(train, val, solver=hypergrad.ConjugateGradient(2)),
    ),
    "penalised": BilevelEntry(
        "penalty, no second derivative, λ = 10",
        lambda p, train, val: hypergrad.penalised(train, val, multiplier=10.0, step_size=p.inner_step),
    ),
    "amortised": BilevelEntry(
        "amortised, 1 product", lambda p, train, val: hypergrad.amortised(train, val, step_size=p.inner_step)
    ),
}


@dataclass(frozen=True)
class Convergence:
    """The run of one estimator on one problem.

    Attributes:
      description: of the estimator.
      errors: `(h(α) − h*) / (h(α_0) − h*)` before each outer iteration and after the last. Below 0 the run found a
        better local optimum than the reference; None if h is not finite.
      outer: number of outer iterations to each of `TOLERANCES`, from which on the error stays below; None if not
        reached.
      inner: steps on the weights for each outer iteration.
      train_passes, val_passes: evaluations of the training and the validation loss, with a gradient or a product, for
        each hypergradient; measured at the end of the run.
      seconds: time of one outer iteration with its inner steps, without compilation.
    """

    description: str
    errors: tuple[float | None, ...]
    outer: dict[float, int | None]
    inner: int
    train_passes: int
    val_passes: int
    seconds: float


@dataclass(frozen=True)
class ProblemResult:
    """All runs on one problem.

    Attributes:
      description: of the problem.
      start, optimum: `h(α_0)` and `h*`.
      runs: by name of the entry.
    """

    description: str
    start: float
    optimum: float
    runs: dict[str, Convergence]


def measure_bilevel(
    problems: Sequence[str],
    entries: Sequence[str],
    *,
    outer: int = 200,
    inner: int = 10,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, ProblemResult]:
    """Run the named entries on the named problems, for `outer` iterations of `inner` steps, in float64 on the CPU."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        found = {}
        for name in problems:
            problem = PROBLEMS[name]()
            say(f"{problem.description}: the optimum …")
            start, optimum = float(problem.value_and_gradient(problem.alphas)[0]), problem.optimum()[1]
            runs = {}
            for entry in entries:
                say(f"  {ENTRIES[entry].description} …")
                runs[entry] = _run(problem, ENTRIES[entry], outer, inner, (start, optimum))
            found[name] = ProblemResult(problem.description, start, optimum, runs)
        return found


def _run(
    problem: BilevelProblem, entry: BilevelEntry, outer: int, inner: int, ends: tuple[float, float]
) -> Convergence:
    program = jax.jit(lambda: _trajectory(problem, entry, outer, inner)).lower().compile()
    jax.block_until_ready(program())
    began = time.perf_counter()
    path, end = jax.block_until_ready(program())
    seconds = time.perf_counter() - began
    values = np.asarray(
        problem.values(*jax.tree.map(lambda seen, last: jnp.append(seen, last[None], 0), path, end[:2]))
    )
    errors = (values - ends[1]) / (ends[0] - ends[1])
    passes = _count_passes(problem, entry, end)
    reached = {tolerance: _first_below(errors, tolerance) for tolerance in TOLERANCES}
    known = tuple(float(error) if np.isfinite(error) else None for error in errors)
    return Convergence(entry.description, known, reached, inner, *passes, seconds / outer)


def _trajectory(problem: BilevelProblem, entry: BilevelEntry, outer: int, inner: int):
    """`((w, alphas) before each outer iteration, (w, alphas, memory) at the end)`."""
    estimator = entry.build(problem, problem.train_loss, problem.val_loss)
    sgd, adam = optax.sgd(problem.inner_step), optax.adam(problem.outer_step)

    def descend(alphas, w):
        def step(w, _):
            g = jax.grad(lambda w: problem.train_loss(w, alphas, problem.train)[0])(w)
            return optax.apply_updates(w, sgd.update(g, sgd.init(w))[0]), None

        return jax.lax.scan(step, w, length=inner)[0]

    def iterate(carry, i):
        (w, alphas, memory), state = carry
        seen = (w, alphas)
        w = descend(alphas, w)
        grads, memory = _hypergradient(estimator, entry, problem, (w, alphas, memory), i)
        updates, state = adam.update(grads, state)
        return ((w, optax.apply_updates(alphas, updates), memory), state), seen

    memory = estimator.init(problem.w, problem.alphas) if isinstance(estimator, WithMemory) else None
    start = ((problem.w, problem.alphas, memory), adam.init(problem.alphas))
    (end, _), path = jax.lax.scan(iterate, start, jnp.arange(outer))
    return path, end


def _hypergradient(estimator, entry: BilevelEntry, problem: BilevelProblem, point: tuple, i):
    """`(grads, next memory)` at `(w, alphas, memory)` in outer iteration `i`."""
    w, alphas, memory = point
    batch = _batches(entry, problem, batches_of(estimator), i)
    arguments = (w, alphas, optax.sgd(problem.inner_step).init(w), batch, problem.val)
    grads, aux = estimator(*arguments, memory) if isinstance(estimator, WithMemory) else estimator(*arguments)
    return grads, aux.memory


def _batches(entry: BilevelEntry, problem: BilevelProblem, count: int, i):
    if count == 1:
        return problem.train
    if not entry.fresh:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), problem.train)
    rows = len(problem.train["x"])
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), i), count)
    chosen = jax.vmap(lambda key: jax.random.permutation(key, rows)[: rows // _HALF])(keys)
    return jax.tree.map(lambda leaf: leaf[chosen], problem.train)


def _count_passes(problem: BilevelProblem, entry: BilevelEntry, point: tuple) -> tuple[int, int]:
    """Evaluations of both losses in one hypergradient, counted by a callback in each."""
    counts = {"train": 0, "val": 0}

    def counted(which: str, loss: hypergrad.Loss) -> hypergrad.Loss:
        def count():
            counts[which] += 1

        def of_batch(w, alphas, batch):
            jax.debug.callback(count)
            return loss(w, alphas, batch)

        return of_batch

    estimator = entry.build(problem, counted("train", problem.train_loss), counted("val", problem.val_loss))
    call = jax.jit(lambda *point: _hypergradient(estimator, entry, problem, point, 0)).lower(*point)
    jax.block_until_ready(call.compile(compiler_options={"xla_backend_optimization_level": "0"})(*point))  # one call
    jax.effects_barrier()
    return counts["train"], counts["val"]


def _first_below(errors: np.ndarray, tolerance: float) -> int | None:
    above = np.flatnonzero(~(errors <= tolerance))
    first = int(above[-1]) + 1 if len(above) else 0
    return first if first < len(errors) else None
