"""The contract of fast forms: each equals the plain network in value, statistics, gradient and its derivative.

A new form joins by a line in FORMS, a new kind of network by a line in NETWORKS. All in float64.
"""

import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from support.one_cell import NARROW_CELL

from jdarts import kernels, spaces, staging
from jdarts.errors import UserError
from jdarts.networks.edges import EdgeSettings
from jdarts.networks.fast.packing import Packing
from jdarts.ops.initializers import abstract_network
from jdarts.spaces import define_space
from jdarts.spaces.nasbench201 import NASBench201Space

FORMS: dict[str, tuple[staging.Unit, bool]] = {
    "whole": ("whole", False),
    "by_edge": ("edges", False),
    "accelerator_whole": ("whole", True),
    "accelerator_by_cell": ("cells", True),
}
"""By name: the unit of compilation, and whether accelerators' kernels are used."""


class Scaled(nn.Module):
    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (1, 1, self.channels, self.channels), x.dtype)
        return jnp.tanh(kernels.convolution(x, kernel, stride=self.stride))


def first_pixels(x, stride):
    return x[:, ::stride, ::stride]


SMALL = define_space(
    "contract",
    nodes=2,
    normal=(
        ("none", "skip_connect", "max_pool_3x3"),
        ("sep_conv_3x3", "skip_connect", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_3x3", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3", "none"),
        ("skip_connect", "sep_conv_3x3", "dil_conv_3x3"),
    ),
)
THREE_CELLS = define_space(
    "contract_cells",
    nodes=2,
    normal=(
        ("none", "skip_connect"),
        ("sep_conv_3x3", "skip_connect"),
        ("avg_pool_3x3", "skip_connect"),
        ("max_pool_3x3", "skip_connect"),
        ("dil_conv_3x3", "skip_connect"),
    ),
)
TINY = define_space("contract_tiny", nodes=1, normal=("skip_norm", "max_pool_3x3", "sep_conv_3x3"))
OWN = define_space(
    "contract_own",
    nodes=1,
    normal=("scaled", "first_pixels", "skip_connect"),
    ops={"scaled": Scaled, "first_pixels": first_pixels},
)
NARROW201 = NASBench201Space(cell=NARROW_CELL)


class Network(NamedTuple):
    space: Any
    cells: int = 1
    edge: EdgeSettings = EdgeSettings()
    values: Mapping[str, float] = MappingProxyType({})
    edge_weights: bool = False
    remat: bool = False
    train: bool = True
    channels: int = 2


def two_nodes(name: str) -> Any:
    """A cell of two nodes with the candidates of a published space: five edges instead of fourteen."""
    return define_space(f"contract_{name}", nodes=2, normal=spaces.get(name).normal[0])


NETWORKS = {
    "S0": Network(two_nodes("darts_cnn")),
    "S4_noise": Network(two_nodes("robust_s4")),
    "three_cells": Network(THREE_CELLS, cells=3),
    "per_cell": Network(spaces.PerCellSpace(TINY, 3), cells=3),
    "evaluated": Network(SMALL, train=False),
    "partial_channels": Network(SMALL, 1, EdgeSettings(partial_channels=2), edge_weights=True, channels=4),
    "auxiliary_identity": Network(SMALL, 1, EdgeSettings("identity"), {"auxiliary_skip": 0.7}, remat=True),
    "auxiliary_conv1": Network(SMALL, 1, EdgeSettings("conv1", 2), {"auxiliary_skip": 0.7}, channels=4),
    "dropout": Network(SMALL, 1, values={"skip_dropout": 0.4, "drop_path": 0.3}),
    "own_ops": Network(OWN, 1),
    "nasbench201": Network(NARROW201, train=False),
    "nasbench201_edges": Network(
        NARROW201,
        edge=EdgeSettings("conv1", 2),
        values={"auxiliary_skip": 0.7, "skip_dropout": 0.4, "drop_path": 0.3},
        edge_weights=True,
        channels=4,
        remat=True,
    ),
}


class Case(NamedTuple):
    kind: Network
    fast: nn.Module
    params: Packing
    stats: Packing
    arguments: tuple[Any, ...]

    @property
    def plain(self) -> nn.Module:
        return self.fast.clone(form="plain")


def space_of(kind: Network) -> Any:
    return spaces.get(kind.space) if isinstance(kind.space, str) else kind.space


def build(name: str) -> Case:
    kind = NETWORKS[name]
    space, rng = space_of(kind), np.random.default_rng(0)
    network = space.supernet(channels=kind.channels, cells=kind.cells, classes=3, edge=kind.edge, remat=kind.remat)
    p = {cell: jnp.asarray(rng.dirichlet(np.ones(k), edges)) for cell, (edges, k) in space.alpha_shapes.items()}
    if kind.edge_weights:
        p |= {f"{cell}_edges": jnp.asarray(rng.uniform(0.5, 1.5, len(p[cell]))) for cell in space.alpha_shapes}
    values = {name: jnp.asarray(value) for name, value in kind.values.items()}
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)))
    shapes, _ = abstract_network(network, p, images, kind.train, values)
    params, stats = (Packing(shapes[name], network.edges_of, network.body_of) for name in ("params", "batch_stats"))
    vector, direction = (jnp.asarray(rng.normal(scale=0.5, size=params.size)) for _ in range(2))
    running = jnp.asarray(rng.uniform(0.5, 1.5, stats.size))
    along_p = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), p)
    cotangent = jnp.asarray(rng.normal(size=(2, 3)))
    arguments = (vector, p, running, images, values, cotangent, direction, along_p)
    return Case(kind, network, params, stats, arguments)


def everything(case: Case, network: nn.Module):
    """Logits, new statistics, gradient by weights and op weights, and its derivative along a direction."""

    def compute(vector, p, running, images, values, cotangent, direction, along_p):
        def loss(vector, p):
            unit = staging.unit()
            start = jnp.zeros_like(running) if case.kind.train else running
            variables = {"params": case.params.pack(vector, unit), "batch_stats": case.stats.pack(start, unit)}
            rngs = {"noise": jax.random.key(1), "drop_path": jax.random.key(2)}
            logits, new = network.apply(
                variables, p, images, case.kind.train, values, mutable=["batch_stats"], rngs=rngs
            )
            moved = case.stats.unpack(new["batch_stats"], unit) if case.kind.train else running
            return jnp.sum(jnp.sin(logits) * cotangent), (logits, moved)

        gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (grads, aux), (derivative, _) = jax.jvp(gradient, (vector, p), (direction, along_p))
        return {"logits": aux[0], "statistics": aux[1], "gradient": grads, "derivative": derivative}

    return compute


WHOLE = {"evaluated", "partial_channels", "dropout", "own_ops"}
FORMS_OF = dict.fromkeys(NETWORKS, ("by_edge", "accelerator_by_cell")) | dict.fromkeys(WHOLE, tuple(FORMS))
FORMS_OF |= dict.fromkeys(("three_cells", "nasbench201_edges"), ("by_edge", "accelerator_whole"))
FORMS_OF |= dict.fromkeys(("S4_noise", "auxiliary_conv1"), tuple(FORMS)[:3])  # noise, skips
PAIRS = [(name, form) for name in NETWORKS for form in FORMS if form in FORMS_OF[name]]
"""A whole program has the operations of its cells, and takes longer to compile: not for all networks."""


@pytest.fixture(scope="module")
def case_and_truth(request):
    with jax.enable_x64(True):
        case = build(request.param)
        # one operation after the other: XLA would take minutes over the plain form of so many
        return case, jax.tree.map(np.asarray, everything(case, case.plain)(*case.arguments))


@pytest.mark.parametrize(("case_and_truth", "form"), PAIRS, indirect=["case_and_truth"])
def test_a_fast_form_equals_the_plain_network(case_and_truth, form):
    case, truth = case_and_truth
    unit, accelerator = FORMS[form]
    with jax.enable_x64(True), kernels.for_accelerators() if accelerator else contextlib.nullcontext():
        result = staging.compile(everything(case, case.fast), *case.arguments, unit=unit, calls=1)(*case.arguments)
    assert np.abs(truth["gradient"][0]).max() > 1e-3 and np.abs(truth["derivative"][0]).max() > 1e-3
    for name, expected in truth.items():
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(result[name]), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9 * np.max(np.abs(a), initial=0.0), err_msg=name)


@pytest.mark.parametrize("name", ["darts_cnn", "nasbench201"])
def test_images_that_are_not_floating_are_refused_when_a_network_is_initialised(name):
    space = spaces.get(name)
    network = space.supernet(channels=2, cells=1, classes=3)
    op_weights = {cell: jnp.zeros(shape) for cell, shape in space.alpha_shapes.items()}
    with pytest.raises(UserError, match="images of type uint8; give floating-point ones"):
        abstract_network(network, op_weights, jnp.zeros((2, 8, 8, 3), jnp.uint8), True)
