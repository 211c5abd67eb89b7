"""How a program is compiled: in pieces, mixed edges on the CPU and cells on accelerators.

XLA takes minutes over the whole of a second-order step, in which the same mixed edge occurs hundreds of times; on the
CPU it also fuses across ops until nothing vectorises. `compile` therefore traces a program once, as a whole, and cuts
the trace at the functions marked with `piece`. Every distinct piece (a mixed edge, or a cell, at one resolution
forward, backward, and both with tangents) is compiled once; what lies between the pieces is grouped into small
programs, compiled once for each distinct form; and the trace is carried out call by call, dropping every array after
its last use. An accelerator wants few large programs, since every call costs it some microseconds; there a cell is the
piece, and what will run often is one program in the end, or a few, of pieces that were traced once each.

Differentiation needs no help: `jax.grad` and `jax.jvp` turn a marked function into marked functions. Loops
(`lax.scan`, `lax.map`, `lax.while_loop`) and branches that contain pieces are carried out in Python, since XLA:CPU
runs the convolutions of a loop's body many times slower than those outside (jax#12868).

    step = compile(search.step, state, arrays)      # traces, compiles; nothing is run
    state, metrics = step(state, arrays)
    step.compile_seconds, step.peak_bytes
"""

from jdarts.staging.compiling import compiler_options
from jdarts.staging.program import (
    Program,
    Unit,
    compile,
    in_pieces,
    no_garbage,
    traced_once,
    undivided,
    unit,
)
from jdarts.staging.trace import piece

__all__ = [
    "Program",
    "Unit",
    "compile",
    "compiler_options",
    "in_pieces",
    "no_garbage",
    "piece",
    "traced_once",
    "undivided",
    "unit",
]
