import os
import signal
import subprocess
import sys
import threading

import pytest

from jdarts.runs.interrupts import StopSignal


@pytest.fixture(autouse=True)
def python_handlers():
    """Restores Python's own handlers, which a parent process may have switched off."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_only_noted(number):
    with StopSignal() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received == number


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_signal_interrupts_at_once(first):
    with StopSignal() as stop:
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == first


def test_a_second_sigterm_does_not_kill_a_process_that_is_saving():
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGINT


def test_earlier_handlers_come_back_even_after_an_error():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with pytest.raises(RuntimeError), StopSignal():
        raise RuntimeError
    os.kill(os.getpid(), signal.SIGTERM)
    assert seen == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_nothing_is_installed():
    handlers, received = [], []

    def work():
        with StopSignal() as stop:
            handlers.append(signal.getsignal(signal.SIGINT))
            received.append(stop.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
    assert received == [None]


START = """
import os, signal, sys, time
from jdarts.runs import interrupts
interrupts.end_on_signals()
interrupts.explain_with(lambda: "go on so")
"""
READY = 'print("ready", flush=True)\n'
STUCK_IN_C = "import hashlib; " + READY + "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
SWALLOWING = f"""
{READY}
while True:
    try:
        time.sleep(0.01)
    except BaseException:
        pass
"""
FORKED = f"""
{READY}
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
os.kill(child, signal.SIGTERM)
print(os.waitpid(child, 0)[1], flush=True)
time.sleep(60)
"""


def ended_by(code: str, *signals: int) -> tuple[int, str, str]:
    """Status, output and errors of a process that runs `code` and receives `signals`, each after a line of output."""
    process = subprocess.Popen(
        [sys.executable, "-c", START + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    read = ""
    for number in signals:
        read += process.stdout.readline()
        process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, read + out, err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("code", [STUCK_IN_C, SWALLOWING], ids=["inside C", "under a broad except"])
def test_a_signal_ends_the_process_with_one_line_wherever_it_is(code, number, status):
    line = f"jdarts: stopped by {number.name}; go on so\n"
    assert ended_by(code, number) == (status, "ready\n", line)


def test_a_hint_that_fails_is_left_out():
    code = "interrupts.explain_with(lambda: 1 / 0)\n" + STUCK_IN_C
    assert ended_by(code, signal.SIGINT) == (130, "ready\n", "jdarts: stopped by SIGINT\n")


BLOCK = f"""
with interrupts.StopSignal() as stop:
    {READY}
    while stop.received is None:
        time.sleep(0.01)
    print("noted", stop.received, flush=True)
    {{then}}
print("left", flush=True)
time.sleep(60)
"""


def test_inside_a_block_the_first_signal_is_noted_and_a_second_ctrl_c_ends_at_once_and_quietly():
    status, out, err = ended_by(
        BLOCK.format(then='import hashlib; hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)'),
        signal.SIGINT,
        signal.SIGINT,
    )
    assert (status, out) == (130, "ready\nnoted 2\n")
    assert err == "jdarts: finishing the step and saving; Ctrl-C once more ends at once, without saving\n"


def test_a_second_sigterm_lets_the_process_finish_and_ctrl_c_after_the_block_is_quiet():
    code = BLOCK.format(then="time.sleep(0.5)")
    status, out, err = ended_by(code, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    assert (status, out) == (130, "ready\nnoted 15\nleft\n")
    assert err == "jdarts: finishing the step and saving\n"


def test_forked_children_have_the_plain_handlers():
    status, out, err = ended_by(FORKED, signal.SIGWINCH, signal.SIGINT)
    assert (status, out) == (130, f"ready\n{int(signal.SIGTERM)}\n") and err.count("jdarts: ") == 1


def test_a_signal_between_two_programs_is_not_lost():
    """The process restarts itself, as the command does for huge pages, and the signal arrives meanwhile."""
    code = """
if len(sys.argv) == 1:
    assert interrupts.before_exec()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
    os.execv(sys.executable, [*sys.orig_argv, "again"])
time.sleep(60)
"""
    assert ended_by(code) == (143, "", "jdarts: stopped by SIGTERM; go on so\n")


def test_python_can_have_its_handlers_back():
    code = f"""
interrupts.raise_on_signals()
try:
    {READY}
    time.sleep(60)
except KeyboardInterrupt:
    print("raised", flush=True)
"""
    assert ended_by(code, signal.SIGINT) == (0, "ready\nraised\n", "")
