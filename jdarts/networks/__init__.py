"""The networks of the search spaces: supernets, derived networks, their size in parameters and operations.

* `plain`: stem, mixed op, classifier as the papers write them; `plain_nasbench201`: the same of that benchmark.
* `cells`: the nodes and mixed edges of a search cell; `edges`: what methods change on an edge; `wiring`, `reductions`:
  which nodes, edges and reduction cells there are.
* `supernet`: the weight-sharing network of these parts.
* `derived`: a genotype's network; `nasbench201`: the networks of that benchmark.
* `nasnet`: networks of NASNet-type cells as released; `enas`: those of ENAS; `chain`: plain convolutions with
  skips.
* `recurrent`: language models with the recurrent cells of DARTS and ENAS, and their supernets.
* `of_genotype`: the network, check and count of a genotype of any kind; `counting`: parameters and operations.
* `fast`: the same networks as CPUs and accelerators compute them fast.

Sizes are counted by programs that do without JAX, so this file imports nothing.
"""
