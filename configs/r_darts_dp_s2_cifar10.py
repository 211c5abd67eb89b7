"""R-DARTS(DP) on S2 (RobustDARTS, arXiv:1909.09656).

Run with drop_path=0, 0.2, 0.4, 0.6 and keep the best. Expected CIFAR-10 test error after retraining 3.48 % (recalled).
Not run in full by jdarts' developers.

    jdarts search configs/r_darts_dp_s2_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="r_darts_dp_s2_cifar10",
    data=DataConfig(source="cifar10", search_cutout=16),
    space=SpaceConfig(name="robust_s2", channels=16, cells=8),
    search=SearchConfig(
        method="r_darts_dp",
        epochs=50,
        batch_size=64,
    ),
)
