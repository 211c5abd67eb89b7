"""Names of candidate ops, and what a name tells about its op."""

from jdarts.ops import user_ops

CANDIDATES = (
    "none",
    "noise",
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_7x1_1x7",
)

_BLOCKS = ("mb", "shuffle", "xception")  # of mobile networks


def has_weights(op: str, stride: int) -> bool:
    """True if a candidate op has weights of its own, so that its output differs from edge to edge."""
    if user_ops.is_own(op):
        return user_ops.has_weights(op)
    return "conv" in op or op.startswith(_BLOCKS) or (op == "skip_connect" and stride > 1)


def is_pool(op: str) -> bool:
    """True if the op has no weights but batch statistics while searching: a pool, or the user's own without weights."""
    return op in ("max_pool_3x3", "avg_pool_3x3") or (user_ops.is_own(op) and not user_ops.has_weights(op))
