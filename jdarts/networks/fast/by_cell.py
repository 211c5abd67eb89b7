"""A search cell whose edges out of one node are computed together; as accelerators want it, the cell is one unit."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jdarts import kernels, staging
from jdarts.kernels import saved
from jdarts.networks.edges import EdgeValues
from jdarts.networks.fast import pieces
from jdarts.networks.fast.joint_ops import JointOps
from jdarts.networks.fast.ops import NormedOp, candidate
from jdarts.networks.fast.packing import BODY
from jdarts.ops import user_ops


class CellByCell(pieces.CellWithLayers):
    """A cell of the DARTS spaces."""

    preprocessed: bool = False
    """The inputs are the nodes 0 and 1 already."""

    def body(self, s0, s1, p, train: bool, edge_weights, values: EdgeValues):
        """The cell behind its preprocessing, as one piece where cells are the unit of compilation."""
        if staging.unit() == "cells":
            return self._piece(s0, s1, p, train, edge_weights, values)
        return kernels.cut(super().body(s0, s1, _entries(p), train, edge_weights, values))

    def mix(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """The ops on all edges side by side; on accelerators, in training, their batch norms are computed jointly."""
        width, stride = x.shape[-1], self.stride(source)
        together = train and kernels.on_accelerator()
        joint = JointOps(self.targets(source), width)
        for op, targets in self.candidates(source).items():
            weights = self._weights_of(op, source, targets, p)
            fields = {"channels": width, "stride": stride, "edges": len(targets), "affine": False}
            module = candidate(op, search=True, **fields, axis_name=self.axis_name, name=f"from_{source}_{op}")
            if together and isinstance(module, NormedOp) and module.norms():
                joint.add(module, targets, weights)
            elif op == "skip_connect" and stride == 1 and "skip_dropout" in values:
                joint.add_output(jnp.concatenate(self.skips(x, len(targets), values), -1), targets, weights)
            else:
                joint.add_output(kernels.cut(module(x, train)), targets, weights)
        return joint.mixed(x, jnp.zeros_like(x[:, ::stride, ::stride]))

    def ready(self, source: int, x):
        """The node's value, which an accelerator saves for the backward pass."""
        return saved(x) if source >= 2 and kernels.on_accelerator() else kernels.cut(x)

    def preprocess(self, name: str, x, train: bool) -> jax.Array:
        """ReLU, 1 × 1 convolution, batch norm, if they are not done already."""
        if self.preprocessed:
            return x
        return super().preprocess(name, x, train)

    def _weights_of(self, op: str, source: int, targets: list[int], p: list[list[jax.Array]]) -> jax.Array:
        """The weights of an op on the edges `source → targets`, `[len(targets)]`."""
        rows = {t: p[self.row(source, t)] for t in targets}
        return jnp.concatenate([sum(rows[t][k] for k in self.columns(op, source, t)) for t in targets])

    def _piece(self, s0, s1, p, train: bool, edge_weights, values: EdgeValues):
        noisy = any("noise" in ops or any(map(user_ops.is_own, ops)) for ops in self.table)
        drawn = {"noise": noisy, "drop_path": bool(pieces.DRAWING & values.keys())}
        rngs: Any = self.scope.rngs if self.scope else {}
        keys = {name: rngs[name].rng for name in drawn if drawn[name] and name in rngs}  # without the cell's name
        alone = self.clone(parent=None, name=None, preprocessed=True, reduction_before=False)
        params, running = pieces.variables(self, train)
        run = pieces.body(alone, train, pieces.updating(self, train), self.name if keys else None)
        y, new = run(keys, params.get(BODY), running.get(BODY), s0, s1, p, edge_weights, dict(values))
        pieces.put_statistics(self, {BODY: new})
        return y


def _entries(p: jax.Array) -> list[list[jax.Array]]:
    """The rows of `p [edges, ops]`, entry by entry, `[1]` each: a gather's gradient is a slow scatter."""
    entries = iter(lax.split(jnp.reshape(p, -1), [1] * p.size))
    return [[next(entries) for _ in range(p.shape[1])] for _ in range(p.shape[0])]
