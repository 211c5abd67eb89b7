"""ENAS (Pham et al., ICML 2018, arXiv:1802.03268): a controller samples paths of a supernet with shared weights.

An epoch has two phases. First the shared weights are trained for one pass over the training images; every step samples
one architecture from the controller and trains its path. Then the controller takes `controller_steps` steps of Adam
along the REINFORCE gradient, each over `controller_samples` architectures. The reward of an architecture is its
accuracy on one validation batch with the shared weights (running averages in the batch norms) plus `entropy_weight`
times the sum of the entropies of its softmaxes, without gradient through the entropy. In the end `candidates`
architectures are sampled and scored, each on one validation batch, and the best is returned.

The defaults are those of the published run on NAS-Bench-201 (Dong & Yang 2020, arXiv:2001.00326): 250 epochs, batch
128, SGD with Nesterov. The learning rate follows cos(πe/10), without jumps: it falls for 10 epochs and rises for the
next 10. The published run ends with skip connections on all edges (CIFAR-10 test accuracy 54.30 %). Its baseline moves
from epoch to epoch: in an epoch every reward R has its own baseline b − (1 − decay)(b − R), where b is the last
baseline of the epoch before; in the first epoch it is the accuracy itself. `baseline=running` is the rule of the ENAS
release: b starts at 0 and moves with every reward, before its use.

On text (spaces `enas_rnn` and `enas_lm_rnn`, or `darts_rnn`) the score is the inverse of the perplexity of a random
window of the validation text, without dropout and with a hidden state of zeros; `reward_scale` is 80 in both releases.
Their settings for Penn Treebank are published ones here. The first release divides the loss of a window by the batch
size alone, so that learning rate, clipping and weight decay are converted to the mean over 35 words. DIFF: its learning
rate falls by 5 % an epoch after epoch 12; here it is constant. enas_lm decays the sampled weights only, and starts the
word vectors in U(−0.04, 0.04).

In the spaces of ENAS and in `darts_rnn` the controllers are those of the releases, which choose inputs and skips by
attention over earlier nodes or layers (`jdarts.controllers.enas_micro`, `enas_macro`, `enas_recurrent`). In ENAS macro
the loss of the controller has another term: `skip_weight` times the KL divergence of the probabilities of the skips
from `skip_target`. There and in recurrent cells the entropy in the reward has only the summand of each chosen option.
`schedule=restarts` is the learning rate of the release: a cosine with restarts after 10, 30, 70, … epochs.

DIFF: in the other spaces, LSTM and embeddings are those of `jdarts.controllers`. All weights of the LSTM start in
U(−0.1, 0.1) and its output bias at 0; the published code leaves the second layer and the biases at PyTorch's defaults.
DIFF: the search networks of images have neither dropout, drop-path nor auxiliary heads. As in the releases, momentum
and weight decay also move the weights of paths that were not sampled.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from jdarts.config.options import OnlyIn, Unless
from jdarts.config.ranges import CandidateCount, Fraction, NonNegative, Positive, PositiveInt, Range
from jdarts.methods.method import Method
from jdarts.methods.published import DARTS, NESTEROV, Published, on_nasbench201
from jdarts.methods.registry import register
from jdarts.networks.edges import EdgeSettings


@dataclass(frozen=True)
class EnasSettings:
    """The settings of the controller and of its training.

    Attributes:
      controller_steps: steps of Adam in an epoch.
      controller_samples: architectures of one step.
      controller_learning_rate, controller_b1, controller_b2, controller_eps: of Adam.
      controller_clip: largest global norm of the controller's gradient; 0 is off.
      hidden, layers: of the LSTM.
      temperature, tanh: the logits are tanh · tanh(logits / temperature).
      init_scale: weights of the LSTM are drawn from U(−init_scale, init_scale).
      entropy_weight: weight of the entropy in the reward.
      reward_scale: factor of the score in the reward: of the accuracy of images, or of the inverse of the perplexity.
      baseline, baseline_decay: the rule of the baseline (see above).
      schedule: of the learning rate of the weights: "waves" falls and rises without jumps, "restarts" jumps back to its
        start and doubles the length of every fall.
      period: epochs in which it falls for the first time.
      op_tanh_reduce: divides the bound of the tanh for ops.
      skip_target, skip_weight: share of skips that the penalty of `enas_macro` pulls to, and weight of the penalty.
      release_penalty: take the probability in that penalty from q and not from 2q, as the release does
        (`jdarts.controllers.enas_macro`).
      candidates: architectures that are scored at the end.
      epoch_candidates: architectures that are scored for the genotype of an epoch.
    """

    controller_steps: PositiveInt = 50
    controller_samples: PositiveInt = 20
    controller_learning_rate: Positive = 1e-3
    controller_b1: Fraction = 0.0
    controller_b2: Fraction = 0.999
    controller_eps: Positive = 1e-3
    controller_clip: NonNegative = 5.0
    hidden: PositiveInt = 32
    layers: PositiveInt = 2
    temperature: Positive = 5.0
    tanh: Positive = 2.5
    init_scale: Positive = 0.1
    entropy_weight: NonNegative = 1e-4
    reward_scale: Positive = 1.0
    baseline: Literal["epoch", "running"] = "epoch"
    baseline_decay: Annotated[float, Range(above=0, most=1)] = 0.99
    schedule: Literal["waves", "restarts"] = "waves"
    period: PositiveInt = 10
    op_tanh_reduce: Annotated[Positive, OnlyIn("enas_micro")] = 2.5
    skip_target: Annotated[float, Range(above=0, below=1), OnlyIn("enas_macro"), Unless("skip_weight", 0.0)] = 0.4
    skip_weight: Annotated[NonNegative, OnlyIn("enas_macro")] = 0.8
    release_penalty: Annotated[bool, OnlyIn("enas_macro"), Unless("skip_weight", 0.0)] = False
    candidates: CandidateCount = 100
    epoch_candidates: CandidateCount = 10


NASBENCH201 = {
    **NESTEROV,
    "search.epochs": 250,
    "search.batch_size": 128,
    "search.weight_optimizer.learning_rate": 0.05,
    "search.weight_optimizer.learning_rate_min": 5e-4,
    "search.weight_optimizer.weight_decay": 2.5e-4,
}
RELEASE = {
    **DARTS,
    **NESTEROV,
    "data.train_fraction": 0.9,
    "data.val_fraction": 0.1,
    "search.weight_optimizer.learning_rate": 0.05,
    "search.weight_optimizer.learning_rate_min": 5e-4,
    "search.weight_optimizer.gradient_clip": 0.0,
}
"""The release clips the gradient of the weights to a norm of 5, but applies the unclipped one."""
MICRO = {
    **RELEASE,
    "space.channels": 20,
    "space.cells": 6,
    "search.epochs": 150,
    "search.batch_size": 160,
    "search.weight_optimizer.weight_decay": 2e-4,
}
MACRO = {
    **RELEASE,
    "space.channels": 36,
    "search.epochs": 310,
    "search.batch_size": 128,
    "search.weight_optimizer.weight_decay": 5e-4,
}
RELEASED_CONTROLLER = (
    "hidden=64",
    "layers=1",
    "temperature=1",
    "controller_clip=0",
    "baseline=running",
    "schedule=restarts",
)
ON_TEXT = {
    "search.weight_optimizer.momentum": 0.0,
    "language_search.bptt": 35,
}
RNN = {
    **ON_TEXT,
    "language_search.units": 720,
    "language_search.slowness": 0.0,
    "language_search.dropout_embedding": 0.25,
    "language_search.dropout_input": 0.0,
    "language_search.dropout_x": 0.75,
    "language_search.dropout_hidden": 0.25,
    "language_search.dropout_output": 0.75,
    "search.epochs": 100,
    "search.batch_size": 20,
    "search.weight_optimizer.learning_rate": 0.25 * 35,
    "search.weight_optimizer.learning_rate_min": 0.25 * 35,
    "search.weight_optimizer.weight_decay": 2e-7 / 35,
    "search.weight_optimizer.gradient_clip": 10 / 35,
}
LM_RNN = {
    **ON_TEXT,
    "language_search.units": 200,
    "language_search.slowness": 1.0,
    "language_search.dropout_embedding": 0.1,
    "language_search.dropout_input": 0.2,
    "language_search.dropout_x": 0.75,
    "language_search.dropout_hidden": 0.25,
    "language_search.dropout_output": 0.75,
    "search.epochs": 600,
    "search.batch_size": 128,
    "search.weight_optimizer.learning_rate": 20.0,
    "search.weight_optimizer.learning_rate_min": 20.0,
    "search.weight_optimizer.weight_decay": 8e-7,
    "search.weight_optimizer.gradient_clip": 0.1,
}
REWARD_OF_TEXT = ("reward_scale=80", "baseline=running", "layers=1", "controller_samples=10", "controller_clip=0")


@register
def enas(*, settings: EnasSettings = EnasSettings()) -> Method:
    """ENAS; the options are those of `EnasSettings`."""
    return Method(
        name="enas",
        paper="Pham et al., ICML 2018, arXiv:1802.03268",
        summary="a controller, trained by REINFORCE, samples the paths that train the shared weights",
        edge=EdgeSettings(sampled=True),
        hypergradient="first_order",  # never computed; the controller learns from validation images
        driver="enas",
        options={"enas": settings},
        published=(
            on_nasbench201(
                "all skip connections: CIFAR-10 test accuracy 54.30 ± 0.00 % (arXiv:2001.00326)", NASBENCH201
            ),
            Published(
                "enas_micro",
                "CIFAR-10 test error 2.89 % with cutout, 4.6 M parameters, after training from scratch",
                MICRO,
                (
                    *RELEASED_CONTROLLER,
                    "tanh=1.1",
                    "controller_learning_rate=0.0035",
                    "controller_steps=30",
                    "controller_samples=10",
                ),
            ),
            Published(
                "enas_macro",
                "CIFAR-10 test error 4.23 %, 21.3 M parameters, after training from scratch",
                MACRO,
                (*RELEASED_CONTROLLER, "tanh=1.5", "release_penalty=true"),
            ),
            Published(
                "enas_rnn",
                "Penn Treebank test perplexity 58.6 of the found cell, trained with the settings of DARTS "
                "(arXiv:1806.09055)",
                RNN,
                (*REWARD_OF_TEXT, "hidden=100", "controller_steps=100", "entropy_weight=0.001"),
            ),
            Published(
                "enas_lm_rnn",
                "Penn Treebank test perplexity 56.1 ± 0.1 of the released cell (enas_lm)",
                LM_RNN,
                (
                    *REWARD_OF_TEXT,
                    "hidden=64",
                    "controller_steps=25",
                    "entropy_weight=1e-5",
                    "tanh=2.25",
                    "init_scale=0.01",
                    "baseline_decay=0.999",
                    "controller_learning_rate=5e-5",
                    "controller_b1=0.9",
                    "controller_eps=1e-8",
                ),
            ),
        ),
    )
