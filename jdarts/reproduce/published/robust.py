"""Test errors in the spaces S1 to S4 of RobustDARTS, where DARTS collapses."""

from jdarts.reproduce.published.table import read_rows

COLUMNS = ("S1, %", "S2, %", "S3, %", "S4, %")

ON_CIFAR10 = read_rows(
    "robust_cifar10",
    "CIFAR-10, test error in the spaces S1 to S4",
    COLUMNS,
    """
DARTS | 3.84 | 4.85 | 3.34 | 7.20 | Zela et al. 2020, arXiv:1909.09656
DARTS-ES | 3.01? | 3.26? | 2.74? | 3.71? | Zela et al. 2020
DARTS-ADA | 3.10? | 3.35? | 2.59? | 4.84? | Zela et al. 2020
R-DARTS (DP) | 3.11? | 3.48? | 2.93? | 3.58? | Zela et al. 2020
R-DARTS (L2) | 2.78? | 3.31? | 2.51? | 3.56? | Zela et al. 2020
PC-DARTS | 3.11? | 3.02? | 2.51? | 3.02? | Chen & Hsieh 2020, arXiv:2002.05283
SDARTS-RS | 2.78? | 2.75? | 2.53? | 2.93? | Chen & Hsieh 2020
SDARTS-ADV | 2.73? | 2.65? | 2.49? | 2.87? | Chen & Hsieh 2020
DARTS- | 2.68? | 2.63? | 2.42? | 2.86? | Chu et al. 2021, arXiv:2009.01027
DARTS+PT | 3.50 | 2.79 | 2.49 | 2.64 | Wang et al. 2021, arXiv:2108.04392
DARTS+PT, alphas fixed | 2.86 | 2.59 | 2.52 | 2.58 | Wang et al. 2021
""",
)

ON_CIFAR100 = read_rows(
    "robust_cifar100",
    "CIFAR-100, 8 cells of 16 channels, test error in the spaces S1 to S4",
    COLUMNS,
    """
DARTS | 29.46 | 26.05 | 28.90 | 22.85 | Zela et al. 2020, arXiv:1909.09656
DARTS-ES | 28.37? | 23.25? | 23.73? | 21.26? | Zela et al. 2020
DARTS-ADA | 24.03? | 23.52? | 23.37? | 23.20? | Zela et al. 2020
R-DARTS (DP) | 25.93? | 22.30? | 22.36? | 22.18? | Zela et al. 2020
R-DARTS (L2) | 24.25? | 22.24? | 23.99? | 21.94? | Zela et al. 2020
PC-DARTS | 24.69? | 22.48? | 21.69? | 21.50? | Chen & Hsieh 2020, arXiv:2002.05283
SDARTS-RS | 23.51? | 22.28? | 21.09? | 21.46? | Chen & Hsieh 2020
SDARTS-ADV | 22.33? | 20.56? | 21.08? | 21.25? | Chen & Hsieh 2020
DARTS- | 22.41? | 21.61? | 21.13? | 21.55? | Chu et al. 2021, arXiv:2009.01027
DARTS+PT | 24.48 | 23.16 | 22.03 | 20.80 | Wang et al. 2021, arXiv:2108.04392
DARTS+PT, alphas fixed | 24.40 | 23.30 | 21.94 | 20.66 | Wang et al. 2021
PC-DARTS, 20 cells of 36 channels | 18.87? | 18.23? | 18.05? | 17.16? | Chen & Hsieh 2020
SDARTS-RS, 20 cells of 36 channels | 17.02? | 17.56? | 17.73? | 17.17? | Chen & Hsieh 2020
SDARTS-ADV, 20 cells of 36 channels | 16.88? | 17.24? | 17.12? | 15.46? | Chen & Hsieh 2020
DARTS-, 20 cells of 36 channels | 16.92? | 16.14? | 15.86? | 17.48? | Chu et al. 2021
""",
)

ON_SVHN = read_rows(
    "robust_svhn",
    "SVHN, 8 cells of 16 channels, test error in the spaces S1 to S4",
    COLUMNS,
    """
DARTS | 4.58 | 3.53 | 3.41 | 3.05 | Zela et al. 2020, arXiv:1909.09656
DARTS-ES | 2.72? | 2.60? | 2.50? | 2.51? | Zela et al. 2020
DARTS-ADA | 2.53? | 2.54? | 2.50? | 2.46? | Zela et al. 2020
R-DARTS (DP) | 2.55? | 2.52? | 2.49? | 2.61? | Zela et al. 2020
R-DARTS (L2) | 4.79? | 2.51? | 2.48? | 2.50? | Zela et al. 2020
PC-DARTS | 2.47? | 2.42? | 2.41? | 2.43? | Chen & Hsieh 2020, arXiv:2002.05283
SDARTS-RS | 2.35? | 2.39? | 2.36? | 2.46? | Chen & Hsieh 2020
SDARTS-ADV | 2.29? | 2.35? | 2.40? | 2.42? | Chen & Hsieh 2020
DARTS+PT | 2.62 | 2.53 | 2.42 | 2.42 | Wang et al. 2021, arXiv:2108.04392
DARTS+PT, alphas fixed | 2.39 | 2.32 | 2.32 | 2.39 | Wang et al. 2021
""",
)

TABLES = (ON_CIFAR10, ON_CIFAR100, ON_SVHN)
