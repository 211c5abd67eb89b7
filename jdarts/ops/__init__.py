"""Candidate operations of the cell-based spaces, as Flax modules.

Letters as in `jdarts.kernels`: T parallel edges leave one node and share one module; their weights are stacked on a
leading axis T, their outputs lie side by side on the channel axis. A module returns a list of chunks, each
`[N, H', W', t·C]`; `edge_slice(chunks, t, channels)` picks one edge's `[N, H', W', C]`. A derived network uses T = 1.

Structure and initialisation follow the DARTS code (Liu et al. 2019): convolutions without bias, drawn from
U(−1/√fan_in, 1/√fan_in) (PyTorch's default); ReLU before, batch norm after; batch norm without scale and shift while
searching (`affine=False`).

* `layers`: what ops are built of: `BatchNorm`, `Op`, `FactorizedReduce`, `ReLUConvBN`.
* `darts`: the ops of the DARTS spaces.
* `user_module`: an op of a user's own as a candidate; `user_ops`: their names, without JAX.
* `candidates`: names of candidates; `table`: `candidate` makes the module that a name stands for.
* `initializers`: initial weights.

Names are looked up by programs that do without JAX, so this file imports nothing.
"""
