"""RobustDARTS on CIFAR-10 in the space S3, in which DARTS collapses (Zela et al. 2020, arXiv:1909.09656).

S3 has none, skip_connect and sep_conv_3x3 on every edge; `--space robust_s1`, robust_s2 and robust_s4 are the others.
The search is that of second-order DARTS, 50 epochs. R-DARTS(L2) searches four times, with weight decays of 3, 9, 27,
81 · 10⁻⁴; each found cell is trained for 100 epochs on half of the images, and the best on the other half is kept.

Expected CIFAR-10 test error after retraining on S3: R-DARTS(L2) 2.51 %, DARTS-ES 2.74 %, DARTS-ADA 2.59 %, R-DARTS(DP)
2.93 % (all recalled), DARTS 3.34 % (from the text of DARTS-PT). Cost: 1.6 GPU-days for R-DARTS(L2) on S0, as others
report it. Not run in full by jdarts' developers; needs an accelerator.

    jdarts run    configs/robust_s3_cifar10.py --data.path DIR
    jdarts search configs/robust_s3_cifar10.py --data.path DIR --method darts_es --name darts_es_s3
    jdarts search configs/robust_s3_cifar10.py --data.path DIR --name dp_s3 --method r_darts \\
      --search.method_options by=dp
    jdarts search configs/robust_s3_cifar10.py --data.path DIR --method sdarts_rs --space robust_s4 --name sdarts_rs_s4
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig

config = Experiment(
    name="robust_s3_cifar10",
    data=DataConfig(source="cifar10"),
    space=SpaceConfig(name="robust_s3"),
    search=SearchConfig(method="r_darts"),
)
