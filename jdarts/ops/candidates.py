"""Names of candidate ops, and what a name tells about its op."""

from jdarts.ops import user_ops

CANDIDATES = (
    "none",
    "noise",
    "skip_connect",
    "skip_norm",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_7x1_1x7",
)

SKIPS = ("skip_connect", "skip_norm")
"""The identity, without and with a batch norm (GOLD-NAS, Bi et al. 2020); both a convolution at stride 2."""
_BLOCKS = ("mb", "shuffle", "xception")  # of mobile networks


def has_weights(op: str, stride: int) -> bool:
    """True if a candidate op has weights of its own, so that its output differs from edge to edge."""
    if user_ops.is_own(op):
        return user_ops.has_weights(op)
    return "conv" in op or op.startswith(_BLOCKS) or (op in SKIPS and stride > 1)


def is_pool(op: str, stride: int) -> bool:
    """True if the op has no weights but batch statistics while searching: a pool, the identity with a batch norm, or
    the user's own without weights.
    """
    own = user_ops.is_own(op) and not user_ops.has_weights(op)
    return op in ("max_pool_3x3", "avg_pool_3x3") or (op == "skip_norm" and stride == 1) or own
