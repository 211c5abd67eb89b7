"""S0, the convolutional space of DARTS (Liu, Simonyan, Yang 2019, arXiv:1806.09055).

Eight candidates on every edge, in the column order of the DARTS code. The supernet with 16 channels, 8 cells and
10 classes has 1,930,618 weights.
"""

from jdarts.genotype import DARTS_OPS
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.cells import EDGES

darts_cnn = CellSpace("darts_cnn", normal=(DARTS_OPS,) * EDGES, reduce=(DARTS_OPS,) * EDGES)
