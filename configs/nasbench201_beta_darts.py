"""β-DARTS on NAS-Bench-201 (arXiv:2203.01665).

100 epochs, λ from 0 to 50. Expected CIFAR-10 test accuracy 94.36 ± 0 (paper). Looked up: add --search.benchmark_table
FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_beta_darts.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_beta_darts",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="beta_darts",
        epochs=100,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=False, weight_decay=3e-4),
    ),
)
