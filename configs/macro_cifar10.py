"""SPOS on NAS-Bench-Macro with real CIFAR-10, at a scale for two CPU cores; every network is in the benchmark's table.

3,000 + 3,000 images, shrunk to 16x16, 20 epochs of 46 steps; then 100 candidates, each with the weights of its path and
with batch norms recalibrated on four training batches. The settings of the weights are those of SPOS (arXiv:1904.00420)
at a tenth of its learning rate, for the smaller batch. The training takes 0.32 s of CPU time a step, 5 CPU minutes in
all (AMD EPYC, 2026-11-29, beside other jobs). Seed 0 found 11222022, with 92.08 % test accuracy in the table (mean
90.25 %, median 90.99 %, best 93.13 %), the 1,196th of 6,561: after so short a training the ranking is rough.

    jdarts search configs/macro_cifar10.py --data.path DIR --search.benchmark_table nas-bench-macro_cifar10.json
    jdarts search configs/macro_cifar10.py --data.path DIR --search.method fairnas --search.batch_size 192

The benchmark's file is optional. With it, every epoch is recorded with the true accuracy of its network.
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig, TrainConfig

config = Experiment(
    name="macro_cifar10",
    data=DataConfig(source="cifar10", limit=6000, shrink=2, crop_padding=2),
    space=SpaceConfig(name="nasbench_macro"),
    search=SearchConfig(
        method="spos",
        method_options=("generations=5", "population=20", "recalibration=4"),
        epochs=20,
        batch_size=64,
        weight_optimizer=SGDConfig(learning_rate=0.05, learning_rate_min=0.0, weight_decay=4e-5),
    ),
    train=TrainConfig(epochs=20, batch_size=64, auxiliary_weight=0.0, drop_path=0.0, cutout=0),
)
