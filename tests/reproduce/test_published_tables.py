"""The published tables: numbers against independent places of the project, marks, and damaged texts."""

import pytest

from jdarts.errors import UserError
from jdarts.genotypes import published_mobile
from jdarts.methods import build
from jdarts.networks.mobile.size import count_mobile
from jdarts.reproduce.published import TABLES, Number, published
from jdarts.reproduce.published.table import read_rows
from jdarts.reproduce.single_darts import GRIDS

MOBILE = {"PROXYLESS_MOBILE": "ProxylessNAS mobile", "FAIRNAS_A": "FairNAS-A", "MNASNET_A1": "MnasNet-A1"}


def test_every_row_has_a_source_and_a_number():
    rows = [row for table in TABLES.values() for row in table.rows]
    assert all(row.source and any(number is not None for number in row.numbers) for row in rows)
    assert all(len({row.method for row in table.rows}) == len(table.rows) for table in TABLES.values())


def test_recalled_numbers_are_marked():
    table = published("robust_cifar10")
    assert not any(number.recalled for number in table["DARTS"].numbers)
    assert all(number.recalled and str(number).endswith("?") for number in table["R-DARTS (L2)"].numbers)
    assert published("coco").number("DARTS-A (found by DARTS-)", "AP, %") == Number(32.5)


@pytest.mark.parametrize("name", MOBILE)
def test_published_sizes_are_those_of_the_networks(name):
    found = published_mobile.find(name)
    assert found is not None
    count, row = (
        count_mobile(found.architecture, classes=1000, image_size=(224, 224)),
        published("imagenet")[MOBILE[name]],
    )
    parameters, macs = row.numbers[2:]
    assert count.parameters / 1e6 == pytest.approx(parameters.mean, abs=0.06)
    assert count.macs / 1e6 == pytest.approx(macs.mean, abs=0.6)


def test_methods_tell_the_same_results():
    """The results in `Method.published`, which have their own sources."""
    told = {entry.kind: entry.result for entry in build("single_darts").published}
    number = published("nasbench201_b").number("Single-DARTS", "CIFAR-10 test, %")
    assert f"{number.mean:.2f} ± 0 %" in told["nasbench201"]
    error = published("cifar10").number("Single-DARTS (searched on ImageNet, 14 cells)", "test error, %")
    assert f"{error.mean:.2f} %" in told["darts_cnn"]


def test_ablations_have_a_published_row():
    for name, rows in GRIDS.items():
        assert list(rows) == [row.method for row in published(name).rows]


def test_damaged_tables_are_told():
    with pytest.raises(UserError, match="2 numbers for 1 columns"):
        read_rows("a", "", ("x",), "DARTS | 1 | 2 | source")
    with pytest.raises(UserError, match="'about 3' is no number"):
        read_rows("a", "", ("x",), "DARTS | about 3 | source")
    with pytest.raises(UserError, match="unknown row of the published table cifar10 'DART'"):
        published("cifar10")["DART"]
    assert str(read_rows("a", "", ("x",), "DARTS | 3.00 ± 0.14? | source")["DARTS"].numbers[0]) == "3.00 ± 0.14?"
