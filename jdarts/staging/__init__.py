"""Compilation of a program in pieces: mixed edges on the CPU, cells on accelerators.

XLA takes minutes to compile a whole second-order step, in which the same mixed edge occurs hundreds of times; on the
CPU it also fuses across ops until nothing vectorises. `compile` therefore traces the whole program once and cuts the
trace at the functions marked with `piece`. Every distinct piece (a mixed edge or a cell at one resolution: forward,
backward, and both with tangents) is compiled once. The operations between pieces are grouped into small programs; every
distinct group is compiled once, small ones even once in a process. The trace is then executed call by call, and every
array is dropped after its last use.
An accelerator needs few large programs, since every call costs some microseconds. There a piece is a cell, and the
pieces of a program that runs often are joined into one program or a few; each piece is still traced once.

Differentiation needs no special treatment: `jax.grad` and `jax.jvp` turn a marked function into marked functions. Loops
(`lax.scan`, `lax.map`, `lax.while_loop`) and branches that contain pieces are executed in Python, since XLA:CPU runs
the convolutions of a loop's body many times slower than those outside (jax#12868).

    step = compile(search.step, state, arrays)      # traces and compiles; runs nothing
    state, metrics = step(state, arrays)
    step.compile_seconds, step.peak_bytes
"""

from jdarts.staging.compiling import compiler_options
from jdarts.staging.program import (
    Program,
    Unit,
    compile,
    compile_vmapped,
    edge_piece,
    in_pieces,
    no_garbage,
    traced_once,
    undivided,
    unit,
)
from jdarts.staging.trace import NOT_A_NUMBER_YET, piece

__all__ = [
    "NOT_A_NUMBER_YET",
    "Program",
    "Unit",
    "compile",
    "compile_vmapped",
    "compiler_options",
    "edge_piece",
    "in_pieces",
    "no_garbage",
    "piece",
    "traced_once",
    "undivided",
    "unit",
]
