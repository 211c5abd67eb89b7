"""Searches whose trials are in PostgreSQL: two workers, one of them killed, and databases that cannot be opened."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import optuna
import pytest
from support.trial_processes import CONFIG, EVOLUTION, children, in_state, retries, start, wait_until, write_table

from jdarts import cli

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
USER = "postgres" if hasattr(os, "getuid") and os.getuid() == 0 else None
"""The server does not run as root; Debian's package makes this user."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def server():
    """The URL of a database on a server of its own, from Debian's package postgresql."""
    if not BINARIES:
        pytest.skip("there is no PostgreSQL server in /usr/lib/postgresql (apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="pip install 'psycopg[binary]'")
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="jdarts-postgresql-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "password").write_text("secret")
        if USER is not None:
            account = pwd.getpwnam(USER)
            for path in (folder, folder / "password"):
                os.chown(path, account.pw_uid, account.pw_gid)
        port, data = free_port(), str(folder / "data")
        settings = {"user": USER, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        access = ["-U", "me", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        command = [str(BINARIES[0] / "initdb"), "-D", data, *access, "--no-sync", "--no-locale", "-E", "UTF8"]
        made = subprocess.run(command, **settings)
        assert made.returncode == 0, made.stderr.decode()
        # F: without fsync; k: the folder of the server's own socket.
        options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        process = subprocess.Popen(
            [str(BINARIES[0] / "postgres"), *options], **{**settings, "stderr": subprocess.DEVNULL}
        )
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGINT)  # disconnects its clients
        ready = [str(BINARIES[0] / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(ready).returncode == 0)
        yield f"postgresql+psycopg://me:secret@127.0.0.1:{port}/postgres"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(CONFIG)


@pytest.mark.slow
def test_two_workers_share_a_database_and_one_is_killed(server):
    search = ["search", "toy.py", *EVOLUTION, "--estimator", "table", "--table", write_table("table.csv")]
    main = start(*search, "--storage", server, "--workers", "2", "--trials", "100000")
    plan = Path("runs/toy/strategy.json")
    wait_until(plan.exists)
    assert "secret" not in plan.read_text()
    (worker,) = wait_until(lambda: children(main))
    study = wait_until(lambda: open_study(server))
    wait_until(lambda: len(in_state(study, "RUNNING")) == 2)

    def is_between_begin_and_end():
        os.kill(worker, signal.SIGSTOP)
        if len(in_state(study, "RUNNING")) == 2:
            return True
        os.kill(worker, signal.SIGCONT)
        return False

    wait_until(is_between_begin_and_end)
    os.kill(worker, signal.SIGKILL)
    (lost,) = wait_until(lambda: in_state(study, "FAIL"))
    (retried,) = wait_until(lambda: [trial for trial in in_state(study, "COMPLETE") if retries(trial) == lost.number])
    assert retried.params.items() >= lost.params.items()
    main.send_signal(signal.SIGINT)
    _, err = main.communicate(timeout=60)
    assert main.returncode == 130 and "stopped by SIGINT" in err, err

    count = len(in_state(study, "COMPLETE"))
    again = start(*search, "--storage", server, "--workers", "2", "--trials", str(count + 20), "--resume")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0 and len(in_state(study, "COMPLETE")) == count + 20, err


def open_study(url):
    with contextlib.suppress(KeyError):
        return optuna.load_study(study_name="toy", storage=url)


def test_databases_that_cannot_be_opened(server, capsys):
    search = ["search", "toy.py", "--strategy", "random", "--trials", "2", "--storage"]
    for url, expected in (
        (server.replace("secret", "guess"), 'password authentication failed for user "me"'),
        (server.removesuffix("postgres") + "nowhere", 'database "nowhere" does not exist'),
        (f"postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/postgres", "Connection refused"),
        ("postgresql+psycopg://me:secret@127.0.0.1:port/postgres", "port"),
        ("mysql://me:secret@127.0.0.1/db", "the Python package MySQLdb is not installed"),
    ):
        assert cli.main([*search, url]) == 2
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1 and expected in err and "secret" not in err and "guess" not in err, err
    assert [path.name for path in Path().iterdir()] == ["toy.py"]
