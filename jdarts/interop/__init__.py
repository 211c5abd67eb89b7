"""Weights from and to PyTorch, by the parameter names of the DARTS code and its descendants.

The arrays are those of a `state_dict()`, as NumPy arrays by name, for example from an `.npz` file. PyTorch itself is
not needed.

* `supernet`: search networks of images.
* `recurrent`: language models with recurrent cells, search networks and networks of genotypes.
"""

from jdarts.interop.recurrent import load_torch_recurrent, save_torch_recurrent
from jdarts.interop.supernet import load_torch_supernet, save_torch_supernet

__all__ = ["load_torch_recurrent", "load_torch_supernet", "save_torch_recurrent", "save_torch_supernet"]
