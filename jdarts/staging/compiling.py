"""Compilation of programs: each distinct program once, several in parallel."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any

import jax

from jdarts.staging.equality import Expressions
from jdarts.staging.trace import Fixed

_OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {
        "xla_disable_hlo_passes": "cse_barrier_expander",  # keep `jdarts.kernels.cut`
        # By default LLVM uses half the width of AVX-512. The full one saves 11 % of a path step of NAS-Bench-Macro and
        # 6 % of a step of S0 (CPU time, Intel Xeon).
        "xla_cpu_prefer_vector_width": 512,
    },
    # XLA tunes its own (Triton) matrix products one by one, which takes as long as the rest of the compilation. In
    # jaxlib 0.11.2 their fusion also crashes the process for a supernet in bfloat16. cuBLAS needs no tuning.
    "gpu": {"xla_gpu_enable_triton_gemm": False, "xla_gpu_deterministic_ops": True},
}
# Launch everything in a step, convolutions included, as one CUDA graph; otherwise a GPU waits for the host at every
# kernel. A program that is called with different buffers every time gains nothing.
_AS_GRAPH = {
    "gpu": {
        "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONVOLUTION",
    }
}

SHORT = 1_000
SHORT_BYTES = 150e9
"""Fewer calls, which together write fewer bytes, are a short run: optimising it on a CPU takes longer than it saves.

Optimising the search step saves 0.03 of 0.174 CPU s per step of the quick start (0.2 GB written) and 0.1 of 1.1 s per
step of S0 at batch 16 (6 GB). Compiling takes what 870 of the former steps save, or 30 of the latter.
"""
_LEVEL = "xla_backend_optimization_level"

# Search step of the quick start, in CPU seconds: 59 to compile and 0.144 per step; 33 and 0.174 with these options.
# Newer versions of XLA have no switch for the fusion emitters.
_LESS = {_LEVEL: 1, "xla_cpu_use_fusion_emitters": False}
_READ = {_LEVEL: 0, "xla_cpu_use_fusion_emitters": False, "xla_llvm_disable_expensive_passes": True}

_MOST_PROGRAMS = 1000
_MOST_EXPRESSIONS = 50_000

_WORKERS = max(2, (os.cpu_count() or 2) // 2)


def compiler_options(
    *, large: bool = False, calls: int | None = None, written: float = 0, only_read: bool = False
) -> dict[str, Any] | None:
    """Options for `jax.jit(..., compiler_options=...)` on the default backend.

    Args:
      large: the program is a step, or a large part of one.
      calls: number of times the program will run, if known. A CPU program with few calls (`SHORT`, `SHORT_BYTES`) is
        optimised less, unless `XLA_FLAGS` sets the level.
      written: bytes that the operations of the program write in one call, if known.
      only_read: only the costs of the program are read; it never runs, so on a CPU its machine code is not optimised.
    """
    backend = jax.default_backend()
    options = {**_OPTIONS.get(backend, {}), **(_AS_GRAPH.get(backend, {}) if large else {})}
    if backend == "cpu" and only_read:
        options |= _known(_READ)
    elif backend == "cpu" and _is_short(calls, written) and _LEVEL not in os.environ.get("XLA_FLAGS", ""):
        options |= _known(_LESS)
    return options or None


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that this version of XLA has."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True


def _is_short(calls: int | None, written: float) -> bool:
    return calls is not None and calls < SHORT and calls * written < SHORT_BYTES


class Executable:
    """A program that can be called once `Compiler.finish` has run."""

    def __init__(self, function: Callable, shapes: list[Any], donated: tuple[int, ...], options: dict | None):
        self._function, self._shapes, self._donated, self._options = function, shapes, donated, options
        self._compiled: Any = None

    def lower(self):
        """Trace and lower; this is the slow part in Python."""
        jitted = jax.jit(self._function, donate_argnums=self._donated, compiler_options=self._options)
        return jitted.lower(*self._shapes)

    def compile(self, lowered) -> None:
        """Compile in XLA, which releases Python's lock."""
        self._compiled = lowered.compile()

    def __call__(self, *arrays):
        """Run the program; returns the results as a list."""
        return self._compiled(*arrays)

    def temporary_bytes(self) -> int:
        """Memory that one call needs besides its arguments and results."""
        return self._temporary_bytes

    def cost(self, what: str) -> float:
        """An entry of XLA's cost analysis, 0 if there is none."""
        return float(self._costs.get(what, 0.0))

    @cached_property  # XLA takes milliseconds to answer, and a program can be called in hundreds of places
    def _temporary_bytes(self) -> int:
        analysis = self._compiled.memory_analysis()
        return int(analysis.temp_size_in_bytes) if analysis is not None else 0

    @cached_property
    def _costs(self) -> dict[str, Any]:
        return self._compiled.cost_analysis() or {}


class Recent:
    """Programs of the process's last compilations, so that a search that is run again compiles nothing again.

    Only small searches are remembered, such as those of trials, stages and tests: a large one would hold memory.

    Attributes:
      expressions: equal expressions have equal numbers in all these compilations.
      programs: by content, options and context of JAX.
      contexts: those of the programs; they are compared by identity, so they stay.
    """

    def __init__(self):
        self.expressions = Expressions()
        self.programs: dict[Hashable, Executable] = {}
        self.contexts: list[Any] = []

    @property
    def full(self) -> bool:
        """True if as much is remembered as may be."""
        return len(self.programs) > _MOST_PROGRAMS or len(self.expressions) > _MOST_EXPRESSIONS


_recent = Recent()


def recent() -> Recent:
    """The memory of this process; a new one where JAX's compilation cache is off, as in measurements of compilation."""
    global _recent
    if not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue]
        return Recent()
    if _recent.full:
        _recent = Recent()
    return _recent


@jax.jit
def _nothing():
    return ()


class Compiler:
    """Collects distinct programs and compiles them together; `options` are those of `compiler_options`."""

    def __init__(self, recent: Recent, **options: Any):
        self._recent, self._options = recent, options
        traced = _nothing.trace().jaxpr  # JAX keeps one trace for each context of its caches
        recent.contexts.append(traced)
        self._context = id(traced)
        self._known: dict[Hashable, Executable] = {}
        self._new: dict[Hashable, Executable] = {}
        self._waiting: list[Executable] = []
        self._count = 0

    def add(
        self,
        function: Callable,
        inputs: Sequence[Any],
        key: Hashable | None,
        donated: tuple[int, ...] = (),
        *,
        large: bool = False,
    ) -> Executable:
        """The program of `function` for inputs like these; calls with equal `key` and equal inputs share one program.

        Results reuse the memory of the inputs `donated`. `large`: see `compiler_options`.
        """
        shapes = [_shape(atom) for atom in inputs]
        if key is not None:
            key = (key, tuple((s.shape, s.dtype) for s in shapes))
            if key in self._known:
                return self._known[key]
        options = compiler_options(large=large, **self._options)
        content = (key, donated, tuple(sorted((options or {}).items())), self._context)
        executable = None if key is None else self._recent.programs.get(content)
        if executable is None:
            executable = Executable(function, shapes, donated, options)
            self._waiting.append(executable)
            if key is not None:
                self._new[content] = executable
        if key is not None:
            self._known[key] = executable
        self._count += 1
        return executable

    def finish(self) -> int:
        """Compile all programs that were added and are new; returns the number of those added."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = [pool.submit(executable.compile, executable.lower()) for executable in self._waiting]
            for future in futures:
                future.result()
        self._waiting.clear()
        self._recent.programs.update(self._new)
        return self._count


def _shape(atom: Any) -> jax.ShapeDtypeStruct:
    if isinstance(atom, Fixed):
        return jax.ShapeDtypeStruct((), atom.aval.dtype)
    aval = getattr(atom, "aval", atom)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)
