"""The quick start: second-order DARTS in a space with a bad choice, on real handwritten digits, on a CPU in minutes.

Space S4 of RobustDARTS (Zela et al. 2020): every edge is a separable convolution or Gaussian noise in place of its
input, so a search has something to find. Data: 400 of scikit-learn's UCI optical digits (8 × 8 pixels) to search and
train, 360 held out for one test.

Measured on two CPU cores (Intel Xeon): 2 min 33 s with an empty compilation cache, 4 min 46 s in slower hours of the
machine; the found cell has a test accuracy of 97.50 %, three random cells 93.70 ± 2.81 %.

    jdarts run configs/quickstart.py
"""

from jdarts.config import (
    AdamConfig,
    DataConfig,
    Experiment,
    SearchConfig,
    SGDConfig,
    SpaceConfig,
    TrainConfig,
)

config = Experiment(
    name="quickstart",
    data=DataConfig(source="digits", limit=400, crop_padding=1, flip=False),
    space=SpaceConfig(name="robust_s4", channels=8, cells=3),
    search=SearchConfig(
        epochs=20,
        batch_size=16,
        hypergradient="unrolled",
        alpha_optimizer=AdamConfig(learning_rate=1e-2),
    ),
    train=TrainConfig(
        epochs=10,
        batch_size=32,
        channels=16,
        cells=3,
        optimizer=SGDConfig(learning_rate=0.05, learning_rate_min=0.0),
        auxiliary_weight=0.0,
        drop_path=0.0,
        cutout=0,
        random_cells=3,
    ),
)
