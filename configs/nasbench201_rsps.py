"""Random search with weight sharing on NAS-Bench-201 (arXiv:1902.07638, arXiv:2001.00326).

250 epochs, the best of 100 random cells on one validation batch. Expected CIFAR-10 test accuracy 87.66 ± 1.69 (later
release). Looked up: add --search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_rsps.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_rsps",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="rsps",
        epochs=250,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
)
