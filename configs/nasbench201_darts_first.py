"""First-order DARTS on NAS-Bench-201, settings of the benchmark's authors (arXiv:2001.00326, DARTS-V1).

50 epochs; the benchmark's code moves the weights first, this the alphas. Expected CIFAR-10 test accuracy 54.30 ± 0
(their table): all edges skip. Looked up: add --search.benchmark_table FILE. Not run in full by jdarts' developers.

    jdarts search configs/nasbench201_darts_first.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_darts_first",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="nasbench201", channels=16, cells=5),
    search=SearchConfig(
        method="darts",
        hypergradient="first_order",
        epochs=50,
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.001, nesterov=True, weight_decay=5e-4),
    ),
)
