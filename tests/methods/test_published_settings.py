"""The published settings of methods, and the option `--method` that applies them.

The expected values are those of the papers and their code, written down from the specification.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from jdarts import cli, methods, spaces
from jdarts.config import AdamConfig, DataConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig, TrainConfig
from jdarts.config.files import load_config, option_types, to_json
from jdarts.config.section import given
from jdarts.errors import UserError
from jdarts.methods.loading import load_known, with_method
from jdarts.methods.published import fitting
from jdarts.search.language import LANGUAGE_TASK

CONFIGS = Path(__file__).parents[2] / "configs"
CIFAR, S3, NB201, PTB = (
    CONFIGS / f"{name}.py" for name in ("darts_cifar10", "robust_s3_cifar10", "nasbench201", "ptb_rnn")
)
ALL = {"data": DataConfig(source="cifar10", train_fraction=1.0, val_fraction=0.0)}
DP = {"data": DataConfig(source="cifar10", search_cutout=16)}
NESTEROV = SGDConfig(nesterov=True, weight_decay=5e-4)


def cells(cells: int = 8, channels: int = 16, name: str = "darts_cnn") -> SpaceConfig:
    return SpaceConfig(name=name, channels=channels, cells=cells)


def searching(epochs: int = 50, batch_size: int = 64, sgd: Any = None, adam: Any = None, **more: Any) -> SearchConfig:
    """The rest is DARTS': SGD 0.025 → 0.001, momentum 0.9, decay 3e-4, clip 5; Adam 3e-4, 0.5, 0.999, decay 1e-3."""
    optimizers = {"weight_optimizer": sgd or SGDConfig(), "alpha_optimizer": adam or AdamConfig()}
    return SearchConfig(epochs=epochs, batch_size=batch_size, **optimizers, **more)


ON_CIFAR10 = {
    "amended_darts": {},
    "beta_darts": {"search": searching(method_options=("weight=25",))},
    "darts": {},
    "darts_minus": {},
    "darts_plus": {},
    "darts_pt": {},
    "drnas_progressive": {
        "space": cells(20, 36, "darts_cnn_7"),
        "search": searching(sgd=SGDConfig(0.1, 0.0), adam=AdamConfig(6e-4)),
    },
    "drop_nas": {
        **ALL,
        "space": cells(14),
        "search": searching(76, 96, SGDConfig(0.0375, 0.0015, gradient_clip=3.0)),
    },
    "fair_darts": {
        "space": cells(8, 16, "darts_cnn_7"),
        "search": searching(50, 128, SGDConfig(0.005, 0.001), AdamConfig(3e-3, b1=0.9)),
    },
    "gdas": {"space": cells(6), "search": searching(250, 256, NESTEROV)},
    "p_darts": {"search": searching(25, 96, SGDConfig(0.025, 0.0), AdamConfig(6e-4, gradient_clip=5.0))},
    "pc_darts": {"search": searching(50, 256, SGDConfig(0.1, 0.0), AdamConfig(6e-4))},
    "pr_darts": {"space": cells(6), "search": searching(200, 250, NESTEROV)},
    "sdarts_adv": {},
    "sdarts_rs": {},
    "single_darts": {**ALL, "search": searching(sgd=SGDConfig(0.005, 0.0))},
    "snas": {**ALL, "search": searching(150, adam=AdamConfig(gradient_clip=10.0))},
    "stac_nas": {**ALL, "space": cells(14), "search": searching(80, sgd=SGDConfig(gradient_clip=3.0))},
}
ON_S3 = {"darts_ada": {}, "darts_es": {}, "r_darts": {}, "r_darts_dp": DP}
ON_NASBENCH201 = {
    "beta_darts": {"search": searching(100)},
    "darts": {"search": searching(sgd=NESTEROV)},
    "darts_minus": {"search": searching(sgd=NESTEROV)},
    "darts_pt": {"search": searching(100)},
    "drnas": {"search": searching(100)},
    "enas": {"search": searching(250, 128, SGDConfig(0.05, 5e-4, nesterov=True, weight_decay=2.5e-4))},
    "gdas": {"search": searching(250, sgd=NESTEROV)},
    "pc_darts": {"search": searching(sgd=NESTEROV)},
    "random_search": {
        "search": searching(method_options=("samples=100",)),
        "train": TrainConfig(12, 256, 16, 5, auxiliary_weight=0.0, drop_path=0.0, val_fraction=0.5),
    },
    "rsps": {"search": searching(250, sgd=NESTEROV)},
    "setn": {"search": searching(250, sgd=SGDConfig(nesterov=True, weight_decay=5e-4, gradient_clip=0.0))},
    "single_darts": {**ALL, "search": searching(sgd=SGDConfig(0.005, 0.0))},
    "snas": {**ALL, "search": searching(150)},
}
RELEASE = {"learning_rate": 0.05, "learning_rate_min": 5e-4, "nesterov": True, "gradient_clip": 0.0}
ENAS_DATA = DataConfig(source="cifar10", train_fraction=0.9, val_fraction=0.1)
CONTROLLER = ("hidden=64", "layers=1", "temperature=1", "controller_clip=0", "baseline=running", "schedule=restarts")
ON_ENAS = {
    "enas_micro": (
        cells(6, 20, "enas_micro"),
        searching(
            *(150, 160, SGDConfig(**RELEASE, weight_decay=2e-4)),
            method_options=(
                *CONTROLLER,
                *("tanh=1.1", "controller_learning_rate=0.0035", "controller_steps=30", "controller_samples=10"),
            ),
        ),
    ),
    "enas_macro": (
        cells(8, 36, "enas_macro"),
        searching(
            *(310, 128, SGDConfig(**RELEASE, weight_decay=5e-4)),
            method_options=(*CONTROLLER, "tanh=1.5", "release_penalty=true"),
        ),
    ),
}
ON_CHAINS = {"spos": (120, 1024, 0.5), "fairnas": (150, 1536, 0.045)}
"""Epochs, images of a step and learning rate, by method and space."""
PUBLISHED = [
    *((CIFAR, name, cells(), parts) for name, parts in ON_CIFAR10.items()),
    *((S3, name, cells(name="robust_s3"), parts) for name, parts in ON_S3.items()),
    *((NB201, name, cells(5, name="nasbench201"), parts) for name, parts in ON_NASBENCH201.items()),
]


def apply(path, method, *overrides):
    return with_method(load_config(path), method, path, overrides)


@pytest.mark.parametrize(("path", "name", "space", "parts"), PUBLISHED, ids=lambda p: p if isinstance(p, str) else "")
def test_each_method_brings_its_published_settings(path, name, space, parts):
    found, note = apply(path, name)
    expected = {"data": DataConfig(source="cifar10"), "space": space, "search": searching(), **parts}
    search = expected.pop("search")
    text = to_json(Experiment(name=path.stem, search=search, **expected)).replace(
        f'"method": "{search.method}"', f'"method": "{name}"'
    )
    assert to_json(found) == text
    assert note.startswith(f"method {name}, published settings") and "\n" not in note


@pytest.mark.parametrize("space", ON_ENAS)
def test_enas_brings_the_settings_of_its_release(space):
    """scripts/cifar10_micro_search.sh and cifar10_macro_search.sh of the release; its L2 term has no factor of ½."""
    found, _ = apply(CIFAR, "enas", "--space.name", space)
    space_config, search = ON_ENAS[space]
    expected = Experiment(name=CIFAR.stem, data=ENAS_DATA, space=space_config, search=search)
    assert to_json(found) == to_json(expected).replace('"method": "darts"', '"method": "enas"')
    assert methods.configured(found.search).options["enas"].tanh == (1.1 if space == "enas_micro" else 1.5)


def test_one_shot_methods_bring_their_settings_for_imagenet():
    """SPOS: 150,000 iterations of 1,024 of 1,281,167 images; FairNAS: six paths of 256 images each."""
    for name, (epochs, batch, rate) in ON_CHAINS.items():
        found, _ = apply(CIFAR, name, "--space.name", name)
        settings = found.search
        assert (settings.epochs, settings.batch_size) == (epochs, batch)
        expected = SGDConfig(learning_rate=rate, learning_rate_min=0.0, weight_decay=4e-5, gradient_clip=0.0)
        assert settings.weight_optimizer == expected
    assert abs(120 * (0.96 * 1_281_167 // 1024) - 150_000) < 0.05 * 150_000
    assert methods.build("spos").linear_rate and not methods.build("fairnas").linear_rate
    assert apply(CIFAR, "spos", "--space.name", "mobile_s5")[1].endswith("none were applied")


def test_proxyless_nas_brings_its_settings():
    """40 epochs of warm-up and 120 of search; 50,000 of 1,281,167 images are held out; Adam without momentum."""
    found, _ = apply(CIFAR, "proxyless_nas", "--space.name", "proxyless")
    settings = found.search
    assert (settings.epochs, settings.batch_size, settings.weight_optimizer.nesterov) == (160, 256, True)
    assert (settings.weight_optimizer.learning_rate, settings.weight_optimizer.weight_decay) == (0.05, 4e-5)
    alphas = settings.alpha_optimizer
    assert (alphas.learning_rate, alphas.b1, alphas.b2, alphas.weight_decay) == (1e-3, 0.0, 0.999, 0.0)
    assert abs(found.data.val_fraction * 1_281_167 - 50_000) < 100


def test_path_dropout_brings_its_ghost_batches():
    """1,024 images in parts of 32 (Bender et al. 2018)."""
    found, _ = apply(CIFAR, "one_shot", "--space.name", "one_shot")
    assert (found.search.batch_size, found.space.channels) == (1024, 32)
    assert found.search.method_options == ("ghost_batches=32",)


def test_every_method_states_a_published_search_with_its_result():
    listed = (
        {(name, "darts_cnn") for name in (*ON_CIFAR10, *ON_S3)}
        | {(name, "nasbench201") for name in ON_NASBENCH201}
        | {("enas", space) for space in (*ON_ENAS, "enas_rnn", "enas_lm_rnn")}
        | {(name, name) for name in ON_CHAINS}
        | {("proxyless_nas", "proxyless"), ("proxyless_nas_reinforce", "proxyless"), ("one_shot", "one_shot")}
    )
    stated = {(name, entry.kind) for name in methods.names() for entry in methods.build(name).published}
    assert stated == listed and {name for name, _ in stated} == set(methods.names())
    for name in methods.names():
        for entry in methods.build(name).published:
            assert ("%" in entry.result or "perplexity" in entry.result) and set(entry.settings) <= set(option_types())


def test_settings_depend_on_the_options_of_the_method():
    assert apply(S3, "r_darts", "--search.method_options", "by=dp")[0].data.search_cutout == 16
    assert apply(CIFAR, "single_darts", "--search.method_options", "batches=two_splits")[0].data.val_fraction == 0.5


def test_the_file_and_the_command_line_win(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from jdarts.config import *\n"
        "config = Experiment(search=SearchConfig(batch_size=64, weight_optimizer=SGDConfig(momentum=0.8)))\n"
    )
    config, note = apply(file, "pc_darts", "--search.weight_optimizer.learning_rate", "0.05")
    assert (config.search.batch_size, config.search.weight_optimizer.momentum) == (64, 0.8)
    assert config.search.weight_optimizer.learning_rate == 0.05
    assert config.search.weight_optimizer.learning_rate_min == 0 and config.search.alpha_optimizer.learning_rate == 6e-4
    changed, _, kept = note.partition("; kept as given: ")
    assert "learning_rate_min=0.0" in changed and "batch_size" not in changed
    assert "search.batch_size=64 (published: 256)" in kept and "learning_rate=0.05 (published: 0.1)" in kept


def test_of_the_two_fractions_none_or_both_are_set():
    config, _ = apply(CIFAR, "drop_nas", "--data.val_fraction", "0.2")
    assert (config.data.train_fraction, config.data.val_fraction) == (0.5, 0.2) and config.search.epochs == 76


def test_options_that_are_given_win(tmp_path):
    config, _ = apply(CIFAR, "beta_darts", "--search.method_options", "weight=3")
    assert config.search.method_options == ("weight=25", "weight=3")  # of two for one option the last counts
    built = methods.build("beta_darts", config.search.method_options)
    assert built.published == methods.beta_darts().published


def test_the_space_on_the_command_line_chooses_the_settings():
    config, _ = apply(CIFAR, "gdas", "--space.name", "nasbench201")
    assert (config.space.cells, config.search.epochs, config.search.batch_size) == (5, 250, 64)
    assert fitting(methods.gdas().published, "mine.py") == fitting(methods.gdas().published, "robust_s2")


@pytest.mark.parametrize(
    ("space", "kind", "method", "option"),
    [
        ("define_space('mine', nodes=2, normal=('skip_connect', 'none'))", "robust_s2", "gdas", "temperature_end=1"),
        ("NASBench201Space('mine', (('none', 'skip_connect'),) * 6)", "nasbench201", "gdas", "temperature_end=1"),
        ("EnasMacroSpace('mine', layers=4)", "enas_macro", "enas", "skip_target=0.3"),
        ("EnasMicroSpace('mine', blocks=2)", "enas_micro", "enas", "op_tanh_reduce=2"),
    ],
)
def test_a_space_in_a_file_gets_the_settings_of_its_kind(tmp_path, space, kind, method, option):
    file = tmp_path / "mine.py"
    file.write_text(f"from jdarts.spaces import *\nspace = {space}\n")
    options = ["--search.method_options", option]
    found, note = apply(CIFAR, method, "--space.name", str(file), *options)
    like, _ = apply(CIFAR, method, "--space.name", kind, *options)
    assert to_json(found) == to_json(like).replace(f'"{kind}"', json.dumps(str(file)))
    assert note.startswith(f"method {method}, published settings: ")
    assert spaces.kind(str(file)) == spaces.kind(kind) == (kind if kind != "robust_s2" else "darts_cnn")


def test_an_option_of_another_kind_is_refused_in_a_space_of_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from jdarts.spaces import *\nspace = EnasMicroSpace('mine', blocks=2)\n")
    for method in ("enas", "enas+darts_minus"):  # with and without published settings
        with pytest.raises(
            UserError, match=r"skip_target of method enas has no effect in space .*mine\.py; it is for enas_m"
        ):
            apply(CIFAR, method, "--space.name", str(file), "--search.method_options", "skip_target=0.3")


def test_a_method_without_settings_for_the_space_says_so():
    cases = [("drnas", CIFAR), ("p_darts", NB201), ("pc_darts+darts_minus", CIFAR)]
    cases += [("single_darts", PTB), ("gdas", PTB)]  # those for images are not for text
    for method, path in cases:
        config, note = apply(path, method)
        assert config.search.method == method and config.search.epochs == 50
        assert note == f"method {method} has no published settings for space {config.space.name}; none were applied"


@pytest.mark.parametrize(
    ("space", "units", "batch", "rate", "clip"),
    [("enas_rnn", 720, 20, 8.75, 10 / 35), ("enas_lm_rnn", 200, 128, 20.0, 0.1)],
)
def test_enas_brings_the_settings_of_both_releases_on_text(tmp_path, space, units, batch, rate, clip):
    """A step of the first release is 0.25 times the gradient of 35 times the mean loss."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"data": {"source": "ptb"}, "space": {"name": space}}))
    config, _ = apply(file, "enas")
    sgd = config.search.weight_optimizer
    assert (config.language_search.units, config.search.batch_size) == (units, batch)
    assert (sgd.learning_rate, sgd.learning_rate_min, sgd.momentum, sgd.gradient_clip) == (rate, rate, 0.0, clip)
    assert methods.configured(config.search).options["enas"].reward_scale == 80
    assert LANGUAGE_TASK.check(config, spaces.LANGUAGE[space], methods.configured(config.search), None) is None


def test_the_configuration_of_enas_on_text_has_its_published_settings(tmp_path):
    file = tmp_path / "mine.json"
    text = {"name": "ptb_enas", "data": {"source": "ptb"}, "space": {"name": "enas_rnn"}}
    file.write_text(json.dumps({**text, "language_search": {"bptt": 35}}))
    assert apply(file, "enas")[0] == load_config(CONFIGS / "ptb_enas.py")
    assert "kept" not in apply(CONFIGS / "ptb_enas.py", "enas")[1]


def test_what_a_file_writes_down_is_known(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom jdarts.config import *\n"
        "base = Experiment('a', search=SearchConfig(epochs=50, weight_optimizer=SGDConfig(0.025)))\n"
        "config = replace(base, name='mine')\n"
    )
    written = {"name", "seed", "search.epochs", "search.weight_optimizer.learning_rate"}
    assert given(load_config(file)) == written
    (tmp_path / "mine.json").write_text('{"search": {"epochs": 50}}')
    assert given(load_config(tmp_path / "mine.json")) == {"search.epochs"}
    assert given(Experiment()) == set() and Experiment(seed=0) == Experiment()


def test_the_command_says_what_it_applies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("jdarts.pipeline.run_search_only", lambda config, *_, **__: seen.append(config))
    monkeypatch.setattr("jdarts.pipeline.plan_search", lambda config, **_: seen.append(config) or "planned")
    monkeypatch.setattr("jax.config.update", lambda name, value: None)  # for `plan`; other tests have started JAX
    options = ["--method", "pc_darts", "--search.epochs", "3"]
    assert cli.main(["search", str(CIFAR), *options]) == 0
    assert "search.batch_size=256" in capsys.readouterr().out.replace("\n", "")
    assert cli.main(["plan", str(CIFAR), *options, "--devices", "2", "--kind", "h100"]) == 0
    assert "search.batch_size=256" in capsys.readouterr().err
    assert cli.main(["search", str(CIFAR), "--search.method", "pc_darts", "--run-dir", "other"]) == 0
    assert [config.search.batch_size for config in seen] == [256, 256, 64]
    assert [config.search.epochs for config in seen] == [3, 3, 50]
    assert cli.main(["search", str(CIFAR), "--method", "gdas", "--search.method", "snas"]) == 2
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_help_has_the_values_of_the_method(before, capsys):
    named = ["--method", "pc_darts", "--space=robust_s2"]
    words = [*named, str(CIFAR)] if before else [str(CIFAR), *named]
    assert cli.main(["search", *words, "--search.epochs", "7", "--help"]) == 0
    _, _, page = capsys.readouterr().out.partition("overrides, with")
    assert "(default: 7)" in page and "(default: 256)" in page and "(default: robust_s2)" in page


def test_the_settings_are_shown(capsys):
    assert cli.main(["methods", "pc_darts"]) == 0
    out = capsys.readouterr().out
    assert "published settings for DARTS cells, applied by --method pc_darts: CIFAR-10 test error 2.57 ± 0.07 %" in out
    assert "search.batch_size=256" in out and "published settings for NAS-Bench-201" in out


@pytest.mark.parametrize(
    ("search", "space", "expected"),
    [
        ("method='dartz'", "", "mine.py: unknown method 'dartz'; did you mean 'darts'?"),
        ("method='pc_darts', method_options=('part=3',)", "", "mine.py: unknown option of method pc_darts 'part'"),
        ("hypergradient='secnd'", "", "mine.py: unknown hypergradient 'secnd'; "),
        (
            "hypergradient='neumann', hypergradient_options=('trms=3',)",
            "",
            "mine.py: unknown option of hypergradient neumann 'trms'; did you mean 'terms'?",
        ),
        ("method='gdas+snas'", "", "mine.py: gdas and snas both decide the relaxation"),
        ("", "name='robust_s5'", "mine.py: unknown space 'robust_s5'; did you mean 'robust_s"),
    ],
)
def test_a_wrong_name_in_a_file_is_told_with_the_file(tmp_path, monkeypatch, search, space, expected):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        f"from jdarts.config import *\nconfig = Experiment(search=SearchConfig({search}), space=SpaceConfig({space}))\n"
    )
    with pytest.raises(UserError) as caught:
        load_known("mine.py")
    assert str(caught.value).startswith(expected)
    with pytest.raises(UserError) as caught:
        load_known(CIFAR, ["--search.method", "dartz"])
    assert str(caught.value).startswith("unknown method 'dartz'")
    with pytest.raises(UserError, match=r"^unknown hypergradient 'unroled'; did you mean 'unrolled'\?"):
        load_known(CIFAR, ["--search.hypergradient", "unroled"])


def test_a_mistake_in_a_json_file_is_told_with_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.json").write_text('{"search": {"epoch": 3}}')
    with pytest.raises(UserError, match=r"^mine\.json: unknown field of search 'epoch'"):
        load_config("mine.json")
