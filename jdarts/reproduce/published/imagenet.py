"""ImageNet in the mobile setting, latencies of ProxylessNAS, and detection on COCO."""

from jdarts.reproduce.published.table import read_rows

IMAGENET = read_rows(
    "imagenet",
    "ImageNet, 224x224",
    ("top-1, %", "top-5, %", "parameters, M", "multiply-adds, M"),
    """
NASNet-A | 74.0 | 91.6 | 5.3 | 564 | Zoph et al. 2018, arXiv:1707.07012
NASNet-B | 72.8 | 91.3 | 5.3 | 488 | Zoph et al. 2018
NASNet-C | 72.5 | 91.0 | 4.9 | 558 | Zoph et al. 2018
AmoebaNet-A | 74.5 | 92.0 | 5.1 | 555 | Real et al. 2019, arXiv:1802.01548
AmoebaNet-C | 75.7 | 92.4 | 6.4 | 570 | Real et al. 2019
PNAS | 74.2 | 91.9 | 5.1 | 588 | Liu et al. 2018, arXiv:1712.00559
DARTS, second order | 73.3 | 91.3 | 4.7 | 574 | Liu et al. 2019, arXiv:1806.09055, Table 3
SNAS | 72.7 | 90.8? | 4.3 | 522? | Xie et al. 2019, arXiv:1812.09926
GDAS | 74.0? | 91.5? | 5.3? | 581? | Dong & Yang 2019, arXiv:1910.04465
GDAS-FRC | 72.5? | 90.9? | 4.4? | 497? | Dong & Yang 2019
P-DARTS | 75.6 | 92.6 | 4.9 | 557 | Chen et al. 2019, arXiv:1904.12760
PC-DARTS | 75.8 | 92.7 | 5.3 | 597 | Xu et al. 2020, arXiv:1907.05737
SDARTS-ADV | 74.8 | - | 5.4? | - | Chen & Hsieh 2020, arXiv:2002.05283
FairDARTS (another space) | 75.6 | - | 4.3? | 440? | Chu et al. 2020, arXiv:1911.12126
DARTS- (space S5) | 76.2 | 93.0 | 4.9 | 467 | Chu et al. 2021, arXiv:2009.01027
DARTS+ | 76.1 | - | 5.1 | 591 | Liang et al. 2019, arXiv:1909.06035
DARTS+ (squeeze and excitation) | 76.3 | - | 5.1 | 591 | Liang et al. 2019
CDARTS | 75.9 | - | 5.4 | 571 | Yu et al. 2022, arXiv:2006.10724
CDARTS, larger | 76.3 | - | 6.1 | 732 | Yu et al. 2022
CDARTS, largest | 76.6 | - | 6.3 | 704 | Yu et al. 2022
DropNAS (further tricks) | 76.6 | - | 5.4 | 597 | Hong et al., IJCAI 2020
Single-DARTS | 76.0 | - | 5.3 | 599 | Hou et al. 2021, arXiv:2108.08128
Single-DARTS, larger | 76.7 | - | 6.55 | 707 | Hou et al. 2021
Single-DARTS, largest | 77.0 | - | 6.6 | 714 | Hou et al. 2021
DARTS+PT | 74.5 | - | 4.6? | - | Wang et al. 2021, arXiv:2108.04392
DrNAS | 76.3 | - | 5.7 | - | Chen et al. 2021, arXiv:2006.10355, repository
iDARTS | 75.7 | - | 5.1? | - | Zhang et al. 2021, arXiv:2106.10784
β-DARTS | 76.1 | - | 5.5 | 609? | Ye et al. 2022, arXiv:2203.01665
PR-DARTS | 75.9 | - | 5.0? | 543? | Zhou et al. 2020, arXiv:2006.16537
GOLD-NAS | 75.7? | - | 6.4? | 578? | Bi et al. 2020, arXiv:2007.03331
MnasNet-A1 | 75.2 | 92.5 | 3.9 | 312 | Tan et al. 2019, arXiv:1807.11626
SPOS | 74.4 | 92.0 | 3.5 | 323 | Guo et al. 2020, arXiv:1904.00420, repository
FairNAS-A | 75.34? | - | 4.65 | 388 | Chu et al. 2021, arXiv:1907.01845
FairNAS-B | 75.10? | - | 4.51 | 345 | Chu et al. 2021
FairNAS-C | 74.69? | - | 4.40 | 321 | Chu et al. 2021
FairNAS-A-SE | 77.55 | - | 7.1 | - | Chu et al. 2021, repository
ProxylessNAS mobile | 74.6 | 92.2 | 4.08 | 320 | Cai et al. 2019, arXiv:1812.00332
ProxylessNAS GPU | 75.1 | 92.5 | 7.1 | 465 | Cai et al. 2019
ProxylessNAS CPU | 75.3 | 92.4 | 4.4 | 439 | Cai et al. 2019
""",
)

SINGLE_DARTS_SEEDS = read_rows(
    "single_darts_imagenet",
    "ImageNet top-1 accuracy of three searches by Single-DARTS, by relaxation",
    ("first search, %", "second search, %", "third search, %"),
    """
softmax | 76.28 | 76.71 | 76.27 | Hou et al. 2021, arXiv:2108.08128
sigmoid | 76.12 | 76.58 | 76.29 | Hou et al. 2021
sigmoid_star | 76.96 | 77.0 | 76.95 | Hou et al. 2021
softmax, half of the data | 76.51 | 76.31 | 76.51 | Hou et al. 2021
sigmoid_star, half of the data | 76.67 | 76.78 | 76.54 | Hou et al. 2021
""",
)

PROXYLESS = read_rows(
    "proxyless",
    "ProxylessNAS on ImageNet: accuracy, and milliseconds on a mobile phone",
    ("top-1, %", "top-5, %", "latency, ms"),
    """
gradient, without latency loss | 71.8 | 90.3 | 83 | Cai et al. 2019, arXiv:1812.00332
gradient, with latency loss | 74.2 | 91.7 | 79 | Cai et al. 2019
REINFORCE | 74.6 | 92.2 | 78 | Cai et al. 2019
MnasNet | 74.0 | 91.8 | 76 | Tan et al. 2019, in Cai et al. 2019
""",
)

PROXYLESS_DEVICES = read_rows(
    "proxyless_devices",
    "Latency in milliseconds of the three networks of ProxylessNAS on three devices",
    ("GPU, ms", "CPU, ms", "mobile, ms"),
    """
network for GPU | 5.1 | 204.9 | 124 | Cai et al. 2019, arXiv:1812.00332
network for CPU | 7.4 | 138.7 | 116 | Cai et al. 2019
network for mobile | 7.2 | 164.1 | 78 | Cai et al. 2019
""",
)

COCO = read_rows(
    "coco",
    "COCO: RetinaNet with backbones trained on ImageNet, 12 epochs",
    ("parameters, M", "multiply-adds, M", "ImageNet top-1, %", "AP, %"),
    """
MobileNetV2 | 3.4? | 300? | 72.0? | 28.3? | Chu et al. 2021 (DARTS-), arXiv:2009.01027
SinglePath NAS | 4.3? | 365? | 75.0? | 30.7? | Chu et al. 2021
MobileNetV3 | 5.4? | 219? | 75.2? | 29.9? | Chu et al. 2021
MnasNet-A2 | 4.8? | 340? | 75.6? | 30.5? | Chu et al. 2021
MixNet-M | 5.0? | 360? | 77.0? | 31.3? | Chu et al. 2021
FairDARTS-C | 5.3? | 386? | 77.2? | 31.9? | Chu et al. 2021
DARTS-A (found by DARTS-) | 5.5? | 470? | 77.8? | 32.5 | Chu et al. 2021
""",
)

TABLES = (IMAGENET, SINGLE_DARTS_SEEDS, PROXYLESS, PROXYLESS_DEVICES, COCO)
