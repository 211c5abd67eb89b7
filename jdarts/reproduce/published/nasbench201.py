"""NAS-Bench-201: three protocols that papers mix up, so each is a table.

A: search on CIFAR-10, look-up on all data sets, first release of the benchmark. B: the same, later release. C: search
on each data set. A standard deviation of 0 means that all runs found one cell.
"""

from jdarts.reproduce.published.table import read_rows

COLUMNS = (
    "CIFAR-10 validation, %",
    "CIFAR-10 test, %",
    "CIFAR-100 validation, %",
    "CIFAR-100 test, %",
    "ImageNet16-120 validation, %",
    "ImageNet16-120 test, %",
)

TRANSFER_FIRST = read_rows(
    "nasbench201_a",
    "NAS-Bench-201, searched on CIFAR-10, first release (protocol A)",
    COLUMNS,
    """
RSPS | 80.42 ± 3.58 | 84.07 ± 3.61 | 52.12 ± 5.55 | 52.31 ± 5.77 | 27.22 ± 3.24 | 26.28 ± 3.09 | Dong & Yang 2020, arXiv:2001.00326
DARTS, first order | 39.77 ± 0 | 54.30 ± 0 | 15.03 ± 0 | 15.61 ± 0 | 16.43 ± 0 | 16.32 ± 0 | Dong & Yang 2020
DARTS, second order | 39.77 ± 0 | 54.30 ± 0 | 15.03 ± 0 | 15.61 ± 0 | 16.43 ± 0 | 16.32 ± 0 | Dong & Yang 2020
GDAS | 89.89 ± 0.08 | 93.61 ± 0.09 | 71.34 ± 0.04 | 70.70 ± 0.30 | 41.59 ± 1.33 | 41.71 ± 0.98 | Dong & Yang 2020
SETN | 84.04 ± 0.28 | 87.64 ± 0 | 58.86 ± 0.06 | 59.05 ± 0.24 | 33.06 ± 0.02 | 32.52 ± 0.21 | Dong & Yang 2020
ENAS | 37.51 ± 3.19 | 53.89 ± 0.58 | 13.37 ± 2.35 | 13.96 ± 2.33 | 15.06 ± 1.95 | 14.84 ± 2.10 | Dong & Yang 2020
regularised evolution | 91.19 ± 0.31? | 93.92 ± 0.30? | 71.81 ± 1.12? | 71.84 ± 0.99? | 45.15 ± 0.89? | 45.54 ± 1.03? | Dong & Yang 2020
random search | 90.93 ± 0.36? | 93.70 ± 0.36? | 70.93 ± 1.09? | 71.04 ± 1.07? | 44.45 ± 1.10? | 44.57 ± 1.25 | Dong & Yang 2020
REINFORCE | 91.09 ± 0.37 | 93.85 ± 0.37 | 71.61 ± 1.12? | 71.71 ± 1.09? | 45.05 ± 1.02? | 45.24 ± 1.18 | Dong & Yang 2020
BOHB | 90.82 ± 0.53? | 93.61 ± 0.52? | 70.74 ± 1.29? | 70.85 ± 1.28? | 44.26 ± 1.36? | 44.42 ± 1.49? | Dong & Yang 2020
""",  # noqa: E501
)

TRANSFER_LATER = read_rows(
    "nasbench201_b",
    "NAS-Bench-201, searched on CIFAR-10, later release (protocol B)",
    COLUMNS,
    """
RSPS | 84.16 ± 1.69 | 87.66 ± 1.69 | 59.00 ± 4.60 | 58.33 ± 4.34 | 31.56 ± 3.28 | 31.14 ± 3.88 | Chu et al. 2021 (DARTS-), arXiv:2009.01027
DARTS, first order | 39.77 ± 0 | 54.30 ± 0 | 15.03 ± 0 | 15.61 ± 0 | 16.43 ± 0 | 16.32 ± 0 | Chu et al. 2021
GDAS | 90.00 ± 0.21 | 93.51 ± 0.13 | 71.14 ± 0.27 | 70.61 ± 0.26 | 41.70 ± 1.26 | 41.84 ± 0.90 | Chu et al. 2021
SETN | 82.25 ± 5.17 | 86.19 ± 4.63 | 56.86 ± 7.59 | 56.87 ± 7.77 | 32.54 ± 3.63 | 31.90 ± 4.07 | Chu et al. 2021
ENAS | 39.77 ± 0 | 54.30 ± 0 | 15.03 ± 0 | 15.61 ± 0 | 16.43 ± 0 | 16.32 ± 0 | Chu et al. 2021
CDARTS | 91.13 ± 0.44 | 94.02 ± 0.31 | 72.12 ± 1.23 | 71.92 ± 1.30 | 45.09 ± 0.61 | 45.51 ± 0.72 | Yu et al. 2022, arXiv:2006.10724
DARTS- | 91.03 ± 0.44 | 93.80 ± 0.40 | 71.36 ± 1.51 | 71.53 ± 1.51 | 44.87 ± 1.46 | 45.12 ± 0.82 | Chu et al. 2021
Single-DARTS | 91.55 ± 0 | 94.36 ± 0 | 73.49 ± 0 | 73.51 ± 0 | 46.37 ± 0 | 46.34 ± 0 | Hou et al. 2021, arXiv:2108.08128
iDARTS | 89.86 ± 0.60 | 93.58 ± 0.32 | 70.57 ± 0.24 | 70.83 ± 0.48 | 40.38 ± 0.59 | 40.89 ± 0.68 | Zhang et al. 2021, arXiv:2106.10784
ResNet | 90.83 | 93.97 | 70.42 | 70.86 | 44.53 | 43.63 | Dong & Yang 2020, arXiv:2001.00326
optimal | 91.61 | 94.37 | 73.49 | 73.51 | 46.77 | 47.31 | Dong & Yang 2020
""",  # noqa: E501
)

EACH = read_rows(
    "nasbench201_c",
    "NAS-Bench-201, searched on each data set (protocol C)",
    COLUMNS,
    """
RSPS | 84.16 ± 1.69 | 87.66 ± 1.69 | 45.78 ± 6.33 | 46.60 ± 6.57 | 31.09 ± 5.65 | 30.78 ± 6.12 | Chen et al. 2021 (DrNAS), arXiv:2006.10355
REINFORCE | 91.09 ± 0.37 | 93.85 ± 0.37 | 70.05 ± 1.67 | 70.17 ± 1.61 | 43.04 ± 2.18 | 43.16 ± 2.28 | Chen et al. 2021
ENAS | 39.77 ± 0 | 54.30 ± 0 | 10.23 ± 0.12 | 10.62 ± 0.27 | 16.43 ± 0 | 16.32 ± 0 | Chen et al. 2021
DARTS, first order | 39.77 ± 0 | 54.30 ± 0 | 38.57 ± 0 | 38.97 ± 0 | 18.87 ± 0 | 18.41 ± 0 | Chen et al. 2021
GDAS | 90.01 ± 0.46 | 93.23 ± 0.23 | 24.05 ± 8.12 | 24.20 ± 8.08 | 40.66 ± 0 | 41.02 ± 0 | Chen et al. 2021
SNAS | 90.10 ± 1.04 | 92.77 ± 0.83 | 69.69 ± 2.39 | 69.34 ± 1.98 | 42.84 ± 1.79 | 43.16 ± 2.64 | Chen et al. 2021
DSNAS | 89.66 ± 0.29 | 93.08 ± 0.13 | 30.87 ± 16.40 | 31.01 ± 16.38 | 40.61 ± 0.09 | 41.07 ± 0.09 | Chen et al. 2021
PC-DARTS | 89.96 ± 0.15 | 93.41 ± 0.30 | 67.12 ± 0.39 | 67.48 ± 0.89 | 40.83 ± 0.08 | 41.31 ± 0.22 | Chen et al. 2021
DrNAS | 91.55 ± 0 | 94.36 ± 0 | 73.49 ± 0 | 73.51 ± 0 | 46.37 ± 0 | 46.34 ± 0 | Chen et al. 2021
β-DARTS | 91.55 ± 0 | 94.36 ± 0 | 73.49 ± 0 | 73.51 ± 0 | 46.37 ± 0 | 46.34 ± 0 | Ye et al. 2022, arXiv:2203.01665
Λ-DARTS | 91.55 ± 0 | 94.36 ± 0 | 73.49 ± 0 | 73.51 ± 0 | 46.37 ± 0 | 46.34 ± 0 | Movahedi et al. 2023, arXiv:2210.07998
""",  # noqa: E501
)

PERTURBATION = read_rows(
    "nasbench201_pt",
    "NAS-Bench-201, CIFAR-10: derivation by perturbation (DARTS-PT)",
    ("test error, %",),
    """
DARTS | 45.7 | Wang et al. 2021, arXiv:2108.04392
DARTS+PT | 11.89 | Wang et al. 2021
DARTS+PT, alphas fixed | 6.20 | Wang et al. 2021
""",
)

TABLES = (TRANSFER_FIRST, TRANSFER_LATER, EACH, PERTURBATION)
