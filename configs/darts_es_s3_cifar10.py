"""DARTS with early stopping on S3 (RobustDARTS, arXiv:1909.09656).

Second order; result of the epoch before the dominant eigenvalue grew. Expected CIFAR-10 test error after retraining
2.74 % (recalled). Not run in full by jdarts' developers.

    jdarts search configs/darts_es_s3_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="darts_es_s3_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="robust_s3", channels=16, cells=8),
    search=SearchConfig(
        method="darts_es",
        epochs=50,
        batch_size=64,
    ),
)
