"""Equality of results: two results are equal if the same expression computes them from the same values.

Derivatives along several groups of variables are traced separately. They repeat common subexpressions in functions that
differ in their other results, so single results are identified by their expressions, also inside functions.
"""

import itertools
from collections.abc import Hashable
from typing import Any

from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal


class Expressions:
    """Numbers for expressions of inputs; equal expressions have equal numbers."""

    def __init__(self):
        self._numbers: dict[Hashable, int] = {}
        self._next = itertools.count()  # not the length: threads may add expressions at once
        self._functions: dict[_Same, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def form(self, eqn: JaxprEqn) -> Hashable:
        """A key of the operation and parameters of an equation, without its inputs.

        Equations with equal keys do the same. Parameters that cannot be compared by value are compared by identity.
        """
        params = tuple((name, self._hashable(value)) for name, value in sorted(eqn.params.items()))
        return eqn.primitive, params

    def results(self, eqn: JaxprEqn, form: Hashable) -> list[Hashable]:
        """One key for each output of an equation of this form: equal keys and equal inputs mean equal values."""
        if eqn.primitive.name == "jit" and isinstance(eqn.params["jaxpr"], ClosedJaxpr):
            return list(self._outputs(eqn.params["jaxpr"]))
        return [(form, k) for k in range(len(eqn.outvars))]

    def _number(self, expression: Hashable) -> int:
        return self._numbers.setdefault(expression, next(self._next))

    def _outputs(self, function: ClosedJaxpr) -> tuple[int, ...]:
        key = _Same(function)
        if key not in self._functions:
            jaxpr = function.jaxpr
            known = {var: self._number(("input", i)) for i, var in enumerate(jaxpr.invars)}
            for var, value in zip(jaxpr.constvars, function.consts, strict=True):
                known[var] = self._number(("constant", _Same(value)))

            def read(atom) -> Hashable:
                return scalar(atom) if isinstance(atom, Literal) else known[atom]

            for eqn in jaxpr.eqns:
                inputs = tuple(map(read, eqn.invars))
                for var, result in zip(eqn.outvars, self.results(eqn, self.form(eqn)), strict=True):
                    known[var] = self._number((result, inputs, _Same(eqn) if eqn.effects else None))
            self._functions[key] = tuple(self._number(("output", read(atom))) for atom in jaxpr.outvars)
        return self._functions[key]

    def _hashable(self, value: Any) -> Hashable:
        if isinstance(value, ClosedJaxpr):
            return self._outputs(value)
        if isinstance(value, (list, tuple)):
            return tuple(map(self._hashable, value))
        try:
            hash(value)
        except TypeError:
            return _Same(value)
        return value


def scalar(literal: Any) -> Hashable:
    """A key that is equal for equal scalar literals of the same type (with `aval` and `val`)."""
    return str(literal.aval), getattr(literal.val, "dtype", type(literal.val)), repr(literal.val)


class _Same:
    """A value compared by identity; it keeps the value alive, so that its address is not reused."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value
