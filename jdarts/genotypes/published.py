"""Genotypes that papers and their repositories published, by name.

Each line of a table is one genotype, `name | normal cell | reduction cell`. A cell lists its nodes, separated by ` / `,
and a node lists its edges as `op@source`. Sources 0 and 1 are the outputs of cells c−2 and c−1. `cat4,5,6` lists the
nodes that form the output; the default is all four. The sparse cells of FairDARTS list `op@source>target` instead.
"""

from functools import cache

from jdarts.errors import unknown
from jdarts.genotypes import published_mobile, published_recurrent
from jdarts.genotypes.genotype import Cell, Genotype
from jdarts.genotypes.notation.text import read_nasbench201
from jdarts.genotypes.published_networks import networks

_CODES = {
    "N": "none",
    "NZ": "noise",
    "ID": "skip_connect",
    "M3": "max_pool_3x3",
    "A3": "avg_pool_3x3",
    "S3": "sep_conv_3x3",
    "S5": "sep_conv_5x5",
    "S7": "sep_conv_7x7",
    "D3": "dil_conv_3x3",
    "D5": "dil_conv_5x5",
    "C71": "conv_7x1_1x7",
}

# fmt: off
# ruff: noqa: E501 (one genotype a line)
_CORE = """
NASNet | S5@1 S3@0 / S5@0 S3@0 / A3@1 ID@0 / A3@0 A3@0 / S3@1 ID@1 cat2,3,4,5,6 | S5@1 S7@0 / M3@1 S7@0 / A3@1 S5@0 / ID@3 A3@2 / S3@2 M3@1 cat4,5,6
AmoebaNet | A3@0 M3@1 / S3@0 S5@2 / S3@0 A3@3 / S3@1 ID@1 / ID@0 A3@1 cat4,5,6 | A3@0 S3@1 / M3@0 S7@2 / S7@0 A3@1 / M3@0 M3@1 / C71@0 S3@5 cat3,4,6
DARTS_V1 | S3@1 S3@0 / ID@0 S3@1 / ID@0 S3@1 / S3@0 ID@2 | M3@0 M3@1 / ID@2 M3@0 / M3@0 ID@2 / ID@2 A3@0
DARTS_V2 | S3@0 S3@1 / S3@0 S3@1 / S3@1 ID@0 / ID@0 D3@2 | M3@0 M3@1 / ID@2 M3@1 / M3@0 ID@2 / ID@2 M3@1
PC_DARTS_cifar | S3@1 ID@0 / S3@0 D3@1 / S5@0 S3@1 / A3@0 D3@1 | S5@1 M3@0 / S5@1 S5@2 / S3@0 S3@3 / S3@1 S3@2
PC_DARTS_image | ID@1 S3@0 / S3@0 ID@1 / S3@1 S3@3 / S3@1 D5@4 | S3@0 ID@1 / D5@2 M3@1 / S3@2 S3@1 / S5@0 S3@3
PDARTS | ID@0 D3@1 / ID@0 S3@1 / S3@1 S3@3 / S3@0 D5@4 | A3@0 S5@1 / S3@0 D5@2 / M3@0 D3@1 / D3@1 D5@3
ENASNet | S3@1 ID@1 / S5@1 ID@0 / A3@0 S3@1 / S3@0 A3@1 / S5@1 A3@0 cat2,3,4,5,6 | S5@0 S3@1 / S3@1 A3@1 / S3@1 A3@1 / A3@1 S5@4 / S3@5 S5@0 cat2,3,4,5,6
GDAS_V1 | ID@0 ID@1 / ID@0 S5@2 / S3@3 ID@0 / S5@4 S3@3 | S5@0 S3@1 / S5@2 S5@1 / D5@2 S3@1 / S5@0 S5@2
SNAS | S3@0 S3@1 / ID@0 D3@1 / ID@1 ID@0 / ID@0 S3@1 | M3@0 M3@1 / M3@1 ID@2 / ID@2 M3@1 / M3@0 D5@2
MdeNAS | S5@1 S3@0 / ID@0 S5@1 / S5@3 S3@1 / D5@3 M3@4 | M3@0 S5@1 / ID@0 ID@1 / S3@3 ID@2 / D3@3 S5@0
SGAS_Cri1_best | S3@0 D3@1 / S3@0 S3@1 / S5@1 S5@3 / ID@0 D5@2 | M3@0 D5@1 / S3@0 ID@2 / S3@1 ID@2 / M3@0 M3@1
SGAS_Cri2_best | S3@0 S3@1 / S3@0 S3@2 / M3@0 S3@3 / S3@2 S3@3 | S3@0 M3@1 / D3@0 M3@1 / M3@0 S3@2 / M3@0 S5@2
"""

_FAIRDARTS = """
FairDARTS_a | S3@0>2 S5@1>2 M3@0>4 S3@0>5 | M3@0>2 A3@1>2 A3@0>3 D5@1>3 A3@0>4 S5@1>4 ID@0>5 ID@1>5
FairDARTS_b | S3@0>2 S3@1>2 S3@1>3 D3@0>4 S5@1>4 D5@1>5 | ID@0>2 D3@1>2 ID@0>3 D3@1>3 M3@0>4 S3@1>4 ID@2>5 M3@0>5
FairDARTS_c | M3@0>2 S5@1>2 D3@0>4 D5@2>4 ID@3>5 S3@0>5 | D3@1>2 D5@0>2 D3@0>3 S3@1>3 S5@0>4 S5@3>4 S5@0>5 ID@1>5
FairDARTS_d | S3@0>2 S5@1>2 D3@1>3 M3@0>3 D3@0>4 D3@1>4 S3@0>5 D5@1>5 | M3@0>2 S5@1>2 A3@0>3 D5@2>3 D3@3>4 A3@0>4 A3@0>5 ID@3>5
FairDARTS_e | S3@0>2 S3@1>2 D3@1>4 D3@2>4 D3@0>5 D5@1>5 | M3@1>2 M3@0>2 M3@1>3 M3@0>3 S5@1>4 M3@0>4 A3@0>5 D5@1>5
FairDARTS_f | M3@0>2 S3@1>2 D3@1>3 S5@1>4 S3@0>5 S3@1>5 | M3@0>2 M3@1>2 M3@0>3 D3@1>3 D3@2>4 M3@0>4 M3@0>5 S3@1>5
FairDARTS_g | S3@0>2 S3@1>2 ID@3>4 S5@1>4 D3@0>5 S3@1>5 | A3@1>2 ID@0>2 ID@2>3 M3@1>3 S5@3>4 M3@0>4 D3@1>5 D3@4>5
DCO_SPARSE_BS_64 | S3@0>2 D3@1>2 S5@0>3 D3@1>3 M3@0>4 D5@0>5 | ID@0>2 D5@1>2 S5@0>3 S5@2>3 S5@3>4 A3@0>4 D3@0>5 D5@1>5
"""

_DARTS_MINUS = """
darts_minus_cifar100_s0_0 | D5@0 D3@1 / S3@1 D3@0 / D5@0 D3@1 / S3@1 D5@0 | M3@0 S5@1 / ID@2 S5@0 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar100_s0_1 | S3@1 D3@0 / D5@1 D5@0 / D5@1 D3@0 / S3@1 S3@0 | A3@1 A3@0 / A3@1 ID@2 / ID@2 A3@1 / ID@2 ID@3
darts_minus_cifar100_s0_2 | D3@0 S3@1 / D3@0 S5@1 / S3@1 D3@0 / ID@1 D3@0 | A3@1 ID@0 / ID@2 A3@1 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar100_s0_3 | D5@0 S5@1 / S3@0 ID@1 / S3@1 S3@0 / ID@1 D3@0 | S3@1 S3@0 / ID@2 A3@0 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar100_s1_0 | D3@0 D5@1 / D3@2 S3@1 / D3@3 ID@0 / ID@1 S3@0 | M3@1 M3@0 / M3@0 D5@2 / D5@3 S3@1 / ID@2 ID@4
darts_minus_cifar100_s1_1 | D3@0 D5@1 / D3@2 S3@1 / ID@0 D3@3 / ID@1 D3@4 | M3@1 M3@0 / D5@2 M3@1 / S3@1 D5@3 / ID@4 ID@2
darts_minus_cifar100_s1_2 | D3@0 D5@1 / D3@2 S3@1 / ID@0 D3@3 / ID@1 D3@3 | A3@0 M3@1 / D5@2 A3@0 / S3@1 A3@0 / A3@0 ID@3
darts_minus_cifar100_s2_0 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@3 / S3@4 ID@1 | S3@1 S3@0 / S3@1 S3@0 / ID@3 ID@0 / ID@4 S3@1
darts_minus_cifar100_s2_1 | S3@0 S3@1 / S3@0 S3@1 / S3@3 S3@1 / S3@4 S3@3 | ID@1 ID@0 / S3@1 S3@0 / ID@2 ID@0 / S3@1 ID@2
darts_minus_cifar100_s2_2 | S3@0 S3@1 / S3@0 ID@1 / ID@2 S3@0 / S3@4 ID@0 | ID@0 S3@1 / S3@0 ID@2 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar100_s3_0 | S3@1 S3@0 / S3@1 S3@0 / ID@1 S3@0 / ID@1 S3@0 | S3@0 ID@1 / ID@2 S3@1 / ID@2 ID@3 / ID@2 ID@4
darts_minus_cifar100_s3_1 | S3@1 S3@0 / S3@0 S3@2 / S3@3 S3@1 / ID@1 S3@0 | S3@0 S3@1 / S3@1 S3@0 / S3@1 ID@3 / ID@3 ID@2
darts_minus_cifar100_s3_2 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@1 / ID@1 S3@0 | S3@0 S3@1 / ID@1 ID@2 / ID@2 S3@0 / ID@2 ID@3
darts_minus_cifar100_s4_0 | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / NZ@2 NZ@3 | S3@1 S3@0 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@0
darts_minus_cifar100_s4_1 | S3@1 S3@0 / S3@1 S3@0 / S3@0 S3@1 / NZ@3 NZ@4 | S3@0 S3@1 / S3@1 S3@2 / S3@1 S3@3 / S3@1 S3@0
darts_minus_cifar100_s4_2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / NZ@3 NZ@4 | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@2 / S3@1 S3@0
darts_minus_cifar10_s0_0 | S3@0 S5@1 / S3@1 D3@2 / ID@1 S3@0 / ID@1 S3@0 | S3@0 M3@1 / ID@2 M3@0 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar10_s0_1 | S3@0 D5@1 / S3@0 S3@1 / D5@1 S3@0 / ID@1 S3@0 | S3@1 M3@0 / ID@2 M3@1 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar10_s0_2 | S5@1 S3@0 / S3@0 S3@1 / ID@1 S5@0 / S3@0 ID@1 | S3@1 S3@0 / ID@2 M3@1 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar10_s0_3 | S3@0 S3@1 / S3@0 S3@1 / S3@0 D5@1 / ID@1 ID@0 | M3@0 M3@1 / ID@2 S5@0 / ID@3 ID@2 / ID@3 ID@2
darts_minus_cifar10_s0_4 | S3@0 S5@1 / S3@1 S3@0 / ID@1 D3@0 / ID@1 S5@0 | M3@0 M3@1 / M3@0 ID@2 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar10_s1_0 | ID@1 D3@0 / S3@1 D3@2 / ID@0 S3@1 / ID@1 D3@3 | M3@0 M3@1 / M3@1 M3@0 / ID@2 M3@0 / M3@1 ID@3
darts_minus_cifar10_s1_1 | D3@0 D5@1 / D5@0 S3@1 / ID@0 S3@1 / ID@1 ID@2 | M3@0 M3@1 / M3@1 M3@0 / ID@2 S3@1 / ID@3 M3@1
darts_minus_cifar10_s1_2 | D3@0 D5@1 / S3@1 D3@2 / ID@0 D3@3 / ID@1 D3@4 | M3@1 M3@0 / M3@1 M3@0 / ID@2 M3@0 / ID@2 ID@4
darts_minus_cifar10_s2_0 | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@0 / ID@1 S3@0 | S3@1 S3@0 / S3@1 ID@2 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar10_s2_1 | S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@1 / S3@1 S3@0 | S3@1 S3@0 / S3@1 ID@2 / ID@3 ID@2 / ID@2 ID@3
darts_minus_cifar10_s2_2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / ID@1 S3@0 | S3@0 ID@1 / S3@0 ID@2 / ID@2 S3@0 / ID@2 ID@3
darts_minus_cifar10_s3_0 | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@0 / ID@1 S3@0 | S3@1 S3@0 / S3@1 ID@2 / ID@2 ID@3 / ID@2 ID@3
darts_minus_cifar10_s3_1 | S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@1 / S3@1 S3@0 | S3@1 S3@0 / S3@1 ID@2 / ID@3 ID@2 / ID@2 ID@3
darts_minus_cifar10_s3_2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / ID@1 S3@0 | S3@0 ID@1 / S3@0 ID@2 / ID@2 S3@0 / ID@2 ID@3
darts_minus_cifar10_s4_0 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 NZ@3 | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@0
darts_minus_cifar10_s4_1 | S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@2 / NZ@3 S3@1 | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@4
darts_minus_cifar10_s4_2 | S3@1 S3@0 / S3@0 S3@1 / S3@1 S3@0 / NZ@2 S3@0 | S3@1 S3@0 / S3@1 S3@2 / S3@0 S3@1 / S3@1 S3@0
"""

_SDARTS = """
sdarts_c10_s1_random | D5@1 D3@0 / S3@1 ID@2 / D3@3 S3@2 / S3@0 D3@2 | M3@0 D3@1 / D5@2 M3@1 / D5@3 S3@1 / D5@2 D5@3
sdarts_c10_s1_pgd | D5@1 D3@0 / S3@1 ID@2 / S3@2 D3@3 / S3@0 D3@2 | M3@0 D3@1 / D5@2 M3@0 / D5@3 D3@2 / D5@4 D5@2
sdarts_c10_s2_random | S3@0 S3@1 / S3@2 ID@1 / S3@3 ID@0 / S3@1 ID@2 | S3@0 S3@1 / S3@1 S3@0 / S3@2 S3@1 / S3@2 S3@3
sdarts_c10_s2_pgd | S3@1 ID@0 / S3@2 S3@0 / S3@3 S3@2 / S3@4 S3@1 | ID@0 ID@1 / S3@0 S3@2 / S3@3 S3@0 / S3@4 S3@3
sdarts_c10_s3_random | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@2 / S3@4 ID@0 | ID@0 S3@1 / S3@2 S3@0 / S3@2 S3@3 / S3@0 S3@4
sdarts_c10_s3_pgd | S3@1 S3@0 / S3@0 S3@2 / S3@1 S3@0 / S3@1 ID@0 | S3@1 S3@0 / S3@2 S3@0 / S3@2 S3@0 / S3@1 S3@3
sdarts_c10_s4_random | S3@1 S3@0 / S3@2 S3@1 / S3@3 S3@2 / S3@4 S3@2 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@3 / S3@0 S3@4
sdarts_c10_s4_pgd | S3@1 S3@0 / S3@2 S3@1 / S3@3 S3@2 / S3@3 S3@4 | S3@1 S3@0 / S3@2 S3@1 / S3@2 S3@3 / S3@3 S3@4
sdarts_c10_s5_random | S3@1 S3@0 / S5@1 ID@0 / S3@3 ID@1 / S3@1 D3@2 | M3@0 S3@1 / ID@2 M3@0 / D5@3 M3@0 / S3@2 S5@3
sdarts_c10_s5_pgd | S3@0 S3@1 / S3@1 ID@0 / S5@0 D3@3 / D3@4 ID@0 | M3@0 S5@1 / ID@2 M3@0 / ID@3 ID@2 / ID@2 S5@4
sdarts_c100_s1_random | D3@0 ID@1 / D3@2 S3@1 / D3@3 S3@2 / ID@0 D3@4 | M3@0 M3@1 / D5@2 M3@1 / D5@3 D3@2 / D5@4 D5@3
sdarts_c100_s1_pgd | D5@1 D3@0 / D3@2 S3@1 / D3@3 S3@2 / D3@2 S3@0 | D3@1 M3@0 / D5@2 M3@0 / D5@3 S3@1 / D5@3 D5@4
sdarts_c100_s2_random | S3@0 S3@1 / S3@2 S3@0 / S3@3 S3@2 / S3@4 S3@3 | S3@1 S3@0 / S3@2 S3@1 / S3@3 S3@1 / S3@4 ID@0
sdarts_c100_s2_pgd | ID@0 S3@1 / S3@2 S3@1 / S3@3 S3@2 / S3@4 S3@3 | S3@1 S3@0 / S3@2 S3@1 / S3@3 S3@2 / S3@3 S3@4
sdarts_c100_s3_random | S3@1 S3@0 / S3@1 S3@2 / S3@1 S3@0 / S3@4 S3@1 | S3@0 S3@1 / S3@2 S3@1 / S3@3 S3@2 / S3@4 S3@3
sdarts_c100_s3_pgd | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@2 / S3@2 S3@1 | ID@1 S3@0 / S3@2 S3@0 / S3@3 S3@2 / S3@4 S3@3
sdarts_c100_s4_random | S3@0 S3@1 / S3@2 S3@0 / S3@2 S3@3 / S3@3 S3@2 | S3@0 S3@1 / S3@2 S3@0 / S3@3 S3@2 / S3@4 S3@3
sdarts_c100_s4_pgd | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@2 | S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@3 / S3@3 S3@4
sdarts_svhn_s1_random | ID@0 D5@1 / ID@1 ID@0 / ID@2 ID@0 / ID@1 ID@2 | M3@0 D3@1 / D5@2 M3@0 / D5@3 D3@2 / D5@2 D5@3
sdarts_svhn_s1_pgd | D3@0 D5@1 / D3@2 D5@0 / D3@3 S3@2 / ID@1 S3@0 | M3@0 D3@1 / D5@2 M3@0 / D5@3 D3@2 / D5@3 D5@2
sdarts_svhn_s2_random | S3@1 ID@0 / S3@2 S3@0 / S3@3 ID@1 / ID@0 S3@4 | S3@1 ID@0 / S3@2 S3@1 / S3@3 S3@2 / S3@3 S3@4
sdarts_svhn_s2_pgd | ID@0 S3@1 / S3@1 S3@2 / S3@0 ID@3 / ID@3 ID@4 | S3@1 S3@0 / S3@1 S3@0 / S3@3 S3@0 / ID@3 S3@0
sdarts_svhn_s3_random | S3@1 S3@0 / S3@2 S3@1 / S3@1 S3@3 / S3@4 S3@2 | S3@1 S3@0 / S3@2 ID@0 / S3@3 S3@2 / S3@4 S3@3
sdarts_svhn_s3_pgd | S3@1 S3@0 / S3@0 ID@2 / ID@3 S3@1 / ID@2 S3@0 | S3@1 S3@0 / S3@1 S3@2 / S3@2 S3@1 / S3@1 S3@4
sdarts_svhn_s4_random | S3@1 S3@0 / S3@1 S3@0 / S3@3 S3@1 / S3@4 S3@2 | S3@1 S3@0 / S3@2 S3@0 / S3@2 S3@3 / S3@4 S3@0
sdarts_svhn_s4_pgd | S3@1 S3@0 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 | S3@1 S3@0 / S3@1 S3@2 / S3@2 S3@0 / S3@0 S3@1
sdarts_c10_s1_pcdarts | D5@1 D3@0 / D5@0 S3@1 / ID@2 M3@0 / ID@2 ID@0 | M3@0 M3@1 / M3@1 M3@0 / S3@1 M3@0 / D5@2 M3@0
sdarts_c10_s2_pcdarts | ID@1 S3@0 / ID@0 ID@2 / ID@3 S3@0 / ID@3 ID@4 | S3@0 S3@1 / S3@1 S3@2 / S3@2 S3@3 / S3@4 S3@2
sdarts_c10_s3_pcdarts | S3@1 S3@0 / S3@2 S3@1 / S3@3 S3@2 / ID@4 S3@2 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@3 / S3@0 S3@4
sdarts_c10_s4_pcdarts | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 NZ@3 | S3@0 S3@1 / S3@1 S3@2 / S3@3 S3@1 / S3@2 S3@0
sdarts_c100_s1_pcdarts | D3@0 D5@1 / S3@1 D3@2 / D3@3 ID@2 / D3@4 M3@1 | M3@0 D3@1 / D5@2 M3@1 / S3@1 D3@2 / D5@2 D5@3
sdarts_c100_s2_pcdarts | S3@1 ID@0 / S3@1 ID@2 / ID@0 S3@1 / S3@4 ID@3 | S3@1 S3@0 / S3@2 ID@1 / S3@2 S3@3 / S3@1 S3@3
sdarts_c100_s3_pcdarts | S3@0 S3@1 / S3@0 ID@2 / S3@0 S3@3 / S3@1 S3@4 | S3@0 S3@1 / S3@0 S3@2 / S3@1 S3@3 / S3@1 S3@4
sdarts_c100_s4_pcdarts | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@0 / S3@0 S3@1 | S3@0 S3@1 / S3@2 S3@0 / S3@2 S3@0 / S3@4 S3@0
sdarts_svhn_s1_pcdarts | D3@0 D5@1 / ID@1 ID@2 / ID@3 ID@0 / ID@2 S3@0 | D3@1 A3@0 / D5@2 M3@0 / D5@3 S3@1 / D5@4 D5@3
sdarts_svhn_s2_pcdarts | ID@1 ID@0 / ID@2 ID@1 / ID@2 ID@1 / ID@2 ID@1 | S3@1 S3@0 / ID@0 S3@2 / ID@2 S3@3 / S3@4 S3@3
sdarts_svhn_s3_pcdarts | S3@0 S3@1 / ID@0 ID@2 / ID@0 ID@2 / ID@0 ID@2 | S3@0 S3@1 / S3@2 S3@1 / S3@3 S3@1 / S3@4 S3@1
sdarts_svhn_s4_pcdarts | S3@0 S3@1 / S3@2 S3@1 / S3@2 S3@3 / S3@2 S3@4 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@1 / S3@0 S3@1
"""

_RDARTS = """
rdarts_s1_dp0.0_wd0.0003_seed1 | ID@1 D3@0 / ID@2 ID@0 / ID@0 ID@2 / ID@2 ID@1 | M3@1 M3@0 / ID@2 M3@1 / ID@2 M3@0 / M3@0 M3@1
rdarts_s1_dp0.0_wd0.0003_seed2 | ID@1 D3@0 / ID@1 ID@2 / ID@1 ID@2 / ID@2 ID@1 | M3@1 M3@0 / M3@0 ID@2 / M3@1 M3@0 / D5@4 M3@0
rdarts_s1_dp0.0_wd0.0003_seed3 | ID@0 ID@1 / ID@1 ID@2 / ID@2 ID@1 / ID@2 D3@4 | M3@1 M3@0 / ID@2 M3@0 / ID@2 M3@1 / M3@0 ID@3
rdarts_s1_dp0.0_wd0.0009_seed1 | ID@1 ID@0 / ID@1 ID@0 / ID@3 ID@0 / ID@2 ID@1 | M3@1 M3@0 / M3@0 M3@1 / ID@2 ID@3 / ID@3 ID@2
rdarts_s1_dp0.0_wd0.0009_seed2 | ID@1 ID@0 / ID@1 ID@0 / ID@1 ID@2 / ID@2 ID@1 | M3@1 M3@0 / M3@0 ID@2 / S3@1 M3@0 / ID@3 M3@0
rdarts_s1_dp0.0_wd0.0009_seed3 | ID@1 ID@0 / ID@1 ID@2 / ID@1 ID@3 / ID@2 D3@3 | M3@1 M3@0 / ID@2 M3@0 / M3@0 S3@1 / M3@0 ID@3
rdarts_s1_dp0.0_wd0.0027_seed1 | ID@1 ID@0 / S3@1 ID@2 / ID@3 S3@1 / D3@3 ID@2 | M3@0 M3@1 / M3@1 M3@0 / M3@1 ID@2 / M3@1 M3@0
rdarts_s1_dp0.0_wd0.0027_seed2 | ID@0 ID@1 / ID@2 ID@0 / ID@3 ID@1 / ID@2 ID@0 | M3@0 M3@1 / M3@0 M3@1 / S3@1 ID@2 / ID@2 M3@0
rdarts_s1_dp0.0_wd0.0027_seed3 | ID@1 ID@0 / ID@2 ID@0 / M3@0 ID@2 / ID@2 D3@3 | M3@0 M3@1 / ID@2 M3@1 / ID@2 S3@1 / ID@3 M3@0
rdarts_s1_dp0.0_wd0.0081_seed1 | ID@0 ID@1 / S3@1 D3@2 / S3@2 S3@1 / D3@2 M3@1 | M3@0 M3@1 / M3@1 M3@0 / D3@2 D5@3 / M3@1 D5@2
rdarts_s1_dp0.0_wd0.0081_seed2 | ID@1 ID@0 / S3@1 D5@0 / S3@1 M3@0 / M3@1 D3@4 | M3@0 M3@1 / M3@1 M3@0 / D5@3 M3@1 / M3@1 D5@2
rdarts_s1_dp0.0_wd0.0081_seed3 | ID@0 ID@1 / S3@1 D3@2 / S3@1 D3@3 / M3@1 D3@3 | M3@0 M3@1 / M3@0 M3@1 / M3@0 M3@1 / M3@1 M3@0
rdarts_s1_dp0.0_wd0.0243_seed1 | ID@0 D5@1 / S3@1 D3@2 / M3@0 S3@1 / M3@1 D3@2 | M3@0 M3@1 / M3@1 D5@2 / M3@0 D5@3 / D5@2 M3@1
rdarts_s1_dp0.0_wd0.0243_seed2 | ID@0 ID@1 / S3@1 D5@0 / S3@1 M3@0 / M3@1 D3@2 | M3@0 M3@1 / M3@1 D5@2 / D3@2 M3@1 / M3@1 D5@3
rdarts_s1_dp0.0_wd0.0243_seed3 | D3@0 D5@1 / S3@1 D3@2 / M3@0 S3@2 / M3@1 D3@2 | M3@0 D3@1 / M3@1 M3@0 / D5@3 D3@2 / D5@4 D5@3
rdarts_s1_dp0.2_wd0.0003_seed1 | ID@1 ID@0 / ID@1 D3@2 / D3@3 S3@2 / D3@2 S3@0 | M3@0 M3@1 / M3@1 M3@0 / M3@0 D5@3 / D5@4 D5@3
rdarts_s1_dp0.2_wd0.0003_seed2 | ID@1 D3@0 / ID@0 D3@2 / D3@3 ID@0 / D3@2 ID@1 | M3@0 M3@1 / M3@1 M3@0 / D5@3 M3@0 / D5@4 M3@1
rdarts_s1_dp0.2_wd0.0003_seed3 | ID@1 D3@0 / ID@0 ID@1 / D3@3 ID@0 / S3@0 D3@3 | M3@0 M3@1 / M3@1 M3@0 / D5@3 M3@0 / D5@4 D5@3
rdarts_s1_dp0.4_wd0.0003_seed1 | ID@1 ID@0 / D3@2 S3@1 / D3@3 ID@0 / D3@2 ID@1 | M3@0 M3@1 / M3@1 M3@0 / M3@0 D5@3 / D5@4 M3@1
rdarts_s1_dp0.4_wd0.0003_seed2 | ID@1 ID@0 / ID@0 D3@2 / D3@3 S3@2 / S3@0 D3@2 | M3@0 M3@1 / M3@0 M3@1 / M3@0 D5@3 / M3@0 D5@4
rdarts_s1_dp0.4_wd0.0003_seed3 | ID@1 ID@0 / D3@2 ID@0 / D3@3 ID@0 / D3@2 S3@0 | M3@0 M3@1 / M3@1 M3@0 / D5@3 M3@0 / D5@4 M3@0
rdarts_s1_dp0.6_wd0.0003_seed1 | ID@1 ID@0 / D3@2 ID@0 / D3@3 S3@2 / D3@2 S3@0 | M3@0 M3@1 / M3@1 M3@0 / D5@3 M3@0 / D5@4 M3@0
rdarts_s1_dp0.6_wd0.0003_seed2 | ID@1 ID@0 / D3@2 ID@0 / D3@3 S3@2 / D3@2 S3@0 | M3@0 M3@1 / M3@0 M3@1 / M3@0 D5@3 / D5@4 M3@0
rdarts_s1_dp0.6_wd0.0003_seed3 | ID@1 ID@0 / D3@2 ID@0 / D3@3 S3@2 / D3@2 S3@0 | M3@0 M3@1 / M3@1 M3@0 / D5@3 M3@0 / D5@4 M3@1
rdarts_s3_dp0.0_wd0.0003_seed1 | ID@0 ID@1 / ID@0 ID@1 / ID@0 ID@1 / ID@0 ID@1 | ID@1 S3@0 / ID@1 S3@0 / S3@2 S3@1 / ID@2 ID@1
rdarts_s3_dp0.0_wd0.0003_seed2 | ID@0 ID@1 / ID@0 ID@1 / ID@0 ID@1 / ID@0 ID@1 | S3@0 S3@1 / ID@0 S3@2 / ID@1 S3@0 / ID@2 ID@3
rdarts_s3_dp0.0_wd0.0003_seed3 | ID@0 ID@1 / ID@1 ID@0 / ID@0 ID@1 / ID@0 ID@1 | ID@0 S3@1 / ID@1 S3@2 / S3@0 S3@3 / S3@1 ID@3
rdarts_s3_dp0.0_wd0.0009_seed1 | ID@1 ID@0 / ID@1 ID@0 / ID@1 ID@0 / ID@0 ID@1 | S3@0 S3@1 / S3@2 S3@1 / S3@3 ID@2 / S3@0 ID@2
rdarts_s3_dp0.0_wd0.0009_seed2 | ID@1 ID@0 / ID@1 ID@0 / ID@0 ID@1 / ID@0 ID@1 | S3@0 S3@1 / ID@0 S3@1 / S3@2 ID@0 / S3@1 ID@3
rdarts_s3_dp0.0_wd0.0009_seed3 | ID@0 S3@1 / ID@0 ID@1 / ID@0 ID@1 / ID@0 ID@1 | S3@0 S3@1 / ID@1 ID@0 / ID@2 S3@3 / S3@1 ID@2
rdarts_s3_dp0.0_wd0.0027_seed1 | S3@0 S3@1 / S3@0 ID@2 / S3@0 ID@1 / ID@2 ID@1 | S3@1 S3@0 / S3@2 ID@0 / S3@3 S3@0 / S3@3 S3@4
rdarts_s3_dp0.0_wd0.0027_seed2 | ID@1 S3@0 / ID@0 ID@2 / S3@1 S3@0 / S3@1 S3@0 | S3@1 S3@0 / S3@2 ID@1 / S3@1 S3@2 / S3@4 S3@1
rdarts_s3_dp0.0_wd0.0027_seed3 | ID@0 ID@1 / ID@0 ID@1 / S3@0 S3@2 / S3@4 S3@1 | S3@0 ID@1 / S3@0 S3@2 / S3@3 S3@1 / S3@4 S3@0
rdarts_s3_dp0.0_wd0.0081_seed1 | S3@1 S3@0 / S3@2 S3@0 / S3@1 S3@2 / S3@1 S3@2 | S3@0 S3@1 / S3@2 S3@0 / S3@2 S3@1 / S3@4 S3@1
rdarts_s3_dp0.0_wd0.0081_seed2 | ID@1 ID@0 / S3@1 S3@0 / S3@1 S3@2 / S3@1 S3@2 | S3@0 S3@1 / S3@1 S3@2 / S3@2 S3@0 / S3@3 S3@4
rdarts_s3_dp0.0_wd0.0081_seed3 | S3@1 S3@0 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@2 | S3@0 S3@1 / S3@0 S3@2 / S3@2 S3@3 / S3@4 S3@2
rdarts_s3_dp0.0_wd0.0243_seed1 | S3@0 ID@1 / S3@2 S3@0 / S3@0 ID@3 / S3@1 S3@2 | ID@1 S3@0 / S3@2 S3@0 / S3@0 S3@2 / S3@3 S3@4
rdarts_s3_dp0.0_wd0.0243_seed2 | S3@0 ID@1 / S3@1 S3@0 / S3@0 S3@1 / ID@4 S3@2 | S3@0 S3@1 / S3@2 S3@1 / S3@0 S3@2 / S3@3 S3@0
rdarts_s3_dp0.0_wd0.0243_seed3 | ID@1 ID@0 / S3@0 S3@1 / S3@0 S3@3 / S3@0 S3@1 | S3@0 S3@1 / S3@2 S3@0 / S3@2 S3@3 / S3@3 S3@0
rdarts_s3_dp0.2_wd0.0003_seed1 | S3@1 S3@0 / S3@1 S3@0 / ID@1 ID@0 / ID@1 ID@0 | S3@1 S3@0 / S3@2 S3@1 / S3@0 S3@3 / S3@1 S3@3
rdarts_s3_dp0.2_wd0.0003_seed2 | S3@1 S3@0 / S3@0 S3@1 / ID@1 S3@0 / S3@1 S3@0 | S3@0 S3@1 / S3@0 S3@2 / S3@3 S3@2 / S3@4 S3@3
rdarts_s3_dp0.2_wd0.0003_seed3 | ID@1 S3@0 / S3@0 ID@1 / S3@1 S3@0 / S3@1 S3@0 | S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@1 / S3@4 S3@1
rdarts_s3_dp0.4_wd0.0003_seed1 | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@0 | S3@1 S3@0 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@0
rdarts_s3_dp0.4_wd0.0003_seed2 | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@1 | S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@0 / S3@1 S3@0
rdarts_s3_dp0.4_wd0.0003_seed3 | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@0 | S3@0 S3@1 / S3@1 S3@0 / S3@0 S3@1 / S3@4 S3@1
rdarts_s3_dp0.6_wd0.0003_seed1 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1
rdarts_s3_dp0.6_wd0.0003_seed2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0
rdarts_s3_dp0.6_wd0.0003_seed3 | S3@0 ID@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 | S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@0 / S3@1 S3@0
"""

_RSPS = """
rsps_s1_cifar10 | D5@1 ID@0 / D5@0 S3@1 / ID@2 ID@1 / D3@4 ID@0 | M3@0 D3@1 / M3@1 M3@0 / ID@3 D3@2 / D5@2 A3@0
rsps_s1_cifar100 | D3@0 ID@1 / S3@1 D5@0 / S3@1 S3@2 / D3@4 ID@2 | M3@0 M3@1 / A3@0 ID@2 / A3@0 D3@2 / A3@0 D5@3
rsps_s1_svhn | D3@0 D5@1 / ID@0 S3@1 / S3@2 ID@3 / D3@3 S3@0 | D3@1 A3@0 / M3@1 A3@0 / ID@3 A3@0 / D5@3 A3@1
rsps_s2_cifar10 | S3@1 S3@0 / S3@2 ID@0 / ID@1 S3@2 / ID@1 ID@0 | S3@0 ID@1 / ID@0 S3@1 / S3@1 S3@3 / S3@0 S3@1
rsps_s2_cifar100 | S3@0 S3@1 / S3@0 ID@1 / S3@0 S3@1 / S3@2 S3@0 | ID@1 S3@0 / ID@0 ID@1 / S3@2 S3@3 / S3@0 S3@4
rsps_s2_svhn | S3@0 S3@1 / ID@1 ID@0 / ID@2 ID@1 / S3@3 S3@2 | S3@1 S3@0 / ID@0 S3@2 / ID@1 S3@3 / S3@1 S3@0
rsps_s3_cifar10 | S3@0 N@1 / ID@1 S3@2 / ID@3 N@2 / N@4 S3@3 | S3@0 N@1 / ID@2 ID@0 / N@3 S3@1 / S3@4 S3@3
rsps_s3_cifar100 | S3@0 N@1 / N@0 S3@1 / N@1 ID@0 / ID@0 N@2 | S3@1 ID@0 / N@1 S3@0 / N@2 N@0 / S3@0 ID@1
rsps_s3_svhn | S3@1 N@0 / N@2 S3@1 / S3@0 ID@1 / ID@1 N@4 | ID@0 N@1 / N@0 S3@2 / S3@2 ID@0 / S3@2 ID@0
rsps_s4_cifar10 | NZ@1 S3@0 / S3@1 S3@2 / NZ@0 NZ@1 / NZ@3 S3@1 | NZ@1 S3@0 / S3@0 NZ@1 / S3@0 NZ@2 / S3@2 S3@3
rsps_s4_cifar100 | S3@0 NZ@1 / NZ@0 S3@1 / S3@3 S3@2 / NZ@0 NZ@3 | S3@0 S3@1 / NZ@0 NZ@2 / NZ@1 NZ@2 / NZ@4 NZ@2
rsps_s4_svhn | NZ@0 S3@1 / NZ@2 S3@0 / S3@0 S3@2 / S3@2 S3@0 | NZ@1 NZ@0 / S3@2 S3@1 / NZ@3 NZ@0 / NZ@2 S3@0
"""

_DARTS_PT = """
darts_pt_s1_1 | ID@0 ID@1 / ID@0 ID@1 / ID@0 ID@1 / D3@3 D5@4 | M3@0 D3@1 / M3@0 M3@1 / S3@1 ID@3 / ID@2 D5@3
darts_pt_s1_2 | D3@0 ID@1 / ID@0 ID@2 / ID@0 ID@3 / D3@3 D5@4 | M3@0 M3@1 / M3@0 M3@1 / S3@1 ID@2 / ID@2 D5@4
darts_pt_s2_1 | ID@0 ID@1 / S3@0 ID@2 / S3@1 ID@3 / S3@1 S3@4 | S3@0 S3@1 / S3@0 ID@2 / S3@0 ID@2 / S3@1 ID@4
darts_pt_s2_2 | ID@0 S3@1 / ID@1 ID@2 / S3@0 ID@3 / ID@3 S3@4 | S3@0 S3@1 / S3@0 ID@2 / S3@1 S3@3 / S3@1 ID@3
darts_pt_s3_1 | S3@0 S3@1 / S3@0 ID@1 / ID@0 ID@2 / S3@0 S3@1 | S3@0 ID@1 / S3@0 ID@2 / S3@0 ID@3 / ID@3 S3@4
darts_pt_s3_2 | S3@0 S3@1 / ID@0 S3@1 / ID@0 S3@3 / S3@1 ID@4 | S3@0 S3@1 / S3@0 ID@1 / S3@0 S3@1 / S3@2 ID@3
darts_pt_s4_1 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@1 S3@2 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@3 / S3@0 S3@1
darts_pt_s4_2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@3 / S3@0 S3@1 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@2
blank_pt_s1_1 | ID@0 D5@1 / S3@1 ID@2 / M3@0 ID@3 / S3@0 M3@1 | A3@0 M3@1 / M3@0 M3@1 / ID@2 D5@3 / D5@2 ID@3
blank_pt_s1_2 | ID@0 ID@1 / S3@1 ID@2 / M3@0 S3@1 / ID@2 D5@3 | A3@0 D3@1 / M3@1 D5@2 / A3@0 ID@3 / ID@2 D5@3
blank_pt_s2_1 | S3@0 S3@1 / ID@0 ID@2 / S3@1 S3@2 / S3@0 ID@3 | S3@0 S3@1 / S3@1 ID@2 / S3@0 ID@3 / S3@2 ID@4
blank_pt_s2_2 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@1 / S3@0 ID@4 | S3@0 S3@1 / S3@0 S3@2 / S3@0 ID@1 / S3@1 S3@2
blank_pt_s3_1 | S3@0 ID@1 / ID@0 S3@1 / S3@0 ID@2 / ID@3 ID@4 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@1 / S3@1 S3@3
blank_pt_s3_2 | S3@0 S3@1 / S3@0 ID@1 / S3@0 S3@1 / ID@0 S3@2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 ID@3 / ID@2 ID@3
blank_pt_s4_1 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 | S3@0 S3@1 / S3@0 S3@2 / S3@0 S3@3 / S3@0 S3@1
blank_pt_s4_2 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 | S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1 / S3@0 S3@1
darts_pt_s5_0 | S3@0 S3@1 / S5@0 D3@1 / ID@0 ID@2 / ID@0 M3@4 | S3@0 A3@1 / D5@1 D3@2 / A3@0 M3@2 / S3@2 ID@4
darts_pt_s5_1 | S3@0 S3@1 / S3@0 D3@1 / M3@0 ID@2 / ID@0 D3@4 | D5@0 A3@1 / M3@0 S5@2 / M3@1 D3@3 / S5@0 S3@4
darts_pt_s5_2 | ID@0 S3@1 / S3@0 D3@1 / ID@2 D3@3 / M3@1 ID@2 | A3@0 M3@1 / A3@0 S3@1 / D5@2 ID@3 / S3@2 S5@4
darts_pt_s5_3 | S3@0 S3@1 / S3@0 S3@1 / ID@0 ID@2 / S3@1 ID@3 | A3@0 S5@1 / M3@1 ID@2 / D5@1 M3@3 / S5@2 ID@3
blank_pt_s5_0 | S3@0 S5@1 / S3@0 S3@1 / A3@1 ID@3 / M3@0 A3@2 | ID@0 S5@1 / D3@1 S5@2 / M3@0 ID@3 / M3@0 M3@2
blank_pt_s5_1 | A3@0 A3@1 / S3@0 M3@2 / ID@2 S3@3 / S5@0 S5@1 | M3@0 D5@1 / S3@0 ID@1 / A3@2 M3@3 / S5@3 S5@4
blank_pt_s5_2 | A3@0 D3@1 / S5@0 M3@1 / M3@0 ID@1 / S5@1 A3@2 | S3@0 A3@1 / A3@0 S5@1 / M3@0 S5@3 / M3@2 D5@4
blank_pt_s5_3 | S3@0 S3@1 / S3@0 ID@1 / M3@2 S3@3 / A3@0 S5@1 | D5@0 S5@1 / S5@0 D3@1 / A3@1 ID@2 / M3@0 ID@4
"""

_NASBENCH201 = """
nasbench201_best_cifar10 | |nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|
nasbench201_best_cifar100 | |nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|
nasbench201_best_imagenet16_validation | |nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|
nasbench201_high_imagenet16_test | |nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|
nasbench201_resnet | |nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|
nasbench201_all_nor_conv_3x3 | |nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|
nasbench201_all_nor_conv_1x1 | |nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|nor_conv_1x1~0|nor_conv_1x1~1|nor_conv_1x1~2|
nasbench201_all_skip_connect | |skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|
"""
# fmt: on

_TABLES = (
    (_CORE, ""),
    (_FAIRDARTS, "FairDARTS repository: edges with sigmoid(alpha) above 0.85"),
    (_DARTS_MINUS, "DARTS- repository; _0 of each group is its best"),
    (_SDARTS, "SmoothDARTS repository: random = SDARTS-RS, pgd = SDARTS-ADV, pcdarts = PC-DARTS"),
    (
        _RDARTS,
        "RobustDARTS logs of second-order DARTS: space (s1 CIFAR-10, s3 SVHN), drop-path, weight decay, seed",
    ),
    (_RSPS, "RobustDARTS repository: random search with weight sharing; 'none' is kept as an op"),
    (_DARTS_PT, "DARTS-PT repository, CIFAR-10: perturbation-based selection; blank = alphas never updated"),
    (_NASBENCH201, "NAS-Bench-201 benchmark"),
)

_CORE_SOURCES = {
    "NASNet": "DARTS repository: DARTS translation of NASNet-A",
    "AmoebaNet": "DARTS repository: DARTS translation of AmoebaNet-A",
    "DARTS_V1": "DARTS repository: first-order search",
    "DARTS_V2": "DARTS repository: second-order search",
    "PC_DARTS_cifar": "PC-DARTS repository: search on CIFAR-10",
    "PC_DARTS_image": "PC-DARTS repository: search on ImageNet",
    "PDARTS": "P-DARTS repository",
    "ENASNet": "FairDARTS repository: DARTS translation of the ENAS micro cells",
    "GDAS_V1": "FairDARTS repository",
    "SNAS": "FairDARTS repository",
    "MdeNAS": "FairDARTS repository",
    "SGAS_Cri1_best": "a public collection of genotypes: SGAS, criterion 1",
    "SGAS_Cri2_best": "a public collection of genotypes: SGAS, criterion 2",
}


def names() -> tuple[str, ...]:
    """Names of all published genotypes, in the order of their tables."""
    return tuple(_rows())


def get(name: str) -> Genotype:
    """The published genotype called `name`, in upper or lower case; `-` is read as `_`.

    Raises `UserError` with the nearest name if there is none.
    """
    return _decode(_known(name))


def source(name: str) -> str:
    """The place of publication of the genotype called `name`. Raises `UserError` like `get`."""
    return _rows()[_known(name)][1]


def _known(name: str) -> str:
    """`name` in the spelling of its table."""
    if name in _rows():
        return name
    known = {_plain(other): other for other in names()}
    if _plain(name) not in known:
        raise unknown(
            "genotype",
            name[:80],
            (*names(), *networks(), *published_mobile.networks(), *published_recurrent.names()),
            page="jdarts genotypes",
        )
    return known[_plain(name)]


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


@cache
def _rows() -> dict[str, tuple[list[str], str]]:
    rows = {}
    for table, origin in _TABLES:
        for line in table.strip().splitlines():
            name, *cells = line.split(" | ")
            rows[name] = cells, origin or _CORE_SOURCES[name]
    return rows


@cache
def _decode(name: str) -> Genotype:
    cells, _ = _rows()[name]
    if len(cells) == 1:
        return read_nasbench201(cells[0])
    normal, reduce = (_cell(cell) for cell in cells)
    return Genotype(normal, reduce)


def _cell(text: str) -> Cell:
    text, _, concat = text.partition(" cat")
    nodes = [[], [], [], []] if ">" in text else [[] for _ in text.split(" / ")]
    for node, edges in enumerate(text.split(" / ")):
        for edge in edges.split():
            code, _, ends = edge.partition("@")
            start, _, target = ends.partition(">")
            nodes[int(target) - 2 if target else node].append((_CODES[code], int(start)))
    outputs = tuple(int(node) for node in concat.split(",")) if concat else (2, 3, 4, 5)
    return Cell(tuple(tuple(node) for node in nodes), outputs)
