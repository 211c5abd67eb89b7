"""Recurrent cells on the real Penn Treebank in some hours of two CPU cores: the protocol of `jdarts reproduce ptb`.

100 units and the full vocabulary, no dropout; searches read 150,000 words twice, trainings the whole text twice. The
learning rate of the weights in the search is 5: at the published 20, the loss of a small supernet stays at that of a
uniform guess for a hundred steps. The alphas have 0.01 instead of 0.003, since there are few steps. The notebook
`recurrent` has the results.

    jdarts reproduce ptb --data DIR --transfer DIR2                      # everything below, and the table
    jdarts search configs/ptb_rnn_small.py --data.path DIR --data.limit 150000 --seeds 3
    jdarts train configs/ptb_rnn_small.py --data.path DIR --genotype DARTS_RNN
    jdarts train configs/ptb_rnn_small.py --data.source wikitext2 --data.path DIR2 --data.limit 400000 \\
      --language_train.epochs 1 --genotype DARTS_RNN
"""

from typing import Any

from jdarts.config import (
    AdamConfig,
    DataConfig,
    Experiment,
    LanguageSearchConfig,
    LanguageTrainConfig,
    SearchConfig,
    SGDConfig,
    SpaceConfig,
)

DROPOUTS: dict[str, Any] = dict.fromkeys(LanguageSearchConfig().dropouts(), 0.0)

config = Experiment(
    name="ptb_rnn_small",
    data=DataConfig(source="ptb"),
    space=SpaceConfig(name="darts_rnn"),
    search=SearchConfig(
        epochs=2,
        batch_size=20,
        weight_optimizer=SGDConfig(
            learning_rate=5.0, learning_rate_min=5.0, momentum=0.0, weight_decay=5e-7, gradient_clip=0.25
        ),
        alpha_optimizer=AdamConfig(learning_rate=0.01, b1=0.9, b2=0.999, weight_decay=1e-3),
    ),
    language_search=LanguageSearchConfig(units=100, **DROPOUTS),
    language_train=LanguageTrainConfig(
        epochs=2, batch_size=20, units=100, slowness=0.0, val_batch_size=20, test_batch_size=20, **DROPOUTS
    ),
)
