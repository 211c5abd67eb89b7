"""Search spaces by name. Each is a value with the candidates, the decisions and the supernet of one space.

| spaces | names | found by |
|---|---|---|
| of networks of images, with a relaxation | `names()` | `get("darts_cnn")` |
| of networks of images, for the method enas | `SAMPLED` | `get("enas_micro")` |
| of recurrent cells, for text | `LANGUAGE` | `get_relaxed("darts_rnn")`, `LANGUAGE["darts_rnn"]` |
| decisions of all of these and of `DECISIONS_ONLY`, for strategies | `DESCRIPTIONS` | `get_decisions("proxyless")` |

A space of your own is a value of `define_space`, or a file with one (`jdarts.spaces.user_file`); `register` gives it a
name.

    space = spaces.get("darts_cnn")
    space.tables["normal"]                             # the candidates of every edge
    space.derive(softmax(space.init_alphas(key)))      # a genotype
    space.encode(genotype), space.decode(choices)      # the same as a tuple of decisions
"""

import os
import sys
from dataclasses import replace

from jdarts.config import SpaceConfig
from jdarts.errors import UserError, unknown
from jdarts.genotypes.stacked import STAGES
from jdarts.networks.derived import DerivedNetwork, check_derived
from jdarts.spaces.block_spaces import BlockSpace, nasnet, nasnet_8, pnas
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.darts_cnn import darts_cnn, darts_cnn_7
from jdarts.spaces.decisions import Choices, Decision, DecisionSpace
from jdarts.spaces.define import define_space
from jdarts.spaces.enas_macro import EnasMacroSpace, enas_macro
from jdarts.spaces.enas_micro import EnasMicroSpace, enas_micro
from jdarts.spaces.gold_nas import gold_nas
from jdarts.spaces.layer_choices import LayerChoices
from jdarts.spaces.mnasnet import mnasnet
from jdarts.spaces.mnasnet_mobile import MnasNetMobileSpace, mnasnet_mobile
from jdarts.spaces.mobile import MobileSpace, fairnas, mobile_s5, proxyless, spos
from jdarts.spaces.nas_chain import ChainSpace, nas_chain, nas_chain_strides
from jdarts.spaces.nasbench201 import NASBench201Space, nasbench201
from jdarts.spaces.nasbench_macro import nasbench_macro
from jdarts.spaces.one_shot import OneShotSpace, one_shot
from jdarts.spaces.per_cell import PerCellSpace
from jdarts.spaces.progressive_blocks import ProgressiveBlocks, pnas_progressive
from jdarts.spaces.random_wiring import RandomWiringSpace, random_wiring
from jdarts.spaces.recurrent import DartsRecurrentSpace, RecurrentSpace, darts_rnn, enas_lm_rnn, enas_rnn
from jdarts.spaces.robust_darts import robust_s1, robust_s2, robust_s3, robust_s4
from jdarts.spaces.space import ImageSpace, Space

__all__ = [
    "DECISIONS_ONLY",
    "DESCRIPTIONS",
    "LANGUAGE",
    "SAMPLED",
    "BlockSpace",
    "CellSpace",
    "ChainSpace",
    "Choices",
    "DartsRecurrentSpace",
    "Decision",
    "DecisionSpace",
    "DerivedNetwork",
    "EnasMacroSpace",
    "EnasMicroSpace",
    "ImageSpace",
    "LayerChoices",
    "MnasNetMobileSpace",
    "MobileSpace",
    "NASBench201Space",
    "OneShotSpace",
    "PerCellSpace",
    "ProgressiveBlocks",
    "RandomWiringSpace",
    "RecurrentSpace",
    "Space",
    "as_configured",
    "check_derived",
    "configured",
    "configured_decisions",
    "darts_cnn",
    "darts_cnn_7",
    "darts_rnn",
    "define_space",
    "enas_lm_rnn",
    "enas_macro",
    "enas_micro",
    "enas_rnn",
    "fairnas",
    "get",
    "get_decisions",
    "get_relaxed",
    "gold_nas",
    "kind",
    "mnasnet",
    "mnasnet_mobile",
    "mobile_s5",
    "names",
    "nas_chain",
    "nas_chain_strides",
    "nasbench201",
    "nasbench_macro",
    "nasnet",
    "nasnet_8",
    "one_shot",
    "pnas",
    "pnas_progressive",
    "proxyless",
    "random_wiring",
    "register",
    "robust_s1",
    "robust_s2",
    "robust_s3",
    "robust_s4",
    "source_file",
    "spos",
]

DESCRIPTIONS = {
    "darts_cnn": "S0: DARTS cells, 8 ops an edge (Liu et al. 2019, arXiv:1806.09055)",
    "darts_cnn_7": "S0 without none, 7 ops an edge (FairDARTS, arXiv:1911.12126; DrNAS, arXiv:2006.10355)",
    "robust_s1": "S1: a different pair of ops on every edge (Zela et al. 2020, arXiv:1909.09656)",
    "robust_s2": "S2: skip_connect and sep_conv_3x3 (Zela et al. 2020, arXiv:1909.09656)",
    "robust_s3": "S3: none, skip_connect and sep_conv_3x3 (Zela et al. 2020, arXiv:1909.09656)",
    "robust_s4": "S4: noise and sep_conv_3x3 (Zela et al. 2020, arXiv:1909.09656)",
    "gold_nas": "S-GOLD: skip_norm and sep_conv_3x3, for GOLD-NAS (Bi et al. 2020, arXiv:2007.03331)",
    "nasbench201": "S6: one cell of 6 edges, 5 ops an edge (Dong & Yang 2020, arXiv:2001.00326)",
    "darts_rnn": "recurrent cells, 8 nodes, 5 activations an edge, for text (Liu et al. 2019, arXiv:1806.09055)",
    "nasbench_macro": "8 layers of 3 blocks each (Su et al. 2021, arXiv:2103.11922)",
    "mnasnet": "7 stages of mobile blocks, by table (Tan et al. 2019, arXiv:1807.11626; Accel-NASBench)",
    "proxyless": "21 mobile layers, 6 blocks each or none (Cai et al. 2019, arXiv:1812.00332)",
    "fairnas": "19 mobile layers, 6 blocks each (Chu et al. 2021, arXiv:1907.01845)",
    "mobile_s5": "S5: the same with the identity (DARTS-, arXiv:2009.01027; FairDARTS, arXiv:1911.12126)",
    "mnasnet_mobile": "7 stages around MobileNetV2: ops, kernels, widths, depths (Tan et al. 2019, arXiv:1807.11626)",
    "spos": "20 ShuffleNet blocks of 4 kinds (Guo et al. 2020, arXiv:1904.00420)",
    "one_shot": "cells of 4 choice blocks, for the method one_shot (Bender et al. 2018, PMLR 80)",
    "nasnet": "NASNet cells: 5 blocks, 13 ops (Zoph et al. 2018, arXiv:1707.07012)",
    "nasnet_8": "the same with the first 8 of these ops (Zoph et al. 2018, arXiv:1707.07012)",
    "pnas": "one cell of 5 blocks, 8 ops (Liu et al. 2018, arXiv:1712.00559)",
    "pnas_progressive": "the same with 1 to 5 blocks, for the strategy pnas (Liu et al. 2018, arXiv:1712.00559)",
    "enas_micro": "ENAS cells: 5 nodes, 5 ops; also for the method enas (Pham et al. 2018, arXiv:1802.03268)",
    "enas_macro": "ENAS networks: 12 layers of 6 ops; also for the method enas (Pham et al. 2018, arXiv:1802.03268)",
    "nas_chain": "chains of 15 convolutions with skips (Zoph & Le 2017, arXiv:1611.01578)",
    "nas_chain_strides": "the same with 20 convolutions and strides (Zoph & Le 2017, arXiv:1611.01578)",
    "random_wiring": "29 generators of random graphs of 32 nodes, and seeds (Xie et al. 2019, arXiv:1904.01569)",
    "enas_rnn": "recurrent cells of ENAS, 12 nodes, for text (Pham et al. 2018, arXiv:1802.03268)",
    "enas_lm_rnn": "recurrent cells of ENAS' second release, enas_lm, 8 nodes (Pham et al. 2018, arXiv:1802.03268)",
}
DECISIONS_ONLY: dict[str, DecisionSpace] = {
    space.name: space
    for space in (
        mnasnet,
        mnasnet_mobile,
        nasnet,
        nasnet_8,
        pnas,
        pnas_progressive,
        enas_micro,
        enas_macro,
        nas_chain,
        nas_chain_strides,
        random_wiring,
    )
}
"""Spaces of which a search of images takes only the decisions.

`mnasnet` is that of a benchmark table; jdarts builds no networks of it.
"""
LANGUAGE: dict[str, RecurrentSpace] = {space.name: space for space in (darts_rnn, enas_rnn, enas_lm_rnn)}
"""Spaces of language models: a search on text takes them, a search on images does not. Only the first has alphas."""
SAMPLED: dict[str, ImageSpace] = {space.name: space for space in (enas_micro, enas_macro)}
"""Spaces of images without a relaxation, whose supernet takes sampled architectures only."""
CHAINS: dict[str, LayerChoices] = {space.name: space for space in (nasbench_macro, proxyless, fairnas, mobile_s5, spos)}
"""Spaces of images with a choice for each layer of a chain."""
_SPACES: dict[str, ImageSpace] = {}
_FILES: dict[str, str] = {}


def register(space: ImageSpace) -> ImageSpace:
    """Make a space available to configurations under its name.

    A file that is executed again replaces its own spaces. Raises `UserError` if another file has that name.
    """
    file = os.path.realpath(sys._getframe(1).f_code.co_filename)
    if _FILES.get(space.name, file) != file:
        raise UserError(
            f"a space named {space.name!r} is already registered, by {_FILES[space.name]}; choose another name for "
            f"that of {file}"
        )
    _SPACES[space.name], _FILES[space.name] = space, file
    return space


def source_file(name: str) -> str:
    """The file that a space was defined or registered in; raises `UserError` if there is none."""
    if not name.endswith(".py"):
        get(name)
    return name if name.endswith(".py") else _FILES[name]


def get(name: str) -> ImageSpace:
    """The registered space of that name, or the one that a file defines; raises `UserError` if there is none.

    A name that ends in `.py` is a file with a module-level `space` (see `jdarts.spaces.user_file`); it is executed.
    """
    if name.endswith(".py"):
        from jdarts.spaces.user_file import load_space

        return load_space(name)
    if name in LANGUAGE:
        raise UserError(f"space {name} is one of language models; choose a space of images, or a data.source of text")
    if name in SAMPLED:
        return SAMPLED[name]
    if name in DECISIONS_ONLY:
        raise UserError(
            f"space {name} has no relaxation; search it with --strategy, or choose from: {', '.join(_SPACES)}"
        )
    if name not in _SPACES:
        raise unknown("space", name, _SPACES, page="jdarts spaces")
    return _SPACES[name]


def configured(settings: SpaceConfig) -> ImageSpace:
    """The space of a configuration, as `get`, with its stem and its alphas for each cell. Raises `UserError`."""
    return as_configured(get(settings.name), settings)


def as_configured(space: ImageSpace, settings: SpaceConfig) -> ImageSpace:
    """A space with the stem of `settings`, and with alphas for each cell unless they are shared."""
    if settings.stem != "cifar":
        if not isinstance(space, CellSpace):
            raise UserError(
                f"space.stem is {settings.stem}, but the networks of space {settings.name} have a stem of their own; "
                "leave it out"
            )
        space = replace(space, stem=settings.stem)
    if settings.shared:
        return space
    if isinstance(space, CellSpace):
        return PerCellSpace(space, settings.cells)
    if isinstance(space, NASBench201Space):
        return PerCellSpace(space, STAGES * settings.cells)
    raise _nothing_to_share(settings.name)


def _nothing_to_share(name: str) -> UserError:
    return UserError(
        f"space.shared is false, but space {name} has no alphas that cells share; it is for DARTS cells and "
        "nasbench201: leave it out"
    )


def get_relaxed(name: str) -> Space:
    """The space of that name, of images (`get`) or of language models (`LANGUAGE`); raises `UserError` if unknown."""
    return LANGUAGE[name] if name in LANGUAGE else get(name)


def kind(name: str) -> str:
    """The space of jdarts whose published settings and options hold in the space of that name.

    It is the space itself, or, for spaces of DARTS cells, "darts_cnn". Spaces that users define, under a name or in a
    file, are of the kind of their class. Raises what `get_relaxed` raises.
    """
    if name in DESCRIPTIONS and name not in _SPACES:
        return name
    if name in CHAINS:
        return name
    space, others = get_relaxed(name), (nasbench201, enas_micro, enas_macro, one_shot)
    return next((other.name for other in others if isinstance(space, type(other))), "darts_cnn")


def configured_decisions(settings: SpaceConfig) -> DecisionSpace:
    """The space of decisions of a configuration, as `get_decisions`; with `shared` false those of every cell."""
    space = get_decisions(settings.name)
    if settings.shared:
        return space
    if not isinstance(space, (CellSpace, NASBench201Space)):
        raise _nothing_to_share(settings.name)
    return as_configured(space, settings)


def get_decisions(name: str) -> DecisionSpace:
    """The space of decisions of that name: one of `DECISIONS_ONLY`, or any that `get` knows.

    Raises `UserError` if there is none.
    """
    if name in DECISIONS_ONLY:
        return DECISIONS_ONLY[name]
    if not name.endswith(".py") and name not in (*_SPACES, *LANGUAGE):
        raise unknown("space", name, (*_SPACES, *LANGUAGE, *DECISIONS_ONLY), page="jdarts spaces")
    return get_relaxed(name)


def names() -> tuple[str, ...]:
    """The names of all registered spaces of networks of images."""
    return tuple(_SPACES)


_CELLS = (darts_cnn, darts_cnn_7, robust_s1, robust_s2, robust_s3, robust_s4, gold_nas, nasbench201, one_shot)
for _space in (*_CELLS, *CHAINS.values()):
    register(_space)
