"""Hashing files: all of a place at once, and in the background, one thread a server process."""

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from lockgate.database import places
from lockgate.database.engine import now, to_ms
from lockgate.database.places import KnownFile, KnownPlace
from lockgate.errors import Conflict, LockgateError
from lockgate.evidence.manifest import Hashing, load_format
from lockgate.registry.listing import Changed, Listed, Place, Unreachable, Unverifiable, fingerprint
from lockgate.registry.places import place_at
from lockgate.registry.transaction import reading, transaction

CHANGING = "the files change while they are hashed"
_FAILED = "hashing failed and is tried again; the server's log says why"

#: How long a process that ends waits for its hasher to leave what it has in hand, in seconds.
_LEAVE_WITHIN = 5.0

_logger = logging.getLogger("lockgate.hashing")

#: How many bytes are hashed, and which files.
Note = Callable[[int, Sequence[KnownFile]], None]


def still_known(listed: Sequence[Listed], known: Sequence[KnownFile]) -> list[KnownFile]:
    """Return the files that were hashed before and, by their marks, have not changed since."""
    marks = {(file.path, file.size, file.mark): file for file in known}
    return [marks[key] for file in listed if (key := (file.path, file.size, file.mark)) in marks]


def hash_all(place: Place, listed: Sequence[Listed], known: Sequence[KnownFile], note: Note) -> tuple[KnownFile, ...]:
    """Hash the files of a place that are not known yet, and see that nothing has moved meanwhile.

    Args:
        place: The place.
        listed: Its files.
        known: What was hashed before.
        note: Told of the progress, after each chunk.

    Raises:
        Unverifiable: if a file can't be read.
        Changed: if anything was changed, added or removed.
    """
    hashed = still_known(listed, known)
    done = sum(file.size for file in hashed)
    note(done, hashed)
    have = {file.path for file in hashed}
    for file in listed:
        if file.path in have:
            continue
        sha = hashlib.sha256()
        for chunk in place.read(file):
            sha.update(chunk)
            done += len(chunk)
            note(done, hashed)
        hashed.append(KnownFile(file.path, file.size, sha.hexdigest(), file.mark))
        note(done, hashed)
    if fingerprint(place.files()) != fingerprint(listed):
        raise Changed
    return tuple(sorted(hashed, key=lambda file: file.path))


_woken = threading.Event()


def wake() -> None:
    """Let this process's hasher look for work now and not at its next turn."""
    _woken.set()


class Hasher:
    """Hashes what waits to be hashed.

    Who hashes a place holds a lease on it, and renews it; when a process dies, another one takes the place over when
    the lease has run out. Two at one place would do the work twice, no more: what is stored is tied to a listing.

    Args:
        engine: The registry's database, where our tables are.
        lease: How long a claim lasts unless it is renewed.
        poll: How often to look for work that other processes left, in seconds.
    """

    def __init__(self, engine: Engine, lease: timedelta = timedelta(seconds=30), poll: float = 2) -> None:
        self._engine = engine
        self._lease = lease
        self._poll = poll
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lockgate-hasher", daemon=True)

    def start(self) -> None:
        """Hash in a thread from now on; it ends with the process."""
        self._thread.start()

    def stop(self) -> None:
        """Take on no further place, and leave the one in hand to other processes."""
        self._stopped.set()
        wake()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_WITHIN)

    def _run(self) -> None:
        _give_way()
        load_format()
        while not self._stopped.is_set():
            _woken.clear()
            try:
                busy = self.hash_next()
            except LockgateError:  # The database is busy or gone, which is in the log by now.
                busy = False
            except Exception:
                _logger.exception("Looking for files to hash failed; it is tried again.")
                busy = False
            if not busy:
                _woken.wait(self._poll)

    def hash_next(self) -> bool:
        """Hash one place; returns whether one was waiting."""
        with reading(self._engine) as session:
            # To begin writing means, on SQLite, to keep everybody else from it.
            if not places.is_anything_waiting(session, now(session)):
                return False
        with transaction(self._engine) as session:
            at = now(session)
            lease = places.claim(session, at, at + self._lease)
        if lease is not None:
            _Job(self._engine, lease, self._lease, self._stopped).run()
        return lease is not None


def _give_way() -> None:
    """Let threads that answer somebody have the processor first. Only Linux has priorities for single threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class _Lost(Exception):
    """Somebody else has the place now, or its files are to be listed again."""


class _Stopped(Exception):
    """The process ends."""


class _Job:
    """One place that we have claimed."""

    #: How often progress is stored, in seconds.
    PROGRESS = 1
    #: How often the files that are done are stored: many of them are a long text.
    CHECKPOINT = 10
    #: How soon to try again after something that we did not foresee.
    PAUSE = timedelta(seconds=30)
    #: How soon to look again at files that somebody is writing.
    REST = timedelta(seconds=1)

    def __init__(self, engine: Engine, lease: KnownPlace, length: timedelta, stopped: threading.Event) -> None:
        self._engine = engine
        self._lease = lease
        self._length = length
        self._stopped = stopped
        self._noted_at = time.monotonic()
        self._checkpoint_at = time.monotonic()

    def run(self) -> None:
        """Hash the place and store what came of it."""
        try:
            self._hash()
        except _Lost:
            _logger.info("Left a place to whoever has it now.")
        except _Stopped:
            self._keep(lambda at: {"claimed_until": to_ms(at)})
        except Changed:
            self._keep(lambda at: {"reason": CHANGING, "claimed_until": to_ms(at + self.REST)})
        except Unreachable as error:
            said = error.reason
            self._keep(lambda at: {"reason": said, "claimed_until": to_ms(at + self.PAUSE)})
        except Unverifiable as error:
            reason = error.reason
            self._keep(lambda at: _ended(at, Hashing.UNVERIFIABLE, reason=reason))
        except Exception:
            _logger.exception("Hashing the files at %s failed; it is tried again.", self._lease.location)
            self._keep(lambda at: {"reason": _FAILED, "claimed_until": to_ms(at + self.PAUSE)})

    def _hash(self) -> None:
        place = place_at(self._lease.location)
        listed = place.files()
        total = sum(file.size for file in listed)
        if not self._keep(lambda _: {"fingerprint": fingerprint(listed), "bytes_total": total, "reason": ""}):
            raise _Lost
        files = hash_all(place, listed, self._lease.files, self._note)
        done = {"files": files, "bytes_done": total, "reason": ""}
        self._keep(lambda at: _ended(at, Hashing.HASHED, **done))

    def _note(self, done: int, hashed: Sequence[KnownFile]) -> None:
        if self._stopped.is_set():
            self._keep(lambda _: {"bytes_done": done, "files": tuple(hashed)})
            raise _Stopped
        moment = time.monotonic()
        if moment - self._noted_at < self.PROGRESS:
            return
        self._noted_at = moment
        changes: dict[str, Any] = {"bytes_done": done}
        if moment - self._checkpoint_at >= self.CHECKPOINT:
            self._checkpoint_at = moment
            changes["files"] = tuple(hashed)
        # A database that is busy for once is no reason to begin again.
        with suppress(Conflict):
            if not self._keep(lambda at: {**changes, "claimed_until": to_ms(at + self._length)}):
                raise _Lost

    def _keep(self, changes: Callable[[datetime], dict[str, Any]]) -> bool:
        with transaction(self._engine) as session:
            values = changes(now(session))
            held = places.keep(session, self._lease, **values)
        if held:
            self._lease = replace(self._lease, **values)
        return held


def _ended(at: datetime, state: Hashing, **values: Any) -> dict[str, Any]:
    return {"state": state, "claimed_until": None, "hashed_at": to_ms(at), **values}
