"""DARTS+ on CIFAR-10 (arXiv:1909.06035).

First-order DARTS, stopped at the second skip. Expected CIFAR-10 test error after retraining for 2,000 epochs 2.37 ±
0.13 % (paper). Not run in full by jdarts' developers.

    jdarts search configs/darts_plus_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="darts_plus_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="darts_plus",
        epochs=50,
        batch_size=64,
    ),
)
