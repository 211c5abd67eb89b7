"""A search on NAS-Bench-201 with CIFAR-10 (Dong & Yang 2020, arXiv:2001.00326), by any method with its own settings.

The benchmark's supernet: 16 channels, 5 cells a stage. The rest is the method's: `--method NAME` applies the settings
of its published search on this benchmark, and `jdarts methods NAME` shows them with their source. Without `--method`
the file searches by DARTS with the settings of its CIFAR-10 search. Every result can be looked up: add
--search.benchmark_table FILE.

Expected CIFAR-10 test accuracy in the benchmark (optimum 94.37 %): darts 54.30 ± 0 (all edges skip), rsps 87.66 ± 1.69,
setn 86.19 ± 4.63, darts_pt 88.11, snas 92.77 ± 0.83, pc_darts 93.41 ± 0.30, gdas 93.51 ± 0.13, random_search 93.70 ±
0.36, darts_minus 93.80 ± 0.40, beta_darts, drnas and single_darts 94.36 ± 0. Cost: 3.2 GPU-hours for DARTS- in its
paper. Not run in full by jdarts' developers; needs an accelerator.

    jdarts search configs/nasbench201.py --data.path DIR --method darts_minus --name nb_darts_minus
    jdarts search configs/nasbench201.py --data.path DIR --method gdas --name nb_gdas --search.benchmark_table FILE
    jdarts search configs/nasbench201.py --data.path DIR --method darts --name nb_darts \\
      --search.hypergradient first_order
"""

from jdarts.config import DataConfig, Experiment, SpaceConfig

config = Experiment(
    name="nasbench201",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
)
