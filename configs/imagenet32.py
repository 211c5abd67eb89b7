"""PC-DARTS searching on ImageNet itself (Xu et al. 2020, arXiv:1907.05737), on images of 32 × 32 pixels, streamed.

The protocol of the paper: 10 % of each class for the weights, another 2.5 % for the alphas, half of the channels on
each edge (K = 2), batch 1,024, SGD 0.5 → 0 over 50 epochs, alphas by Adam 6e-3 with clip 5, frozen for 35 epochs.
Differences: the paper shrinks 224 × 224 images by three strided convolutions to 28 × 28; here the images themselves are
cropped and scaled to 32 × 32 (--data.image_size). There is no warm-up of the learning rate over 5 epochs.

Expected in the paper: top-1 error 24.2 % with 5.3 M parameters after retraining at 224 × 224, which jdarts does not do
for streamed images. Cost in the paper: 3.8 GPU-days; here 50 epochs of 125 steps. Not run by jdarts' developers. DIR is
a TFDS directory prepared as array_record; a folder of images works with --data.source stream:folder.

    jdarts search configs/imagenet32.py --data.path DIR
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig

config = Experiment(
    name="imagenet32",
    data=DataConfig(
        source="stream:tfds:imagenet2012", image_size=32, train_fraction=0.1, val_fraction=0.025, crop_padding=0
    ),
    search=SearchConfig(
        method="pc_darts",
        method_options=("parts=2", "alpha_start=35"),
        epochs=50,
        batch_size=1024,
        weight_optimizer=SGDConfig(learning_rate=0.5, learning_rate_min=0.0),
        alpha_optimizer=AdamConfig(learning_rate=6e-3, gradient_clip=5.0),
    ),
)
