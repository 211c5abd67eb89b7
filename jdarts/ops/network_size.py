"""Parameters and multiply–accumulates (MACs) of any Flax network, read off its program without running it.

MACs are those of convolutions and matrix products, as in `jdarts.networks.counting`. Zeros of a padding and of a
dilation count like any other tap.
"""

from collections import Counter
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend import core

from jdarts import kernels
from jdarts.ops.initializers import noting_ranges


def module_sizes(
    network: nn.Module, image_shape: tuple[int, int, int], *, train: bool = False
) -> dict[str, tuple[int, int]]:
    """`(parameters, MACs)` of each child module of `network` for one image `[H, W, C]`, in the order of the calls.

    `network` is called as `network(images, train)`; in training it has its auxiliary head.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.result_type(float))
    rngs = {name: jax.random.key(0) for name in ("params", "noise", "drop_path")}
    # No random generators in the program, and convolutions as XLA's, of which the size can be read.
    with noting_ranges(), kernels.for_accelerators():
        program, (_, variables) = jax.make_jaxpr(lambda x: network.init_with_output(rngs, x, train), return_shape=True)(
            images
        )
    macs: Counter[str] = Counter()
    for equation in program.jaxpr.eqns:
        macs[_child(equation)] += _of_equation(equation)
    parameters = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in variables["params"].items()}
    names = dict.fromkeys([*(name for name in macs if macs[name]), *parameters])
    return {name: (parameters.get(name, 0), macs[name]) for name in names}


def multiply_adds(program: Any) -> int:
    """MACs of all convolutions and matrix products in a jaxpr; those in a `scan` count once for each iteration."""
    return sum(_of_equation(equation) for equation in program.eqns)


def _of_equation(equation: Any) -> int:
    out = equation.outvars[0].aval if equation.outvars else None
    name = equation.primitive.name
    if name == "conv_general_dilated" and out is not None:
        kernel = equation.invars[1].aval.shape
        outputs = equation.params["dimension_numbers"].rhs_spec[0]
        return out.size * prod(kernel) // kernel[outputs]
    if name == "dot_general" and out is not None:
        (contracted, _), _ = equation.params["dimension_numbers"]
        return out.size * prod(equation.invars[0].aval.shape[i] for i in contracted)
    if name == "jdarts_depthwise" and out is not None:  # the form of `jdarts.kernels` for CPUs
        return out.size * equation.params["geometry"].kernel ** 2
    times = equation.params.get("length", 1) if name == "scan" else 1
    return times * sum(multiply_adds(inner) for inner in core.jaxprs_in_params(equation.params))


def _child(equation: Any) -> str:
    """The child module in which an equation was traced: Flax names scopes `Network/child/…`."""
    scopes = str(equation.source_info.name_stack).split("/")
    return scopes[1] if len(scopes) > 1 else ""
