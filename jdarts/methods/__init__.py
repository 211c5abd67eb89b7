"""Search methods: each a short file that makes choices at the five seams of `Method`.

    from jdarts import methods
    method = methods.compose(methods.pc_darts(), methods.darts_minus(), methods.sdarts_rs())

`jdarts methods NAME` shows the settings of a method's published search, and `--method NAME` applies them
(`Method.published`).

To add one, write a function that returns a `Method`, decorate it with `register`, and import its file.
"""

from jdarts.methods.amended_darts import amended_darts
from jdarts.methods.beta_darts import beta_darts
from jdarts.methods.darts import darts
from jdarts.methods.darts_minus import darts_minus
from jdarts.methods.darts_plus import darts_plus
from jdarts.methods.darts_pt import darts_pt
from jdarts.methods.drnas import drnas, drnas_progressive
from jdarts.methods.drop_nas import drop_nas
from jdarts.methods.enas import enas
from jdarts.methods.fair_darts import fair_darts
from jdarts.methods.gdas import gdas
from jdarts.methods.method import Method, compose
from jdarts.methods.one_shot import one_shot
from jdarts.methods.pc_darts import pc_darts
from jdarts.methods.pr_darts import pr_darts
from jdarts.methods.proxyless_nas import proxyless_nas, proxyless_nas_reinforce
from jdarts.methods.random_baselines import random_search, rsps
from jdarts.methods.registry import build, configured, get, names, register
from jdarts.methods.robust_darts import darts_ada, darts_es, r_darts, r_darts_dp
from jdarts.methods.setn import setn
from jdarts.methods.single_darts import single_darts
from jdarts.methods.single_paths import fairnas, spos
from jdarts.methods.smooth_darts import sdarts_adv, sdarts_rs
from jdarts.methods.snas import snas
from jdarts.methods.staged import p_darts, stac_nas

__all__ = [
    "Method",
    "amended_darts",
    "beta_darts",
    "build",
    "compose",
    "configured",
    "darts",
    "darts_ada",
    "darts_es",
    "darts_minus",
    "darts_plus",
    "darts_pt",
    "drnas",
    "drnas_progressive",
    "drop_nas",
    "enas",
    "fair_darts",
    "fairnas",
    "gdas",
    "get",
    "names",
    "one_shot",
    "p_darts",
    "pc_darts",
    "pr_darts",
    "proxyless_nas",
    "proxyless_nas_reinforce",
    "r_darts",
    "r_darts_dp",
    "random_search",
    "register",
    "rsps",
    "sdarts_adv",
    "sdarts_rs",
    "setn",
    "single_darts",
    "snas",
    "spos",
    "stac_nas",
]
