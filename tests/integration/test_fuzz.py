"""Every input of every command ends with status 0 or 2, in seconds, and with at most a few lines of error.

A fixed seed draws 1,000 command lines: wrong options, extreme numbers, malformed genotypes, broken configurations,
damaged files, odd paths and texts. Nothing is trained: a command ends where it would begin to compile, after all checks
of its input.
"""

import gzip
import importlib
import json
import random
import shutil
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from support.report_runs import write_run

from jdarts import cli, methods
from jdarts.config.files import option_types
from jdarts.devices import processes
from jdarts.genotypes import published
from jdarts.methods.registry import option_defaults

INPUTS, PARTS = 1_000, 4
SLOWEST = 8.0
"""Seconds of this process that one input may take."""
LINES, CHARACTERS = 6, 3_000
"""The longest error: warnings may precede its line, and paths may be long."""

STOPPED = (
    "jdarts.pipeline.open_run",
    "jdarts.commands.trial_runs.open_run",
    "jdarts.search.plan.measure",
    "jdarts.bench.command.measure_ceilings",
    "jdarts.bench.command.measure_gradients",
    "jdarts.bench.command.measure_seeds",
    "jdarts.bench.command.open_stream_search",
    "jdarts.search.stored.make_search",
    "jdarts.analysis.resnet_beta.train_beta",
    "jdarts.report.write_report.watch",
)
"""The point at which a valid input begins to compute."""

CONFIG = """
from jdarts.config import *
config = Experiment(
    name="toy",
    data=DataConfig(source="synthetic:8x8x1:4:160"),
    space=SpaceConfig(name="robust_s3", channels=4, cells=3),
    search=SearchConfig(epochs=1, batch_size=8),
    train=TrainConfig(epochs=1, batch_size=8, channels=4, cells=3, auxiliary_weight=0),
)
"""
SPACE = """
from jdarts.spaces import define_space
space = define_space("mine", nodes=1, normal=("skip_connect", "max_pool_3x3"))
"""
ARCH = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|"
DARTS = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=[2], reduce=[('max_pool_3x3', 0), "
DARTS += "('dil_conv_5x5', 1)], reduce_concat=[2])"

NUMBERS = (
    *("0", "-1", "1", "2", "3", "1e309", "nan", "inf", "-inf", "1e-400", "0x10", "1_000", "٣", "1.5", "", " ", "+5"),
    *("9" * 20, "9" * 5_000, "1000000", "100000000", "2147483648", "-2147483649", "1e38", "1e39", "None", "true"),
)
TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\x1b[31mred",
        "é",
        "\ud800",
        "日本語",
        "💥" * 50,
        "a" * 300,
        "a/" * 2_000,
        "../" * 40,
    ),
    *(
        "\n",
        "a\nb",
        "\t",
        "--",
        "-",
        "-x",
        "=",
        "--=",
        "--x=",
        "%s%n",
        "{0}",
        "~",
        "*",
        "/",
        "/proc/x",
        "/dev/null",
        ".",
    ),
    *("a" * 100_000, "name.py", "x.json", "x.csv", "[" * 100_000, "{" * 5_000, "(" * 3_000, "|" * 1_000, "'"),
)


class Draw(random.Random):
    """Random pieces of command lines."""

    def number(self) -> str:
        """A number as text, extreme or of any size, or nearly one."""
        if self.random() < 0.6:
            return self.choice(NUMBERS)
        return repr(
            self.choice(
                [self.uniform(-3, 3), self.randint(-5, 10 ** self.randint(1, 25)), 10 ** self.uniform(-320, 308)]
            )
        )

    def text(self) -> str:
        """Any text."""
        if self.random() < 0.7:
            return self.choice(TEXTS)
        alphabet = string.printable + "äß€\x00\x07\x1b\u202e\udcff"
        return "".join(self.choice(alphabet) for _ in range(self.randint(1, 40)))

    def damaged(self, text: str) -> str:
        """`text` after a few cuts, repetitions and exchanged characters."""
        for _ in range(self.randint(1, 4)):
            i, j = sorted(self.randint(0, len(text)) for _ in range(2))
            piece = self.choice(["", text[i:j] * 2, self.text()[:30], self.number()[:30]])
            text = text[:i] + piece + text[self.choice([i, j]) :]
        return text

    def damaged_bytes(self, content: bytes) -> bytes:
        """`content` with a flipped byte, cut off, or with something else in the middle."""
        at = self.randrange(len(content))
        flipped = bytes([content[at] ^ self.randint(1, 255)])
        choices = [
            content[:at] + flipped + content[at + 1 :],
            content[:at],
            content[:at] + b"\xff\x00" * 9 + content[at:],
        ]
        return self.choice(choices)

    def genotype(self) -> str:
        """A genotype, usually a damaged one."""
        text = self.choice([ARCH, DARTS, self.choice(published.names()), published.get("DARTS_V2").to_json()])
        return text if self.random() < 0.2 else self.damaged(text) if self.random() < 0.8 else self.text()

    def some(self, options: dict[str, Callable[[], str]], most: int = 3) -> list[str]:
        """A few options, as two words or as one."""
        words = []
        for name in self.sample(sorted(options), min(len(options), self.randint(0, most))):
            value = options[name]()
            words += [f"{name}={value}"] if self.random() < 0.6 else [name, value]
        return words

    def override(self) -> str:
        """An override of the configuration."""
        name = self.choice(sorted(option_types()))
        if self.random() < 0.1:
            name = self.damaged(name)
        if name.endswith("source"):
            sizes = "x".join(self.choice(["8", "0", "-1", "99", "x", "1"]) for _ in range(3))
            kinds = [
                "synthetic",
                "digits",
                "npz",
                "folder",
                "cifar10",
                "stream:folder",
                "tfds",
                "tfds:mnist",
                "stream:tfds:x",
            ]
            value = self.choice(
                [f"synthetic:{sizes}:{self.randint(-1, 9)}:{self.randint(-1, 400)}", *kinds, self.text()]
            )
        else:
            value = self.number() if self.random() < 0.7 else self.text()
        return f"--{name}={value}"

    def method_option(self) -> str:
        """An option of a method with any value, and the method."""
        name = self.choice(methods.names())
        options = list(option_defaults(name)) or ["order"]
        value = self.number() if self.random() < 0.8 else self.text()
        return f"--search.method={name} --search.method_options={self.choice(options)}={value}"

    def config(self) -> str:
        """The path of a configuration, usually a broken one."""
        if self.random() < 0.5:
            return "toy.py"
        path = Path(f"c{self.randrange(10**9)}{self.choice(['.py', '.json', ''])}")
        raising = [
            "GeneratorExit()",
            "SystemExit(3)",
            "MemoryError()",
            "RecursionError()",
            "type('E', (BaseException,), {})()",
        ]
        broken = [
            f"raise {self.choice(raising)}",
            "def f(): f()\nf()",
            "config = 3",
            "config = " + "[" * self.choice([50, 150, 100_000]),
            "from jdarts.config import *\nconfig = Experiment("
            + self.damaged("name='x', seed=3, search=SearchConfig()")
            + ")",
            "from jdarts.config import *\nconfig = Experiment(seed=10**10000)",
            "from jdarts.config import *\nconfig = Experiment(search=SearchConfig(epochs=float('nan')))",
            "import no_such_module",
            '{"a":' * 100_000,
            json.dumps({"name": self.text(), "seed": 1}),
            json.dumps({"search": {"epochs": 10 ** self.randint(1, 40)}}),
            '{"seed": ' + "9" * 5_000 + "}",
            self.damaged(CONFIG),
            self.text(),
        ]
        path.write_bytes(self.choice(broken).encode("utf-8", "surrogatepass"))
        return str(path) if self.random() < 0.9 else self.text()


def run_words(draw: Draw) -> list[str]:
    """A command that searches, trains, plans or measures."""
    command = draw.choice(["search", "search", "run", "train", "plan", "bench"])
    words = [command, draw.config()]
    own = {
        "search": {
            "--seeds": draw.number,
            "--sweep": lambda: draw.choice(["", "alpha_init_scale=", "weight_optimizer.momentum=0.1,"]) + draw.number(),
            "--run-dir": draw.text,
            "--space": draw.text,
            "--method": draw.text,
            "--num-processes": draw.number,
            "--process-id": draw.number,
            "--coordinator": draw.text,
        },
        "train": {"--genotype": draw.genotype, "--run-dir": draw.text, "--space": draw.text},
        "plan": {"--devices": draw.number, "--kind": lambda: draw.choice(["h100", "a100", "x", ""])},
        "bench": {"--only": draw.text, "--steps": draw.number, "--against": draw.text, "--json": draw.text},
    }
    words += draw.some(own["search" if command == "run" else command], most=2)
    if draw.random() < 0.8:
        words += [draw.override() for _ in range(draw.randint(1, 2))]
    elif draw.random() < 0.8:
        words += draw.method_option().split(" ", 1)
    if command == "train" and draw.random() < 0.8:
        words += ["--genotype", draw.genotype()]
    if command == "plan" and draw.random() < 0.8:
        words += ["--devices", "2", "--kind", "h100"]
    if command == "bench" and draw.random() < 0.5:
        words.insert(1, draw.choice(["hypergrad", "seeds", "input", "inputs"]))
    return words


def reference_words(draw: Draw) -> list[str]:
    """A command that looks up facts."""
    command = draw.choice(["count", "count", "draw", "query", "genotypes", "methods", "spaces"])
    if command == "count":
        sizes = {
            "--image": lambda: draw.choice([draw.number(), "32x48", "8x8x8", "x", f"{draw.number()}x{draw.number()}"])
        }
        numbers = {f"--{name}": draw.number for name in ("channels", "cells", "classes")}
        return [
            "count",
            draw.genotype(),
            *draw.some({**numbers, **sizes, "--space": lambda: draw.choice(["space.py", "x.py"])}),
        ]
    if command == "draw":
        outputs = [
            "c.svg",
            "c.png",
            "/proc/x.png",
            "a" * 300 + ".svg",
            "no/c.svg",
            "c.pdf",
            "toy.py/c.svg",
            draw.text() + ".svg",
        ]
        return ["draw", draw.genotype(), "-o", draw.choice(outputs)]
    if command == "query":
        table = f"t{draw.randrange(10**9)}{draw.choice(['.csv', '.csv.gz', '.pth'])}"
        value = draw.choice(["90", "nan", "-5", "200", "1e999", "", "x", draw.number()])
        text = f"arch,c10_test_200,params_c10\n{ARCH},{value},{draw.choice(['7', 'nan', '-1', value])}\n"
        content = text.encode() if draw.random() < 0.4 else gzip.compress(text.encode())
        Path(table).write_bytes(content if draw.random() < 0.3 else draw.damaged_bytes(content))
        return ["query", draw.choice([ARCH, draw.genotype()]), "--table", table if draw.random() < 0.9 else draw.text()]
    return [
        command,
        *([draw.choice([*methods.names(), draw.text()])] if command == "methods" and draw.random() < 0.9 else []),
    ]


def look_words(draw: Draw) -> list[str]:
    """A command that examines a run, whose files may be damaged."""
    command = draw.choice(["report", "report", "analyze", "resnet-beta"])
    if command == "resnet-beta":
        names = (
            "limit",
            "betas",
            "blocks",
            "channels",
            "epochs",
            "batch-size",
            "learning-rate",
            "weight-decay",
            "seed",
        )
        data = Path("data.npz")
        content = draw.damaged_bytes(data.read_bytes()) if draw.random() < 0.7 else data.read_bytes()
        Path("bad.npz").write_bytes(content)
        source = ["--source", "npz", "--path", "bad.npz"] if draw.random() < 0.7 else ["--source", draw.text()]
        return ["resnet-beta", *source, "-o", "beta", *draw.some({f"--{name}": draw.number for name in names})]
    run = Path(f"r{draw.randrange(10**9)}")
    shutil.copytree("run", run)
    for _ in range(draw.randint(0, 2)):
        file = draw.choice(sorted(path for path in run.rglob("*") if path.is_file()))
        deep = b"[" * 100_000
        file.write_bytes(
            draw.choice([b"", deep, b'{"epoch": ' * 9, b"null\n", b"[]", draw.damaged_bytes(file.read_bytes() or b"x")])
        )
    runs = [str(run) if draw.random() < 0.8 else draw.text() for _ in range(draw.choice([1, 1, 2]))]
    if command == "report":
        return ["report", *runs, *draw.choice([[], ["--text"], ["--watch"], ["-o", draw.text()], [draw.text()]])]
    numbers = {
        f"--{name}": draw.number for name in ("batches", "batch-size", "points", "chunk", "weight-decay", "seed")
    }
    return ["analyze", runs[0], *draw.some({**numbers, "--directions": draw.text, "--import": draw.text}, most=2)]


def trial_words(draw: Draw) -> list[str]:
    """A search by trials, a search for hyper-parameters, or a worker of a run whose plan may be damaged."""
    command = draw.choice(["search", "search", "tune", "worker"])
    storages = ["sqlite:///no/x.db", "nosql://a:b@c/d", "://", "toy.py", "", "\x00", "a" * 300, "postgresql://x:1/y"]
    shared = {
        "--storage": lambda: draw.choice(storages),
        "--pruner": lambda: draw.choice(["median", draw.text()]),
        "--workers": lambda: draw.choice(["1", "2", draw.number()]),
    }
    lists = {
        "--strategy-options": ("population", "sample", "legal", "mutation", "hidden", "batch", "gamma", "seed"),
        "--budget": ("epochs", "data", "resolution", "cells", "channels", "x"),
    }

    def listed(names: tuple[str, ...]) -> str:
        return ",".join(f"{draw.choice(names)}={draw.number()}" for _ in range(draw.randint(0, 2)))

    if command == "worker":
        plan = json.dumps({"strategy": "random", "trials": 1, "objectives": ["accuracy"], "jdarts": "0.1.0"})
        Path("run", "strategy.json").write_bytes(draw.damaged(plan).encode("utf-8", "surrogatepass"))
        return ["worker", draw.choice(["run", "run", draw.text()]), *draw.some({"--storage": shared["--storage"]})]
    if command == "tune":
        names = sorted(option_types())
        ranges = [f"{draw.choice(['log', 'lin', 'int', 'x'])}:{draw.number()}:{draw.number()}", draw.number(), "1,2"]
        vary = f"{draw.choice(names)}={draw.choice(ranges)}"
        options = {"--vary": draw.text, "--sampler": lambda: draw.choice(["grid", "random", draw.text()]), **shared}
        genotype = draw.choice([[], ["--genotype", draw.genotype()]])
        return [
            "tune",
            "toy.py",
            "--vary",
            vary,
            "--trials",
            draw.choice(["2", "2", draw.number()]),
            *genotype,
            *draw.some(options),
        ]
    options = {
        **{option: lambda names=names: listed(names) for option, names in lists.items()},
        "--estimator": lambda: draw.choice(["train", "table", "inherited", draw.text()]),
        "--table": draw.text,
        "--supernet": lambda: draw.choice(["run", draw.text()]),
        "--objectives": lambda: draw.choice(["accuracy,macs", draw.text()]),
        "--space": lambda: draw.choice(["nasbench_macro", "pnas", "enas_macro", "nasbench201", draw.text()]),
        **shared,
    }
    strategy = draw.choice(["random", "genetic", "regularized_evolution", "ppo", "tpe", "nsga2", "grid", draw.text()])
    return [
        "search",
        "toy.py",
        "--strategy",
        strategy,
        "--trials",
        draw.choice(["2", "2", draw.number()]),
        *draw.some(options),
    ]


def any_words(draw: Draw) -> list[str]:
    """Random words, or a valid line with one word too many, too few or damaged."""
    if draw.random() < 0.3:
        return [draw.text() for _ in range(draw.randint(0, 4))]
    words = draw.choice([run_words, reference_words, look_words])(draw)
    at = draw.randrange(len(words))
    return [
        *words[:at],
        *draw.choice([[], [draw.damaged(words[at])], [draw.text(), words[at]], [words[at]] * 2]),
        *words[at + 1 :],
    ]


def words_of(draw: Draw) -> list[str]:
    """One command line."""
    return draw.choices([run_words, reference_words, look_words, any_words], [4, 4, 1, 2])[0](draw)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a configuration, a space, a run and a data set; commands end where they would compute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JDARTS_CACHE", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("toy.py").write_text(CONFIG)
    Path("space.py").write_text(SPACE)
    write_run(Path("run"), epochs=2)
    images = np.zeros((40, 8, 8, 1), np.uint8)
    labels = np.arange(40) % 4
    np.savez("data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)

    def stop(*args, **kwargs):
        raise SystemExit(0)

    for name in STOPPED:
        module, _, function = name.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), function, stop)
    monkeypatch.setattr(processes, "start", lambda addresses: addresses is None or stop())
    monkeypatch.setattr(jax.config, "update", lambda *args: None)
    return tmp_path


@pytest.mark.parametrize("part", [*range(PARTS), "trials"])
def test_no_input_ends_in_a_traceback(place, capsys, part):
    draw, faults, statuses = Draw(f"jdarts {part}"), [], []
    for _ in range(INPUTS // PARTS):
        words = (trial_words if part == "trials" else words_of)(draw)
        started = time.process_time()
        try:
            status = cli.main(words)
        except BaseException as error:
            status = f"{type(error).__name__}: {error}"
        seconds = time.process_time() - started
        out, err = capsys.readouterr()
        statuses.append(status)
        if (
            status not in (0, 2)
            or seconds > SLOWEST
            or "Traceback" in out + err
            or (status == 2 and "jdarts: error: " not in err)
            or len(err.splitlines()) > LINES
            or len(err) > CHARACTERS
            or any(ord(c) < 32 and c != "\n" for c in err)
        ):
            faults.append(f"{[word[:80] for word in words]}: status {status}, {seconds:.1f} s: {err[-600:]}")
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults)
    assert statuses.count(0) > 20, "valid inputs are among them"
    assert not [path for path in Path().iterdir() if path.name == "runs"], "nothing was written"
