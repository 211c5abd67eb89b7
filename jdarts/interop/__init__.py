"""Weights from and to PyTorch, by the parameter names of the DARTS code and its descendants.

The arrays are those of a `state_dict()`, as NumPy arrays by name, for example from an `.npz` file. PyTorch itself is
not needed.

* `supernet`: search networks of images.
* `derived`: networks of genotypes, `NetworkCIFAR` and `NetworkImageNet` of the DARTS code, NAS-Bench-201's and mobile
  networks.
* `recurrent`: language models with recurrent cells, search networks and networks of genotypes.
"""

from jdarts.interop.derived import load_torch_network, save_torch_network
from jdarts.interop.recurrent import load_torch_recurrent, save_torch_recurrent
from jdarts.interop.supernet import load_torch_supernet, save_torch_supernet

__all__ = [
    "load_torch_network",
    "load_torch_recurrent",
    "load_torch_supernet",
    "save_torch_network",
    "save_torch_recurrent",
    "save_torch_supernet",
]
