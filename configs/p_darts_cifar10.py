"""P-DARTS on CIFAR-10 (arXiv:1904.12760).

Three stages of 25 epochs with 5, 11, 17 cells. Expected CIFAR-10 test error after retraining 2.50 % (paper). Not run in
full by jdarts' developers.

    jdarts search configs/p_darts_cifar10.py --data.path DIR
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="p_darts_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="p_darts",
        epochs=25,
        batch_size=96,
        weight_optimizer=SGDConfig(learning_rate_min=0.0),
        alpha_optimizer=AdamConfig(learning_rate=6e-4, gradient_clip=5.0),
    ),
)
