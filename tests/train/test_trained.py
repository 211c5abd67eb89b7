"""Trained networks: load, predict, export, each against the training that wrote them."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import jdarts
from jdarts.cli import main
from jdarts.config import DataConfig, Experiment, TrainConfig
from jdarts.data import load as load_data
from jdarts.errors import UserError
from jdarts.genotypes import load_architecture
from jdarts.report.console import ConsoleReporter
from jdarts.runs.folder import RunFolder
from jdarts.train import run_training

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x6x3:3:32", crop_padding=1, flip=False),
    train=TrainConfig(batch_size=8, epochs=1, auxiliary_weight=0.0, cutout=0, drop_path=0.0, average=0.9),
)
GENOTYPE = load_architecture("fairnas: conv_k3_c4 mb_k3_c4 dropout_0.2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training with moving averages of the weights, its result and its test images."""
    folder, data = tmp_path_factory.mktemp("trained") / "run", load_data(CONFIG.data)
    with ConsoleReporter() as reporter:
        result = run_training(CONFIG, GENOTYPE, data, RunFolder.create(folder, CONFIG), reporter=reporter)
    return folder, result, data.test


def test_the_network_that_is_read_has_the_test_accuracy_of_the_training(trained):
    folder, result, test = trained
    network = jdarts.load(folder)
    found = network.probabilities(test.images)
    assert found.shape == (len(test.images), 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    assert np.mean(found.argmax(-1) == test.labels) == result.test_accuracy
    loss = -np.mean(np.log(found[np.arange(len(found)), test.labels]))
    assert loss == pytest.approx(result.test_loss, rel=1e-4)
    best = network.predict(test.images[:2])
    assert [p.name for p in best] == [network.classes[row.argmax()] for row in found[:2]]
    assert [p.probability for p in best] == [float(row.max()) for row in found[:2]]
    assert network.genotype == GENOTYPE and network.probabilities([]).shape == (0, 3)


def test_files_and_arrays_of_other_sizes_are_converted(trained, tmp_path):
    network = jdarts.load(trained[0])
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    gray = Image.fromarray(image).convert("L").resize((12, 16))
    gray.save(tmp_path / "b.png")
    rows = network.prepared([tmp_path / "a.png", image, str(tmp_path / "b.png"), np.asarray(gray)[..., None]])
    np.testing.assert_array_equal(rows[0], image)
    np.testing.assert_array_equal(rows[1], image)
    np.testing.assert_array_equal(rows[2], rows[3])
    assert np.all(rows[2][..., 0] == rows[2][..., 2])
    np.testing.assert_array_equal(network.prepared(image), network.prepared(tmp_path / "a.png"))
    for wrong, message in (
        (np.zeros((2, 8, 6, 3)), "give uint8"),
        ([np.zeros((8, 6), np.uint8)], "give uint8"),
        (tmp_path / "none.png", "cannot read"),
        (__file__, "not readable as PNG"),
    ):
        with pytest.raises(UserError, match=message):
            network.probabilities(wrong)


def test_the_command_classifies_files_folders_and_arrays(trained, tmp_path, capsys):
    folder, _, test = trained
    Image.fromarray(test.images[0]).save(tmp_path / "one.png")
    (tmp_path / "more").mkdir()
    Image.fromarray(test.images[1]).save(tmp_path / "more" / "two.png")
    np.savez(tmp_path / "rest.npz", images=test.images[2:5])
    given = [str(tmp_path / name) for name in ("one.png", "more", "rest.npz")]
    expected = jdarts.load(folder).probabilities(test.images[:5])
    assert main(["predict", str(folder), *given]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "image,class,probability,0,1,2"
    found = np.array([[float(value) for value in line.split(",")[3:]] for line in lines])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [line.split(",")[0] for line in lines[:3]] == [given[0], f"{given[1]}/two.png", f"{given[2]}[0]"]
    assert [int(line.split(",")[1]) for line in lines] == expected.argmax(-1).tolist()
    assert main(["predict", str(folder), *given, "-o", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())
    assert rows[4]["class"] == str(expected[4].argmax())
    np.testing.assert_allclose(list(rows[4]["probabilities"].values()), expected[4], rtol=1e-6)


STAND_ALONE = """
import json, sys
import numpy as np
import jax
from jax import export
program, images, output = sys.argv[1:]
call = export.deserialize(bytearray(open(program, "rb").read())).call
np.save(output, np.asarray(call(np.load(images))))
assert not any(name.split(".")[0] == "jdarts" for name in sys.modules)
assert json.load(open(program + ".json"))["classes"] == ["0", "1", "2"]
"""


def test_the_program_runs_without_jdarts(trained, tmp_path):
    """In a process that does not import jdarts, for a batch of a size that nobody has compiled before."""
    folder, _, test = trained
    program = str(tmp_path / "network.stablehlo")
    assert main(["export", str(folder), "-o", program]) == 0
    np.save(tmp_path / "images.npy", test.images[:5])
    arguments = [program, str(tmp_path / "images.npy"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", STAND_ALONE, *arguments], check=True, cwd=tmp_path)
    expected = jax.jit(jdarts.load(folder).logits)(test.images[:5])
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_weights_are_exported_by_name(trained, tmp_path, kind):
    folder, output = trained[0], str(tmp_path / f"weights.{kind}")
    assert main(["export", str(folder), "--format", kind, "-o", output]) == 0
    if kind == "npz":
        found = dict(np.load(output))
    else:
        import safetensors.numpy

        found = safetensors.numpy.load_file(output)
    assert found["params/classifier/kernel"].shape == (4, 3)
    stored = np.load(folder / "weights.npz")
    assert set(found) == set(stored.files)
    for name, array in found.items():
        np.testing.assert_array_equal(array, stored[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "none", "a.png"], "a.png does not exist"),
        (["predict", "RUN", "empty"], "has no images"),
        (["predict", "RUN", "float.npz"], "give uint8 images"),
        (["predict", "empty", "float.npz", "-o", "x.txt"], "ends in .csv or .json"),
        (["predict", "empty", "good.npz"], "empty holds no trained network"),
        (["predict", "none", "good.npz"], "none does not exist"),
        (["predict", "broken", "good.npz"], "cannot be read"),
        (["export", "empty", "-o", "x"], "empty holds no trained network"),
        (["export", "RUN", "-o", "no/x"], "there is no folder no"),
        (["export", "RUN", "--format", "pickle", "-o", "x"], "invalid choice: 'pickle'"),
    ],
)
def test_mistakes_are_told_in_one_line(trained, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    np.savez("float.npz", images=np.zeros((1, 8, 6, 3)))
    np.savez("good.npz", images=np.zeros((1, 8, 6, 3), np.uint8))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text((trained[0] / "model.json").read_text())
    (tmp_path / "broken" / "weights.npz").write_bytes((trained[0] / "weights.npz").read_bytes()[:100])
    assert main([str(trained[0]) if word == "RUN" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
