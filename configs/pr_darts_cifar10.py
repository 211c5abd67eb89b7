"""PR-DARTS on CIFAR-10 (arXiv:2006.16537).

6 cells, 200 epochs, batch 250. Expected CIFAR-10 test error after retraining 2.32 % (recalled). Not run in
full by jdarts' developers.

    jdarts search configs/pr_darts_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="pr_darts_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=6),
    search=SearchConfig(
        method="pr_darts",
        epochs=200,
        batch_size=250,
        weight_optimizer=SGDConfig(nesterov=True, weight_decay=5e-4),
    ),
)
