"""The networks of the search spaces: supernets, derived networks, their size in parameters and operations.

* `supernet`: stem, search cells, classifier; `cells`, `stem`, `reductions`, `wiring` are its parts, `edges` is what
  methods change inside a mixed edge.
* `derived`: a genotype's network; `nasbench201`: the networks of that benchmark.
* `of_genotype`: the network, check and count of a genotype of either kind; `counting`: parameters and operations.
* `fast`: the units in which supernets are compiled, and joint forms of the ops on an edge.

Sizes are counted by programs that do without JAX, so this file imports nothing.
"""
