"""DARTS on Penn Treebank with the paper's protocol (Liu, Simonyan, Yang 2019, arXiv:1806.09055, and its code).

Search: 50 epochs, batch 256, 300 units, windows of 35 words; SGD with learning rate 20 and clip 0.25, alphas by Adam
3e-3 with betas 0.9 and 0.999. Training: 850 units, batch 64, SGD with learning rate 20 and clip 0.25, averaged once the
validation loss stops falling (nonmono 5), for 1,600 epochs (paper; the code allows 8,000). The settings of the training
are jdarts' defaults, so the file leaves them out.

Expected, from the paper, with 23 M parameters: validation and test perplexity 58.1 and 55.7 for the cell of the
second-order search (DARTS_RNN), 60.2 and 57.6 in first order, 61.8 and 59.4 for random cells, 60.8 and 58.6 for the
cell of ENAS. Cost in the paper: 1 GPU-day for a search, 3 for a training. Not run in full by jdarts' developers. DIR
holds ptb.train.txt, ptb.valid.txt and ptb.test.txt.

    jdarts search configs/ptb_rnn.py --data.path DIR
    jdarts train configs/ptb_rnn.py --data.path DIR --genotype DARTS_RNN
"""

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="ptb_rnn",
    data=DataConfig(source="ptb"),
    space=SpaceConfig(name="darts_rnn"),
    search=SearchConfig(
        epochs=50,
        batch_size=256,
        weight_optimizer=SGDConfig(
            learning_rate=20.0, learning_rate_min=20.0, momentum=0.0, weight_decay=5e-7, gradient_clip=0.25
        ),
        alpha_optimizer=AdamConfig(learning_rate=3e-3, b1=0.9, b2=0.999, weight_decay=1e-3),
    ),
)
