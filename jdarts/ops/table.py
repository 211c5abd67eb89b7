"""The module that the name of a candidate op stands for."""

from flax import linen as nn

from jdarts.errors import unknown
from jdarts.ops import plain, user_ops
from jdarts.ops.candidates import CANDIDATES
from jdarts.ops.darts import Conv7x1, DilConv, Noise, Pool, SepConv, SkipConnect, Zero
from jdarts.ops.layers import Op
from jdarts.ops.user_module import Own


def candidate(op: str, /, *, search: bool, **fields) -> Op:
    """The module of a candidate op by its DARTS name; `search` adds the batch norm behind pools.

    `fields` are those of `Op` (channels, stride, edges, affine, axis_name, layout, impl) and the Flax `name`.
    """
    match op:
        case "none":
            return Zero(**fields)
        case "noise":
            return Noise(**fields)
        case "skip_connect":
            return SkipConnect(**fields)
        case "max_pool_3x3" | "avg_pool_3x3":
            return Pool(kind="max" if op.startswith("max") else "avg", normalise=search, **fields)
        case "sep_conv_3x3" | "sep_conv_5x5" | "sep_conv_7x7":
            return SepConv(kernel=int(op[-1]), **fields)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return DilConv(kernel=int(op[-1]), **fields)
        case "conv_7x1_1x7":
            return Conv7x1(**fields)
    if user_ops.is_own(op):
        return Own(own=user_ops.get(op), search=search, **fields)
    raise unknown("op", op, CANDIDATES)


def plain_candidate(op: str, channels: int, edges: int, stride: int, *, name: str) -> nn.Module:
    """The plain form (`jdarts.ops.plain`) of a supernet's candidate op on `edges` edges: image → list of images."""
    fields = {"channels": channels, "edges": edges, "stride": stride, "name": name}
    match op:
        case "noise":
            return plain.Noise(**fields)
        case "skip_connect":
            return plain.SkipConnect(**fields)
        case "max_pool_3x3" | "avg_pool_3x3":
            return plain.Pool(kind=op[:3], **fields)
        case "sep_conv_3x3" | "sep_conv_5x5" | "sep_conv_7x7":
            return plain.SepConv(kernel=int(op[-1]), **fields)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return plain.DilConv(kernel=int(op[-1]), **fields)
    if user_ops.is_own(op):
        return Own(own=user_ops.get(op), search=True, affine=False, **fields)
    raise unknown("op", op, CANDIDATES)
