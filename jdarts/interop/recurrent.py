"""Weights of recurrent language models from and to PyTorch: the parameter names of the DARTS code (`rnn/`)."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jdarts.errors import UserError
from jdarts.interop.arrays import checked, shape_of, without_counters

_NODE = re.compile(r"rnns\.0\._Ws\.(\d+)")
_ENCODER, _DECODER, _BIAS, _W0 = "encoder.weight", "decoder.weight", "decoder.bias", "rnns.0._W0"
_STATISTICS = {"mean": "rnns.0.bn.running_mean", "var": "rnns.0.bn.running_var"}


def load_torch_recurrent(
    arrays: Mapping[str, np.ndarray], *, nodes: int | None = None, tied: bool = True
) -> dict[str, Any]:
    """The variables of a `RecurrentModel`, or of a `RecurrentSupernet`, from the arrays of a PyTorch network.

    A search network has the arrays `rnns.0.bn.running_mean` and `rnns.0.bn.running_var`; the variables then have the
    collection `batch_stats`. The alphas are not among the arrays.

    Args:
      arrays: floating-point arrays by PyTorch name, loaded as float32 (under `jax_enable_x64` float64);
        `num_batches_tracked` is ignored.
      nodes: the number of nodes behind node 0; that of the arrays if None.
      tied: the decoder is the transposed embedding. `decoder.weight`, which PyTorch lists too, must then equal
        `encoder.weight` or be absent.

    Raises `UserError` naming the first array that is missing, unexpected, misshapen or not floating-point.

    Example::

        variables = load_torch_recurrent(np.load("model.npz"))
        words, units = variables["params"]["embedding_table"].shape
        model = RecurrentModel(genotype=parse("DARTS_RNN"), vocabulary=words, embedding=units, units=units)
        outputs = model.apply(variables, tokens, model.initial_hidden(batch=10), train=False)
    """
    arrays = without_counters(arrays)
    vocabulary, embedding = shape_of(arrays, _ENCODER, 2)
    units = shape_of(arrays, _W0, 2)[1] // 2
    count = sum(1 for name in arrays if _NODE.fullmatch(name)) if nodes is None else nodes
    if count < 1:
        raise UserError("array 'rnns.0._Ws.0' is missing; pass the state_dict of a recurrent network of the DARTS code")
    search = any(name in arrays for name in _STATISTICS.values())
    shapes = _shapes(vocabulary, embedding, units, count, search=search)
    network = f"a recurrent network with {vocabulary} words, embedding {embedding}, {units} units and {count} nodes"
    for name in sorted(set(arrays) - set(shapes)):
        raise UserError(f"array {name!r} is not a part of {network}")
    if tied and _DECODER not in arrays:
        arrays[_DECODER] = arrays[_ENCODER]
    values = {name: jnp.asarray(checked(arrays, name, shape, network), float) for name, shape in shapes.items()}
    if tied and not np.array_equal(arrays[_DECODER], arrays[_ENCODER]):
        raise UserError(f"array {_DECODER!r} differs from {_ENCODER!r}; give equal ones, or use tied = False")
    params = {
        "embedding_table": values[_ENCODER],
        "bias": values[_BIAS],
        "W0": values[_W0],
        "W": jnp.stack([values[_node(i)] for i in range(count)]),
    }
    if not tied:
        params["decoder"] = values[_DECODER]
    statistics = {name: values[torch] for name, torch in _STATISTICS.items()} if search else {}
    return {"params": params} | ({"batch_stats": statistics} if search else {})


def save_torch_recurrent(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of the PyTorch network with the weights `variables`, by PyTorch name.

    The inverse of `load_torch_recurrent`; PyTorch's `load_state_dict` accepts the result (as tensors). Raises
    `UserError` if `variables` are not those of a recurrent network with a bias of the decoder.
    """
    params, statistics = dict(variables.get("params", {})), dict(variables.get("batch_stats", {}))
    wanted = {"embedding_table", "bias", "W0", "W"}
    if set(params) - {"decoder"} != wanted or (statistics and set(statistics) != set(_STATISTICS)):
        found = sorted(map(str, (*params, *statistics)))
        raise UserError(f"the variables are {found}; a recurrent network of the DARTS code has {sorted(wanted)}")
    nodes = {_node(i): W_i for i, W_i in enumerate(params["W"])}
    arrays = {_ENCODER: params["embedding_table"], _W0: params["W0"], **nodes}
    arrays |= {torch: statistics[name] for name, torch in _STATISTICS.items() if statistics}
    arrays |= {_DECODER: params.get("decoder", params["embedding_table"]), _BIAS: params["bias"]}
    return {name: np.array(array) for name, array in arrays.items()}


def _node(index: int) -> str:
    return f"rnns.0._Ws.{index}"


def _shapes(vocabulary: int, embedding: int, units: int, nodes: int, *, search: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of the PyTorch arrays, in their order."""
    return {
        _ENCODER: (vocabulary, embedding),
        _W0: (embedding + units, 2 * units),
        **{_node(i): (units, 2 * units) for i in range(nodes)},
        **({name: (units,) for name in _STATISTICS.values()} if search else {}),
        _DECODER: (vocabulary, units),
        _BIAS: (vocabulary,),
    }
