"""A search cell whose mixed edges are units of compilation, each on its own, as a CPU wants it."""

import jax

from jdarts.networks.edges import EdgeValues
from jdarts.networks.fast import pieces
from jdarts.networks.fast.layers import edge_by_edge
from jdarts.networks.fast.packing import edge_name
from jdarts.ops.candidates import has_weights, is_pool


class CellByEdge(pieces.CellWithLayers):
    """A cell of the DARTS spaces; the op weights are a list of rows."""

    def mix(self, source: int, x, p, train: bool, values: EdgeValues) -> dict[int, jax.Array]:
        """Every edge as a piece; what ops without weights give is computed once a node."""
        stride = self.stride(source)
        update = pieces.updating(self, train)
        options = pieces.Options(x.shape[-1], stride, self.axis_name, train, update)
        params, running = pieces.variables(self, train)
        light = self._without_weights(source, x, options, running, values)
        mixed = {}
        for target in self.targets(source):
            row, edge = self.row(source, target), edge_name(source, target)
            ops = self.table[row]
            given = {op: light[op][target] for op in ops if op in light}
            run = pieces.mixed_edge(ops, options)
            mixed[target], new = run(x, given, p[row], params.get(edge), running.get(edge))
            pieces.put_statistics(self, {edge: new})
        return mixed

    def _without_weights(
        self, source: int, x, options: pieces.Options, running, values: EdgeValues
    ) -> dict[str, dict[int, jax.Array]]:
        """The outputs of the ops without weights, by op and target."""
        found = self.candidates(source)
        outputs = {}
        for op, targets in found.items():
            if has_weights(op, options.stride) or is_pool(op, options.stride):
                continue
            if op == "skip_connect":
                images = self.skips(x, len(targets), values)
            else:
                module = pieces.candidate_of(op, options, edges=len(targets), name=f"from_{source}_{op}")
                images = edge_by_edge(module(x, options.train), len(targets))
            outputs[op] = dict(zip(targets, images, strict=True))
        pools = tuple(op for op in found if is_pool(op, options.stride))
        if pools:
            names = {op: f"from_{source}_{op}" for op in pools}
            pooled, new = pieces.pools(pools, options)(x, {op: running.get(name) for op, name in names.items()})
            pieces.put_statistics(self, {names[op]: tree for op, tree in new.items()})
            outputs |= {op: dict.fromkeys(found[op], image) for op, image in pooled.items()}
        return outputs
