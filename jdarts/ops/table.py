"""The module that the name of a candidate op stands for."""

from flax import linen as nn

from jdarts.errors import unknown
from jdarts.ops import plain, user_ops
from jdarts.ops.candidates import CANDIDATES
from jdarts.ops.user_module import Own


def candidate(op: str, channels: int, edges: int, stride: int, *, name: str) -> nn.Module:
    """The op of a supernet by its DARTS name, on `edges` edges: `[N, H, W, C]` → an image `[N, H', W', C]` an edge."""
    fields = {"channels": channels, "edges": edges, "stride": stride, "name": name}
    match op:
        case "noise":
            return plain.Noise(**fields)
        case "skip_connect" | "skip_norm":
            return plain.SkipConnect(normalise=op == "skip_norm", **fields)
        case "max_pool_3x3" | "avg_pool_3x3":
            return plain.Pool(kind=op[:3], **fields)
        case "sep_conv_3x3" | "sep_conv_5x5" | "sep_conv_7x7":
            return plain.SepConv(kernel=int(op[-1]), **fields)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return plain.DilConv(kernel=int(op[-1]), **fields)
    if user_ops.is_own(op):
        return Own(own=user_ops.get(op), affine=False, **fields)
    raise unknown("op", op, CANDIDATES)
