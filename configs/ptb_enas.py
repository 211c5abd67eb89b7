"""ENAS on Penn Treebank with the settings of its first release (Pham et al. 2018, arXiv:1802.03268; ptb_search.sh).

The cell has 12 nodes. An epoch reads the training text once, in 1,363 windows of 35 or 17 words, each with the path of
one sampled cell; then the controller learns from 100 × 10 cells, each scored on one window of the validation text. The
best of 100 samples of the last controller is the result. `jdarts methods enas` shows these settings, and those of the
corrected release enas_lm for the space enas_lm_rnn. `jdarts/methods/enas.py` states what differs from the releases.

Expected: validation and test perplexity 60.8 and 58.6 for the released cell (ENAS_RNN), trained with the settings of
DARTS as in configs/ptb_rnn.py (arXiv:1806.09055); 68.3 and 63.1 with the released code. Cost: 136,300 steps of the
shared weights and 100,000 scores, in the paper 10 hours of one GPU (recalled). Not run in full by jdarts' developers.
DIR holds ptb.train.txt, ptb.valid.txt and ptb.test.txt.

    jdarts search configs/ptb_enas.py --data.path DIR
    jdarts train configs/ptb_enas.py --data.path DIR --genotype ENAS_RNN
"""

from jdarts.config import DataConfig, Experiment, LanguageSearchConfig, SearchConfig, SGDConfig, SpaceConfig

config = Experiment(
    name="ptb_enas",
    data=DataConfig(source="ptb"),
    space=SpaceConfig(name="enas_rnn"),
    search=SearchConfig(
        method="enas",
        method_options=(
            "reward_scale=80",
            "baseline=running",
            "layers=1",
            "controller_samples=10",
            "controller_clip=0",
            "hidden=100",
            "controller_steps=100",
            "entropy_weight=0.001",
        ),
        epochs=100,
        batch_size=20,
        weight_optimizer=SGDConfig(
            learning_rate=8.75, learning_rate_min=8.75, momentum=0.0, weight_decay=2e-7 / 35, gradient_clip=10 / 35
        ),
    ),
    language_search=LanguageSearchConfig(
        units=720,
        slowness=0.0,
        dropout_embedding=0.25,
        dropout_input=0.0,
        dropout_x=0.75,
        dropout_hidden=0.25,
        dropout_output=0.75,
    ),
)
