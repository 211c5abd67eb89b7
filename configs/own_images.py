"""A search on your own images: DIR/train/CLASS/*.png (or jpg, webp, bmp), and DIR/test/CLASS/* for the test.

The search is DARTS- (Chu et al. 2021, arXiv:2009.01027) with its published settings, 50 epochs in first order. The
images are scaled and cropped to 32 × 32 pixels, shuffled, and ordered so that both halves have the classes in the same
proportions. The found cell and a random cell are then trained for 200 epochs and tested once.

There is no published result to expect on your images; on CIFAR-10 the paper has a test error of 2.59 ± 0.08 %, after
600 epochs. Cost in the paper: 0.4 GPU-days for a search with 50,000 images. It needs an accelerator; on a CPU take a
few thousand images and smaller networks, as in darts_cifar10_small.py.

    jdarts run configs/own_images.py --data.path DIR
    jdarts run configs/own_images.py --data.path DIR --data.image_size 64 --search.batch_size 32
"""

from jdarts.config import DataConfig, Experiment, SearchConfig, TrainConfig

config = Experiment(
    name="own_images",
    data=DataConfig(source="folder", image_size=32, color="rgb", shuffle=0, stratify=True),
    search=SearchConfig(method="darts_minus"),
    train=TrainConfig(epochs=200),
)
