"""`jdarts bench bilevel`: its problems against jaxopt, its estimators at the optimum, and the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import hypergrad
from jdarts.bench import bilevel
from jdarts.bench.bilevel_problems import PROBLEMS
from jdarts.cli import main
from jdarts.hypergrad import WithMemory


@pytest.fixture(scope="module", params=PROBLEMS)
def at_optimum(request):
    """`(problem, alphas, w*(alphas), gradient)`: a point away from the start, with the dense gradient."""
    with jax.enable_x64(True):
        problem = PROBLEMS[request.param]()
        alphas = problem.alphas + 0.5 * jnp.asarray(np.random.default_rng(0).normal(size=problem.alphas.shape))
        yield problem, alphas, jax.jit(problem.solve)(alphas), problem.value_and_gradient(alphas)[1]


def far(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def test_the_exact_gradient_equals_that_of_jaxopt(at_optimum, x64):
    """jaxopt's implicit differentiation of its own solver, and differences of the value function."""
    jaxopt = pytest.importorskip("jaxopt")
    problem, alphas, w, gradient = at_optimum
    solver = jaxopt.LBFGS(lambda w, a: problem.train_loss(w, a, problem.train)[0], maxiter=500, tol=1e-10)
    hyper = jax.jit(jax.value_and_grad(lambda a: problem.val_loss(solver.run(w, a).params, a, problem.val)[0]))
    value, by_jaxopt = hyper(alphas)
    np.testing.assert_allclose(problem.value_and_gradient(alphas)[0], value, rtol=1e-9)
    assert far(gradient, by_jaxopt) < 1e-4  # jaxopt solves the system to a tolerance of 1e-6 times ‖v‖
    direction = jnp.asarray(np.random.default_rng(1).normal(size=alphas.shape))
    up, down = (problem.values(w[None], (alphas + s * direction)[None])[0] for s in (1e-4, -1e-4))
    np.testing.assert_allclose((up - down) / 2e-4, gradient @ direction, rtol=1e-5)


BOUNDS = {
    "neumann_10": 0.6,
    "conjugate_gradient_10": 0.02,
    "gmres_10": 0.01,
    "amortised": 1e-6,
    "warm_started_2": 1e-6,
    "nystrom, every column": 1e-4,
    "penalised, large multiplier": 0.05,
}
"""Largest relative error of the gradient at the optimum of the weights; of the last of 600 calls, with a memory."""


LIMITS = {
    "nystrom, every column": lambda p, train, val: hypergrad.implicit(
        train, val, solver=hypergrad.Nystrom(len(p.w)), damping=1e-7
    ),
    "penalised, large multiplier": lambda p, train, val: hypergrad.penalised(
        train, val, multiplier=1e4, step_size=p.inner_step
    ),
}
"""Estimators that approach the exact gradient, unlike their entries in the benchmark."""


@pytest.mark.parametrize("name", BOUNDS)
def test_estimators_at_the_optimum(at_optimum, name, x64):
    problem, alphas, w, gradient = at_optimum
    entry = bilevel.ENTRIES.get(name) or bilevel.BilevelEntry(name, LIMITS[name])
    estimator = entry.build(problem, problem.train_loss, problem.val_loss)

    def call(memory):
        return bilevel._hypergradient(estimator, entry, problem, (w, alphas, memory), 0)

    def run():
        if not isinstance(estimator, WithMemory):
            return call(None)[0]
        start = estimator.init(w, alphas)
        return call(jax.lax.scan(lambda memory, _: (call(memory)[1], None), start, length=600)[0])[0]

    assert far(jax.jit(run)(), gradient) < BOUNDS[name]


def test_the_command(tmp_path, capsys):
    figure, target = tmp_path / "curves.png", tmp_path / "result.json"
    arguments = ["bench", "bilevel", "--only", "ridge,first_order,conjugate_gradient_10,amortised", "--steps", "60"]
    assert main([*arguments, "--json", str(target), "-o", str(figure)]) == 0
    printed = capsys.readouterr().out
    assert "conjugate gradients, 10 iterations" in printed and "logistic" not in printed
    assert figure.read_bytes()[:4] == b"\x89PNG"
    runs = json.loads(target.read_text())["problems"]["ridge"]["runs"]
    assert runs["conjugate_gradient_10"]["train_passes"] == 11 and runs["amortised"]["train_passes"] == 1
    assert runs["first_order"]["outer"] == {"0.1": None, "0.01": None}
    good = runs["conjugate_gradient_10"]
    assert good["errors"][0] == 1 and good["errors"][-1] < 0.01 and 1 < good["outer"]["0.1"] < good["outer"]["0.01"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bilevel", "quick.py"], "jdarts bench bilevel has its own problems and takes no configuration"),
        (["bilevel", "--search.epochs", "3"], "takes no configuration: leave out '--search.epochs'"),
        (["bilevel", "--only", "rigde"], "unknown problem or estimator"),
        (["bilevel", "--seeds", "1"], "--seeds is for jdarts bench seeds, not for jdarts bench bilevel"),
        (["bilevel", "-o", "curves.txt"], "--output is 'curves.txt'; give the name of a .png"),
        (["bilevel", "-o", "nowhere/curves.png"], "there is no folder nowhere"),
        (["quick.py", "-o", "curves.png"], "--output is for jdarts bench bilevel, not for jdarts bench"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(["bench", *arguments]) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed and "\n" not in printed


def test_the_first_iteration_below_a_tolerance():
    """The error must stay below: an oscillation counts until it ends, and NaN is above."""
    assert bilevel._first_below(np.array([1.0, 0.05, 0.2, 0.09]), 0.1) == 3
    assert bilevel._first_below(np.array([1.0, 0.05, np.nan]), 0.1) is None
    assert bilevel._first_below(np.array([0.0]), 0.1) == 0
