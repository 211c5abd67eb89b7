"""Execution of a schedule: compiled calls read and write registers, Python runs the loops and branches.

Every array is dropped after its last use.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jdarts.jax_versions import scan_arguments
from jdarts.staging.compiling import Compiler, Executable
from jdarts.staging.schedule import Call, Group, schedule
from jdarts.staging.trace import Atom, Control, Fixed, Graph, Ref, Views, bytes_of

_IN_FLIGHT = 4  # calls in flight at once on a CPU; each holds the memory of its results


class Runner:
    """A graph ready to run: `runner(arrays) -> arrays`. Its programs are compiled by `compiler.finish()`.

    With `most_equations`, neighbouring pieces are joined into programs of about that many equations. With `later`,
    constant results are not made yet (`_Later`), and arguments may be such results.
    """

    def __init__(self, graph: Graph, compiler: Compiler, most_equations: int | None = None, *, later: bool = False):
        calls = schedule(graph, most_equations)
        self._later = later
        self._slots: dict[Ref, int] = {}
        self._constants = [(self._slot(ref), value) for ref, value in graph.constants.items()]
        self._inputs = [self._slot(ref) for ref in graph.inputs]
        kept = {ref for ref in graph.outputs if isinstance(ref, Ref)} | set(graph.constants)
        last = _last_uses(calls, kept)
        self._steps = [self._step(call, last[i], compiler, most_equations is not None) for i, call in enumerate(calls)]
        self._outputs = [self._read(atom) for atom in graph.outputs]
        self._calls, self._graph = calls, graph

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """Run the graph on its flat list of inputs."""
        registers: list[Any] = [None] * len(self._slots)
        for slot, value in self._constants:
            registers[slot] = value
        for slot, value in zip(self._inputs, arrays, strict=True):
            registers[slot] = value
        under_way: deque[Any] = deque()
        bounded = jax.default_backend() == "cpu"  # accelerators run in order and reuse memory in that order
        for run, inputs, outputs, dead in self._steps:
            values = [value if slot is None else registers[slot] for slot, value in inputs]
            results = run(*values) if isinstance(run, _Branch) else run(*map(_made, values))
            for slot, result in zip(outputs, results, strict=True):
                registers[slot] = result
            for slot in dead:
                registers[slot] = None
            if bounded and results and isinstance(results[0], jax.Array):
                under_way.append(results[0])
                if len(under_way) > _IN_FLIGHT:
                    jax.block_until_ready(under_way.popleft())
        results = [value if slot is None else registers[slot] for slot, value in self._outputs]
        return results if self._later else [_array(_made(result)) for result in results]

    def result_bytes(self) -> list[int]:
        """Bytes of each result; 0 for one that is not made yet."""
        sizes = self._sizes()
        return [0 if isinstance(atom, Fixed) else sizes[atom] for atom in self._graph.outputs]

    def _sizes(self) -> dict[Ref, int]:
        """Bytes of each value; those of a branch are in the largest one."""
        sizes = {ref: bytes_of(ref.aval) for ref in self._slots}
        for call, (run, *_) in zip(self._calls, self._steps, strict=True):
            if isinstance(run, _Branch):
                sizes.update(zip(call.outputs, run.result_bytes, strict=True))
            elif self._later and isinstance(run, _Constant):
                sizes.update(dict.fromkeys(set(call.outputs) & set(self._graph.outputs), 0))
        return sizes

    def peak(self) -> int:
        """Most bytes alive at once, without the inputs: results between calls and temporary memory inside them."""
        sizes = self._sizes()
        outside = set(self._graph.inputs) | set(self._graph.constants)
        kept = {ref for ref in self._graph.outputs if isinstance(ref, Ref)}
        last = _last_uses(self._calls, kept | outside)
        names = {slot: ref for ref, slot in self._slots.items()}
        live, peak = 0, 0
        for (run, _, outputs, dead), _dead in zip(self._steps, last, strict=True):
            live += sum(sizes[names[slot]] for slot in outputs)
            peak = max(peak, live + run.temporary_bytes())
            live -= sum(sizes[names[slot]] for slot in dead if names[slot] not in outside)
        return peak

    def cost(self, what: str) -> float:
        """Sum of an entry of XLA's cost analysis over all calls, `"flops"` or `"bytes accessed"`."""
        return sum(run.cost(what) for run, *_ in self._steps)

    def _slot(self, ref: Ref) -> int:
        return self._slots.setdefault(ref, len(self._slots))

    def _read(self, atom: Atom) -> tuple[int | None, Any]:
        return (None, atom.val) if isinstance(atom, Fixed) else (self._slot(atom), None)

    def _step(self, call: Call, dead: list[Ref], compiler: Compiler, large: bool):
        inputs: Sequence[Atom] = call.inputs
        if isinstance(call, Group):
            run = compiler.add(call.run, inputs, call.signature(), large=large)
            run = run if inputs or len(call.outputs) > 1 else _Constant(run)
        elif isinstance(call, Views):
            run = _Views(call.views)
        else:
            run = _control(call, compiler)
        return (
            run,
            [self._read(a) for a in inputs],
            [self._slot(r) for r in call.outputs],
            [self._slot(r) for r in dead],
        )


def _last_uses(calls: list[Call], kept: set[Ref]) -> list[list[Ref]]:
    """For each call, the values that are not needed after it."""
    seen = set(kept)
    dead = []
    for call in reversed(calls):
        mentioned = dict.fromkeys([*(a for a in call.inputs if isinstance(a, Ref)), *call.outputs])
        dead.append([ref for ref in mentioned if ref not in seen])
        seen.update(mentioned)
    return dead[::-1]


def _control(call: Control, compiler: Compiler):
    kind = {"scan": _Scan, "while": _While, "cond": _Branch}[call.eqn.primitive.name]
    return kind(call, compiler)


class _Later:
    """A constant array that is made when a program reads it.

    A branch returns zeros in place of the values that the gradients of the other branches need. No program reads them.
    """

    def __init__(self, make: Executable):
        self._make, self._array = make, None

    def array(self) -> Any:
        """The array."""
        if self._array is None:
            (self._array,) = self._make()
        return self._array


def _made(value: Any) -> Any:
    return value.array() if isinstance(value, _Later) else value


def _array(value: Any) -> Any:
    """A view as an array of JAX."""
    return jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value


class _Constant:
    """A program without arguments and with one result, which runs when another program reads the result."""

    def __init__(self, make: Executable):
        self._make = make
        self.temporary_bytes, self.cost = make.temporary_bytes, make.cost

    def __call__(self) -> list[Any]:
        return [_Later(self._make)]


class _Views:
    def __init__(self, views: Callable[[Any], list[Any]]):
        self._views = views

    def __call__(self, array):
        return self._views(np.asarray(array))

    def temporary_bytes(self) -> int:
        return 0

    def cost(self, what: str) -> float:
        del what
        return 0.0


class _Control:
    """The common part of loops and branches: runners of their bodies, memory and cost."""

    repeats = 1
    later = False

    def __init__(self, call: Control, compiler: Compiler):
        self.params = call.eqn.params
        self.bodies = [Runner(body, compiler, later=self.later) for body in call.bodies]

    def temporary_bytes(self) -> int:
        return max(body.peak() for body in self.bodies)

    def cost(self, what: str) -> float:
        return self.repeats * sum(body.cost(what) for body in self.bodies)


class _Scan(_Control):
    def __init__(self, call: Control, compiler: Compiler):
        super().__init__(call, compiler)
        self.fixed, self.carried = scan_arguments(self.params)
        self.repeats = length = self.params["length"]
        stacked = call.inputs[self.fixed + self.carried :]
        self.take: Executable | None = None
        index = jax.ShapeDtypeStruct((), "int32")
        if stacked:

            def take(i, *arrays):
                return [jax.lax.dynamic_index_in_dim(a, i, keepdims=False) for a in arrays]

            self.take = compiler.add(take, [index, *stacked], None)
        results = call.bodies[0].outputs[self.carried :]
        self.spread: Executable | None = None
        if results and length:
            count = len(results)

            def spread(*arrays):
                return [jax.numpy.broadcast_to(a, (length, *a.shape)) for a in arrays]

            def put(i, *arrays):
                pairs = zip(arrays[:count], arrays[count:], strict=True)
                return [jax.lax.dynamic_update_index_in_dim(whole, one, i, 0) for whole, one in pairs]

            wholes = jax.eval_shape(spread, *(jax.ShapeDtypeStruct(a.aval.shape, a.aval.dtype) for a in results))
            self.spread = compiler.add(spread, results, None)
            self.put = compiler.add(put, [index, *wholes, *results], None, tuple(range(1, count + 1)))

    def __call__(self, *arrays):
        fixed = arrays[: self.fixed]
        carry = list(arrays[self.fixed : self.fixed + self.carried])
        stacked = arrays[self.fixed + self.carried :]
        steps = range(self.repeats)
        wholes: list[Any] = []
        for i in reversed(steps) if self.params["reverse"] else steps:
            index = jax.numpy.int32(i)
            out = self.bodies[0]([*fixed, *carry, *(self.take(index, *stacked) if self.take else [])])
            carry, results = out[: self.carried], out[self.carried :]
            if self.spread:  # `put` works in place, so that memory never holds all results twice
                wholes = self.put(index, *wholes, *results) if wholes else self.spread(*results)
        return [*carry, *wholes]


class _While(_Control):
    def __call__(self, *arrays):
        a, b = self.params["cond_nconsts"], self.params["body_nconsts"]
        test, step = self.bodies
        for_test, for_step, carry = arrays[:a], arrays[a : a + b], list(arrays[a + b :])
        while bool(test([*for_test, *carry])[0]):
            carry = step([*for_step, *carry])
        return carry


class _Branch(_Control):
    later = True

    @cached_property
    def result_bytes(self) -> list[int]:
        return max((body.result_bytes() for body in self.bodies), key=sum)

    def temporary_bytes(self) -> int:
        """Memory of the largest branch besides its results, which the peak of a body contains."""
        return max(0, super().temporary_bytes() - sum(self.result_bytes))

    def __call__(self, index, *arrays):
        return self.bodies[min(max(int(_made(index)), 0), len(self.bodies) - 1)](arrays)
