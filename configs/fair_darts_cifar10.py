"""FairDARTS on CIFAR-10 (arXiv:1911.12126).

Batch 128, SGD 0.005 → 0.001, Adam 3e-3. Expected CIFAR-10 test error after retraining 2.54 ± 0.05 %, seven runs
(README). Not run in full by jdarts' developers.

    jdarts search configs/fair_darts_cifar10.py --data.path DIR
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="fair_darts_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn_7", channels=16, cells=8),
    search=SearchConfig(
        method="fair_darts",
        epochs=50,
        batch_size=128,
        weight_optimizer=SGDConfig(learning_rate=0.005),
        alpha_optimizer=AdamConfig(learning_rate=3e-3, b1=0.9),
    ),
)
