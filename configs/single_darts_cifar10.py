"""Single-DARTS on CIFAR-10 (arXiv:2108.08128), with the settings of its NAS-Bench-201 search.

The paper searches S0 on ImageNet; CIFAR-10 test error after retraining of that cell 2.46 % (paper). Not run in
full by jdarts' developers.

    jdarts search configs/single_darts_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="single_darts_cifar10",
    data=DataConfig(source="cifar10", train_fraction=1.0, val_fraction=0.0),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="single_darts",
        epochs=50,
        batch_size=64,
        weight_optimizer=SGDConfig(learning_rate=0.005, learning_rate_min=0.0),
    ),
)
