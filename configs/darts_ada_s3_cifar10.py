"""DARTS with adaptive regularisation on S3 (RobustDARTS, arXiv:1909.09656).

Second order; weight decay × 10 at every trigger, up to 0.03. Expected CIFAR-10 test error after retraining 2.59 %
(recalled). Not run in full by jdarts' developers.

    jdarts search configs/darts_ada_s3_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="darts_ada_s3_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="robust_s3", channels=16, cells=8),
    search=SearchConfig(
        method="darts_ada",
        epochs=50,
        batch_size=64,
    ),
)
