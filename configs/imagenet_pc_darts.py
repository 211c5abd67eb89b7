"""PC-DARTS' search on ImageNet (Xu et al. 2020, arXiv:1907.05737), on 10 % and 2.5 % of the images of each class.

The settings are those of the paper and its code: half of the channels (K = 2) in eight cells of 16 channels behind
three convolutions of stride 2; 50 epochs, batch 1,024, SGD from 0.5 to 0 as a cosine, Adam at 6e-3 for the alphas,
clipped to a norm of 5, which move from epoch 35 on; 224x224 pixels. --data.shuffle SEED draws other images of each
class. DIFF: the code warms the learning rate up in the first 5 epochs and jitters colours; a search here does
neither.

About 128,100 and 32,000 images, 125 steps an epoch, 6,250 in all. Published: 3.8 GPU days; the cell PC_DARTS_image
reaches 75.8 % top-1 and 92.7 % top-5 after configs/imagenet_mobile.py. Not run on ImageNet by jdarts' developers.

    jdarts plan   configs/imagenet_pc_darts.py --data.path DIR --devices 8 --kind h100
    jdarts search configs/imagenet_pc_darts.py --data.path DIR
    jdarts train  configs/imagenet_mobile.py --data.path DIR --genotype runs/imagenet_pc_darts

DIR has train/CLASS/*.JPEG; with val/CLASS/*.JPEG, too, the alphas still take theirs from train/.
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="imagenet_pc_darts",
    data=DataConfig(
        source="stream:folder",
        image_size=224,
        crop_padding=0,
        train_fraction=0.1,
        val_fraction=0.025,
        own_validation=False,
    ),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8, stem="imagenet"),
    search=SearchConfig(
        method="pc_darts",
        method_options=("parts=2", "alpha_start=35"),
        epochs=50,
        batch_size=1024,
        activations="bfloat16",
        weight_optimizer=SGDConfig(learning_rate=0.5, learning_rate_min=0.0, weight_decay=3e-4),
        alpha_optimizer=AdamConfig(learning_rate=6e-3, gradient_clip=5.0),
    ),
)
