"""The solvers of the library lineax (an optional dependency) for implicit differentiation."""

from dataclasses import dataclass
from typing import Any

import jax

from jdarts.hypergrad.linear_system import Preconditioner, Solver, System
from jdarts.hypergrad.types import PyTree


@dataclass(frozen=True)
class Lineax(Solver):
    """A solver of lineax, such as `lineax.CG`, `lineax.GMRES` or `lineax.BiCGStab`.

    `implicit(solver=lineax.GMRES(rtol=1e-6, atol=1e-6))` makes this object. Its `rtol` and `atol` count relative to
    the largest entry of v. A solve that fails or reaches `max_steps` returns the last iterate without an error, and
    perhaps NaN; check `aux.residual`. `lineax.CG` needs a positive definite `H + δI`. A direct solver (`LU`,
    `Cholesky`) builds the matrix, from one product for each weight. `lineax.GMRES` (0.1.1) fails inside `shard_map` and
    `pmap`; `lineax.CG` works there.

    The result can be differentiated again in reverse mode, unlike that of `ConjugateGradient`.

    Attributes:
      solver: the solver of lineax.
      preconditioner: as for `ConjugateGradient`; only for iterative solvers that take one.
    """

    solver: Any
    preconditioner: Preconditioner | None = None

    def solve(self, system: System, v: PyTree, start: PyTree = None) -> PyTree:
        """`lineax.linear_solve` from `start`."""
        import lineax

        like = jax.eval_shape(lambda: v)
        positive, symmetric = lineax.positive_semidefinite_tag, lineax.symmetric_tag
        definite = isinstance(self.solver, (lineax.CG, lineax.Cholesky))
        operator = lineax.FunctionLinearOperator(system.multiply, like, positive if definite else symmetric)
        options = {} if start is None else {"y0": start}
        if self.preconditioner is not None:
            options["preconditioner"] = lineax.FunctionLinearOperator(self.preconditioner(system), like, positive)
        return lineax.linear_solve(operator, v, self.solver, options=options, throw=False).value
