"""Do methods collapse or not, as published? A reduced protocol on S6 with real CIFAR-10, for two CPU cores.

Each method by `--method`, several seeds in one program, the genotype of every epoch looked up in the benchmark's table:

    jdarts search configs/nasbench201_evidence.py --data.path DIR --search.benchmark_table FILE --seeds 3 \\
      --method darts_minus --run-dir runs/evidence/darts_minus
    jdarts report runs/evidence/*
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="nasbench201_evidence",
    data=DataConfig(source="cifar10", limit=4000, shrink=2, crop_padding=2),
    space=SpaceConfig(name="nasbench201", channels=8, cells=1),
    search=SearchConfig(
        method="darts",
        epochs=25,
        batch_size=32,
        weight_optimizer=SGDConfig(nesterov=True, weight_decay=5e-4),
        alpha_optimizer=AdamConfig(learning_rate=1e-2),
    ),
)
