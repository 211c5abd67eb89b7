"""DrNAS on NAS-Bench-201 without progressive stages (arXiv:2006.10355).

100 epochs. Expected CIFAR-10 test accuracy 94.36 ± 0 (README of its code). Looked up: add --search.benchmark_table
FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_drnas.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_drnas",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="drnas",
        epochs=100,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=False, weight_decay=3e-4),
    ),
)
