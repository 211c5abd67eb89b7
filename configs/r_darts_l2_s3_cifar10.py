"""R-DARTS(L2) on S3 (RobustDARTS, arXiv:1909.09656): four searches of DARTS with weight decays of 3, 9, 27, 81 · 10⁻⁴.

Each found cell is trained for 100 epochs on half of the images; the best on the other half is the result, and all four
are told. Expected CIFAR-10 test error after retraining 2.51 % (recalled). Not run in full by jdarts' developers.
R-DARTS(DP): --search.method_options by=dp --data.search_cutout 16.

    jdarts run configs/r_darts_l2_s3_cifar10.py --data.path DIR
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="r_darts_l2_s3_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="robust_s3", channels=16, cells=8),
    search=SearchConfig(method="r_darts", epochs=50, batch_size=64),
)
