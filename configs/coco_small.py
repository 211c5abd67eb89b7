"""RetinaNet with a small mobile backbone on a few hundred images, for a CPU: a check, or a first detector of your own.

Images are scaled to 320 pixels, and the pyramid has 64 channels instead of 256. Training starts at random weights; with
`--from RUN` it starts from a classifier or another detector.

Measured with 126 images of COCO 2017 (two of 128 have no objects) on two CPU cores, 57 minutes in all (0.57 s
a step alone), once interrupted and resumed: the loss falls from 2.14 to 0.31. AP is 51 %, AP50 67 % on the training
images, and AP50 is 1.5 % on 128 others: the network memorises, as it should here.

PATH holds instances_train*.json, instances_val*.json, and a folder of images for each.

    jdarts train configs/coco_small.py --data.path PATH --genotype 'fairnas: conv_k3_c16_s2 mb_k3_c16 mb_k3_e3_c24_s2 \\
      mb_k3_e3_c40_s2 mb_k3_e3_c40 mb_k3_e3_c80_s2 mb_k3_e3_c80 mb_k3_e3_c160_s2 mb_k3_e3_c160'
    jdarts detect evaluate runs/coco_small-train --data PATH --split train
    jdarts detect predict runs/coco_small-train IMAGE.jpg -o pictures
"""

from jdarts.config import DataConfig, Experiment, SGDConfig, TrainConfig

config = Experiment(
    name="coco_small",
    data=DataConfig(source="coco", image_size=320, crop_padding=0, flip=False, read_threads=2),
    train=TrainConfig(
        task="detection",
        epochs=150,
        batch_size=4,
        pyramid_channels=64,
        optimizer=SGDConfig(learning_rate=0.02, learning_rate_min=0.0, weight_decay=1e-4, gradient_clip=10.0),
        schedule="steps",
        decay_rate=0.1,
        decay_epochs=(125,),
        warmup_steps=100,
        auxiliary_weight=0.0,
        drop_path=0.0,
        cutout=0,
        checkpoint_every=5,
    ),
)
