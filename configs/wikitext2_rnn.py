"""A recurrent cell found on Penn Treebank, trained on WikiText-2 (Liu, Simonyan, Yang 2019, arXiv:1806.09055, §3.3).

700 units, dropout of the cell's states 0.15, weight decay 5e-7; all else as on Penn Treebank (configs/ptb_rnn.py).

Expected, from the paper, with 33 M parameters: validation and test perplexity 71.2 and 69.6 for DARTS_RNN, 72.4 and
70.4 for the cell of ENAS. Not run in full by jdarts' developers. DIR holds wiki.train.tokens, wiki.valid.tokens and
wiki.test.tokens.

    jdarts train configs/wikitext2_rnn.py --data.path DIR --genotype DARTS_RNN
"""

from jdarts.config import DataConfig, Experiment, LanguageTrainConfig

config = Experiment(
    name="wikitext2_rnn",
    data=DataConfig(source="wikitext2"),
    language_train=LanguageTrainConfig(units=700, dropout_hidden=0.15, weight_decay=5e-7),
)
