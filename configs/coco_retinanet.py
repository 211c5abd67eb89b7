"""RetinaNet on COCO 2017 with the backbone of a found network, as in DARTS- (Chu et al. 2021, arXiv:2009.01027).

The settings are those of RetinaNet in MMDetection: 12 epochs of 118,287 images (those without objects are left out),
SGD with a learning rate of 0.01 for 16 images, divided by ten after epochs 8 and 11, 500 steps of warm-up, weight decay
1e-4; images of at most 1333 × 800 pixels, half of them mirrored. The backbone comes from a training on ImageNet; its
batch norms keep the statistics from there, and its first layers do not train (their names depend on the network).

Expected AP on val2017, from the paper: 32.5 % with DARTS-A (AP50 52.8, AP75 34.1; small, medium, large objects 18.0,
36.1, 43.4), 28.3 % with MobileNetV2, 30.5 % with MnasNet-A2. The genotype of DARTS-A (5.5 million parameters, with
squeeze-and-excitation) and its training on ImageNet are not published, so that 32.5 % cannot be repeated as it stands;
networks of about its size can be compared. Differences from MMDetection: every image lies on a square canvas of 1344
pixels, so that all steps have one shape (1.7 times the computation of batches of equal orientation); Pillow scales with
antialiasing; a Gaussian initialisation is replaced by a uniform one of the same spread.

Not run in full by jdarts' developers. Cost: 12 epochs of about 7,330 steps of 16 images, some 3e19 floating-point
operations, and an ImageNet training before it. It needs accelerators; configs/coco_small.py is for a CPU.

    jdarts train configs/imagenet_mobile.py --data.path IMAGENET --genotype MNASNET_A1 --train.auxiliary_weight 0
    jdarts train configs/coco_retinanet.py --data.path COCO --from runs/imagenet_mobile-train \\
      --train.frozen layer_0,layer_1,statistics
    jdarts detect evaluate runs/coco_retinanet-train --data COCO
    jdarts detect predict runs/coco_retinanet-train IMAGE.jpg -o pictures

COCO holds annotations/instances_train2017.json and instances_val2017.json, and the folders train2017 and val2017.
For a backbone of DARTS cells use --train.frozen stem_0,statistics --train.stem imagenet --train.channels 48
--train.cells 14.
"""

from jdarts.config import DataConfig, Experiment, SGDConfig, TrainConfig

config = Experiment(
    name="coco_retinanet",
    data=DataConfig(source="coco", image_size=(1333, 800), crop_padding=0, flip=True),
    train=TrainConfig(
        task="detection",
        frozen=("statistics",),
        epochs=12,
        batch_size=16,
        optimizer=SGDConfig(learning_rate=0.01, learning_rate_min=0.0, weight_decay=1e-4, gradient_clip=0.0),
        schedule="steps",
        decay_rate=0.1,
        decay_epochs=(8, 11),
        warmup_steps=500,
        auxiliary_weight=0.0,
        drop_path=0.0,
        cutout=0,
        checkpoint_every_steps=1000,
    ),
)
