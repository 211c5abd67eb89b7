import dataclasses
import json

import pytest

from jdarts import methods
from jdarts.config import Experiment, SearchConfig, SGDConfig, SpaceConfig, TrainConfig
from jdarts.config.files import describe_options, from_json, load_config, option_types, to_json
from jdarts.errors import UserError
from jdarts.methods.registry import option_defaults

HEADER = "from jdarts.config import *\n"
CONFIG = Experiment(name="toy", space=SpaceConfig(cells=3), search=SearchConfig(epochs=7))


def problem(function, *arguments):
    """The one line of the `UserError` that `function` raises."""
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes configs/NAME.py below the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()

    def write(text, name="toy"):
        path = tmp_path / "configs" / f"{name}.py"
        path.write_text(HEADER + text)
        return path

    return write


@pytest.fixture
def toy(write):
    return write('config = Experiment(name="toy", space=SpaceConfig(cells=3), search=SearchConfig(epochs=7))')


def test_a_config_is_found_by_path_and_by_name(toy):
    assert load_config(toy) == load_config("configs/toy.py") == load_config("toy") == CONFIG
    assert not (toy.parent / "__pycache__").exists()


def test_the_json_of_a_run_is_a_config_too(tmp_path):
    (tmp_path / "config.json").write_text(to_json(CONFIG))
    assert load_config(tmp_path / "config.json") == CONFIG


def test_overrides_of_every_type(toy):
    options = (
        "--search.epochs 3 --search.weight-optimizer.learning-rate=1e-2 --data.flip false --data.limit 100 "
        "--search.hypergradient first_order --name other --seed=5 --data.path= --search.epochs 4"
    )
    config = load_config(toy, options.split())
    expected = dataclasses.replace(
        CONFIG,
        name="other",
        seed=5,
        data=dataclasses.replace(CONFIG.data, flip=False, limit=100),
        search=SearchConfig(epochs=4, hypergradient="first_order", weight_optimizer=SGDConfig(learning_rate=1e-2)),
    )
    assert config == expected
    assert load_config(toy, ["--data.limit", "none"]) == CONFIG


def test_an_option_that_is_a_list_can_be_set_among_others(toy):
    given = "cells=5,8,11, skip_dropout = 0.1,0.2,0.3 ,frozen=2"
    options = load_config(toy, ["--search.method_options", given]).search.method_options
    assert options == ("cells=5,8,11", "skip_dropout = 0.1,0.2,0.3", "frozen=2")
    with pytest.raises(UserError, match="skip_dropout"):
        methods.build("p_darts", (options[0], "skip_dropout=0.1,0.2,3", options[2]))
    methods.build("p_darts", options)


@pytest.mark.parametrize("name", methods.names())
def test_the_defaults_of_every_method_can_be_written_on_the_command_line(name, toy):
    defaults = option_defaults(name)
    written = [f"{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in defaults.items() if v != ()]
    read = load_config(toy, ["--search.method_options", ",".join(written)]).search.method_options
    assert list(read) == written


def test_rules_over_several_fields_are_checked_after_the_last_override(toy):
    config = load_config(toy, ["--data.train_fraction", "0.8", "--data.val_fraction", "0.2"])
    assert (config.data.train_fraction, config.data.val_fraction) == (0.8, 0.2)
    assert "must be at most 1" in problem(load_config, toy, ["--data.train_fraction", "0.8"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["--search.epoch", "3"], "unknown option --search.epoch; did you mean --search.epochs?"),
        (["--epochs", "3"], "did you mean --search.epochs or --train.epochs or"),
        (["--search.learning_rate", "3"], "did you mean --search.weight_optimizer.learning_rate or"),
        (["--zzz", "3"], "unknown option --zzz (--help lists all options)"),
        (["--search", "3"], "--search is a section"),
        (["--search.epochs", "ten"], "--search.epochs is 'ten'; it must be a whole number"),
        (["--search.epochs", "3.0"], "--search.epochs is '3.0'; it must be a whole number"),
        (["--search.alpha_init_scale", "nan"], "is 'nan'; it must be a finite number"),
        (["--data.flip", "maybe"], "--data.flip is 'maybe'; it must be true or false"),
        (["--data.limit", "x"], "--data.limit is 'x'; it must be a whole number or None"),
        (["--devices.backend", "pmapp"], "it must be one of 'auto', 'jit', 'shard_map', 'pmap'"),
        (["--search.epochs"], "--search.epochs needs a value: a whole number"),
        (["--search.epochs", "--seed", "3"], "--search.epochs needs a value"),
        (["3"], "unexpected '3'"),
        (["--search.epochs", "0"], "search.epochs is 0; it must be 1 to 1,000,000"),
        (["--space.channels", "7"], "space.channels is 7"),
        (["--name", "../x"], "name is '../x'"),
        (["--train.optimizer.momentum", "1"], "train.optimizer: momentum is 1.0"),
    ],
)
def test_wrong_overrides_are_told_in_one_line(toy, overrides, expected):
    assert expected in problem(load_config, toy, overrides)


def test_a_missing_file_names_the_nearest_and_all_there_are(toy, write):
    write("", name="darts_cifar10")
    text = problem(load_config, "tyo")
    assert "did you mean configs/toy.py?" in text
    assert "configs/darts_cifar10.py, configs/toy.py" in text
    toy.unlink()
    (toy.parent / "darts_cifar10.py").unlink()
    assert "./configs holds none" in problem(load_config, "toy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settings = Experiment()", "configs/toy.py defines no config"),
        ("config = 3", "configs/toy.py: config is an int; it must be an Experiment"),
        ("config = Experiment(", "configs/toy.py:2: '(' was never closed"),
        ("\nconfig = 1 / 0", "configs/toy.py:3: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "configs/toy.py:2: SystemExit: 3"),
        ("import nothing_like_it", "configs/toy.py:2: ModuleNotFoundError"),
        (
            "config = Experiment(\n  search=SearchConfig(epoch=3))",
            "configs/toy.py:3: unknown field of SearchConfig 'epoch'; did you mean 'epochs'?",
        ),
        ("config = Experiment(search=SearchConfig(epochs=0))", "configs/toy.py:2: search.epochs is 0"),
        (
            'config = Experiment(search=SearchConfig(epochs="3"))',
            "configs/toy.py:2: search.epochs is '3'; it must be a whole number",
        ),
        (
            'config = Experiment(search=SearchConfig(activations="half"))',
            "configs/toy.py: search.activations is 'half'; it must be one of 'float32', ",
        ),
        ("config = Experiment(data=DataConfig(flip=1))", "data.flip is 1; it must be true or false"),
        (
            "config = Experiment(search=TrainConfig())",
            "search is a TrainConfig; it must be a section with the fields of SearchConfig",
        ),
        (
            "config = Experiment(search=3)",
            "search is 3; it must be a section with the fields of SearchConfig",
        ),
    ],
)
def test_mistakes_inside_a_file_are_told_in_one_line(write, text, expected):
    write(text)
    assert expected in problem(load_config, "configs/toy.py")


def test_an_unreadable_file_is_a_users_mistake(write):
    path = write("")
    path.write_bytes(b"config = '\xff'")
    assert "configs/toy.py cannot be read" in problem(load_config, "configs/toy.py")
    assert "give a .py file" in problem(load_config, write("").rename("notes.txt"))


def test_json_round_trip_keeps_every_bit():
    config = dataclasses.replace(
        CONFIG, search=SearchConfig(alpha_init_scale=0.1 + 0.2), train=TrainConfig(drop_path=1 / 3)
    )
    assert from_json(to_json(config)) == config


def change(path, value):
    values = json.loads(to_json(CONFIG))
    *sections, field = path.split(".")
    inner = values
    for section in sections:
        inner = inner[section]
    inner[field] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (change("search.epoch", 3), "unknown field of search 'epoch'; did you mean 'epochs'?"),
        (change("serach", {}), "unknown field of the configuration 'serach'; did you mean 'search'?"),
        (change("search.epochs", "3"), "search.epochs is '3'; it must be a whole number"),
        (change("search.epochs", True), "search.epochs is True; it must be a whole number"),
        (change("search.epochs", 3.0), "search.epochs is 3.0; it must be a whole number"),
        (change("search.epochs", None), "search.epochs is None"),
        (change("search.weight_optimizer.momentum", "__import__('os')"), "it must be a finite number"),
        (change("search.weight_optimizer", 3), "search.weight_optimizer is 3; it must be a section"),
        (change("search.alpha_init_scale", float("nan")), "not a JSON configuration: NaN"),
        (change("search.epochs", 0), "search.epochs is 0; it must be 1 to 1,000,000"),
        ("{", "not a JSON configuration"),
        ("[1]", "the configuration is [1]"),
    ],
)
def test_from_json_is_strict(text, expected):
    assert expected in problem(from_json, text)


def test_fields_left_out_of_json_keep_their_defaults():
    assert from_json('{"search": {"epochs": 3}}') == Experiment(search=SearchConfig(epochs=3))


def test_help_lists_every_option_with_its_value():
    text = describe_options(CONFIG)
    for name in option_types():
        assert f"--{name} " in text
    assert "(default: 7)" in text and "--help" not in text
