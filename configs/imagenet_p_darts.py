"""P-DARTS' three stages (Chen et al. 2019, arXiv:1904.12760) on ImageNet, on 10 % and 2.5 % of each class.

The stages, the dropout of skips and the optimisers are those of its search on CIFAR-10: 5, 11 and 17 cells, 25 epochs
each, batch 96, SGD from 0.025 to 0 as a cosine, Adam at 6e-4 for the alphas, clipped to a norm of 5, which rest for
the first 10 epochs of a stage; at most two skips. The images and the three convolutions of stride 2 are those of PC-
DARTS (configs/imagenet_pc_darts.py). The paper searches on CIFAR only, so that there is no published number for such
a search; its cell PDARTS, transferred from CIFAR-10, reaches 75.6 % top-1 after configs/imagenet_mobile.py.

About 128,100 and 32,000 images, 1,334 steps an epoch, 100,050 in all. Not run on ImageNet by jdarts' developers.

    jdarts search configs/imagenet_p_darts.py --data.path DIR
    jdarts train  configs/imagenet_mobile.py --data.path DIR --genotype runs/imagenet_p_darts
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="imagenet_p_darts",
    data=DataConfig(
        source="stream:folder",
        image_size=224,
        crop_padding=0,
        train_fraction=0.1,
        val_fraction=0.025,
        own_validation=False,
    ),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=5, stem="imagenet"),
    search=SearchConfig(
        method="p_darts",
        epochs=25,
        batch_size=96,
        activations="bfloat16",
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.0, weight_decay=3e-4),
        alpha_optimizer=AdamConfig(learning_rate=6e-4, gradient_clip=5.0),
    ),
)
