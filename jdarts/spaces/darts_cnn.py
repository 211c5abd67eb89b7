"""S0, the convolutional space of DARTS (Liu, Simonyan, Yang 2019, arXiv:1806.09055).

Eight candidates on every edge, in the column order of the DARTS code. The supernet with 16 channels, 8 cells and
10 classes has 1,930,618 weights.
"""

from jdarts.genotypes import DARTS_OPS
from jdarts.networks.wiring import EDGES
from jdarts.spaces.cell_space import CellSpace

darts_cnn = CellSpace("darts_cnn", normal=(DARTS_OPS,) * EDGES, reduce=(DARTS_OPS,) * EDGES)

# Without `none`, as FairDARTS and DrNAS search it. The name S5 means the eight ops of S0 in the repositories of
# RobustDARTS and DARTS-, and these seven in those of SmoothDARTS and DARTS-PT.
darts_cnn_7 = CellSpace("darts_cnn_7", normal=(DARTS_OPS[1:],) * EDGES, reduce=(DARTS_OPS[1:],) * EDGES)
