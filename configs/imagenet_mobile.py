"""Retraining on ImageNet in the mobile setting: 224 x 224 pixels, fewer than 600 million multiply-adds.

The settings are those of P-DARTS (Chen et al. 2019, arXiv:1904.12760), PC-DARTS (Xu et al. 2020, arXiv:1907.05737) and
their code: 48 channels, 14 cells, 250 epochs, batch 1,024, learning rate 0.5 with five epochs of warm-up and a linear
decay, weight decay 3e-5, label smoothing 0.1, auxiliary head 0.4; random crops of 8 to 100 % of the area, flips, colour
jitter; evaluation by a resize to 256 and a crop of 224. Liu et al. (2019) trained DARTS with batch 128, learning rate
0.1 and its decay by 0.97 an epoch: --train.batch_size 128 --train.optimizer.learning_rate 0.1 --train.schedule
exponential --train.warmup_epochs 0.

Expected top-1 accuracy, from the papers: DARTS_V2 73.3 % (top-5 91.3 %), PDARTS 75.6 %, PC_DARTS_image 75.8 %. jdarts
counts 530, 543 and 582 million multiply-adds for them (published: 574, 557, 597; the rules of counting differ). Cost:
312,750 steps on 1,281,167 images, about 1e18 floating-point operations. Not run on ImageNet by jdarts' developers; a
small run on ten classes is in notebooks/results.md. Use bfloat16 and all devices of a host.

    jdarts train configs/imagenet_mobile.py --data.path DIR --genotype DARTS_V2 --train.activations bfloat16
    jdarts train configs/imagenet_mobile.py --data.source stream:tfds:imagenet2012 --data.path DIR --genotype PDARTS

DIR has train/CLASS/*.JPEG and val/CLASS/*.JPEG, whose images are the test images.

Mobile networks follow the recipe of MnasNet and ProxylessNAS more closely with a cosine, averaged weights and no decay
of norms; they have no auxiliary head:

    jdarts train configs/imagenet_mobile.py --data.path DIR --genotype PROXYLESS_MOBILE --train.auxiliary_weight 0 \\
      --train.schedule cosine_by_step --train.decay_norms false --train.average 0.9999

Further switches: --train.policy rand_augment or auto_augment, --train.mixup 0.2, --train.cutmix 1.0.
"""

from jdarts.config import DataConfig, Experiment, SGDConfig, TrainConfig

config = Experiment(
    name="imagenet_mobile",
    data=DataConfig(source="stream:folder", image_size=224, resize=256, crop_padding=0),
    train=TrainConfig(
        epochs=250,
        batch_size=1024,
        channels=48,
        cells=14,
        stem="imagenet",
        optimizer=SGDConfig(learning_rate=0.5, learning_rate_min=0.0, weight_decay=3e-5),
        schedule="linear",
        warmup_epochs=5,
        auxiliary_weight=0.4,
        drop_path=0.0,
        cutout=0,
        label_smoothing=0.1,
        color_jitter=0.4,
        hue_jitter=0.2,
        checkpoint_every_steps=500,
    ),
)
