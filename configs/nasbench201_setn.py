"""SETN on NAS-Bench-201 (arXiv:1910.05733, arXiv:2001.00326).

250 epochs, no clipping. Expected CIFAR-10 test accuracy 86.19 ± 4.63 (later release). Looked up: add
--search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_setn.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_setn",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="setn",
        epochs=250,
        weight_optimizer=SGDConfig(
            learning_rate=0.025, learning_rate_min=0.001, nesterov=True, weight_decay=5e-4, gradient_clip=0.0
        ),
    ),
)
