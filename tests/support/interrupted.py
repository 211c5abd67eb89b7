"""A training that a signal stops at a chosen step."""

import contextlib
from collections.abc import Iterator

import pytest

from jdarts.runs import loop


@contextlib.contextmanager
def stopped_after(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block, a SIGTERM arrives after `step` steps; all processes agree to stop."""
    taken: list[int] = []
    real = loop._stop_now

    def stop(signal, done):
        taken.append(done)
        return 15 if done == step else real(signal, done)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_stop_now", stop)
        patch.setattr(loop.processes, "agree_to_stop", lambda received: 15 if taken[-1] == step else received)
        yield
