"""S0, the convolutional space of DARTS (Liu, Simonyan, Yang 2019, arXiv:1806.09055).

Eight candidates on every edge, in the column order of the DARTS code. The supernet with 16 channels, 8 cells and
10 classes has 1,930,618 weights.
"""

from jdarts.genotypes import DARTS_OPS
from jdarts.networks.wiring import EDGES
from jdarts.spaces.cell_space import CellSpace

darts_cnn = CellSpace("darts_cnn", normal=(DARTS_OPS,) * EDGES, reduce=(DARTS_OPS,) * EDGES)

# Without `none`, as FairDARTS and DrNAS search it. Under the name S5 the repositories of RobustDARTS and DARTS- mean
# the eight ops of S0, those of SmoothDARTS and DARTS-PT these seven.
darts_cnn_7 = CellSpace("darts_cnn_7", normal=(DARTS_OPS[1:],) * EDGES, reduce=(DARTS_OPS[1:],) * EDGES)
