"""Single-DARTS on NAS-Bench-201 (arXiv:2108.08128).

50 epochs, SGD 0.005. Expected CIFAR-10 test accuracy 94.36 ± 0 over five runs (paper). The alphas' learning rate and
the decays are DARTS' (not verified). Looked up: add --search.benchmark_table FILE. Not run in full by jdarts'
developers. Single level: all training images, no validation split.

    jdarts search configs/nasbench201_single_darts.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_single_darts",
    data=DataConfig(source="cifar10", train_fraction=1.0, val_fraction=0.0),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="single_darts",
        epochs=50,
        weight_optimizer=SGDConfig(learning_rate=0.005, learning_rate_min=0.0, nesterov=False, weight_decay=3e-4),
    ),
)
