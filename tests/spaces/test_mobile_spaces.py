"""Spaces of mobile networks: their sizes, the published networks in them, and the numbers of the papers."""

import math

import pytest
from support.mobile import mobile

from jdarts import spaces
from jdarts.errors import UserError
from jdarts.genotypes import MobileLayer, parse_architecture
from jdarts.genotypes.published_mobile import SPOS_ARC, mobile_network
from jdarts.networks.mobile.size import count_mobile
from jdarts.spaces.mobile import proxyless_space

SPACES = (spaces.proxyless, spaces.fairnas, spaces.mobile_s5, spaces.mnasnet_mobile, spaces.spos)
FAIRNAS_A = (2, 0, 2, 3, 5, 0, 0, 5, 5, 1, 3, 1, 1, 3, 3, 5, 3, 5, 4)
PROXYLESS_R_MOBILE = (1, 0, 6, 6, 2, 0, 1, 1, 5, 1, 1, 1, 4, 1, 1, 1, 5, 5, 2, 2, 5)
"""In the numbering of FairNAS: kernels 3, 5, 7 with expansion 3, then with 6; 6 is the identity."""
AS_PROXYLESS = (0, 2, 4, 1, 3, 5, 6)
"""The same options in the order of ProxylessNAS: expansions 3 and 6 of kernel 3, then of 5, then of 7."""


def test_sizes_are_those_of_the_papers():
    assert spaces.proxyless.size == 6**6 * 7**15
    assert spaces.fairnas.size == 6**19
    assert spaces.mobile_s5.size == 6**6 * 7**13
    assert spaces.spos.size == 4**20
    blocks = 4 * 2 * 2 * 3  # op, kernel, squeeze-and-excitation, filters
    depths = [(1 + 3) ** 2, 1 + 3 + 3, (3 + 3 + 3) ** 4]  # MobileNetV2 has 1 layer twice, once 2, four times 3 or 4
    assert spaces.mnasnet_mobile.size == blocks**7 * math.prod(depths)


def test_published_networks_belong_to_their_spaces():
    assert spaces.fairnas.encode(mobile("FAIRNAS_A")) == FAIRNAS_A
    assert spaces.mobile_s5.encode(mobile("FAIRNAS_A")) == FAIRNAS_A
    assert spaces.spos.encode(mobile("SPOS")) == SPOS_ARC
    phone = proxyless_space("phone", (32, 40, 80, 96, 192, 320))
    assert phone.encode(mobile("PROXYLESS_MOBILE")) == tuple(AS_PROXYLESS[g] for g in PROXYLESS_R_MOBILE)


@pytest.mark.parametrize(
    ("space", "choices", "parameters", "macs"),
    [
        (spaces.proxyless, [AS_PROXYLESS[g] for g in PROXYLESS_R_MOBILE], 4_073_520, 304.23),
        (spaces.fairnas, [0] * 19, 3_189_080, 247.13),
        (spaces.fairnas, [3] * 19, 4_679_144, 452.04),
        (spaces.fairnas, [5] * 19, 5_090_024, 557.41),
        (spaces.spos, [0] * 20, None, 295.84),
        (spaces.spos, [1] * 20, None, 313.65),
        (spaces.spos, [2] * 20, None, 340.37),
        (spaces.spos, [3] * 20, None, 358.83),
    ],
)
def test_sizes_of_networks_in_a_space(space, choices, parameters, macs):
    count = count_mobile(space.decode(choices))
    assert parameters in (None, count.parameters)
    assert round(count.macs / 1e6, 2) == macs


def test_the_identity_is_a_candidate_where_nothing_changes():
    options = [decision.options for decision in spaces.mobile_s5.decisions]
    assert options == [6, 7, *([6, 7, 7, 7] * 4), 6]
    identity = spaces.mobile_s5.decode([0, 6, *[0] * 17]).layers[3]
    assert identity == MobileLayer("identity", 32)


def test_a_block_of_mnasnet_has_equal_layers():
    names = [decision.name for decision in spaces.mnasnet_mobile.decisions]
    choices = [0] * len(names)
    for name, choice in (("op", 3), ("kernel", 1), ("squeeze_excite", 1), ("filters", 2), ("layers", 2), ("skip", 1)):
        choices[names.index(f"block_2.{name}")] = choice
    network = spaces.mnasnet_mobile.decode(choices)
    block = [layer.to_text() for layer in network.layers if layer.expansion == 6]
    inner = "mb_k5_e6_se0.25_c40_poolskip"
    assert block == ["mb_k5_e6_se0.25_c40_s2", inner, inner, inner], "three layers of MobileNetV2, and one more"
    assert spaces.mnasnet_mobile.encode(network) == tuple(choices)


def test_the_skip_of_a_single_layer_is_no_decision():
    names = [decision.name for decision in spaces.mnasnet_mobile.decisions]
    choices = [0] * len(names)
    choices[names.index("block_0.skip")] = 2
    network = spaces.mnasnet_mobile.decode(choices)
    assert spaces.mnasnet_mobile.encode(network) == (0,) * len(names)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_networks_of_other_spaces_are_refused(space):
    first = parse_architecture("fairnas: conv_k3_c32_s2 conv_k1_c1280")
    other = mobile_network("spos", (16,), [MobileLayer("conv", 8)] * 20, 1024)
    for wrong in (first, other, "FAIRNAS_A", parse_architecture("DARTS_V2")):
        with pytest.raises(UserError, match=f"does not belong to space {space.name}"):
            space.encode(wrong)
