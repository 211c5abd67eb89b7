"""Exported networks: the same outputs as jdarts, in a process without jdarts."""

import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdarts.cli import main
from jdarts.errors import UserError
from jdarts.genotypes import load_architecture, parse
from jdarts.genotypes.recurrent import RecurrentGenotype
from jdarts.interop import load_torch_network, load_torch_recurrent, save_torch_network, save_torch_recurrent
from jdarts.networks.of_genotype import derived_network
from jdarts.networks.recurrent.model import RecurrentModel
from jdarts.runs.folder import RunFolder
from jdarts.train.language.trained import TrainedLanguageModel, load_language_model, save_language_model
from jdarts.train.trained import MODEL, WEIGHTS, TrainedNetwork, about_network, flat_variables

EVERY_OP = (
    "Genotype(normal=[('conv_7x1_1x7', 0), ('dil_conv_5x5', 1), ('max_pool_3x3', 0), ('avg_pool_3x3', 2), "
    "('sep_conv_7x7', 1), ('none', 3), ('skip_connect', 2), ('dil_conv_3x3', 0)], normal_concat=[3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('skip_connect', 1), ('conv_7x1_1x7', 0), ('sep_conv_3x3', 2), ('avg_pool_3x3', 1), "
    "('dil_conv_5x5', 0), ('none', 1), ('sep_conv_5x5', 0)], reduce_concat=range(2, 6))"
)
BENCH = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|skip_connect~2|"
SIZES = {"channels": 4, "cells": 4, "classes": 3}
PROXYLESS = [[8, 3, 2, 1], [4, 3, 1, 1], [8, 5, 2, 3], [8, 7, 1, 6], [16, 1, 1, 1]]
NETWORKS = {
    "cifar": ("PC_DARTS_CIFAR", SIZES, (8, 8, 3)),
    "imagenet": (EVERY_OP, {**SIZES, "stem": "imagenet"}, (64, 32, 3)),
    "bench": (BENCH, {**SIZES, "cells": 1}, (8, 8, 1)),
    "proxyless": ("proxyless: conv_k3_c8_s2 mb_k3_c4 mb_k5_e3_c8_s2 mb_k7_e6_c8 conv_k1_c16", SIZES, (9, 8, 3)),
    "macro": ("nasbench_macro: conv_k3_c4 mb_k3_e3_c8_s2 identity_c8 identity_c16_s2 conv_k1_c16", SIZES, (8, 8, 3)),
    "mnasnet": (
        "mnasnet: conv_k3_c8_s2 mb_k3_c8 mb_k5_e3_se0.25_c16_s2_swish mb_k3_e3_c16_poolskip conv_k1_c16 dropout_0.2",
        {**SIZES, "width_multiplier": 2.0},
        (18, 16, 3),
    ),
    "spos": (
        "spos: conv_k3_c8_s2 shuffle_k5_c16_s2 shuffle_k3_c16 xception_c16 xception_c24_s2 conv_k1_c8",
        SIZES,
        (17, 16, 3),
    ),
}
STAND_ALONE = """
import importlib
import sys
import jax
import numpy as np
sys.path.insert(0, ".")
for name in sys.argv[1:]:
    network = importlib.import_module(name)
    images = np.load(name + "_images.npy")
    logits = jax.jit(network.Network().apply)(network.load(), network.normalize(images))
    np.save(name + "_logits.npy", np.asarray(logits))
    assert network.CLASSES == ("cat", "it's", 'a "dog"'), network.CLASSES
assert not any(name.split(".")[0] == "jdarts" for name in sys.modules)
"""


@cache
def made(name: str) -> TrainedNetwork:
    """A network with random weights, running averages included, as if it were trained."""
    text, sizes, shape = NETWORKS[name]
    genotype, rng = load_architecture(text), np.random.default_rng(0)
    network = derived_network(genotype, **sizes)
    variables = jax.jit(lambda: network.init(jax.random.key(0), jnp.zeros((1, *shape)), False))()
    moved = jax.tree.map(
        lambda a: np.asarray(a * rng.uniform(0.7, 1.4, a.shape) + rng.normal(0, 0.02, a.shape), a.dtype), variables
    )
    colours = shape[2]
    return TrainedNetwork(
        genotype, sizes, shape, (0.4, 0.5, 0.6)[:colours], (0.2, 0.3, 0.25)[:colours], ("cat", "it's", 'a "dog"'), moved
    )


@cache
def logits_of(name: str) -> np.ndarray:
    """The logits of jdarts' own network."""
    network = made(name)
    return np.asarray(jax.jit(network.logits)(images_of(network)))


def stored(network: TrainedNetwork, folder: Path) -> Path:
    """The run folder of a network."""
    folder.mkdir()
    (folder / MODEL).write_text(json.dumps(about_network(network)))
    np.savez(folder / WEIGHTS, **flat_variables(network))
    return folder


def images_of(network: TrainedNetwork) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, *network.image_shape), np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of all networks as Flax modules, and of their logits, computed in a process without jdarts."""
    folder = tmp_path_factory.mktemp("exported")
    for name in NETWORKS:
        network = made(name)
        run = stored(network, folder / f"run_{name}")
        assert main(["export", str(run), "--format", "flax", "-o", str(folder / f"{name}.py")]) == 0
        np.save(folder / f"{name}_images.npy", images_of(network))
    subprocess.run([sys.executable, "-c", STAND_ALONE, *NETWORKS], check=True, cwd=folder)
    return folder


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_flax_module_computes_the_same_logits_without_jdarts(name, exported):
    expected = logits_of(name)
    assert np.ptp(expected, axis=0).min() > 1e-4, "the images are told apart"
    np.testing.assert_allclose(np.load(exported / f"{name}_logits.npy"), expected, rtol=1e-5, atol=1e-5)
    text = (exported / f"{name}.py").read_text()
    assert "jdarts" not in text and max(map(len, text.splitlines())) <= 120
    lines = (f"import {name}", f"variables = {name}.load()", f"logits = {name}.Network()")
    assert all(line in text for line in lines)


def torch_architecture(name: str, genotype, sizes, colours: int) -> tuple[str, dict]:
    """The kind and the description that `support/torch_networks.py` reads."""
    about = {**sizes, "colours": colours, "imagenet": sizes.get("stem") == "imagenet"}
    if name == "proxyless":
        return name, {**about, "layers": PROXYLESS}
    if name == "bench":
        return name, {**about, "nodes": genotype.normal.nodes}
    for kind, cell in genotype.cells.items():
        about[kind] = {"edges": [edge for node in cell.nodes for edge in node], "concat": cell.concat}
    return "darts", about


def in_torch(kind: str, about: dict, weights: Path, inputs: np.ndarray, folder: Path) -> np.ndarray:
    """The outputs of a PyTorch network that has loaded the file, all names and shapes checked."""
    np.save(folder / "inputs.npy", inputs)
    program = Path(__file__).parents[1] / "support" / "torch_networks.py"
    files = [str(weights), str(folder / "inputs.npy"), str(folder / "outputs.npy")]
    subprocess.run([sys.executable, str(program), kind, json.dumps(about), *files], check=True, cwd=folder)
    return np.load(folder / "outputs.npy")


@pytest.mark.parametrize("name", ["cifar", "imagenet", "bench", "proxyless"])
def test_pytorch_networks_of_the_authors_names_compute_the_same_logits(name, tmp_path):
    pytest.importorskip("torch", reason="pip install torch")
    network = made(name)
    run = stored(network, tmp_path / "run")
    weights = tmp_path / "network.pth"
    assert main(["export", str(run), "--format", "torch", "-o", str(weights)]) == 0
    images, mean, std = images_of(network), np.array(network.mean), np.array(network.std)
    kind, about = torch_architecture(name, network.genotype, network.sizes, network.image_shape[2])
    found = in_torch(kind, about, weights, ((images / 255 - mean) / std).astype(np.float32), tmp_path)
    np.testing.assert_allclose(found, logits_of(name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_arrays_of_pytorch_are_read_back(name):
    network = made(name)
    arrays = save_torch_network(network.variables, network.genotype, network.sizes)
    assert all(array.dtype == np.float32 for array in arrays.values())
    counters = {
        f"{key.removesuffix('running_mean')}num_batches_tracked": np.array(1) for key in arrays if "mean" in key
    }
    back = load_torch_network({**arrays, **counters}, network.genotype, network.sizes)
    for path, leaf in jax.tree.leaves_with_path(network.variables):
        np.testing.assert_array_equal(leaf, _at(back, path))
    first = next(iter(arrays))
    with pytest.raises(UserError, match="is missing"):
        load_torch_network(
            {key: array for key, array in arrays.items() if "classifier" not in key}, network.genotype, network.sizes
        )
    with pytest.raises(UserError, match="'extra' is not a part"):
        load_torch_network({**arrays, "extra": arrays[first]}, network.genotype, network.sizes)


def _at(tree, path):
    for key in path:
        tree = tree[key.key]
    return tree


def test_names_are_those_of_the_authors_code():
    """Names from cnn/model.py of the DARTS code, NAS-Bench-201's, ProxylessNAS' and NAS-Bench-Macro's code."""
    arrays = {name: save_torch_network(n.variables, n.genotype, n.sizes) for name in NETWORKS if (n := made(name))}
    assert {"stem.1.running_var", "cells.2.preprocess0.conv_2.weight", "cells.0._ops.0.op.7.bias"} <= set(
        arrays["cifar"]
    )
    assert {"stem0.3.weight", "stem1.1.weight", "cells.0.preprocess0.bn.weight"} <= set(arrays["imagenet"])
    assert {"cells.1.conv_a.op.1.weight", "cells.3.downsample.1.weight", "lastact.0.bias"} <= set(arrays["bench"])
    assert {"cells.0.layers.0.op.1.weight", "cells.4.layers.4.op.2.bias"} <= set(arrays["bench"])
    names = set(arrays["proxyless"])
    assert {"first_conv.conv.weight", "feature_mix_layer.bn.bias", "classifier.linear.bias"} <= names
    assert {
        f"blocks.2.mobile_inverted_conv.{p}.conv.weight" for p in ("inverted_bottleneck", "depth_conv", "point_linear")
    } <= names
    assert {"stem.0.weight", "features.0.conv.6.weight", "features.2.downsample.1.bias", "out.1.weight"} <= set(
        arrays["macro"]
    )
    assert arrays["spos"]["layers.1.depthwise.conv.weight"].shape == (8, 1, 5, 5)
    sizes = {"channels": 36, "cells": 20, "classes": 10, "auxiliary": True}
    genotype = parse("DARTS_V2")
    shapes = jax.eval_shape(
        lambda: derived_network(genotype, **sizes).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), False)
    )
    whole = save_torch_network(jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes), genotype, sizes)
    weights = sum(a.size for name, a in whole.items() if "running" not in name and not name.startswith("auxiliary"))
    assert weights == 3_349_342  # of the network without its auxiliary head, as published


@pytest.fixture
def language():
    genotype = parse("DARTS_RNN")
    assert isinstance(genotype, RecurrentGenotype)
    words = ("<eos>", "the", "don't", 'a"b', "back\\slash", "ü", "#", "{x}")
    model = RecurrentModel(genotype=genotype, vocabulary=len(words), embedding=4, units=4)
    params = model.init(jax.random.key(0), jnp.zeros((2, 1), int), jnp.zeros((1, 4)), False)["params"]
    return TrainedLanguageModel(genotype, words, {name: np.asarray(20 * array) for name, array in params.items()})


LANGUAGE = """
import sys
import jax
import numpy as np
sys.path.insert(0, sys.argv[1])
import network
tokens = np.load(sys.argv[2])
apply = jax.jit(network.Network().apply)
logits, hidden = apply(network.load(), tokens, network.start(batch=tokens.shape[1]))
np.save(sys.argv[3], np.asarray(logits))
assert network.numbers(" ".join(network.WORDS)).ravel().tolist() == list(range(len(network.WORDS)))
assert not any(name.split(".")[0] == "jdarts" for name in sys.modules)
"""


@pytest.mark.parametrize("kind", ["flax", "torch"])
def test_a_language_model_computes_the_same_logits_without_jdarts(kind, language, tmp_path):
    if kind == "torch" and find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install torch")
    run = tmp_path / "run"
    run.mkdir()
    save_language_model(RunFolder(run), language)
    assert load_language_model(run).words == language.words
    tokens = np.random.default_rng(0).integers(0, 8, (5, 2))
    output = tmp_path / ("network.py" if kind == "flax" else "network.npz")
    assert main(["export", str(run), "--format", kind, "-o", str(output)]) == 0
    if kind == "flax":
        np.save(tmp_path / "tokens.npy", tokens)
        files = [str(tmp_path), str(tmp_path / "tokens.npy"), str(tmp_path / "logits.npy")]
        subprocess.run([sys.executable, "-c", LANGUAGE, *files], check=True, cwd=tmp_path)
        found = np.load(tmp_path / "logits.npy")
    else:
        about = {"words": 8, "units": 4, "nodes": language.genotype.recurrent, "concat": language.genotype.concat}
        found = in_torch("language", about, output, tokens, tmp_path)
    outputs = language.module.apply({"params": language.params}, tokens, jnp.zeros((2, 4)), False)
    assert np.ptp(np.asarray(outputs.logits)) > 0.1
    np.testing.assert_allclose(found, outputs.logits, rtol=1e-5, atol=1e-5)
    back = load_torch_recurrent(save_torch_recurrent({"params": language.params}))["params"]
    assert all(np.array_equal(back[name], array) for name, array in language.params.items())


def test_onnx_runtime_computes_the_same_logits(tmp_path):
    pytest.importorskip("jax2onnx", reason='pip install "jdarts[onnx]"')
    onnxruntime = pytest.importorskip("onnxruntime")
    network = made("bench")
    output = tmp_path / "network.onnx"
    assert main(["export", str(stored(network, tmp_path / "run")), "--format", "onnx", "-o", str(output)]) == 0
    session = onnxruntime.InferenceSession(str(output))
    images = images_of(network)
    given = ((images / 255 - np.array(network.mean)) / np.array(network.std)).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: given})
    np.testing.assert_allclose(found, logits_of("bench"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("genotype", "form", "output", "message"),
    [
        ("cifar", "flax", "my-network.py", "writes a Python module"),
        ("cifar", "torch", "network.txt", "--format torch writes .safetensors"),
        ("AMOEBANET_A_CIFAR", "flax", "network.py", "use --format stablehlo"),
        ("AMOEBANET_A_CIFAR", "torch", "network.npz", "use --format stablehlo"),
        ("noise", "flax", "network.py", "op noise has no source outside of jdarts"),
        ("noise", "torch", "network.npz", "op noise has no PyTorch names"),
    ],
)
def test_networks_without_such_a_form_are_refused(genotype, form, output, message, tmp_path, capsys):
    if genotype == "noise":
        NETWORKS_NOISE = EVERY_OP.replace("'max_pool_3x3', 0", "'noise', 0")
        text, sizes, shape = NETWORKS_NOISE, SIZES, (8, 8, 3)
    else:
        text, sizes, shape = NETWORKS.get(genotype, (genotype, {**SIZES, "cells": 2}, (16, 16, 3)))
    network, colours = derived_network(load_architecture(text), **sizes), (0.5,) * 3
    keys = {name: jax.random.key(0) for name in ("params", "noise", "drop_path")}
    variables = jax.eval_shape(lambda: network.init(keys, jnp.zeros((1, *shape)), False))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables)
    trained = TrainedNetwork(load_architecture(text), sizes, shape, colours, colours, ("a", "b", "c"), zeros)
    run = stored(trained, tmp_path / "run")
    assert main(["export", str(run), "--format", form, "-o", str(tmp_path / output)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / output).exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, capsys):
    for package, form, output in (
        ("torch", "torch", "a.pth"),
        ("safetensors.numpy", "torch", "a.safetensors"),
        ("jax2onnx", "onnx", "a.onnx"),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        assert main(["export", str(tmp_path), "--format", form, "-o", str(tmp_path / output)]) == 2
        error = capsys.readouterr().err
        extra = {"torch": "torch", "jax2onnx": "onnx"}.get(package, "export")
        assert f'pip install "jdarts[{extra}]"' in error and error.count("\n") == 1
