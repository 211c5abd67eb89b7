"""Small spaces with a choice for each layer: two or three layers, a few channels; all kinds of blocks and rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.genotypes.macro import mobile_of
from jdarts.genotypes.mobile import MobileLayer
from jdarts.genotypes.published_mobile import fairnas_layers, spos_layers
from jdarts.networks.mobile.network import MobileNetwork
from jdarts.ops.initializers import abstract_network
from jdarts.spaces.mobile import MobileSpace

PLACES = ((4, 2), (4, 1), (4, 1))


def _mb(width: int, stride: int) -> tuple[MobileLayer, ...]:
    """Kernel 3 with expansion 3, kernel 5 with expansion 3, kernel 3 with expansion 6."""
    first, second, _, third, *_ = fairnas_layers(width, stride)
    return first, second, third


def _inner(width: int, stride: int) -> tuple[MobileLayer, ...]:
    return (*_mb(width, stride), MobileLayer("identity", width)) if stride == 1 else _mb(width, stride)


def _macro(width: int, stride: int) -> tuple[MobileLayer, ...]:
    return (MobileLayer("identity", width, stride=stride), *_mb(width, stride)[:2])


FAIR: Any = MobileSpace("fairnas", "fairnas", (4, 4), tuple(_mb(*place) for place in PLACES[:2]), 8)
S5: Any = MobileSpace("mobile_s5", "fairnas", (4, 4), tuple(_inner(*place) for place in PLACES), 8)
SPOS: Any = MobileSpace("spos", "spos", (4,), tuple(spos_layers(2 * w, s) for w, s in PLACES[:2]), 8, 0.0, False)
MACRO: Any = MobileSpace("nasbench_macro", "nasbench_macro", (4,), tuple(_macro(*place) for place in PLACES[:2]), 8)
SMALL = (FAIR, S5, SPOS, MACRO)


def random_variables(network: Any, key: jax.Array, *inputs: Any) -> dict[str, Any]:
    """Normally distributed weights of standard deviation 0.3, and running averages around 0 and 1."""
    shapes, _ = abstract_network(network, *inputs)
    leaves, structure = jax.tree.flatten(shapes)
    drawn = [
        0.3 * jax.random.normal(k, leaf.shape)
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]
    found = jax.tree.unflatten(structure, drawn)
    found["batch_stats"] = jax.tree_util.tree_map_with_path(
        lambda path, x: 1 + jnp.abs(x) if path[-1].key == "var" else x, found["batch_stats"]
    )
    return found


def path_variables(space: Any, variables: dict[str, Any], choices: Any) -> dict[str, Any]:
    """The variables of the stand-alone network of these choices, out of those of the supernet."""
    chain = mobile_of(space.decode(choices))
    assert chain is not None
    first = len(chain.layers) - len(choices) - 1
    shapes, _ = abstract_network(MobileNetwork(chain, 3), jnp.zeros((2, 8, 8, 3)), True)

    def own(collection: str) -> dict[str, Any]:
        tree = {k: v for k, v in variables[collection].items() if "choice_0" not in v}
        for i, choice in enumerate(choices, first):
            tree[f"layer_{i}"] = variables[collection][f"layer_{i}"].get(f"choice_{choice}", {})
        return {name: part for name, part in tree.items() if part}

    def filled(path: Any, leaf: Any) -> jax.Array:
        """The variable; scale 1 and shift 0 where the supernet has none."""
        found: Any = {c: own(c) for c in ("params", "batch_stats")}
        for key in path:
            found = found.get(key.key, {})
        return found if not isinstance(found, dict) else jnp.full(leaf.shape, float(path[-1].key == "scale"))

    return jax.tree_util.tree_map_with_path(filled, {c: shapes[c] for c in ("params", "batch_stats")})


def path_of_choices(space: Any, choices: Any) -> dict[str, np.ndarray]:
    """The one-hot op weights of the choices, without `one_hot`."""
    p = {name: np.zeros(shape, np.float32) for name, shape in space.alpha_shapes.items()}
    counters = dict.fromkeys(p, 0)
    lengths = {shape[1]: name for name, shape in space.alpha_shapes.items()}
    for layers, choice in zip(space.candidates, choices, strict=True):
        name = lengths[len(layers)]
        p[name][counters[name], choice] = 1
        counters[name] += 1
    return p
