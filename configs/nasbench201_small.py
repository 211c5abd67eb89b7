"""A reduced search on S6 with real CIFAR-10, for two CPU cores: methods side by side, looked up in the benchmark's
table.

2,000 + 2,000 images, 8 channels, one cell a stage, 25 epochs of 31 steps. With so few steps the alphas need a larger
learning rate than the published 3e-4 to travel as far. The weights' settings are the benchmark's (arXiv:2001.00326);
for Single-DARTS add --search.weight_optimizer.learning_rate 0.005.

    jdarts search configs/nasbench201_small.py --data.path DIR --search.benchmark_table FILE \\
      --search.method darts_minus
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_small",
    data=DataConfig(source="cifar10", limit=4000),
    space=SpaceConfig(name="nasbench201", channels=8, cells=1),
    search=SearchConfig(
        method="darts",
        epochs=25,
        weight_optimizer=SGDConfig(nesterov=True, weight_decay=5e-4),
        alpha_optimizer=AdamConfig(learning_rate=5e-3),
    ),
)
