"""A reduced DARTS search on real CIFAR-10 that two CPU cores finish in under half an hour.

Second-order search of a 5-cell supernet on 2,000 + 2,000 images; then the found cell and a random cell are trained on
the same 4,000 images for the same short budget (about five minutes a cell) and tested once on the 10,000 test images.
Far too small to rank cells; it shows the whole way on real data. Give the folder of the official binary or python
version, or its tar archive:

    jdarts run configs/darts_cifar10_small.py --data.path DIR
    jdarts run configs/darts_cifar10_small.py --data.path DIR --name first --search.hypergradient first_order
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
    name="darts_cifar10_small",
    data=DataConfig(source="cifar10", limit=4000),
    space=SpaceConfig(name="darts_cnn", channels=8, cells=5),
    search=SearchConfig(
        epochs=5,
        batch_size=64,
        hypergradient="unrolled",
        alpha_optimizer=AdamConfig(learning_rate=3e-3),
    ),
    train=TrainConfig(
        epochs=3,
        batch_size=64,
        channels=16,
        cells=5,
        optimizer=SGDConfig(learning_rate=0.05, learning_rate_min=0.0),
        auxiliary_weight=0.0,
        drop_path=0.0,
        cutout=0,
    ),
)
