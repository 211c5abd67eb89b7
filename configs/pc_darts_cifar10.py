"""PC-DARTS on CIFAR-10 (arXiv:1907.05737).

Batch 256, SGD 0.1 → 0, Adam 6e-4. Expected CIFAR-10 test error after retraining 2.57 ± 0.07 % (paper). Not run in
full by jdarts' developers.

    jdarts search configs/pc_darts_cifar10.py --data.path DIR
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="pc_darts_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8),
    search=SearchConfig(
        method="pc_darts",
        epochs=50,
        batch_size=256,
        weight_optimizer=SGDConfig(learning_rate=0.1, learning_rate_min=0.0),
        alpha_optimizer=AdamConfig(learning_rate=6e-4),
    ),
)
