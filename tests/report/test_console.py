import io
import os
import pty
import re
import threading
import time

import pytest

from jdarts.report.console import ConsoleReporter
from jdarts.runs.reporter import Reporter, SilentReporter

GENOTYPE = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=range(2, 6))"


def drive(reporter: Reporter):
    reporter.phase("search", epochs=2, steps_per_epoch=3)
    for epoch in (1, 2):
        for step in range(3):
            reporter.step(3 * (epoch - 1) + step + 1, {"loss": 2.5, "accuracy": 0.25} if step else None)
        record = {"epoch": epoch, "step": 3 * epoch, "learning_rate": 0.025, "alpha_entropy": 2.07}
        reporter.epoch(epoch, {**record, "loss": 2.0, "accuracy": 0.5, "val_accuracy": 0.375})
    reporter.message(GENOTYPE)
    reporter.warning("half the images are upside down")
    reporter.close()


def test_without_a_terminal_each_epoch_is_one_plain_line(capsys):
    drive(ConsoleReporter())
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 4 and lines[0] == "search: 2 epochs of 3 steps"
    numbers = "loss 2  accuracy 50.00%  val accuracy 37.50%  alpha entropy 2.07  learning rate 0.025"
    assert lines[1].startswith(f"search epoch 1/2  {numbers}  0:00 elapsed")
    assert lines[2].startswith("search epoch 2/2  ") and lines[3] == GENOTYPE
    assert err == "warning: half the images are upside down\n"
    assert out.isascii() and not re.search(r"[\x00-\x09\x0b-\x1f]", out)


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_no_variable_brings_control_codes_into_a_file(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    stream = io.StringIO()
    drive(ConsoleReporter(stream))
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()


def on_terminal(work, term="xterm"):
    """The output of `work(stream)` on a terminal of 100 columns, with the control codes."""
    master, slave = pty.openpty()
    shown = []

    def read():
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                return
            if not data:
                return
            shown.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(slave, "w") as stream:
        patch.setenv("TERM", term)
        patch.setenv("COLUMNS", "100")
        work(stream)
    reader.join(timeout=10)
    os.close(master)
    return b"".join(shown).decode()


def test_on_a_terminal_a_live_display_shows_everything():
    screen = on_terminal(lambda stream: drive(ConsoleReporter(stream)))
    assert "\x1b[" in screen and "━" in screen
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)
    for text in (
        "search",
        "epoch 2/2",
        "loss 2.5",
        "accuracy 25.00%",
        "alpha entropy 2.07",
        "elapsed",
        "left",
    ):
        assert text in plain
    assert GENOTYPE in plain
    assert "warning: half the images are upside down" in plain
    assert max(len(line) for line in plain.replace("\r", "\n").splitlines()) <= 100
    assert screen.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_a_dumb_terminal_gets_plain_lines():
    screen = on_terminal(lambda stream: drive(ConsoleReporter(stream)), term="dumb")
    assert "\x1b" not in screen and "search epoch 2/2" in screen


def test_the_display_does_not_hold_up_the_loop():
    def work(stream):
        with ConsoleReporter(stream) as reporter:
            reporter.phase("search", epochs=1, steps_per_epoch=20_000)
            start = time.process_time()
            for step in range(20_000):
                reporter.step(step + 1, {"loss": 1.0})
            seconds.append(time.process_time() - start)

    seconds: list[float] = []
    screen = on_terminal(work)
    assert seconds[0] < 1  # 50 microseconds a step, drawing included
    assert screen.count("search") < 20


def test_two_phases_follow_each_other_and_a_resumed_one_counts_on(capsys):
    with ConsoleReporter() as reporter:
        reporter.phase("search", epochs=1, steps_per_epoch=2)
        reporter.epoch(1, {"loss": 1.0})
        reporter.phase("train", epochs=4, steps_per_epoch=10, start_step=20)
        reporter.step(21)
        time.sleep(0.2)
        reporter.step(30)
        reporter.epoch(3, {"loss": float("nan")})
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "train: 4 epochs of 10 steps, resumed after step 20"
    assert re.fullmatch(r"train epoch 3/4  loss nan  0:00 elapsed, 0:00 left", lines[3])


def test_time_left_follows_the_pace_after_the_first_step(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    reporter = ConsoleReporter(stream)
    reporter.phase("search", epochs=3, steps_per_epoch=11)
    clock[0] += 60  # compilation
    reporter.step(1)
    clock[0] += 20
    reporter.step(11)
    reporter.epoch(1, {})
    assert stream.getvalue().splitlines()[-1] == "search epoch 1/3  1:20 elapsed, 0:44 left"


def test_the_silent_reporter_keeps_what_was_said(capsys):
    reporter = SilentReporter()
    drive(reporter)
    assert reporter.messages == [GENOTYPE] and reporter.warnings == ["half the images are upside down"]
    assert capsys.readouterr() == ("", "")
