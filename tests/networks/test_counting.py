import csv
import gzip
from pathlib import Path

import pytest

from jdarts.errors import UserError
from jdarts.genotypes import Cell, Genotype, parse, published
from jdarts.networks.counting import count_darts_cnn, count_nasbench201

CIFAR = {"channels": 36, "cells": 20, "classes": 10}
IMAGENET = {"channels": 48, "cells": 14, "classes": 1000, "image_size": 224, "stem": "imagenet"}
BENCHMARK = Path(__file__).parents[3] / "shared" / "data" / "nasbench201.csv.gz"
# Computed independently of this code, by the same definitions.
ROWS = list(csv.DictReader(Path(__file__).with_name("genotype_counts.csv").open()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_sizes_of_published_cells(row):
    genotype = published.get(row["name"])
    count = count_darts_cnn(genotype, **CIFAR)
    assert count.parameters == int(row["cifar10_parameters"])
    assert f"{count.macs / 1e6:.2f}" == row["cifar10_mmacs"]
    if row["imagenet_parameters"]:
        count = count_darts_cnn(genotype, **IMAGENET)
        assert count.parameters == int(row["imagenet_parameters"])
        assert f"{count.macs / 1e6:.2f}" == row["imagenet_mmacs"]


def test_every_published_darts_cell_has_a_row():
    assert {row["name"] for row in ROWS} == {n for n in published.names() if published.get(n).reduce is not None}


def _breakdown(groups):
    return [(parameters, macs) for repeats, parameters, macs in groups for _ in range(repeats)]


def test_breakdown_of_darts_v2_on_cifar():
    count = count_darts_cnn(published.get("DARTS_V2"), **CIFAR)
    assert [(module.parameters, module.macs) for module in count.modules] == _breakdown(
        [
            (1, 3_132, 2_985_984),
            (1, 26_532, 26_210_304),
            (1, 27_828, 27_537_408),
            (4, 29_124, 28_864_512),
            (1, 21_024, 21_233_664),
            (1, 97_128, 24_385_536),
            (5, 107_496, 27_039_744),
            (1, 83_520, 21_233_664),
            (1, 370_512, 23_473_152),
            (5, 411_984, 26_127_360),
            (1, 5_770, 5_760),
        ]
    )
    assert (count.parameters, count.macs) == (3_349_342, 528_359_040)
    names = [module.name for module in count.modules]
    assert names[0] == "stem" and names[7] == "cell6 (reduce)" and names[-1] == "classifier"


def test_breakdown_of_darts_v2_on_imagenet():
    count = count_darts_cnn(published.get("DARTS_V2"), **IMAGENET)
    assert [(module.parameters, module.macs) for module in count.modules] == _breakdown(
        [
            (1, 11_160, 40_642_560),
            (1, 20_832, 16_257_024),
            (1, 35_952, 27_207_936),
            (1, 42_864, 32_626_944),
            (2, 49_776, 38_045_952),
            (1, 37_248, 28_901_376),
            (1, 168_672, 32_570_496),
            (3, 187_104, 36_183_168),
            (1, 148_224, 28_901_376),
            (1, 650_688, 31_639_104),
            (3, 724_416, 35_251_776),
            (1, 769_000, 768_000),
        ]
    )
    assert (count.parameters, count.macs) == (4_718_752, 529_911_552)


def test_small_network_and_another_width():
    small = count_darts_cnn(published.get("DARTS_V2"), channels=16, cells=8, classes=10)
    assert (small.parameters, small.macs) == (246_106, 43_444_736)
    gdas = count_darts_cnn(published.get("GDAS_V1"), **IMAGENET | {"channels": 50})
    assert (gdas.parameters, f"{gdas.macs / 1e6:.2f}") == (5_345_075, "581.01")


@pytest.mark.parametrize(
    ("network", "auxiliary", "parameters"),
    [(CIFAR, True, 476_426), (IMAGENET, True, 1_262_312), (IMAGENET, "one_norm", 1_260_776)],
)
def test_auxiliary_head(network, auxiliary, parameters):
    genotype = published.get("DARTS_V2")
    plain, full = (count_darts_cnn(genotype, **network, auxiliary=value) for value in (False, auxiliary))
    assert full.modules[:-1] == plain.modules
    assert full.modules[-1].name == "auxiliary"
    assert full.modules[-1].parameters == full.parameters - plain.parameters == parameters


def _single(op):
    return Genotype(Cell(((("none", 0), (op, 1)),), (2,)), Cell(((("none", 0), ("none", 1)),), (2,)))


@pytest.mark.parametrize(
    ("op", "parameters", "macs"),
    [
        ("sep_conv_3x3", 864, 819_200),
        ("sep_conv_5x5", 1376, 2 * (25 * 16 + 256) * 1024),
        ("dil_conv_3x3", 432, (9 * 16 + 256) * 1024),
        ("dil_conv_5x5", 688, (25 * 16 + 256) * 1024),
        ("nor_conv_3x3", 9 * 256 + 32, 9 * 256 * 1024),
        ("conv_7x1_1x7", 14 * 256 + 32, 14 * 256 * 1024),
        ("skip_connect", 0, 0),
        ("max_pool_3x3", 0, 0),
        ("noise", 0, 0),
    ],
)
def test_single_ops(op, parameters, macs):
    cell = [  # the first of three cells is the only normal one
        count_darts_cnn(_single(name), channels=16, cells=3, classes=10).modules[1] for name in (op, "none")
    ]
    assert cell[0].parameters - cell[1].parameters == parameters
    assert cell[0].macs - cell[1].macs == macs


@pytest.mark.parametrize(
    ("arch", "parameters", "mmacs"),
    [
        ("nasbench201_best_cifar10", 1_073_466, "153.273"),
        ("nasbench201_best_cifar100", 1_288_506, "184.730"),
        ("nasbench201_best_imagenet16_validation", 858_426, "121.816"),
        ("nasbench201_resnet", 559_386, "78.562"),
        ("nasbench201_all_nor_conv_3x3", 1_531_546, "220.120"),
        ("nasbench201_all_nor_conv_1x1", 241_306, "31.376"),
        ("nasbench201_all_skip_connect", 73_306, "7.783"),
    ],
)
def test_sizes_of_nasbench201_networks(arch, parameters, mmacs):
    count = count_nasbench201(parse(arch))
    assert (count.parameters, f"{count.macs / 1e6:.3f}") == (parameters, mmacs)
    assert len(count.modules) == 17 + 3


@pytest.mark.parametrize(
    ("arch", "classes", "image_size", "parameters", "mmacs"),
    [
        ("nasbench201_best_cifar100", 100, 32, 1_294_356, "184.736"),
        ("nasbench201_best_cifar100", 120, 16, 1_295_656, "46.190"),
        ("nasbench201_best_imagenet16_validation", 120, 16, 865_576, "30.462"),
    ],
)
def test_sizes_of_nasbench201_networks_on_other_data(arch, classes, image_size, parameters, mmacs):
    count = count_nasbench201(parse(arch), classes=classes, image_size=image_size)
    assert (count.parameters, f"{count.macs / 1e6:.3f}") == (parameters, mmacs)


@pytest.mark.skipif(not BENCHMARK.exists(), reason="the NAS-Bench-201 table ../shared/data is not there")
def test_all_architectures_of_nasbench201():
    with gzip.open(BENCHMARK, "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15_625
    for row in rows:
        genotype = parse(row["arch"])
        count = count_nasbench201(genotype)
        assert genotype.to_nasbench201() == row["arch"]
        assert (count.parameters, count.macs) == (int(row["params_c10"]), int(row["flops_c10"])), row["arch"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 35}, "channels is 35; it must be even"),
        ({"channels": 0}, "channels is 0; it must be a whole number of at least 1"),
        ({"cells": 2.0}, "cells is 2.0; it must be a whole number"),
        ({"image_size": 2}, "image_size is 2"),
        ({"image_size": 30}, "image_size is 30.*use a multiple of 4"),
        ({"stem": "imagenet", "image_size": 220}, "image_size is 220.*use a multiple of 32"),
        ({"stem": "cifer"}, "unknown stem 'cifer'; did you mean 'cifar'"),
        ({"image_size": 16, "auxiliary": True}, "auxiliary head sees 4×4 pixels"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        count_darts_cnn(published.get("DARTS_V2"), **CIFAR | change)


def test_genotypes_of_the_other_family_are_refused():
    with pytest.raises(UserError, match="count_nasbench201"):
        count_darts_cnn(published.get("nasbench201_resnet"), **CIFAR)
    with pytest.raises(UserError, match="count_darts_cnn"):
        count_nasbench201(published.get("DARTS_V2"))
    with pytest.raises(UserError, match="image_size is 30; use a multiple of 4"):
        count_nasbench201(published.get("nasbench201_resnet"), image_size=30)


@pytest.mark.parametrize("sizes", [(32, 64), (64, 32)])
def test_images_that_are_not_square(sizes):
    """Every convolution of a DARTS network treats all pixels equally: twice the pixels are twice the MACs."""
    genotype, options = published.get("DARTS_V2"), {"channels": 8, "cells": 5, "classes": 10}
    square, wide = (count_darts_cnn(genotype, **options, image_size=size) for size in (32, sizes))
    classifier = square.modules[-1].macs
    assert wide.parameters == square.parameters
    assert wide.macs - classifier == 2 * (square.macs - classifier)
    arch = published.get("nasbench201_resnet")
    small, large = (count_nasbench201(arch, image_size=size) for size in (32, sizes))
    assert large.macs - small.modules[-1].macs == 2 * (small.macs - small.modules[-1].macs)
    with pytest.raises(UserError, match="image_size is 32x30"):
        count_darts_cnn(genotype, **options, image_size=(32, 30))
