"""Which methods collapse into skip connections? S6 with real CIFAR-10, reduced for two CPU cores; results looked up.

Reduced against the benchmark's own searches (arXiv:2001.00326: 16 channels, 5 cells a stage, 25,000 + 25,000 images of
32×32, batch 64, 50 epochs, alphas by Adam 3e-4): 8 channels, 1 cell a stage, 2,000 + 2,000 images averaged to 16×16,
batch 32, 25 epochs of 62 steps. There is a twelfth of the steps, so the alphas' learning rate is larger, 0.01 for all
methods. notebooks/results.md shows what it and the other settings do. The weights' settings are the published ones. One
method a run, by `--search.method`, which leaves all of these settings as they are:

    jdarts search configs/nasbench201_evidence.py --data.path DIR --search.benchmark_table FILE --seeds 3 \\
      --devices.members vmap --search.method darts_minus --run-dir runs/evidence/darts_minus
    jdarts report --text runs/evidence/*

First-order DARTS: --search.hypergradient first_order. PC-DARTS warms its weights up for 15 of 50 epochs:
--search.method pc_darts --search.method_options alpha_start=8.
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
