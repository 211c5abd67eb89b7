"""DARTS- on NAS-Bench-201 (arXiv:2009.01027).

First order, 50 epochs, β linear from 1. Expected CIFAR-10 test accuracy 93.80 ± 0.40 (paper). Looked up: add
--search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_darts_minus.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_darts_minus",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="darts_minus",
        epochs=50,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
)
