"""Storages of studies: a journal file that hosts share, or a database; both find the trials of workers that died.

Optuna fails a running trial whose worker has not given a sign of life for a while, and puts it in the queue once more.
Its databases support that, but for trials whose worker died before the first sign: `HeartbeatDatabase` adds those. Its
journal does not support it: `HeartbeatJournal` adds it.
"""

import contextlib
import copy
import json
import time
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages._rdb.models import TrialHeartbeatModel
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from jdarts.errors import UserError
from jdarts.strategies.owners import Owner, owner_of, this_process

HEARTBEAT = 15
"""Seconds between two signs of life of a running trial."""
SILENCE = 120
"""Seconds after which a trial without signs of life counts as lost. Clocks of hosts must agree that well.

On its own host, a process that has ended is known at once (`jdarts.strategies.owners`).
"""
RETRIES = 1
"""Times that a lost trial is evaluated again."""


class HeartbeatJournal(JournalStorage, BaseHeartbeat):
    """A journal whose running trials give signs of life, as the trials of Optuna's databases do.

    A sign is a system attribute of the trial: the time in seconds, and the process. Its name contains the trial, since
    a retried trial inherits the attributes of the lost one.

    A list of trials costs what is new: Optuna's journal goes through all trials several times in each of them. A
    finished trial does not change any more.
    """

    def __init__(self, backend: JournalFileBackend):
        super().__init__(backend)
        self._listed: dict[int, list[FrozenTrial]] = {}
        self._unfinished: dict[int, list[int]] = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials of a study in the order of their numbers, all or those in one of the states."""
        with self._thread_lock:
            self._sync_with_backend()
            listed, unfinished = self._listing(study_id)
            if states is None:
                found = list(listed)
            elif any(state in states for state in TrialState if state.is_finished()):
                found = [trial for trial in listed if trial.state in states]
            else:
                found = [listed[number] for number in unfinished if listed[number].state in states]
            return copy.deepcopy(found) if deepcopy else found

    def _listing(self, study_id: int) -> tuple[list[FrozenTrial], list[int]]:
        """All trials, and the numbers of the unfinished ones."""
        read = self._replay_result
        if study_id not in read._studies:
            raise KeyError("there is no study of that number")
        ids, listed = read._study_id_to_trial_ids[study_id], self._listed.setdefault(study_id, [])
        changed = [*self._unfinished.get(study_id, ()), *range(len(listed), len(ids))]
        listed.extend(read._trials[trial_id] for trial_id in ids[len(listed) :])
        for number in changed:
            listed[number] = read._trials[ids[number]]
        self._unfinished[study_id] = [number for number in changed if not listed[number].state.is_finished()]
        return listed, self._unfinished[study_id]

    def record_heartbeat(self, trial_id: int) -> None:
        """Record the time and this process. A trial that another worker has given up is left alone."""
        try:
            self.set_trial_system_attr(trial_id, _sign_of(trial_id), [time.time(), *this_process()])
        except UpdateFinishedTrialError:
            return

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now = time.time()
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [trial._trial_id for trial in running if now - _last_sign(trial) > SILENCE or has_ended(trial)]

    def get_heartbeat_interval(self) -> int:
        """Seconds between two signs of life."""
        return HEARTBEAT

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None]:
        """The function that puts a lost trial in the queue."""
        return _retry()


class HeartbeatDatabase(RDBStorage):
    """A database that also gives up trials without any sign of life, for which Optuna would wait forever.

    The process of a trial is a system attribute, as in the journal.
    """

    def record_heartbeat(self, trial_id: int) -> None:
        """Record the time, and at the first time this process."""
        if trial_id != getattr(self, "_signed", None):  # a process runs one trial after the other
            self._signed = trial_id
            with contextlib.suppress(UpdateFinishedTrialError):
                self.set_trial_system_attr(trial_id, _sign_of(trial_id), [time.time(), *this_process()])
        super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now, stale = datetime.now(), super()._get_stale_trial_ids(study_id)
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        stale += [t._trial_id for t in running if has_ended(t) and t._trial_id not in stale]
        silent = [trial._trial_id for trial in running if now - _start_of(trial) > timedelta(seconds=SILENCE)]
        if not silent:
            return stale
        with self.scoped_session() as session:
            beating = session.query(TrialHeartbeatModel.trial_id).filter(TrialHeartbeatModel.trial_id.in_(silent)).all()
        return [*stale, *sorted(set(silent) - {trial_id for (trial_id,) in beating} - set(stale))]


def open_storage(storage: BaseStorage | str | Path | None) -> BaseStorage | None:
    """The storage of a URL or a journal file, which is made if it does not exist; None and storages as they are.

    Raises `UserError` for one that cannot be opened.
    """
    if storage is None or isinstance(storage, BaseStorage):
        return storage
    with told(storage):
        if is_url(storage):
            return _database(str(storage))
        path = Path(storage).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Optuna's default lock is a symbolic link, which it never takes over where its target has another path.
        backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
        return HeartbeatJournal(backend)


@contextlib.contextmanager
def told(storage: Any) -> Iterator[None]:
    """Failures of a storage, inside the `with` block, become a `UserError` of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # drivers of databases have errors of their own
        raise UserError(f"cannot open the storage {shown(storage)}: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """The failure of a storage in one line."""
    causes = [error, error.__cause__, error.__context__]
    missing = next((cause for cause in causes if isinstance(cause, ModuleNotFoundError)), None)
    if missing is not None:
        return (
            f"the Python package {missing.name} is not installed; for PostgreSQL, pip install 'psycopg[binary]' and "
            "write the URL as postgresql+psycopg://…"
        )
    if isinstance(error, json.JSONDecodeError | KeyError):
        return "it is no journal of Optuna"
    reason = getattr(error, "strerror", None) or str(error.__cause__ or error).strip() or type(error).__name__
    return reason.splitlines()[0]


def is_url(storage: Any) -> bool:
    """True for the URL of a database, as in `sqlite:///study.db`."""
    return isinstance(storage, str) and "://" in storage


def shown(storage: Any) -> str:
    """The storage for a message, without the name and password of a URL."""
    text = str(storage) if isinstance(storage, str | Path) else type(storage).__name__
    head, at, tail = text.rpartition("@")
    return f"{head.partition('://')[0]}://…{at}{tail}" if at and "://" in head else text


def _database(url: str) -> HeartbeatDatabase:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return HeartbeatDatabase(
            url, heartbeat_interval=HEARTBEAT, grace_period=SILENCE, heartbeat_stale_trial_callback=_retry()
        )


def _retry() -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)


def _sign_of(trial_id: int) -> str:
    return f"jdarts:alive:{trial_id}"


def runner_of(trial: FrozenTrial) -> Owner | None:
    """The process that runs a trial, or ran it; None before its first sign of life."""
    sign = trial.system_attrs.get(_sign_of(trial._trial_id))
    return owner_of(sign[1:]) if isinstance(sign, list) else None


def has_ended(trial: FrozenTrial) -> bool:
    """True if the process that ran a trial is known to have ended."""
    runner = runner_of(trial)
    return runner is not None and runner.ended


def awaited(running: Sequence[FrozenTrial]) -> str:
    """The message of a worker that waits for the running trials of others."""
    named = [f"trial {trial.number} of {runner_of(trial) or 'an unknown process'}" for trial in running]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return (
        f"waiting for {', '.join(named[:3])}{more}; a trial without a sign of life for {SILENCE} s counts as lost "
        "and is tried again"
    )


def _last_sign(trial: FrozenTrial) -> float:
    sign = trial.system_attrs.get(_sign_of(trial._trial_id), _start_of(trial).timestamp())
    return sign[0] if isinstance(sign, list) else sign


def _start_of(trial: FrozenTrial) -> datetime:
    """The local time at which a running trial began."""
    return trial.datetime_start or datetime.fromtimestamp(0)
