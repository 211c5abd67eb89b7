"""SNAS on NAS-Bench-201 (arXiv:1812.09926), as others report it.

150 epochs, temperature 1 → 0.03, single level. Expected CIFAR-10 test accuracy 92.77 ± 0.83 (search per data set).
Looked up: add --search.benchmark_table FILE. Not run in full by jdarts' developers.
Single level: all training images, no validation split.

    jdarts search configs/nasbench201_snas.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_snas",
    data=DataConfig(source="cifar10", train_fraction=1.0, val_fraction=0.0),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="snas",
        epochs=150,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=False, weight_decay=3e-4),
    ),
)
