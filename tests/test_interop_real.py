"""A supernet that RobustDARTS trained in PyTorch reaches the accuracy here that its log reports there."""

import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts import staging
from jdarts.config import DataConfig
from jdarts.data import Augmentation, load, normalize
from jdarts.genotypes import Cell, Genotype
from jdarts.interop import load_torch_supernet, save_torch_supernet
from jdarts.networks.reductions import reduction_cells
from jdarts.networks.wiring import EDGES, row
from jdarts.spaces import CellSpace, robust_s3

SHARED = Path(__file__).parents[2] / "shared" / "data"
WEIGHTS, LOG = (SHARED / "robustdarts_s3" / name for name in ("weights.npz", "log.txt"))
UNPACK = SHARED / "cifar10_unpack.py"  # run by the fixture `cifar10_folder`
BATCH = 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(path.exists() for path in (WEIGHTS, LOG, UNPACK)),
        reason="needs shared/data/robustdarts_s3 and shared/data/cifar10_unpack.py beside the repository",
    ),
]

# (source, op) of two edges a node, ops in the order of S3, as the log writes them in its last lines.
NORMAL = ((0, 2), (1, 0), (1, 1), (2, 2), (3, 1), (2, 0), (4, 0), (3, 2))
REDUCE = ((0, 2), (1, 0), (2, 1), (0, 1), (3, 0), (1, 2), (4, 2), (3, 2))


def _cell(pairs):
    edges = [(robust_s3.normal[0][op], source) for source, op in pairs]
    return Cell(nodes=tuple(zip(edges[::2], edges[1::2], strict=True)), concat=(2, 3, 4, 5))


def _logged_accuracy() -> float:
    """The accuracy in percent, from the log's objective, which is one minus the accuracy in percent."""
    best = rf"best arch: {re.escape(f'{list(NORMAL)} {list(REDUCE)}')}, best arch valid performance: (-[\d.]+)"
    match = re.search(best, LOG.read_text())
    assert match is not None
    return 1 - float(match[1])


@pytest.fixture(scope="module")
def validation(cifar10_folder):
    """The last 25,000 training images, which the search validated on."""
    dataset = load(DataConfig(source="cifar10", path=str(cifar10_folder)))
    return dataset.train.images[25_000:], dataset.train.labels[25_000:], dataset.mean, dataset.std


def _used_alone(arrays, genotype):
    """The space in which every edge has just its op of `genotype`, and the arrays of that op."""
    rows = {}
    for cell_type, cell in genotype.cells.items():
        ops = {row(source, t): op for t, edges in enumerate(cell.live_nodes, 2) for op, source in edges}
        rows[cell_type] = [ops.get(i, "none") for i in range(EDGES)]
    kept = {}
    for name, array in arrays.items():
        match = re.fullmatch(r"cells\.(\d+)\._ops\.(\d+)\._ops\.(\d+)\.(.*)", name)
        if match is None:
            kept[name] = array
            continue
        c, edge, k = map(int, match.groups()[:3])
        cell_type = "reduce" if c in reduction_cells(8) else "normal"
        if robust_s3.tables[cell_type][edge][k] == rows[cell_type][edge]:
            kept[f"cells.{c}._ops.{edge}._ops.0.{match[4]}"] = array
    tables = {cell_type: tuple((op,) for op in ops) for cell_type, ops in rows.items()}
    return CellSpace("used_alone", **tables), kept


def _network(space, variables, op_weights, **options):
    supernet = space.supernet(channels=16, cells=8, classes=10)

    @partial(jax.jit, compiler_options={**(staging.compiler_options() or {}), **options})
    def logits(images):
        return supernet.apply(variables, op_weights, images, False)

    return logits


@pytest.fixture(scope="module")
def networks():
    """The whole supernet with one-hot op weights, and the five times faster one of the used ops alone."""
    genotype = Genotype(normal=_cell(NORMAL), reduce=_cell(REDUCE))
    arrays = dict(np.load(WEIGHTS))
    whole = _network(robust_s3, load_torch_supernet(arrays, robust_s3), robust_s3.one_hot(genotype))
    space, kept = _used_alone(arrays, genotype)
    fast = {"xla_backend_optimization_level": 3}  # for thousands of images
    return whole, _network(space, load_torch_supernet(kept, space), space.one_hot(genotype), **fast)


@pytest.fixture(scope="module")
def correct(validation, networks):
    """Number of images of a batch classified correctly: `correct(key, images, labels, crop_padding=, flip=)`."""
    _, _, mean, std = validation
    _, logits = networks

    def counted(key, images, labels, **augmentation):
        batch = Augmentation(mean=mean, std=std, cutout=0, **augmentation)(key, images)
        return jnp.sum(logits(batch).argmax(-1) == labels)

    return counted


def _accuracy(correct, validation, every: int = 1, **augmentation) -> float:
    images, labels, *_ = validation
    assert len(images) == 25_000
    images, labels = images[::every], labels[::every]
    keys = jax.random.split(jax.random.key(0), len(images) // BATCH)
    right = [
        correct(key, images[i : i + BATCH], labels[i : i + BATCH], **augmentation)
        for key, i in zip(keys, range(0, len(images), BATCH), strict=True)
    ]
    return 100 * sum(int(n) for n in right) / len(images)


def test_accuracy_of_the_logged_architecture(correct, validation):
    # The log's loader augments the validation images like the training images; our draws differ. All 25,000 images
    # come within 0.5 % of the log; of a tenth of them the accuracy has a standard deviation of 1.0 %.
    augmented = _accuracy(correct, validation, every=10, crop_padding=4, flip=True)
    assert augmented == pytest.approx(_logged_accuracy(), abs=1.5)
    plain = _accuracy(correct, validation, every=10, crop_padding=0, flip=False)
    assert plain > augmented
    assert plain == pytest.approx(60.84, abs=0.1)  # as measured (all images: 60.28): no chance is involved
    print(f"augmented {augmented:.3f} %, plain {plain:.3f} %, logged {_logged_accuracy():.3f} %")


def test_ops_that_are_switched_off_change_nothing(networks, validation):
    images, _, mean, std = validation
    batch = normalize(images[:20], mean=mean, std=std)
    np.testing.assert_allclose(*(network(batch) for network in networks), rtol=1e-4, atol=1e-4)


def test_round_trip_of_the_trained_weights():
    arrays = dict(np.load(WEIGHTS))
    saved = save_torch_supernet(load_torch_supernet(arrays, robust_s3), robust_s3)
    assert list(saved) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(saved[name], array)
