"""The loader of RobustDARTS' published alpha-Hessians: a small copy in both layouts, and facts about the real data."""

import json

import numpy as np
import pytest

from jdarts import spaces
from jdarts.analysis import published_hessians, shift_directions
from jdarts.errors import UserError
from jdarts.genotypes import parse
from jdarts.stopping import curvature_is_gone, eigenvalue_growth

EPOCHS = (0, 2, 3)
SETTINGS = [
    ("s1", "cifar10", "0.2", "0.0003", 1),
    ("s1", "cifar10", "0.2", "0.0003", 2),
    ("s3", "svhn", "0.0", "0.01", 3),
]


def matrices_of(index):
    raw = np.random.default_rng(index).normal(size=(len(EPOCHS), 3 + index // 2, 3 + index // 2)).astype(np.float32)
    return raw + raw.swapaxes(1, 2)


def write_compact(folder):
    runs, rows = [], {}
    for index, (space, dataset, drop_path, decay, seed) in enumerate(SETTINGS):
        matrices = matrices_of(index)
        own = rows.setdefault(f"size{matrices.shape[1]}", [])
        run = dict(space=space, dataset=dataset, drop_path=float(drop_path), weight_decay=float(decay), seed=seed)
        run |= dict(size=matrices.shape[1], first_row=len(own), epochs=EPOCHS, genotypes=[f"g{e}" for e in range(4)])
        runs.append(run | {"valid_accuracy": [60.5 + e for e in range(4)]})
        own += [[m[i, j] for i in range(len(m)) for j in range(i, len(m))] for m in matrices]
    np.savez(folder / "upper_triangles.npz", **{name: np.array(own) for name, own in rows.items()})
    (folder / "runs.json").write_text(json.dumps(runs))


def write_clone(folder):
    for index, (space, dataset, drop_path, decay, seed) in enumerate(SETTINGS):
        own = folder / "experiments" / "search_logs" / space / dataset / f"{drop_path}_{decay}-251{space[1]}"
        own.mkdir(parents=True, exist_ok=True)
        readings = [{"epoch": e, "H": h.tolist(), "g": [0.0]} for e, h in zip(EPOCHS, matrices_of(index), strict=True)]
        (own / f"derivatives_{seed}.json").write_text("".join(json.dumps(r) + "\n" for r in readings))
        log = [f"2019 valid 000 1.0\n2019 valid_acc {60.5 + e}\n2019 genotype = g{e}\n" for e in range(4)]
        (own / f"log_{seed}.txt").write_text("2019 train_acc 1.0\n" + "".join(log))


@pytest.mark.parametrize("write", [write_compact, write_clone])
def test_both_layouts_give_the_same_searches(write, tmp_path):
    write(tmp_path)
    searches = published_hessians.load(tmp_path)
    assert [s.name for s in searches] == [
        "s1 cifar10, drop-path 0.2, decay 0.0003, seed 1",
        "s1 cifar10, drop-path 0.2, decay 0.0003, seed 2",
        "s3 svhn, drop-path 0, decay 0.01, seed 3",
    ]
    for index, search in enumerate(searches):
        np.testing.assert_array_equal(search.hessians, matrices_of(index))
        assert search.epochs.tolist() == list(EPOCHS)
        assert search.valid_accuracy.tolist() == [60.5, 61.5, 62.5, 63.5]
        largest = [np.linalg.eigvals(m).real.max() for m in matrices_of(index).astype(np.float64)]
        np.testing.assert_allclose(search.eigenvalues[:, 0], largest)
        records = search.records()
        assert [r["epoch"] for r in records] == [1, 2, 3, 4]
        assert [r["genotype"] for r in records] == ["g0", "g1", "g2", "g3"]
        np.testing.assert_allclose([r["dominant_eigenvalue"] for r in records if r["epoch"] != 2], largest)
        assert "dominant_eigenvalue" not in records[1]


def change_runs(change):
    def damage(folder):
        runs = json.loads((folder / "runs.json").read_text())
        change(runs)
        (folder / "runs.json").write_text(json.dumps(runs))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_runs(lambda runs: runs[1].pop("first_row")), "runs.json, search 1: no entry 'first_row'"),
        (change_runs(lambda runs: runs[1].pop("seed")), "runs.json, search 1: no entry 'seed'"),
        (
            change_runs(lambda runs: runs[1].update(first_row=4)),
            r"search 1: needs the rows 4 to 6 of size3 \[rows, 6\]",
        ),
        (change_runs(lambda runs: runs[1].update(first_row=-3)), "search 1: needs the rows -3 to -1 of size3"),
        (change_runs(lambda runs: runs[2].update(size=84)), "search 2: needs the rows 0 to 2 of size84"),
        (change_runs(lambda runs: runs[0].update(epochs=[0, 2, 9])), r"the epochs \[0, 2, 9\], genotypes of 4 epochs"),
        (change_runs(lambda runs: runs[0]["valid_accuracy"].pop()), "search 0: 3 accuracies, genotypes of 4 epochs"),
        (change_runs(lambda runs: runs[0].update(weight_decay="much")), "search 0: could not convert string to float"),
        (lambda folder: (folder / "runs.json").write_text('{"runs": 67}'), "is not a list of searches"),
        (lambda folder: (folder / "runs.json").write_text('[{"space"'), "cannot be read"),
        (lambda folder: (folder / "upper_triangles.npz").write_bytes(b"PK\x03\x04 half a file"), "cannot be read"),
        (
            lambda folder: np.savez(folder / "upper_triangles.npz", size3=np.array([{}, None], object)),
            "cannot be read: Object arrays cannot be loaded",
        ),
        (
            lambda folder: np.savez(folder / "upper_triangles.npz", size3=np.full((6, 6), np.nan)),
            "search 0: a Hessian has entries that are not finite",
        ),
        (lambda folder: (folder / "runs.json").unlink(), "has neither upper_triangles.npz and runs.json nor"),
    ],
)
def test_a_damaged_copy_is_refused_in_one_line(damage, message, tmp_path):
    write_compact(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        published_hessians.load(tmp_path)
    assert "\n" not in str(error.value)


def test_an_absent_folder_says_where_the_logs_are():
    with pytest.raises(UserError, match=r"nowhere does not exist; clone .*https://github.com/automl/RobustDARTS"):
        published_hessians.load("nowhere")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("derivatives_3.json", '{"epoch":0,"g":[1.0]}\n', "derivatives_3.json: no entry 'H'"),
        ("derivatives_3.json", '{"epoch":0,"H":[[1.0, 2.0], [3.0]]}\n', "derivatives_3.json: "),
        ("derivatives_3.json", '{"epoch":0,"H":[1.0, 2.0]}\n', r"shape \[1, 2\], not \[readings, n, n\]"),
        ("derivatives_3.json", '{"epoch":0,"H":[[1.0', "derivatives_3.json: "),
        ("log_3.txt", "2019 valid_acc 60.0\n2019 genotype = g0\n", r"the epochs \[0, 2, 3\], genotypes of 1 epochs"),
        ("log_3.txt", None, "derivatives_3.json: .*log_3.txt"),
    ],
)
def test_a_damaged_clone_is_refused_in_one_line(name, text, message, tmp_path):
    write_clone(tmp_path)
    (file,) = tmp_path.glob(f"experiments/search_logs/s3/svhn/*/{name}")
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        published_hessians.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def published(real_data):
    folder = real_data / "robustdarts_hessians"
    if not folder.is_dir():
        pytest.skip("the alpha-Hessians of RobustDARTS (../shared/data/robustdarts_hessians) are not on this machine")
    return published_hessians.load(folder)


def test_the_published_searches(published):
    """Numbers of the data set's description; every genotype can be read."""
    assert len(published) == 67
    assert sum(len(s.epochs) for s in published) == 1742
    assert {(s.space, s.hessians.shape) for s in published} == {("s1", (26, 56, 56)), ("s3", (26, 84, 84))}
    for search in published:
        assert search.epochs.tolist() == [*range(0, 50, 2), 49]
        assert parse(search.genotypes[-1]).cells.keys() == {"normal", "reduce"}


def test_every_published_matrix_has_the_zero_modes_of_the_softmax_at_the_decay(published):
    for search in published:
        ops = search.hessians.shape[1] // 28
        shifts = shift_directions({"normal": np.zeros((14, ops)), "reduce": np.zeros((14, ops))})
        residual = search.hessians @ shifts - published_hessians.ALPHA_DECAY * shifts
        assert np.linalg.norm(residual, axis=1).max() < 2e-7


def published_rule(values):
    """The early stop of RobustDARTS written from the description of their code, with a running list of averages.

    Returns `(epoch of the stop, epoch of the returned genotype)`, or None.
    """
    averages = {}
    for measured, epoch in enumerate(range(0, 49, 2), start=1):
        if measured < 3:
            continue
        averages[epoch - 4] = sum(values[max(measured - 5, 0) : measured]) / min(measured, 5)
        back = epoch - 4 - 2 * 4
        if back >= 10 and averages[epoch - 4] / averages[back] > 1.3:
            return epoch, back
    return None


def test_the_stop_rule_makes_the_decisions_of_the_authors_code(published):
    rule, stopped = eigenvalue_growth(), 0
    for search in published:
        space, records = spaces.get(f"robust_{search.space}"), search.records()[:49]
        decisions = [(n - 1, rule(records[:n], space)) for n in range(1, 50)]
        found = next(((epoch, back - 1) for epoch, back in decisions if back is not None), None)
        assert found == published_rule(search.eigenvalues[:, 0].tolist()), search.name
        stopped += found is not None
        assert found is None or not curvature_is_gone(search.eigenvalues[-1], weight_decay=1e-3)
    assert stopped == 40
