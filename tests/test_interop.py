"""Exchange of supernet weights with PyTorch's names, on small random networks."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.interop import load_torch_supernet, save_torch_supernet
from jdarts.networks.wiring import row
from jdarts.spaces import robust_s1, robust_s3

SIZES = {"channels": 4, "cells": 4, "classes": 5}


@cache
def _shapes(space):
    supernet = space.supernet(**SIZES)
    weights = {name: jnp.zeros(shape) for name, shape in space.alpha_shapes.items()}
    return jax.eval_shape(lambda key: supernet.init(key, weights, jnp.zeros((1, 4, 4, 3)), False), jax.random.key(0))


def _variables(space):
    """Random variables of a small supernet."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), _shapes(space))


@pytest.fixture(scope="module")
def arrays():
    return save_torch_supernet(_variables(robust_s3), robust_s3)


@pytest.mark.parametrize("name", spaces.names()[:5])
def test_round_trip_is_exact(name):
    space = spaces.get(name)
    variables = _variables(space)
    saved = save_torch_supernet(variables, space)
    for loaded in (load_torch_supernet(saved, space), load_torch_supernet(saved, space, **SIZES)):
        assert jax.tree.structure(loaded) == jax.tree.structure(variables)
        jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    again = save_torch_supernet(load_torch_supernet(saved, space), space)
    assert list(again) == list(saved)
    assert all(array.dtype == np.float32 for array in again.values())


def test_every_array_has_its_own_place(arrays):
    weights = [array for name, array in arrays.items() if "running" not in name]
    count = sum(leaf.size for leaf in jax.tree.leaves(_variables(robust_s3)["params"]))
    assert sum(array.size for array in weights) == count  # S3 shares statistics of no pool
    assert len({array.tobytes() for array in arrays.values()}) == len(arrays)


def test_names_shapes_and_axes(arrays):
    params = _variables(robust_s3)["params"]
    stats = _variables(robust_s3)["batch_stats"]
    stem = params["stem"]["conv"]
    assert arrays["stem.0.weight"].shape == (12, 3, 3, 3)
    assert arrays["stem.0.weight"][7, 2, 0, 1] == stem[0, 1, 2, 7]
    # The edge 2→4 is the second of those out of node 2; the separable convolution is the third op of S3.
    op, name = params["cell_3"]["from_2_sep_conv_3x3"], f"cells.3._ops.{row(2, 4)}._ops.2.op"
    assert arrays[f"{name}.1.weight"][5, 0, 2, 1] == op["depthwise_1"][1, 2, 1, 5]
    assert arrays[f"{name}.2.weight"][5, 3, 0, 0] == op["pointwise_1"][1, 3, 5]
    assert arrays[f"{name}.5.weight"][5, 0, 2, 1] == op["depthwise_2"][1, 2, 1, 5]
    assert arrays[f"{name}.6.weight"][5, 3, 0, 0] == op["pointwise_2"][1, 3, 5]
    norm = stats["cell_3"]["from_2_sep_conv_3x3"]["norm_2"]
    assert arrays[f"{name}.7.running_var"][6] == norm["var"][1, 6]
    # Cells 1 and 2 of four are the reduction cells: strided skips, and a strided preprocessing behind each.
    reduce = params["cell_1"]["from_0_skip_connect"]["reduce"]["conv_2"]
    assert arrays[f"cells.1._ops.{row(0, 5)}._ops.1.conv_2.weight"][1, 3, 0, 0] == reduce[3, 3, 1]
    assert "cells.3.preprocess0.conv_1.weight" in arrays and "cells.1.preprocess0.op.1.weight" in arrays
    assert arrays["classifier.weight"][4, 9] == params["classifier"]["kernel"][9, 4]


def test_statistics_of_pools_are_copied_to_every_edge_and_must_agree():
    saved = save_torch_supernet(_variables(robust_s1), robust_s1)
    names = [f"cells.1._ops.{row(0, target)}._ops.0.1.running_mean" for target in (2, 3, 4, 5)]
    for name in names:
        np.testing.assert_array_equal(saved[name], saved[names[0]])
    saved[names[2]] = saved[names[2]] + 1
    with pytest.raises(UserError, match=rf"'{names[2]}' differs from '{names[0]}'".replace(".", r"\.")):
        load_torch_supernet(saved, robust_s1)


def test_counters_are_ignored_and_half_precision_is_read(arrays):
    given = {name: array.astype(np.float16) for name, array in arrays.items()}
    given["stem.1.num_batches_tracked"] = np.int64(7)
    loaded = load_torch_supernet(given, robust_s3)
    assert loaded["params"]["stem"]["conv"].dtype == jnp.float32


LATE = "cells.2._ops.3._ops.2.op.2.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({LATE: None}, rf"'{LATE}' of shape \(16, 16, 1, 1\) is missing for the robust_s3 supernet"),
        (
            {LATE: np.zeros((16, 16, 3, 3))},
            rf"'{LATE}' has shape \(16, 16, 3, 3\); .* needs \(16, 16, 1, 1\)",
        ),
        ({LATE: np.zeros((16, 16, 1, 1), int)}, rf"'{LATE}' of shape \(16, 16, 1, 1\) has dtype int64"),
        ({"cells.0.extra": np.zeros(3)}, "'cells.0.extra' is not a part of the robust_s3 supernet"),
        ({"stem.0.weight": None}, "'stem.0.weight' is missing"),
        ({"stem.0.weight": np.zeros(12)}, r"'stem.0.weight' has shape \(12,\); expected 4 dimensions"),
        ({"stem.0.weight": np.zeros((9, 3, 3, 3))}, "channels=3.*even channels"),
        ({"classifier.bias": np.zeros(4)}, r"'classifier.bias' has shape \(4,\); .* needs \(5,\)"),
        (
            {"cells.9.bias": np.zeros(1)},
            "'cells.2._ops.* is not a part of .* cells=5",
        ),  # five cells, so other reductions
    ],
)
def test_wrong_arrays_are_named(arrays, change, message):
    given = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(UserError, match=message) as error:
        load_torch_supernet(given, robust_s3)
    assert "\n" not in str(error.value)


def test_given_sizes_are_checked_against_the_arrays(arrays):
    with pytest.raises(UserError, match=r"'cells\.3\..* is not a part .*cells=3"):
        load_torch_supernet(arrays, robust_s3, cells=3)
    with pytest.raises(UserError, match=r"'stem\.0\.weight' has shape \(12, 3, 3, 3\).*needs \(18, 3, 3, 3\)"):
        load_torch_supernet(arrays, robust_s3, channels=6)


def test_variables_of_another_space_are_refused():
    variables = _variables(robust_s3)
    with pytest.raises(UserError, match="space robust_s4 does not fit"):
        save_torch_supernet(variables, spaces.get("robust_s4"))
    with pytest.raises(UserError, match="pass those of a supernet"):
        save_torch_supernet({"params": {}}, robust_s3)
    variables["params"]["classifier"]["bias"] = np.zeros(6, np.float32)
    with pytest.raises(UserError, match=r"params/classifier/bias has shape \(6,\)"):
        save_torch_supernet(variables, robust_s3)
