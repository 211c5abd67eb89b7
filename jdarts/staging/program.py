"""`compile`: compilation of a function of arrays, whole or in pieces, as suits the platform."""

import gc
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Literal

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jdarts.staging.compiling import Compiler, compiler_options, recent
from jdarts.staging.execute import Runner
from jdarts.staging.trace import count_equations, has_pieces, piece, pruned, trace, written_bytes

Unit = Literal["edges", "cells", "whole"]

# On an H100 the first-order step of S0 (97,000 equations) took 85 s longer to compile as one program than in pieces,
# and then ran in 38 instead of 126 ms. XLA's compile time grows faster than linearly: the second-order step (222,000
# equations) was not compiled after 20 minutes on two CPU cores. Larger programs are therefore split into several, which
# the cores of the host compile in parallel: second order with 3 cells, in three parts of 28,000, took 220 CPU seconds
# per part.
_MANY_CALLS = 1500
_MOST_EQUATIONS = 150_000
_JOINED_EQUATIONS = 60_000

# A context of JAX is part of the key of JAX's caches: a jitted function is traced again for another unit.
_unit = jax.make_user_context(default_value="whole")


def unit() -> Unit:
    """The unit that is being traced for: supernets mark mixed edges as pieces, or cells, or nothing ("whole")."""
    return _unit.value


def in_pieces() -> bool:
    """True if the function being traced will be compiled in pieces."""
    return _unit.value != "whole"


def default_unit() -> Unit:
    """The best unit of compilation for the default backend."""
    return "edges" if jax.default_backend() == "cpu" else "cells"


@contextmanager
def undivided():
    """Context for tracing the inside of a piece; nothing is marked as a piece in it."""
    with _unit("whole"):
        yield


def edge_piece(function: Callable) -> Callable:
    """`function` of arrays as a piece where edges are the unit of compilation; elsewhere `function` itself."""
    marked = piece(function)
    return lambda *args: marked(*args) if unit() == "edges" else function(*args)


def traced_once(function: Callable) -> Callable:
    """`function` of arrays, traced only once in a program that is compiled in pieces and calls it in several places.

    A program that is not compiled in pieces calls `function` itself.
    """
    traced = jax.jit(function)
    return lambda *args: traced(*args) if in_pieces() else function(*args)


class Program:
    """A compiled function. Call it with arrays of the shapes and dtypes that it was compiled for.

    Attributes:
      trace_seconds, compile_seconds: time taken to trace, and to lower and compile what is new in this process.
      programs: number of distinct XLA programs.
    """

    def __init__(self, run: Callable, trace_seconds: float, compile_seconds: float, programs: int, analysis: Callable):
        self._run, self._analysis = run, analysis
        self.trace_seconds, self.compile_seconds, self.programs = trace_seconds, compile_seconds, programs

    def __call__(self, *args):
        """Run the program."""
        return self._run(*args)

    @property
    def peak_bytes(self) -> int:
        """Peak memory in bytes beyond the arguments: results, arrays between pieces and temporaries inside a piece."""
        return int(self._analysis("peak"))

    @property
    def flops(self) -> float:
        """Floating-point operations per call, by XLA's cost analysis."""
        return self._analysis("flops")

    @property
    def bytes_accessed(self) -> float:
        """Bytes read and written per call, by XLA's cost analysis."""
        return self._analysis("bytes accessed")


@contextmanager
def no_garbage():
    """Pause Python's garbage collector, which would repeatedly scan the millions of lasting objects of a trace."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@no_garbage()
def compile(
    function: Callable,
    *args: Any,
    donate_argnums: tuple[int, ...] = (),
    unit: Unit | None = None,
    calls: int | None = None,
    shared: bool = False,
    only_read: bool = False,
) -> Program:
    """Trace `function` for arguments like `args` (arrays or `jax.ShapeDtypeStruct`s) and compile it. Runs nothing.

    Args:
      function: pure, from pytrees of arrays to a pytree of arrays.
      donate_argnums: arguments whose memory the results may reuse; only if the program is compiled whole.
      unit: the unit of compilation: mixed edges, cells, or the whole program. None: edges on the CPU, cells elsewhere.
        A function without marked pieces is always compiled whole.
      calls: number of times the program will run, if known. Short runs on a CPU are optimised less (`compiling.SHORT`).
        On accelerators, the cells of programs that run often are joined into one program, or into a few if one would
        be too large for XLA; each cell is still traced once. Joined programs take a few times longer to compile, but
        the host then launches all their kernels at once.
      shared: compute values that occur twice, in pieces or between them, only once, and keep them in memory.
        `jax.checkpoint` still recomputes its values.
      only_read: only the costs of the program are read; it never runs.
    """
    started = time.perf_counter()
    unit = unit or default_unit()
    how = {"calls": calls, "only_read": only_read}
    if unit == "whole":
        return _compile_whole(function, args, donate_argnums, started, how)

    closed, shapes = _traced(function, args, unit)
    if not has_pieces(closed.jaxpr):
        return _compile_whole(function, args, donate_argnums, started, how)
    closed = pruned(closed)
    often = unit == "cells" and (calls or 0) >= _MANY_CALLS
    if often and count_equations(closed.jaxpr.eqns) <= _MOST_EQUATIONS:

        def all_pieces(*arrays):
            return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr_as_fun(closed)(*jax.tree.leaves(arrays)))

        return _compile_whole(all_pieces, args, donate_argnums, started, how)
    known = recent()
    compiler = Compiler(known, written=written_bytes(closed.jaxpr.eqns), **how)
    graph = trace(closed, shared=shared, expressions=known.expressions)
    runner = Runner(graph, compiler, _JOINED_EQUATIONS if often else None)
    traced = time.perf_counter()
    programs = compiler.finish()
    structure_in, structure_out = jax.tree.structure(args), jax.tree.structure(shapes)

    def run(*arrays):
        leaves, structure = jax.tree.flatten(arrays)
        if structure != structure_in:
            raise TypeError(f"compiled for arguments {structure_in}, called with {structure}")
        return jax.tree.unflatten(structure_out, runner(leaves))

    def analysis(what: str) -> float:
        return runner.peak() if what == "peak" else runner.cost(what)

    return Program(run, traced - started, time.perf_counter() - traced, programs, analysis)


def compile_vmapped(function: Callable, *args: Any, **options: Any) -> Program:
    """`compile` for a `function` that is vmapped over networks with different weights, with the same `options`.

    Its convolutions are grouped. Pieces do not help with those on a CPU, so there it is compiled whole.
    """
    return compile(function, *args, unit="whole" if default_unit() == "edges" else None, **options)


def _traced(function: Callable, args: tuple, unit: Unit) -> tuple[ClosedJaxpr, Any]:
    """The trace for a unit of compilation and the shapes of the results."""
    with _unit(unit):
        return jax.make_jaxpr(function, return_shape=True)(*args)


def _compile_whole(function, args, donate_argnums, started: float, how: dict[str, Any]) -> Program:
    trace = jax.jit(function, donate_argnums=donate_argnums).trace(*args)
    options = compiler_options(large=True, written=written_bytes(trace.jaxpr.eqns), **how)
    lowered = trace.lower()
    traced = time.perf_counter()
    compiled = lowered.compile(options)

    def analysis(what: str) -> float:
        if what != "peak":
            return float((compiled.cost_analysis() or {}).get(what, 0.0))
        memory = compiled.memory_analysis()
        if memory is None:
            return 0
        return memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes

    return Program(compiled, traced - started, time.perf_counter() - traced, 1, analysis)
