"""The space of GOLD-NAS (Bi et al. 2020, arXiv:2007.03331), "S-GOLD": two ops an edge, any number of which may stay.

The DARTS cell with the candidates skip (with a batch norm) and 3 × 3 separable convolution. GOLD-NAS searches it with
alphas for each cell (`space.shared` false), 14 cells of 36 channels on CIFAR-10. Other methods search it like any space
of DARTS cells.
"""

from jdarts.networks.wiring import EDGES
from jdarts.spaces.cell_space import CellSpace

GOLD_OPS = ("skip_norm", "sep_conv_3x3")

gold_nas = CellSpace("gold_nas", normal=(GOLD_OPS,) * EDGES, reduce=(GOLD_OPS,) * EDGES)
