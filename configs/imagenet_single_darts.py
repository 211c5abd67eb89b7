"""Single-DARTS' search on half of ImageNet (Hou, Jin, Chen 2021, arXiv:2108.08128).

Weights and alphas move by one gradient of one batch; op weights are sigmoids that start at 1/8 (`sigmoid_star`), the
best ones of the paper on ImageNet. 50 epochs, batch 360, SGD from 0.025 to 0 as a cosine, Adam with betas 0.5 and
0.999 and without weight decay for the alphas, whose learning rate could not be read (3e-4, as in DARTS). Three
convolutions of stride 2; eight cells of 16 channels, as in DARTS. For the whole of ImageNet: --data.train_fraction
0.975. DIFF: 2.5 % of each class are held out for the validation loss in the records; nothing learns from them.

About 640,600 images, 1,779 steps an epoch, 88,950 in all. Published for half of the data and `sigmoid_star`: 76.54 to
76.78 % top-1 in three runs after training for 250 epochs with batch 768 and a learning rate of 0.375; on all data 28
hours on four 2080 Ti. Not run on ImageNet by jdarts' developers.

    jdarts search configs/imagenet_single_darts.py --data.path DIR
    jdarts train  configs/imagenet_mobile.py --data.path DIR --genotype runs/imagenet_single_darts \\
      --train.batch_size 768 --train.optimizer.learning_rate 0.375
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="imagenet_single_darts",
    data=DataConfig(
        source="stream:folder",
        image_size=224,
        crop_padding=0,
        train_fraction=0.5,
        val_fraction=0.025,
        own_validation=False,
    ),
    space=SpaceConfig(name="darts_cnn", channels=16, cells=8, stem="imagenet"),
    search=SearchConfig(
        method="single_darts",
        method_options=("weights=sigmoid_star",),
        epochs=50,
        batch_size=360,
        activations="bfloat16",
        weight_optimizer=SGDConfig(learning_rate=0.025, learning_rate_min=0.0, weight_decay=3e-4),
        alpha_optimizer=AdamConfig(learning_rate=3e-4, weight_decay=0.0),
    ),
)
