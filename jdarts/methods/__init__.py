"""Search methods: each a short file that makes choices at the five seams of `Method`.

    from jdarts import methods
    method = methods.compose(methods.pc_darts(), methods.darts_minus(), methods.sdarts_rs())

Write one like these: a function that returns a `Method`, decorated with `register`, and import its file.
"""

from jdarts.methods.darts import darts
from jdarts.methods.method import Method, compose
from jdarts.methods.registry import build, get, names, register

__all__ = ["Method", "build", "compose", "darts", "get", "names", "register"]
