"""Amended-DARTS on CIFAR-10 (arXiv:1910.11831).

DARTS' settings, η = 0.1 (recalled). Expected CIFAR-10 test error after retraining about 2.6 to 2.7 % (recalled). Not
run in full by jdarts' developers.

    jdarts search configs/amended_darts_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="amended_darts_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="amended_darts",
        epochs=50,
        batch_size=64,
    ),
)
