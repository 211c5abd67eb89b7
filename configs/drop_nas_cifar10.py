"""DropNAS on CIFAR-10 (arXiv:2207.04969).

14 cells, 76 epochs, batch 96. Expected CIFAR-10 test error after retraining 2.58 ± 0.14 % (paper). Not run in
full by jdarts' developers.

    jdarts search configs/drop_nas_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="drop_nas_cifar10",
    data=DataConfig(source="cifar10", train_fraction=1.0, val_fraction=0.0),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=14),
    search=SearchConfig(
        method="drop_nas",
        epochs=76,
        batch_size=96,
        weight_optimizer=SGDConfig(learning_rate=0.0375, learning_rate_min=0.0015, gradient_clip=3.0),
    ),
)
