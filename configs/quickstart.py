"""The quick start: second-order DARTS on 1,797 real handwritten digits (8 × 8 pixels), on a CPU in minutes.

Data: scikit-learn's copy of the UCI optical digits; 1,437 images to search and train, 360 held out for one test.
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
    data=DataConfig(source="digits", crop_padding=1, flip=False),
    space=SpaceConfig(name="darts_cnn", channels=8, cells=3),
    search=SearchConfig(
        epochs=5,
        batch_size=64,
        hypergradient="unrolled",
        alpha_optimizer=AdamConfig(learning_rate=3e-3),
    ),
    train=TrainConfig(
        epochs=10,
        batch_size=64,
        channels=16,
        cells=3,
        optimizer=SGDConfig(learning_rate=0.05, learning_rate_min=0.0),
        auxiliary_weight=0.0,
        drop_path=0.0,
        cutout=0,
    ),
)
