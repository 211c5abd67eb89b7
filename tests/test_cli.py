import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import jdarts
from jdarts import cli
from jdarts.commands import process
from jdarts.config import DataConfig, Experiment, SearchConfig
from jdarts.config.files import to_json
from jdarts.errors import Diverged, Interrupted, UserError
from jdarts.runs.folder import RunFolder

CONFIG = Experiment(name="toy", search=SearchConfig(epochs=3))
ROOT = str(Path(__file__).parents[1])


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A working directory with configs/toy.py and its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JDARTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv("JDARTS_NO_REEXEC", raising=False)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "toy.py").write_text(
        'from jdarts.config import *\nconfig = Experiment(name="toy", search=SearchConfig(epochs=3))\n'
    )


def jdarts_command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "jdarts", *arguments],
        env={**os.environ, "PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def pipeline(monkeypatch):
    """A stand-in for the pipeline that records the calls and runs `behave`."""
    module: Any = types.ModuleType("jdarts.pipeline")
    calls = []

    def function(name):
        def call(*arguments, **options):
            calls.append((name, arguments, options))
            module.behave(options["reporter"])

        return call

    for name in ("run_experiment", "run_search_only", "run_train_only"):
        setattr(module, name, function(name))
    module.behave = lambda reporter: None
    module.calls = calls
    monkeypatch.setitem(sys.modules, "jdarts.pipeline", module)
    monkeypatch.setattr(jdarts, "pipeline", module, raising=False)
    monkeypatch.setattr(process, "enable_compilation_cache", lambda warn: None)
    return module


BAD_INPUT = {
    "an unknown key": (["run", "toy", "--search.epoch", "3"], "did you mean --search.epochs?"),
    "a wrong type": (["run", "toy", "--search.epochs", "ten"], "'ten'; it must be a whole number"),
    "a broken rule": (["search", "toy", "--space.channels", "7"], "space.channels is 7"),
    "a missing config": (["run", "toi"], "did you mean configs/toy.py?"),
    "an unknown genotype": (["train", "toy", "--genotype", "DARTSV2"], "DARTS_V2"),
    "a genotype to count": (["count", "Genotype(normal=[("], "error: "),
    "an existing run": (["run", "toy", "--run-dir", "old"], "run folder old exists; pass --resume"),
    "nothing to resume": (["run", "toy", "--resume"], "runs/toy does not exist; start without --resume"),
    "another config": (
        ["run", "toy", "--run-dir=old", "--resume", "--seed=9"],
        "seed: 0 (stored) != 9 (given)",
    ),
    "a mistyped command": (["serach", "toy"], "unknown command 'serach'; did you mean 'search'?"),
    "no config": (["run"], "the following arguments are required: CONFIG"),
    "a value of dashes": (["tune", "toy", "--sampler=--"], "--sampler is --, which is no value"),
    "too much": (["run", "toy", "extra"], "unrecognized arguments: extra"),
    "a mistyped option": (["run", "toy", "--resum"], "unknown option --resum; did you mean --resume?"),
    "another picture": (["draw", "DARTS_V2", "-o", "cell.pdf"], "ends in .svg or .png"),
    "no such folder": (["draw", "DARTS_V2", "-o", "no/cell.svg"], "there is no folder no"),
    "an arc that is too short": (["draw", "enas_macro: 0 1", "-o", "cell.svg"], "layer 1 of the arc has 1 numbers"),
    "an op of other networks": (
        ["count", "Genotype([('conv_3x3', 0), ('none', 1)], [2], [('none', 0), ('none', 1)], [2])"],
        "networks of DARTS cells do not have it",
    ),
    "a wide pool": (
        ["count", "Genotype([('max_pool_7x7', 0), ('none', 1)], [2], [('none', 0), ('none', 1)], [2])"],
        "networks of DARTS cells do not have it",
    ),
    "an option without meaning": (["count", "ENAS_MACRO", "--cells", "3"], "--cells has no meaning for an ENAS macro"),
    "a form that is not there": (["count", "ENAS_MICRO", "--imagenet"], "ENAS networks have no ImageNet form"),
    "cells of a mobile network": (
        ["count", "FAIRNAS_A", "--cells", "3"],
        "--cells has no meaning for a mobile network",
    ),
    "a factor without widths": (["count", "DARTS_V2", "--width-multiplier", "2"], "is for mobile networks, such as"),
    "units of a network of images": (["count", "DARTS_V2", "--units", "3"], "--units is for recurrent cells, such as"),
    "channels of a recurrent cell": (["count", "DARTS_RNN", "--imagenet"], "--imagenet is for networks of images"),
    "another space's cell": (["count", "ENAS_RNN", "--search"], "does not belong to space darts_rnn"),
    "not a number": (["count", "DARTS_V2", "--cells", "many"], "'many' is not a whole number, 1 to 1,000"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_status_2(case, capsys):
    arguments, expected = BAD_INPUT[case]
    RunFolder.create("old", CONFIG).append("metrics", {"step": 1})
    before = sorted(str(path) for path in Path().rglob("*"))
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jdarts: error: ") and err.count("\n") == 1
    assert expected in err
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.parametrize(
    "case", ["an unknown key", "a wrong type", "an unknown genotype", "a missing config", "an existing run"]
)
def test_bad_input_in_a_process_of_its_own(case):
    arguments, expected = BAD_INPUT[case]
    RunFolder.create("old", CONFIG).append("metrics", {"step": 1})
    done = jdarts_command(*arguments)
    assert done.returncode == 2
    assert done.stdout == "" and expected in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_checking_input_loads_nothing_heavy():
    heavy = "jax flax orbax optax matplotlib tensorflow tensorflow_datasets tyro sklearn"
    code = (
        "import sys; from jdarts.cli import main; "
        "status = main(['run', 'toy', '--search.epoch', '3']); "
        f"print(status, [name for name in '{heavy}'.split() if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "2 []\n"


def test_run_and_search_hand_over_config_folder_and_overrides(pipeline):
    assert cli.main(["run", "toy", "--search.epochs", "4", "--resume", "--run-dir", "old"]) == 2
    RunFolder.create("old", Experiment(name="toy", search=SearchConfig(epochs=4)))
    assert cli.main(["run", "--search.epochs", "4", "--run-dir=old", "toy", "--resume"]) == 0
    assert cli.main(["search", "configs/toy.py", "--name", "other"]) == 0
    (first, (config, members, folder), options), (second, (other, others, other_folder), _) = pipeline.calls
    assert members == others == ()
    assert (first, config.search.epochs, folder, options["resume"]) == (
        "run_experiment",
        4,
        Path("old"),
        True,
    )
    assert (second, other.name, other_folder) == ("run_search_only", "other", Path("runs/other"))


def test_train_hands_over_the_genotype(pipeline):
    from jdarts.genotypes import load

    assert cli.main(["train", "toy", "--genotype", "DARTS_V2"]) == 0
    ((name, arguments, options),) = pipeline.calls
    assert (name, arguments) == ("run_train_only", (CONFIG, load("DARTS_V2"), Path("runs/toy-train")))
    assert options["resume"] is False


def fail_with(error):
    def behave(reporter):
        reporter.phase("search", epochs=1, steps_per_epoch=1)
        raise error

    return behave


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("the path is\nwrong"), 2, "jdarts: error: the path is wrong\n"),
        (Interrupted(signal.SIGINT, "add --resume"), 130, "jdarts: stopped by SIGINT; add --resume\n"),
        (Interrupted(signal.SIGTERM, "add --resume"), 143, "jdarts: stopped by SIGTERM; add --resume\n"),
        (Diverged("the loss is NaN at step 7"), 1, "jdarts: error: the loss is NaN at step 7\n"),
        (KeyboardInterrupt(), 130, "jdarts: interrupted\n"),
    ],
)
def test_every_end_has_its_status_and_line(pipeline, capsys, error, status, line):
    pipeline.behave = fail_with(error)
    assert cli.main(["run", "toy"]) == status
    assert capsys.readouterr().err == line


def test_version_help_and_no_command(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jdarts {jdarts.__version__}\n"
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in ("run", "search", "train", "count", "draw", "genotypes"))


def test_without_a_command_a_short_guide_names_commands_that_exist(capsys):
    assert cli.main([]) == 0
    guide = capsys.readouterr().out
    assert len(guide.splitlines()) < 16 and max(map(len, guide.splitlines())) <= 120
    _, commands = cli._parsers()
    named = re.findall(r"jdarts ([a-z]+)", guide)
    assert set(named) <= set(commands) and named.index("search") < named.index("train") < named.index("export")


@pytest.mark.parametrize("name", ["run", "search", "train", "count", "draw", "genotypes"])
def test_every_command_has_help(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert f"usage: jdarts {name}" in capsys.readouterr().out


def test_help_with_a_config_lists_the_overrides_with_its_values(capsys):
    assert cli.main(["run", "toy", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--search.epochs INT" in text and "(default: 3)" in text and "--run-dir" in text


def test_count(capsys):
    assert cli.main(["count", "DARTS_V2", "--channels", "36", "--cells", "20"]) == 0
    assert "3,349,342" in capsys.readouterr().out
    assert cli.main(["count", "DARTS_V2", "--imagenet", "--channels", "48", "--cells", "14"]) == 0
    assert "4,718,752" in capsys.readouterr().out
    assert cli.main(["count", "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert cli.main(["count", "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", "--auxiliary"]) == 2


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (["NASNET_A_MOBILE"], "5,289,978"),
        (["pnasnet5-mobile"], "5,064,487"),
        (["NASNET_A_CIFAR", "--cells", "6"], "1,294,698"),
        (["ENAS_MICRO"], "3,894,372"),
        (["enas-micro", "--channels", "20", "--cells", "6"], "608,540"),
        (["ENAS_MACRO"], "42,559,392"),
        (
            ["enas_macro: 0 3 1", "--channels", "4", "--classes", "3", "--image", "8"],
            # stem; conv layer; separable layer with its join of two inputs; classifier: kernels and batch norms
            f" {(108 + 8) + (16 + 8 + 144 + 8) + (16 + 8 + 100 + 16 + 8 + 32 + 8) + 12}  ",
        ),
        (["PNASNET5_MOBILE", "--classes", "10"], f"{5_064_487 - 990 * (1080 + 1):,}"),
        (["DARTS_RNN"], "22,960,000"),
        (["darts-rnn-v1", "--vocabulary", "33278", "--units", "700"], "33,127,878"),
        (["DARTS_RNN", "--search"], "4,810,000"),
        (["ENAS_RNN"], f"{10_000 * 851 + 26 * 850**2:,}"),
        (["PROXYLESS_MOBILE"], "4,080,512"),
        (["fairnas-a-se", "--classes", "10"], "5,835,322"),
        (["SPOS", "--width-multiplier", "0.5", "--image", "32"], "1,177,056"),
        (["22212220"], "85,164,544"),
        (["AMOEBANET_A_CIFAR", "--imagenet", "--channels", "50", "--cells", "12"], "5,086,930"),
    ],
)
def test_count_of_published_networks(arguments, parameters, capsys):
    """Published networks have sizes of their own, which options replace."""
    assert cli.main(["count", *arguments]) == 0
    assert parameters in capsys.readouterr().out


def test_draw_and_genotypes(capsys):
    assert cli.main(["draw", "DARTS_V2", "-o", "cell.svg"]) == 0
    assert Path("cell.svg").read_text().lstrip().startswith("<")
    assert cli.main(["draw", "AMOEBANET_A_MOBILE", "-o", "blocks.svg"]) == 0
    assert Path("blocks.svg").read_text().count("sep_conv_3x3") == 5
    assert cli.main(["draw", "enas_macro: 0 3 1 5 0 1", "-o", "layers.svg"]) == 0
    assert Path("layers.svg").read_text().count("max_pool_3x3") == 1
    assert cli.main(["draw", "SPOS", "-o", "network.svg"]) == 0
    assert Path("network.svg").read_text().count("shuffle") == 16
    assert cli.main(["genotypes"]) == 0
    assert {"DARTS_V1", "DARTS_V2", "NASNET_A_MOBILE", "DARTS_RNN", "SPOS", "MNASNET_A1"} <= set(
        capsys.readouterr().out.split()
    )


def test_a_reader_that_leaves_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "jdarts", "genotypes"]
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(command, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_the_compilation_cache_is_the_users_alone(tmp_path, monkeypatch):
    import jax

    settings = {}
    monkeypatch.setattr(jax.config, "update", settings.__setitem__)
    warnings = []
    process.enable_compilation_cache(warnings.append)
    assert settings["jax_compilation_cache_dir"] == str(tmp_path / "cache") and not warnings
    assert settings["jax_persistent_cache_min_compile_time_secs"] == 0
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700

    settings.clear()
    (tmp_path / "cache").chmod(0o777)
    process.enable_compilation_cache(warnings.append)
    monkeypatch.setenv("JDARTS_CACHE", str(tmp_path / "configs" / "toy.py" / "below"))
    process.enable_compilation_cache(warnings.append)
    assert not settings and len(warnings) == 2
    assert "can be written by others" in warnings[0] and "set JDARTS_CACHE" in warnings[1]

    monkeypatch.setenv("JDARTS_CACHE", "")
    process.enable_compilation_cache(pytest.fail)
    assert not settings


@pytest.mark.parametrize("own", ["", "--xla_cpu_max_isa=AVX2"])
def test_xla_takes_the_flag_of_plain_loops_beside_the_users_own(own, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", own)
    cli.main(["search", "no_such_config"])
    cli.main(["search", "no_such_config"])
    flags = os.environ["XLA_FLAGS"].split()
    assert flags == [*own.split(), "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"]
    code = "import jax; print(jax.jit(lambda x: x + 1)(1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


def test_recurrent_cells_take_the_newer_loops(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    (tmp_path / "text.json").write_text(to_json(Experiment(data=DataConfig(source="ptb", path=str(tmp_path)))))
    assert cli.main(["search", str(tmp_path / "text.json")]) == 2
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"


def test_lines_of_python_are_left_out_of_programs_unless_asked_for(monkeypatch):
    code = "import jax; print(jax.jit(lambda x: x + 1).lower(1).as_text(debug_info=True).count('<string>'))"
    counts = []
    for own in (None, "3"):
        monkeypatch.delenv("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", raising=False)
        if own:
            monkeypatch.setenv("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", own)
        cli.main(["search", "no_such_config"])
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        counts.append(int(done.stdout))
    assert counts[0] == 0 < counts[1]


def test_options_of_the_users_own_stay_as_they_are(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=xla_cpu_small_call")
    cli.main(["search", "no_such_config"])
    assert os.environ["XLA_FLAGS"] == "--xla_backend_extra_options=xla_cpu_small_call"


PROBE = """
import os
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux with glibc is re-executed")
def test_the_command_starts_itself_anew_once_with_huge_pages():
    with open("configs/toy.py", "a") as file:
        file.write(PROBE + "raise SystemExit('enough')\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "jdarts", "run", "toy"],
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    assert out == f"{process.pid} glibc.malloc.hugetlb=1\n" and process.returncode == 2
    assert jdarts_command("run", "toy", JDARTS_NO_REEXEC="1").stdout.split()[1] == "None"
    own = jdarts_command("run", "toy", GLIBC_TUNABLES="glibc.malloc.perturb=0").stdout
    assert own.split()[1] == "glibc.malloc.perturb=0"


def test_calling_main_never_replaces_the_process(monkeypatch, capsys):
    monkeypatch.setattr(os, "execve", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest", "run", "toi"])
    assert cli.main(["run", "toi"]) == cli.main() == 2
    assert capsys.readouterr().err.count("did you mean configs/toy.py?") == 2
