"""PC-DARTS on NAS-Bench-201 (arXiv:1907.05737), as β-DARTS' authors report it.

K = 4, 50 epochs, alphas frozen for 15. Expected CIFAR-10 test accuracy 93.41 ± 0.30 (their table, search per data set).
Looked up: add --search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_pc_darts.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_pc_darts",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="pc_darts",
        epochs=50,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
)
