"""Candidate operations of the cell-based spaces, as Flax modules.

An op is `__call__(x, train)`. It stands on the T edges out of one node, `[N, H, W, C]` → `[T, N, H', W', C]`; its
weights are stacked over the edges. Structure and initialisation follow the DARTS code (Liu et al. 2019): convolutions
without bias, drawn from U(−1/√fan_in, 1/√fan_in) (PyTorch's default); ReLU before, batch norm after; batch norm without
scale and shift while searching.

* `plain`: the ops as the papers define them. `jdarts.networks.fast.ops` has the forms that searches and derived
  networks run.
* `batch_norm`: batch norm of T edges side by side, over a mapped axis too.
* `user_module`: an op of a user's own as a candidate; `user_ops`: their names, without JAX.
* `candidates`: names of candidates; `table`: `candidate` makes the module that a name stands for.
* `initializers`: initial weights.

Names are looked up by programs that do without JAX, so this file imports nothing.
"""
