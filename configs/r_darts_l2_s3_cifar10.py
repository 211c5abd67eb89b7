"""R-DARTS(L2) on S3 (RobustDARTS, arXiv:1909.09656): DARTS with stronger weight decay.

Run with 3e-4, 9e-4, 27e-4, 81e-4 and keep the best. Expected CIFAR-10 test error after retraining 2.51 % (recalled).
Not run in full by jdarts' developers.

    jdarts search configs/r_darts_l2_s3_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="r_darts_l2_s3_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="robust_s3", channels=16, cells=8),
    search=SearchConfig(
        method="darts",
        epochs=50,
        batch_size=64,
        weight_optimizer=SGDConfig(weight_decay=81e-4),
    ),
)
