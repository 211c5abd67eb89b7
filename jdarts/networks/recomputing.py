"""Networks that compute the activations of a cell again for its gradient (rematerialisation; Chen et al. 2016)."""

from typing import Any

from flax import linen as nn


def recomputed(cell: Any, network: Any, *, train_argument: int) -> Any:
    """The module class `cell`; if `network.remat`, its activations are not kept for the gradient but computed again.

    Parameters and values are the same. `train_argument` is the place of the boolean `train` among the arguments of
    `cell.__call__`, counted from `self`, which is 0. An initialisation needs no gradient, and `init_network` could not
    follow the parameters through a recomputed module.
    """
    again = network.remat and not network.is_initializing()
    return nn.remat(cell, static_argnums=(train_argument,)) if again else cell
