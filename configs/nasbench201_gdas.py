"""GDAS on NAS-Bench-201, settings of the benchmark's authors (arXiv:1910.04465, arXiv:2001.00326).

250 epochs, temperature 10 → 0.1. Expected CIFAR-10 test accuracy 93.51 ± 0.13 (later release). Looked up: add
--search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_gdas.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_gdas",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="gdas",
        epochs=250,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
)
