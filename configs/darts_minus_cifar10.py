"""DARTS- on CIFAR-10 (arXiv:2009.01027).

DARTS' settings in first order; β linear from 1 to 0. Expected CIFAR-10 test error after retraining 2.59 ± 0.08 %
(paper). Not run in full by jdarts' developers.

    jdarts search configs/darts_minus_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="darts_minus_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="darts_minus",
        epochs=50,
        batch_size=64,
    ),
)
