"""The ablations of Single-DARTS on NAS-Bench-201: test accuracies in the benchmark's table, five runs each.

The paper does not say whether the optimiser's learning rate is that of the weights or of both. The row of DARTS at a
learning rate of 0.025 prints 39.77 and 54.30, which are the validation and the test accuracy on CIFAR-10 of the cell of
skip connections; its accuracy on CIFAR-100 is left out here.
"""

from jdarts.reproduce.published.table import read_rows

COLUMNS = ("CIFAR-10 test, %", "CIFAR-100 test, %", "ImageNet16-120 test, %")

BATCHES = read_rows(
    "single_darts_batches",
    "Single-DARTS: data of the alphas beside that of the weights (softmax, SGD for both, learning rate 0.005)",
    COLUMNS,
    """
two_splits | 61.88 ± 10.72 | 25.13 ± 13.47 | 17.98 ± 2.35 | Hou et al. 2021, arXiv:2108.08128, Table 4
same_split | 84.34 ± 0.02 | 54.92 ± 0.06 | 25.97 ± 0.49 | Hou et al. 2021, Table 4
same | 94.27 ± 0.13 | 73.01 ± 0.71 | 46.10 ± 0.34 | Hou et al. 2021, Table 4
""",
)

RATES = read_rows(
    "single_darts_rates",
    "Single-DARTS: learning rate",
    COLUMNS[:2],
    """
DARTS, 0.001 | 91.54 ± 1.26 | 68.21 ± 1.15 | Hou et al. 2021, arXiv:2108.08128
DARTS, 0.005 | 61.88 ± 10.72 | 25.13 ± 13.47 | Hou et al. 2021
DARTS, 0.025 | 54.30 | - | Hou et al. 2021
Single-DARTS, 0.001 | 94.36 | 73.51 | Hou et al. 2021
Single-DARTS, 0.005 | 94.36 | 73.51 | Hou et al. 2021
Single-DARTS, 0.025 | 93.10 | 69.24 | Hou et al. 2021
""",
)

ACTIVATIONS = read_rows(
    "single_darts_activations",
    "Single-DARTS: relaxation",
    COLUMNS[:2],
    """
DARTS, softmax | 61.88 ± 10.72 | 25.13 ± 13.47 | Hou et al. 2021, arXiv:2108.08128
DARTS, sigmoid | 80.57 | 47.93 | Hou et al. 2021
Single-DARTS, softmax | 94.27 ± 0.13 | 73.01 ± 0.71 | Hou et al. 2021
Single-DARTS, sigmoid | 94.36 | 73.51 | Hou et al. 2021
Single-DARTS, sigmoid_star | 93.76 | 70.71 | Hou et al. 2021
""",
)

OPTIMISERS = read_rows(
    "single_darts_optimisers",
    "Single-DARTS: optimiser of the alphas",
    COLUMNS[:2],
    """
DARTS, sgd | 61.88 ± 10.72 | 25.13 ± 13.47 | Hou et al. 2021, arXiv:2108.08128
DARTS, adam | 80.57 | 47.93 | Hou et al. 2021
Single-DARTS, sgd | 94.36 | 73.51 | Hou et al. 2021
Single-DARTS, adam | 94.36 | 73.51 | Hou et al. 2021
""",
)

TABLES = (BATCHES, RATES, ACTIVATIONS, OPTIMISERS)
