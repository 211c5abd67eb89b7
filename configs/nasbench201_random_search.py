"""Random search on NAS-Bench-201 (arXiv:2001.00326, RS).

The best of 100 cells by validation accuracy after 12 epochs. Expected CIFAR-10 test accuracy about 93.7 (recalled).
With --search.benchmark_table FILE nothing is trained. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_random_search.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig, TrainConfig

config = Experiment(
    name="nasbench201_random_search",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(method="random_search", method_options=("samples=100",)),
    train=TrainConfig(
        epochs=12, batch_size=256, channels=16, cells=5, auxiliary_weight=0.0, drop_path=0.0, val_fraction=0.5
    ),
)
