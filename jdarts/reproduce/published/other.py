"""NAS-Bench-Macro, and random wiring on ImageNet."""

from jdarts.reproduce.published.table import read_rows

MACRO = read_rows(
    "macro",
    "NAS-Bench-Macro, CIFAR-10: test accuracy over all 6,561 networks, by the public table",
    ("test accuracy, %",),
    """
best, 22212220 | 93.127 ± 0.253 | Su et al. 2021, arXiv:2103.11922, data
mean | 90.247 | Su et al. 2021, data
median | 90.990 | Su et al. 2021, data
worst | 45.36 | Su et al. 2021, data
""",
)

RANDOM_WIRING = read_rows(
    "random_wiring",
    "ImageNet, 224x224, WS(4, 0.75) of 32 nodes, five networks each",
    ("top-1, %", "top-5, %", "multiply-adds, M", "parameters, M"),
    """
small, C = 78 | 74.7 ± 0.25 | 92.2 ± 0.15 | 583 ± 6.2 | 5.6 ± 0.1 | Xie et al. 2019, arXiv:1904.01569
regular, C = 109 | 79.0 ± 0.17 | 94.4 ± 0.11 | 4000 ± 90 | 31.9 ± 0.66 | Xie et al. 2019
regular, C = 154 | 80.1 ± 0.19 | 94.8 ± 0.18 | 7900 ± 180 | 61.5 ± 1.32 | Xie et al. 2019
regular, C = 154, images of 320x320 | 81.6 ± 0.13 | 95.6 ± 0.07 | 16000 ± 360 | - | Xie et al. 2019
""",
)

RANDOM_WIRING_OPERATIONS = read_rows(
    "random_wiring_operations",
    "Random wiring: Pearson correlation over generators between two operations of the nodes",
    ("smallest", "largest"),
    """
separable, conv 3x3, max 3x3, avg 3x3 | 0.91 | 0.98 | Xie et al. 2019, arXiv:1904.01569
""",
)

TABLES = (MACRO, RANDOM_WIRING, RANDOM_WIRING_OPERATIONS)
