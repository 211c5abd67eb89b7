"""DrNAS on CIFAR-10 in two stages (arXiv:2006.10355).

25 + 25 epochs on 20 cells of 36 channels: a sixth of the channels and seven ops an edge, then a quarter and four.
Expected CIFAR-10 test error after retraining 2.46 ± 0.03 % (README of its code). Not run in full by jdarts' developers.

    jdarts search configs/drnas_progressive_cifar10.py --data.path DIR
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="drnas_progressive_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn_7", channels=36, cells=20),
    search=SearchConfig(
        method="drnas_progressive",
        epochs=50,
        batch_size=64,
        weight_optimizer=SGDConfig(learning_rate=0.1, learning_rate_min=0.0),
        alpha_optimizer=AdamConfig(learning_rate=6e-4),
    ),
)
