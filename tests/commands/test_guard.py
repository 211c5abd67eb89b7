"""Every exception ends the command with one line; `--debug` adds the traceback."""

import dataclasses
import gzip
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from jdarts import cli
from jdarts.commands import guard
from jdarts.config import Experiment
from jdarts.errors import UserError


def recurse() -> None:
    recurse()


class Own(BaseException):
    pass


def fail(error: BaseException) -> None:
    raise error


FAILURES = {
    "a path too long": (lambda: Path("x" * 300).read_text(), 2, "File name too long"),
    "no such file": (lambda: Path("no/such.txt").read_text(), 2, "no/such.txt: No such file or directory"),
    "a folder for a file": (lambda: Path().read_text(), 2, "Is a directory"),
    "a full disk": (lambda: Path("/dev/full").write_bytes(b"x"), 1, "No space left on device"),
    "memory": (lambda: np.zeros(10**16), 2, "not enough memory (Unable to allocate"),
    "zlib": (lambda: zlib.decompress(b"no"), 2, "damaged"),
    "a cut gzip file": (lambda: gzip.decompress(gzip.compress(b"x" * 99)[:20]), 2, "damaged"),
    "a byte that is no text": (lambda: b"\xff".decode(), 2, "damaged"),
    "a large number": (lambda: np.array([1]).astype(np.int32).fill(10**30), 2, "a number is too large"),
    "recursion": (recurse, 2, "nested too deeply"),
    "a bug": (lambda: {}["missing"], 1, "internal error: KeyError: 'missing'"),
    "a bug with many lines": (lambda: fail(ValueError("a\nb")), 1, "internal error: ValueError: a b"),
    "a bug with a long text": (lambda: fail(TypeError("x" * 10**5)), 1, "internal error: TypeError: xxx"),
    "an own BaseException": (lambda: fail(Own("mine")), 1, "internal error: Own: mine"),
    "GeneratorExit": (lambda: fail(GeneratorExit()), 1, "internal error: GeneratorExit"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and the texts of errors are Linux's")
@pytest.mark.parametrize("case", FAILURES)
def test_any_exception_is_one_line_and_the_traceback_is_behind_debug(case, capsys, monkeypatch):
    action, status, expected = FAILURES[case]
    monkeypatch.setattr("jdarts.genotypes.published.names", action)
    assert cli.main(["genotypes"]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("jdarts: ") and err.count("\n") == 1 and len(err) < 600
    assert expected in err and "Traceback" not in err
    assert cli.main(["genotypes", "--debug"]) == status
    debugged = capsys.readouterr().err
    assert debugged.endswith(err) and "Traceback" in debugged and "_genotypes" in debugged


def test_an_internal_error_names_the_line_of_jdarts():
    with pytest.raises(ValueError) as caught:
        json.loads("{", object_hook=None)
    assert "(jdarts/" not in guard.explain(caught.value)[0]
    with pytest.raises(AttributeError) as caught:
        cli._dispatch([None])  # pyright: ignore[reportArgumentType]
    assert "(jdarts/cli.py:" in guard.explain(caught.value)[0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise GeneratorExit('gone')", "GeneratorExit: gone"),
        ("class Own(BaseException): pass\nraise Own('mine')", "Own: mine"),
        ("raise SystemExit('enough')", "SystemExit: enough"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_whatever_a_configuration_raises_is_its_mistake(body, expected, tmp_path, capsys):
    path = Path(tmp_path, "bad.py")
    path.write_text(body)
    assert cli.main(["run", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"{path}:" in err and expected in err


def test_a_mistake_in_a_setting_names_its_page_of_help():
    page = " (jdarts run CONFIG --help explains it)"
    sections = [field.name for field in dataclasses.fields(Experiment) if field.name not in ("name", "seed")]
    for section in sections:
        assert guard.explain(UserError(f"{section}.field is 0; use 1")) == (
            f"error: {section}.field is 0; use 1{page}",
            2,
        )
    assert guard.explain(UserError("--train.epochs is 0"))[0].endswith(page)
    for text in ("space.py: line 1 is wrong", "no file", "search.epoch is unknown (--help lists all options)"):
        assert guard.explain(UserError(text))[0] == f"error: {text}"
