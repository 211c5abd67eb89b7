"""The worker processes that `--workers` starts on this machine: they stop with their search and never outlive it."""

import os
import subprocess
import sys
import threading
import time

from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.strategies.running import Helpers

_LOOK = 0.5
"""Seconds between two looks of a worker at its parent."""
_ORPHANED = 143


class WorkerProcesses(Helpers):
    """Processes of `jdarts worker RUN` with the environment of this one; what they print is in worker-1.log, ….

    A worker ends on SIGTERM, after its running trial. If this process ends in any other way, its workers end at once.

    Args:
      run: the run folder.
      count: the number of processes.
      storage: the storage of the run, with its password; "" is the journal of the run folder.
      reporter: receives a warning for every process that fails.
    """

    def __init__(self, run: RunFolder, count: int, storage: str, reporter: Reporter):
        self.count, self._reporter, self._stopped = count, reporter, False
        self._logs = [run.path / f"worker-{number}.log" for number in range(1, count + 1)]
        if count:  # XLA gives the first process of a GPU three quarters of its memory
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / (count + 1):.3f}")
        command = [sys.executable, "-m", "jdarts", "worker", str(run.path), "--parent", str(os.getpid())]
        if storage:
            command += ["--storage", storage]
        self._running: list[tuple[int, subprocess.Popen]] = []
        for number, log in enumerate(self._logs):
            run.written.add(log)
            with open(log, "ab") as output:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            self._running.append((number, process))

    def stop(self) -> None:
        """Make them stop after their running trials."""
        self._stopped = True
        for _, process in self._running:
            process.terminate()

    def check(self) -> None:
        """Warn of those that have failed."""
        for number, process in list(self._running):
            status = process.poll()
            if status is None:
                continue
            self._running.remove((number, process))
            if status and not self._stopped:
                what = f"signal {-status}" if status < 0 else f"status {status}"
                self._reporter.warning(f"worker {number + 1} ended with {what}; see {self._logs[number]}")

    def join(self) -> None:
        """Stop them, and wait until they have ended."""
        self.check()
        self.stop()
        for _, process in self._running:
            process.wait()


def end_with(parent: int) -> None:
    """End this process at once, from another thread, when the process `parent` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os.write(2, b"jdarts: the search that started this worker has ended; the running trial will be retried\n")
        os._exit(_ORPHANED)

    threading.Thread(target=watch, name="parent", daemon=True).start()
