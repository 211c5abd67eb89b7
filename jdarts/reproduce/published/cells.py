"""CIFAR-10 and CIFAR-100 in the space of DARTS, and recurrent cells on Penn Treebank and WikiText-2."""

from jdarts.reproduce.published.table import read_rows

CIFAR10 = read_rows(
    "cifar10",
    "CIFAR-10, cells of the space S0 trained for 600 epochs with cutout",
    ("test error, %", "parameters, M", "search, GPU-days"),
    """
random | 3.29 ± 0.15 | 3.2 | 4 | Liu et al. 2019, arXiv:1806.09055, Table 1
DARTS, first order | 3.00 ± 0.14 | 3.3 | 1.5 | Liu et al. 2019, Table 1
DARTS, second order | 2.76 ± 0.09 | 3.3 | 4 | Liu et al. 2019, Table 1
NASNet-A | 2.65 | 3.3 | 2000 | Zoph et al. 2018, arXiv:1707.07012; cost in Liu et al. 2019
AmoebaNet-A | 3.12 | - | 3150 | retrained in Liu et al. 2019, Table 1
AmoebaNet-B | 2.55 ± 0.05 | 2.8 | 3150 | Real et al. 2019, arXiv:1802.01548
PNAS | 3.41 ± 0.09 | 3.2 | 225 | Liu et al. 2018, arXiv:1712.00559
ENAS | 2.89 | 4.6 | 0.5 | Pham et al. 2018, arXiv:1802.03268
RS-WS | 2.85 ± 0.08? | 4.3? | 2.7? | Li & Talwalkar 2019, arXiv:1902.07638
SNAS, moderate | 2.85 ± 0.02 | 2.8 | 1.5 | Xie et al. 2019, arXiv:1812.09926
GDAS | 2.93 | 3.4 | 0.21 | Dong & Yang 2019, arXiv:1910.04465
GDAS-FRC | 2.82 | 2.5 | 0.17 | Dong & Yang 2019
SETN | 2.69? | 4.6? | 1.8? | Dong & Yang 2019, arXiv:1910.05733
ProxylessNAS (another space) | 2.08 | 5.7 | 4 | Cai et al. 2019, arXiv:1812.00332
BayesNAS | 2.81 ± 0.04 | 3.4 | 0.2 | Zhou et al. 2019, arXiv:1905.04919
NASP | 2.83 ± 0.09 | 3.3 | 0.1 | Yao et al. 2020, arXiv:1905.13577
P-DARTS | 2.50 | 3.4 | 0.3 | Chen et al. 2019, arXiv:1904.12760
PC-DARTS | 2.57 ± 0.07 | 3.6 | 0.1 | Xu et al. 2020, arXiv:1907.05737
R-DARTS (L2) | 2.95 ± 0.21 | - | 1.6 | Zela et al. 2020, arXiv:1909.09656
SDARTS-RS | 2.67 ± 0.03 | 3.4 | 0.4 | Chen & Hsieh 2020, arXiv:2002.05283
SDARTS-ADV | 2.61 ± 0.02 | 3.3 | 1.3 | Chen & Hsieh 2020
SGAS, criterion 1 | 2.66 ± 0.24 | 3.7 | 0.25 | Li et al. 2020, arXiv:1912.00195
DARTS+PT | 2.61 ± 0.08 | 3.0 | 0.8 | Wang et al. 2021, arXiv:2108.04392
SDARTS-RS+PT | 2.54 ± 0.10 | - | - | Wang et al. 2021
SGAS+PT | 2.56 ± 0.10 | - | - | Wang et al. 2021
FairDARTS | 2.54 ± 0.05 | 3.32 | 0.4? | Chu et al. 2020, arXiv:1911.12126, seven runs
DARTS- | 2.59 ± 0.08 | 3.5 ± 0.13 | 0.4 | Chu et al. 2021, arXiv:2009.01027, mean of searches
DARTS+ (2,000 epochs of training) | 2.37 ± 0.13 | 4.3 | 0.4? | Liang et al. 2019, arXiv:1909.06035
DrNAS | 2.46 ± 0.03 | 4.1 | 0.6 | Chen et al. 2021, arXiv:2006.10355
CDARTS | 2.48 ± 0.04 | 3.8 | 1.7 | Yu et al. 2022, arXiv:2006.10724
DropNAS | 2.58 ± 0.14 | 4.1 | 0.6 | Hong et al., IJCAI 2020
DropNAS, best | 2.26 | 4.1 | 0.6 | Hong et al. 2020
Single-DARTS (searched on ImageNet, 14 cells) | 2.46 | 3.3 | - | Hou et al. 2021, arXiv:2108.08128
PR-DARTS | 2.32? | 3.4? | 0.17? | Zhou et al. 2020, arXiv:2006.16537
β-DARTS | 2.53 ± 0.08? | 3.75? | 0.4? | Ye et al. 2022, arXiv:2203.01665
iDARTS, best | 2.37? | 3.8? | - | Zhang et al. 2021, arXiv:2106.10784
GOLD-NAS, largest | 2.53? | 3.7? | - | Bi et al. 2020, arXiv:2007.03331
""",
)

CIFAR100 = read_rows(
    "cifar100",
    "CIFAR-100, cells of the space S0",
    ("test error, %", "parameters, M"),
    """
DARTS- | 17.51 ± 0.25 | 3.3 | Chu et al. 2021, arXiv:2009.01027
R-DARTS (L2) | 18.01 ± 0.26 | - | Zela et al. 2020, arXiv:1909.09656
DropNAS | 16.95 ± 0.41 | 4.1 | Hong et al., IJCAI 2020
P-DARTS, searched on CIFAR-10 | 16.55? | - | Chen et al. 2019, arXiv:1904.12760
P-DARTS, searched on CIFAR-100 | 15.92? | - | Chen et al. 2019
β-DARTS | 16.24 ± 0.22? | - | Ye et al. 2022, arXiv:2203.01665
DARTS+, best | 14.87 | - | Liang et al. 2019, arXiv:1909.06035
CDARTS | 15.69 | - | Yu et al. 2022, arXiv:2006.10724, repository
PR-DARTS | 16.45? | - | Zhou et al. 2020, arXiv:2006.16537
""",
)

DARTS_MINUS = read_rows(
    "darts_minus",
    "CIFAR-10 in the space S0: how the auxiliary skip of DARTS- decays",
    ("test accuracy, %",),
    """
linear decay | 97.41 ± 0.08? | Chu et al. 2021, arXiv:2009.01027
cosine decay | 97.33 ± 0.09 | Chu et al. 2021
step decay | 97.30 | Chu et al. 2021
1x1 convolution as auxiliary skip, in S3 | 97.25 ± 0.09 | Chu et al. 2021
P-DARTS without its limit of skips | 96.48 ± 0.55? | Chu et al. 2021
P-DARTS without that limit, with auxiliary skip | 97.28 ± 0.04? | Chu et al. 2021
PC-DARTS, K = 2 | 97.09 ± 0.14? | Chu et al. 2021
PC-DARTS, K = 2, with auxiliary skip | 97.35 ± 0.02? | Chu et al. 2021
""",
)

DROP_NAS = read_rows(
    "drop_nas",
    "CIFAR-10: test accuracy of DropNAS by its two drop rates (parametric group in columns)",
    ("1e-5", "3e-5", "1e-4"),
    """
non-parametric 1e-5 | 97.40 ± 0.16 | 97.28 ± 0.04 | 97.36 ± 0.12 | Hong et al., IJCAI 2020
non-parametric 3e-5 | 97.36 ± 0.11 | 97.42 ± 0.14 | 97.31 ± 0.05 | Hong et al. 2020
non-parametric 1e-4 | 97.35 ± 0.07 | 97.31 ± 0.10 | 97.37 ± 0.16 | Hong et al. 2020
""",
)

PTB = read_rows(
    "ptb",
    "Penn Treebank, recurrent cells of 23 M parameters",
    ("parameters, M", "validation perplexity", "test perplexity"),
    """
Variational RHN | 23 | 67.9 | 65.4 | Zilly et al. 2017, in Liu et al. 2019, Table 2
LSTM | 24 | 60.7 | 58.8 | Melis et al. 2018, in Liu et al. 2019, Table 2
LSTM with skips | 24 | 60.9 | 58.3 | Melis et al. 2018, in Liu et al. 2019, Table 2
LSTM with 15 softmax experts | 22 | 58.1 | 56.0 | Yang et al. 2018, in Liu et al. 2019, Table 2
NAS | 25 | - | 64.0 | Zoph & Le 2017, arXiv:1611.01578
ENAS, released code | 24 | 68.3 | 63.1 | Liu et al. 2019, Table 2
ENAS | 24 | 60.8 | 58.6 | trained again in Liu et al. 2019, Table 2
random | 23 | 61.8 | 59.4 | Liu et al. 2019, arXiv:1806.09055, Table 2
DARTS, first order | 23 | 60.2 | 57.6 | Liu et al. 2019, Table 2
DARTS, second order | 23 | 58.1 | 55.7 | Liu et al. 2019, Table 2
GDAS | 23? | 59.8? | 57.5? | Dong & Yang 2019, arXiv:1910.04465
RS-WS | 23? | 57.8? | 55.5? | Li & Talwalkar 2019, arXiv:1902.07638
SDARTS-RS | 23? | 58.7? | 56.4? | Chen & Hsieh 2020, arXiv:2002.05283
SDARTS-ADV | 23? | 58.3? | 56.1? | Chen & Hsieh 2020
""",
)

WIKITEXT2 = read_rows(
    "wikitext2",
    "WikiText-2, cells searched on Penn Treebank",
    ("parameters, M", "validation perplexity", "test perplexity"),
    """
DARTS, second order | 33? | 71.2? | 69.6? | Liu et al. 2019, arXiv:1806.09055, Table 4
ENAS | 33? | 72.4? | 70.4? | trained again in Liu et al. 2019, Table 4
""",
)

TABLES = (CIFAR10, CIFAR100, DARTS_MINUS, DROP_NAS, PTB, WIKITEXT2)
