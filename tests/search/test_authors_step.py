"""A search step equals that of the DARTS authors' code in float64, running averages included.

Their step is written out here as their PyTorch code works: a network with buffers that every forward pass in training
mode moves, a copy for the unrolled weights, weights shifted to and fro. Only the network's parameters and the drawn
batches come from jdarts; network, losses, SGD, clipping and Adam are plain NumPy and `jax.lax`.
"""

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from support.one_cell import NARROW_CELL, OneCell

from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.errors import UserError
from jdarts.methods import build
from jdarts.networks.edges import PLAIN
from jdarts.networks.fast.layers import Stem
from jdarts.networks.fast.nasbench201 import CellByNode
from jdarts.networks.plain import Classifier
from jdarts.networks.wiring import NASBENCH201_EDGES
from jdarts.ops.batch_norm import BatchNorm
from jdarts.search import make_search
from jdarts.spaces.nasbench201 import NASBench201Space

SGD = SGDConfig(learning_rate=0.1, learning_rate_min=0.01, weight_decay=1e-2, gradient_clip=0.1)
ADAM = AdamConfig(learning_rate=1e-2, weight_decay=1e-2)
CONFIG = Experiment(
    data=DataConfig(source="synthetic:6x6x2:3:16", crop_padding=1),
    space=SpaceConfig(name="nasbench201", channels=4, cells=1),
    search=SearchConfig(epochs=2, batch_size=4, weight_optimizer=SGD, alpha_optimizer=ADAM),
)
STEPS = 3  # two in the first epoch, one in the second


class Network(OneCell):
    """One cell followed by a batch norm, so that running averages depend on the alphas."""

    @nn.compact
    def __call__(self, op_weights, images, train, edge_values=None):
        x = Stem(self.channels, name="stem")(images, train)
        cell = CellByNode(self.table, self.channels, edges=NASBENCH201_EDGES, name="cell")
        x = BatchNorm(self.channels, name="norm")(cell(x, op_weights["cell"], train), train)
        return Classifier(self.classes, name="classifier")(nn.relu(x))


class Space(NASBench201Space):
    def supernet(self, *, channels, cells, classes, axis_name=None, edge=PLAIN, remat=False) -> Any:
        return Network(self.cell, channels, classes)


SPACE = Space(cell=NARROW_CELL)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def build_search(built=None, **changes):
    config = dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, **changes))
    return make_search(config, SPACE, load(config.data).for_search(config.data), method=built)


# Their network


def convolve(x, kernel):
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (1, 1), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


def standardise(x):
    """The normalised batch, its mean and its unbiased variance."""
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    count = x.shape[0] * x.shape[1] * x.shape[2]
    return (x - mean) / jnp.sqrt(var + 1e-5), {"mean": mean[None], "var": var[None] * count / (count - 1)}


def affine_norm(x, w):
    y, moments = standardise(x)
    return y * w["scale"][0] + w["bias"][0], moments


def average_pool(x):
    def sums(y):
        return lax.reduce_window(y, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    return sums(x) / sums(jnp.ones_like(x))


def cross_entropy(w, alphas, images, labels):
    """The loss, and the moments that move the buffers."""
    moments = {}
    x, stem = affine_norm(convolve(images, w["stem"]["conv"]), w["stem"]["norm"])
    moments["stem"] = {"norm": stem}
    p = jax.nn.softmax(alphas["cell"], -1)
    nodes = [x, 0.0, 0.0, 0.0]
    for row, (source, target) in enumerate(NASBENCH201_EDGES):
        place = target - source - 1  # a kernel's index among the edges out of the source
        for column, op in enumerate(SPACE.cell[row]):
            if op == "none":
                continue
            if op == "skip_connect":
                y = nodes[source]
            elif op == "avg_pool_3x3":
                y = average_pool(nodes[source])
            else:
                kernel, bias = (w["cell"][f"from_{source}_{op}"][part][place] for part in ("kernel", "bias"))
                y = standardise(convolve(jnp.maximum(nodes[source], 0), kernel) + bias)[0]
            nodes[target] = nodes[target] + p[row, column] * y
    y, moments["norm"] = affine_norm(nodes[3], w["norm"])
    logits = jnp.maximum(y, 0).mean((1, 2)) @ w["classifier"]["kernel"] + w["classifier"]["bias"]
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]), moments


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def clipped(grads):
    """PyTorch's `clip_grad_norm_`."""
    factor = min(1.0, SGD.gradient_clip / (np.linalg.norm(flat(grads)) + 1e-6))
    return jax.tree.map(lambda g: factor * g, grads)


class Model:
    """Weights, alphas and buffers."""

    gradient = staticmethod(jax.jit(jax.grad(cross_entropy, argnums=(0, 1), has_aux=True)))

    def __init__(self, w, alphas, buffers):
        self.w, self.alphas, self.buffers = w, alphas, buffers

    def backward(self, batch):
        """Forward in training mode, which moves the buffers, and backward."""
        grads, moments = self.gradient(self.w, self.alphas, *batch)
        self.buffers = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * np.asarray(b), self.buffers, moments)
        return jax.tree.map(np.asarray, grads)

    def shifted(self, factor, direction):
        self.w = jax.tree.map(lambda a, d: a + factor * d, self.w, direction)


class Authors:
    """The authors' training loop: the architect's step, then the weights'; or the weights' first, as in NAS-Bench-201.

    `virtual_clip` and `still` (the forward passes of the architect move no buffers) are mistakes that the test must
    detect.
    """

    def __init__(self, model, *, second_order, weights_first=False, virtual_clip=False, still=False):
        self.model, self.second_order, self.weights_first = model, second_order, weights_first
        self.virtual_clip, self.still = virtual_clip, still
        self.momentum = jax.tree.map(np.zeros_like, model.w)
        self.first, self.second = (jax.tree.map(np.zeros_like, model.alphas) for _ in range(2))

    def step(self, t, rate, train, valid):
        if self.weights_first:
            self.weights(rate, train)
        buffers = self.model.buffers
        grads = self.unrolled(rate, train, valid) if self.second_order else self.model.backward(valid)[1]
        self.model.buffers = buffers if self.still else self.model.buffers
        self.adam(t, grads)
        if not self.weights_first:
            self.weights(rate, train)

    def weights(self, rate, train):
        grads = self.model.backward(train)[0]
        assert np.linalg.norm(flat(grads)) > 1.5 * SGD.gradient_clip, "clipping must matter"
        self.momentum = self.moved_momentum(clipped(grads))
        self.model.shifted(-rate, self.momentum)

    def moved_momentum(self, grads):
        return jax.tree.map(
            lambda m, g, w: SGD.momentum * m + g + SGD.weight_decay * w, self.momentum, grads, self.model.w
        )

    def unrolled(self, rate, train, valid):
        grads = self.model.backward(train)[0]
        copied = copy.copy(self.model)  # with buffers of its own
        copied.shifted(-rate, self.moved_momentum(clipped(grads) if self.virtual_clip else grads))
        vector, direct = copied.backward(valid)
        radius = 0.01 / np.linalg.norm(flat(vector))
        self.model.shifted(radius, vector)
        above = self.model.backward(train)[1]
        self.model.shifted(-2 * radius, vector)
        below = self.model.backward(train)[1]
        self.model.shifted(radius, vector)
        return jax.tree.map(lambda d, a, b: d - rate * (a - b) / (2 * radius), direct, above, below)

    def adam(self, t, grads):
        grads = jax.tree.map(lambda g, a: g + ADAM.weight_decay * a, grads, self.model.alphas)
        self.first = jax.tree.map(lambda m, g: ADAM.b1 * m + (1 - ADAM.b1) * g, self.first, grads)
        self.second = jax.tree.map(lambda v, g: ADAM.b2 * v + (1 - ADAM.b2) * g * g, self.second, grads)
        self.model.alphas = jax.tree.map(
            lambda a, m, v: a - ADAM.learning_rate * m / (1 - ADAM.b1**t) / (np.sqrt(v / (1 - ADAM.b2**t)) + 1e-8),
            self.model.alphas,
            self.first,
            self.second,
        )


def searched(search):
    """The states before the first step and after each."""
    states = [jax.jit(search.init)(jax.random.key(0))]
    step = jax.jit(search.step)
    for _ in range(STEPS):
        states.append(step(states[-1], search.arrays)[0])
    return states


def by_the_authors(search, states, **how):
    start = jax.tree.map(np.asarray, search.variables(states[0]))
    model = Model(start["params"], jax.tree.map(np.asarray, states[0].alphas), start["batch_stats"])
    authors = Authors(model, **how)
    draw = jax.jit(search.draw)
    for t in range(1, STEPS + 1):
        batches = [(b["images"], b["labels"]) for b in draw(states[t - 1], search.arrays)]
        assert batches[0][0].dtype == jnp.float64
        epoch = (t - 1) // search.steps_per_epoch
        rate = SGD.learning_rate_min + (SGD.learning_rate - SGD.learning_rate_min) * (1 + np.cos(np.pi * epoch / 2)) / 2
        authors.step(t, rate, *batches)
    return model


def deviations(search, states, model):
    """Largest relative deviation of weights, alphas and running averages, each to its largest change."""
    w, running = search.vectors({"params": model.w, "batch_stats": model.buffers})
    pairs = {
        "weights": (states[-1].weights, w, states[0].weights),
        "alphas": (states[-1].alphas["cell"], model.alphas["cell"], states[0].alphas["cell"]),
        "running": (states[-1].batch_stats, running, states[0].batch_stats),
    }
    return {name: float(jnp.abs(a - b).max() / jnp.abs(b - c).max()) for name, (a, b, c) in pairs.items()}


def test_a_second_order_step_equals_the_authors():
    search = build_search(hypergradient="finite_difference", virtual_clip=False, alpha_step_moves_statistics=True)
    states = searched(search)
    found = deviations(search, states, by_the_authors(search, states, second_order=True))
    assert max(found.values()) < 1e-10, found
    wrong = deviations(search, states, by_the_authors(search, states, second_order=True, virtual_clip=True))
    assert wrong["alphas"] > 1e-4
    wrong = deviations(search, states, by_the_authors(search, states, second_order=True, still=True))
    assert wrong["running"] > 1e-2 and wrong["alphas"] < 1e-10


@pytest.mark.parametrize("weights_first", [False, True])
def test_a_first_order_step_equals_the_authors(weights_first):
    method = dataclasses.replace(build("darts", ()), order="weights_first") if weights_first else None
    search = build_search(method, hypergradient="first_order", alpha_step_moves_statistics=True)
    states = searched(search)
    how = {"second_order": False, "weights_first": weights_first}
    found = deviations(search, states, by_the_authors(search, states, **how))
    assert max(found.values()) < 1e-10, found
    assert deviations(search, states, by_the_authors(search, states, **how, still=True))["running"] > 1e-2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"virtual_clip": False, "hypergradient": "first_order"},
            "virtual_clip is false.*first_order takes no virtual",
        ),
        ({"virtual_clip": False, "method": "sdarts_rs"}, "virtual_clip is false, but hypergradient first_order"),
        ({"virtual_clip": False, "hypergradient": "neumann"}, "hypergradient neumann takes no virtual step"),
        ({"alpha_step_moves_statistics": True}, "moves_statistics is true, but hypergradient unrolled"),
        ({"alpha_step_moves_statistics": True, "hypergradient": "single_level"}, "hypergradient single_level"),
        (
            {"alpha_step_moves_statistics": True, "hypergradient": "first_order", "method": "rsps"},
            "rsps has no alpha step",
        ),
    ],
)
def test_settings_without_effect_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        build_search(**changes)
