"""How a step is compiled: whole on accelerators, in pieces on the CPU.

On an accelerator one program a step is best. XLA:CPU takes about six seconds for the gradient of one mixed cell, and a
second-order step contains that gradient five times over. Compiled in pieces, the gradient of the loss is one executable
that serves the virtual step, the validation gradient and the weight step alike, and the pieces compile side by side.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from jdarts import kernels


class Piece:
    """A jitted function that can be compiled ahead of its first call."""

    def __init__(self, function: Callable, pieces: "Pieces"):
        self._jitted = jax.jit(function, compiler_options=kernels.compiler_options())
        self._pieces = pieces
        self._compiled: dict[Any, Callable] = {}

    def __call__(self, *args):
        """Run the piece; while `Pieces.compile_all` plans, only note the arguments and return shapes."""
        if self._pieces.planned is not None:
            self._pieces.planned[(self, _signature(args))] = args
            return self._jitted.eval_shape(*args)
        compiled = self._compiled.get(_signature(args)) if self._compiled else None
        return compiled(*args) if compiled else self._jitted(*args)

    def compile(self, *args) -> None:
        """Compile for arguments like these (arrays or `jax.ShapeDtypeStruct`s)."""
        self._compiled[_signature(args)] = self._jitted.lower(*args).compile()


class Pieces:
    """A stage (see `jdarts.hypergrad`) that jits each distinct function once, by itself."""

    def __init__(self):
        self._pieces: dict[Callable, Piece] = {}
        self.planned: dict[Any, tuple] | None = None

    def __call__(self, function: Callable) -> Piece:
        """The piece of `function`, the same one every time."""
        return self._pieces.setdefault(function, Piece(function, self))

    def compile_all(self, program: Callable, *args: Any) -> None:
        """Compile every piece that `program(*args)` calls, all at once on several threads.

        `program` must compute nothing outside its pieces: it is called once with shapes in place of arrays.
        """
        self.planned = {}
        try:
            program(*jax.eval_shape(lambda: args))
            work = [(piece, piece_args) for (piece, _), piece_args in self.planned.items()]
        finally:
            self.planned = None
        with ThreadPoolExecutor(max(1, len(work))) as pool:
            for future in [pool.submit(piece.compile, *piece_args) for piece, piece_args in work]:
                future.result()


def _signature(args) -> tuple:
    leaves, structure = jax.tree.flatten(args)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
