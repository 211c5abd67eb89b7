"""The size that is read off a program equals the size by arithmetic."""

import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax import lax

from jdarts.networks.counting import count_op
from jdarts.ops.network_size import module_sizes
from jdarts.ops.plain import ReLUConvBN
from jdarts.ops.table import candidate


class Chain(nn.Module):
    op: str
    stride: int

    @nn.compact
    def __call__(self, x, train: bool):
        x = ReLUConvBN(16, name="zoom")(x, train)
        x = candidate(self.op, 16, 1, self.stride, name="aaa")(x, train)[0]
        first = self.param("bare", nn.initializers.zeros, (16, 3))
        return lax.scan(lambda carry, _: (carry + jnp.sum(x @ first), None), jnp.zeros(()), None, length=5)[0]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("op", ["sep_conv_3x3", "sep_conv_7x7", "dil_conv_5x5", "skip_connect", "max_pool_3x3"])
def test_program_and_arithmetic_agree(op, stride):
    sizes = module_sizes(Chain(op, stride), (8, 4, 3))
    height, width = 8 // stride, 4 // stride
    parameters, macs = count_op(op, 16, (height, width), stride)
    norms = {"sep": 4 * 16, "dil": 2 * 16, "ski": 2 * 16 * (stride - 1), "max": 0}[op[:3]]  # without scale and shift
    assert sizes["zoom"] == (3 * 16, 3 * 16 * 32)
    assert sizes.get("aaa", (0, 0)) == (parameters - norms, macs)
    assert sizes["bare"] == (48, 0)
    assert sizes[""] == (0, 5 * 48 * height * width)
    assert next(iter(sizes)) == "zoom"
