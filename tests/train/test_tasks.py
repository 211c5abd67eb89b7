"""Losses and metrics of the tasks against scikit-learn and NumPy, and whole trainings of each task on real digits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight
from support.digit_tables import SPLITS, digits, masks, targets, write_table

import jdarts
from jdarts.cli import main
from jdarts.data.augment import Augmentation
from jdarts.devices.replicas import WHOLE
from jdarts.train.tasks import TASKS
from jdarts.train.tasks.task import NO_SCALE, OutputScale

N, K = 40, 7
RNG = np.random.default_rng(0)
KEPT = np.arange(N) < 33
CONFIG = """from jdarts.config import *
config = Experiment(
    data=DataConfig(source="digits", crop_padding=1, flip=False),
    train=TrainConfig(
        batch_size=16, epochs=6, auxiliary_weight=0.0, cutout=0, drop_path=0.0,
        optimizer=SGDConfig(learning_rate=0.1, learning_rate_min=0.0),
    ),
)
"""
IN_TABLES = ("classification", "regression", "multilabel", "segmentation")
"""The tasks whose data can be a table; detection has tests of its own."""
MOBILE = "fairnas: conv_k3_c4 mb_k3_e2_c6_s2 mb_k3_e2_c6"


def figures(task: str, outputs: np.ndarray, wanted: np.ndarray, scale: OutputScale = NO_SCALE) -> dict[str, float]:
    """Of the first 33 rows, in two batches as an evaluation has them."""
    total: dict = {}
    for rows in (slice(0, 20), slice(20, N)):
        sums = TASKS[task].sums(jnp.asarray(outputs[rows]), jnp.asarray(wanted[rows]), jnp.asarray(KEPT[rows]))
        total = {name: total.get(name, 0.0) + np.asarray(value, np.float64) for name, value in sums.items()}
    return TASKS[task].figures(total, KEPT[KEPT], scale)


def test_classification():
    logits, labels = RNG.normal(size=(N, K)).astype(np.float32), RNG.integers(0, K, N)
    found = figures("classification", logits, labels)
    p = np.asarray(optax.losses.softmax_cross_entropy_with_integer_labels(logits[KEPT], labels[KEPT]))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels[KEPT], logits[KEPT].argmax(-1)))
    top = metrics.top_k_accuracy_score(labels[KEPT], logits[KEPT], k=5, labels=range(K))
    assert found["top5_accuracy"] == pytest.approx(top)
    assert found["loss"] == pytest.approx(p.mean(), rel=1e-5)


def test_regression():
    outputs, wanted = RNG.normal(size=(2, N, 3)).astype(np.float32)
    scale = OutputScale((1.0, 2.0, 3.0), (0.5, 4.0, 10.0))
    true, found = (np.asarray(scale.mean) + np.asarray(scale.std) * x[KEPT] for x in (wanted, outputs))
    result = figures("regression", outputs, wanted, scale)
    assert result["rmse"] == pytest.approx(metrics.mean_squared_error(true, found) ** 0.5, rel=1e-5)
    assert result["mae"] == pytest.approx(metrics.mean_absolute_error(true, found), rel=1e-5)
    assert result["r2"] == pytest.approx(metrics.r2_score(true, found), rel=1e-4)
    assert result["loss"] == pytest.approx(metrics.mean_squared_error(wanted[KEPT], outputs[KEPT]), rel=1e-5)
    loss = TASKS["regression"].loss(jnp.asarray(outputs), jnp.asarray(wanted), None, 0.0)
    assert float(loss) == pytest.approx(metrics.mean_squared_error(wanted, outputs), rel=1e-5)
    np.testing.assert_allclose(
        TASKS["regression"].values(jnp.asarray(outputs[KEPT]), scale), found, rtol=1e-4, atol=1e-5
    )


def test_multilabel():
    outputs, wanted = RNG.normal(size=(N, K)).astype(np.float32), RNG.integers(0, 2, (N, K)).astype(np.uint8)
    wanted[:, -1] = 0  # a label that never occurs
    outputs[:, -1] = -1
    true, found = wanted[KEPT], (outputs[KEPT] >= 0).astype(int)
    result = figures("multilabel", outputs, wanted)
    for average in ("micro", "macro"):
        score = metrics.f1_score(true, found, average=average, zero_division=0)
        assert result[f"{average}_f1"] == pytest.approx(score)
    assert result["exact_match"] == pytest.approx(metrics.accuracy_score(true, found))
    assert result["accuracy"] == pytest.approx(1 - metrics.hamming_loss(true, found))
    p = 1 / (1 + np.exp(-outputs.astype(np.float64)))
    losses = [metrics.log_loss(true[:, k], p[KEPT, k], labels=[0, 1]) for k in range(K)]
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    weights = TASKS["multilabel"].class_weights(wanted[:, :-1], K - 1)
    for k in range(K - 1):
        np.testing.assert_allclose(
            weights[:, k], compute_class_weight("balanced", classes=np.array([0, 1]), y=wanted[:, k]), rtol=1e-6
        )
    y = wanted[:, :-1].astype(float)
    entropies = -(y * np.log(p[:, :-1]) + (1 - y) * np.log(1 - p[:, :-1]))
    expected = np.mean(np.where(y == 1, weights[1], weights[0]) * entropies)
    loss = TASKS["multilabel"].loss(jnp.asarray(outputs[:, :-1]), jnp.asarray(wanted[:, :-1]), weights, 0.0)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_segmentation():
    outputs, wanted = RNG.normal(size=(N, 3, 4, K)).astype(np.float32), RNG.integers(0, K, (N, 3, 4)).astype(np.uint8)
    wanted[RNG.random(wanted.shape) < 0.2] = 255
    true, found = wanted[KEPT].ravel(), outputs[KEPT].argmax(-1).ravel()
    true, found = true[true != 255], found[true != 255]
    result = figures("segmentation", outputs, wanted)
    assert result["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(true, found))
    assert result["mean_iou"] == pytest.approx(metrics.jaccard_score(true, found, average="macro"))
    logs = np.log(np.exp(outputs.astype(np.float64)) / np.exp(outputs.astype(np.float64)).sum(-1, keepdims=True))
    own = -np.take_along_axis(logs, np.where(wanted == 255, 0, wanted)[..., None], -1)[..., 0] * (wanted != 255)
    assert result["loss"] == pytest.approx(own[KEPT].mean(), rel=1e-5)
    weights = TASKS["segmentation"].class_weights(wanted, K)
    pixels = wanted[wanted != 255]
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(K), y=pixels), rtol=1e-6)
    loss = TASKS["segmentation"].loss(jnp.asarray(outputs), jnp.asarray(wanted), weights, 0.0)
    assert float(loss) == pytest.approx(np.mean(own * weights[np.where(wanted == 255, 0, wanted)]), rel=1e-5)


def test_classes_are_balanced_as_by_scikit_learn():
    logits, labels = RNG.normal(size=(N, K)).astype(np.float32), np.concatenate([np.arange(K), np.zeros(N - K, int)])
    weights = TASKS["classification"].class_weights(labels, K)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(K), y=labels), rtol=1e-6)
    loss = TASKS["classification"].loss(jnp.asarray(logits), jnp.asarray(labels), weights, 0.0)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    # the mean weight over the examples is 1, so that scikit-learn's weighted mean is that of these losses
    expected = metrics.log_loss(labels, p / p.sum(-1, keepdims=True), sample_weight=weights[labels])
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of tables and of trainings of every task by the command, each after two epochs."""
    place = tmp_path_factory.mktemp("tasks")
    (place / "config.py").write_text(CONFIG)
    for task in IN_TABLES:
        write_table(place / task, task)
        command = ["train", str(place / "config.py"), "--run-dir", str(place / f"run-{task}"), "--genotype", MOBILE]
        data = ["--data.source", "table", "--data.path", str(place / task), "--train.task", task]
        assert main([*command, *data]) == 0
    return place


@pytest.mark.parametrize("task", ["regression", "multilabel", "segmentation"])
def test_the_test_metrics_are_those_of_the_stored_network(runs, task):
    folder = runs / f"run-{task}"
    network, result = jdarts.load(folder), json.loads((folder / "result.json").read_text())
    test = slice(*SPLITS["test"])
    found = network.predict(digits()[0][test][..., None])
    columns = targets(task)
    if task == "regression":
        true = np.array(list(columns.values())).T[test]
        assert network.classes == ("ink", "top")
        predicted = np.array([[row["ink"], row["top"]] for row in found])
        assert result["test_rmse"] == pytest.approx(metrics.mean_squared_error(true, predicted) ** 0.5, rel=1e-4)
        assert result["test_r2"] == pytest.approx(metrics.r2_score(true, predicted), rel=1e-3)
    elif task == "multilabel":
        true = np.array(list(columns.values())).T[test]
        predicted = np.array([[name in {p.name for p in row} for name in columns] for row in found])
        score = metrics.f1_score(true, predicted, average="macro", zero_division=0)
        assert result["test_macro_f1"] == pytest.approx(score)
    else:
        true, predicted = masks()[test], np.array(found)
        kept = true != 255
        assert predicted.shape == true.shape and network.classes == ("paper", "gray", "ink")
        classes = np.unique([true[kept], predicted[kept]])
        score = metrics.jaccard_score(true[kept], predicted[kept], average="macro", labels=classes)
        assert result["test_mean_iou"] == pytest.approx(score)


def test_a_training_learns(runs):
    for task in IN_TABLES:
        lines = [json.loads(line) for line in (runs / f"run-{task}" / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1]["train_loss"] < lines[0]["train_loss"], task


def test_the_command_predicts(runs, tmp_path, capsys):
    image = str(runs / "regression" / "images" / "70.png")
    assert main(["predict", str(runs / "run-regression"), image]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "image,ink,top"
    expected = jdarts.load(runs / "run-regression").predict(image)[0]
    assert [float(cell) for cell in row.split(",")[1:]] == pytest.approx(list(expected.values()), rel=1e-4)
    assert main(["predict", str(runs / "run-multilabel"), image, "-o", str(tmp_path / "out.json")]) == 0
    (entry,) = json.loads((tmp_path / "out.json").read_text())
    assert set(entry["probabilities"]) == set(targets("multilabel"))
    assert main(["predict", str(runs / "run-segmentation"), image, "--masks", str(tmp_path / "masks")]) == 0
    with Image.open(tmp_path / "masks" / "0.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), jdarts.load(runs / "run-segmentation").predict(image)[0])
    capsys.readouterr()
    assert main(["predict", str(runs / "run-regression"), image, "--masks", str(tmp_path)]) == 2
    assert "--masks is for segmentation" in capsys.readouterr().err


def test_masks_follow_the_crops_and_flips_of_their_images():
    augmentation = Augmentation(mean=(0.0,), std=(1.0,), crop_padding=2, flip=True, cutout=0)
    wanted = RNG.integers(1, 200, (16, 6, 5)).astype(np.uint8)
    key = jax.random.key(3)
    moved = np.asarray(TASKS["segmentation"].move(augmentation, key, jnp.asarray(wanted), WHOLE, (6, 5)))
    images = np.rint(np.asarray(augmentation(key, jnp.asarray(wanted)[..., None]))[..., 0] * 255).astype(np.uint8)
    np.testing.assert_array_equal(moved[images > 0], images[images > 0])
    assert (moved[images == 0] == 255).all() and (images == 0).any() and (moved != wanted).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train.task", "regression", "--train.label_smoothing", "0.1"], "has no effect on regression"),
        (["--train.task", "regression", "--train.class_weights", "balanced"], "regression has no classes"),
        (
            ["--train.task", "segmentation", "--train.mixup", "0.2", "--data.path", "MASKS"],
            "set it to 0 for segmentation",
        ),
        (["--train.task", "regression", "--data.source", "digits", "--data.path", ""], "choose from: npz, table"),
        (["--train.task", "multilabel"], "labels other than 0 and 1"),
        (["--train.task", "segmentation"], "no column 'mask'"),
        (["--train.task", "regression", "--data.stratify", "true"], "one class each"),
        (["--train.task", "regression", "--train.frozen", "body"], "the start is random"),
    ],
)
def test_mistakes(runs, options, message, capsys):
    command = ["train", str(runs / "config.py"), "--run-dir", str(runs / "none"), "--genotype", MOBILE]
    data = ["--data.source", "table", "--data.path", str(runs / "regression")]
    options = [str(runs / "segmentation") if option == "MASKS" else option for option in options]
    assert main([*command, *data, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
    assert not (runs / "none").exists()


def test_searches_refuse_other_tasks(runs, capsys):
    assert main(["search", str(runs / "config.py"), "--train.task", "regression", "--run-dir", str(runs / "none")]) == 2
    assert "searches classify images" in capsys.readouterr().err
