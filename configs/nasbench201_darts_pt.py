"""DARTS-PT on NAS-Bench-201 (arXiv:2108.04392).

100 epochs of first-order DARTS, then 25 of tuning. Expected CIFAR-10 test error 11.89 % (paper). Looked up: add
--search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_darts_pt.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_darts_pt",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="darts_pt",
        epochs=100,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=False, weight_decay=3e-4),
    ),
)
