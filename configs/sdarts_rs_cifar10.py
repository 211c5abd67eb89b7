"""SDARTS-RS on CIFAR-10 (arXiv:2002.05283).

DARTS' settings in first order. Expected CIFAR-10 test error after retraining 2.67 ± 0.03 % (paper). Not run in
full by jdarts' developers.

    jdarts search configs/sdarts_rs_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="sdarts_rs_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="sdarts_rs",
        epochs=50,
        batch_size=64,
    ),
)
