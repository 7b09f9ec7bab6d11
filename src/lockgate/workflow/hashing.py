"""Looking at the files of a version, outside of any transaction: they may be far away, and large."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from sqlalchemy import Engine

from lockgate.database import places
from lockgate.database.engine import now, to_ms
from lockgate.database.places import KnownPlace
from lockgate.evidence.manifest import Artifacts, Hashing, progress
from lockgate.registry.listing import Changed, Listed, Place, Unreachable, Unverifiable, fingerprint
from lockgate.registry.places import place_at, resolve
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.hasher import CHANGING, hash_all, still_known, wake
from lockgate.workflow.stores import Stores

# What is hashed while the caller waits: well under a second of work.
_SMALL_BYTES = 32 * 1024 * 1024
_SMALL_FILES = 500
#: After how long what could not be read is tried again though nothing has changed, in milliseconds.
_RETRY_AFTER_MS = 60_000


def look_at(stores: Stores, location: str) -> Artifacts:
    """Return what is known of the files at a location, having made sure that it is still so.

    Files that were hashed before and have not changed are not read. Few and small ones are hashed now; for others that
    is left to a server process, and the answer is how far it is.

    Args:
        stores: The stores.
        location: Where a version's files are, as MLflow says it.
    """
    try:
        real = resolve(stores.tracking, location)
        return _Look(stores.registry.engine, real).artifacts()
    except Unverifiable as error:
        return Artifacts(Hashing.UNVERIFIABLE, reason=error.reason)
    except Unreachable as error:
        # Nothing is known of them now, and nothing says that they changed.
        return Artifacts(Hashing.PENDING, reason=error.reason)


class _Look:
    """One look at a place."""

    def __init__(self, engine: Engine, real: str) -> None:
        self._engine = engine
        self._place: Place = place_at(real)
        with reading(engine) as session:
            self._known = places.load(session, real) or KnownPlace(real, "", Hashing.PENDING)

    @cached_property
    def _at(self) -> int:
        """When this look was taken."""
        with reading(self._engine) as session:
            return to_ms(now(session))

    def artifacts(self) -> Artifacts:
        try:
            listed = self._place.files()
        except Changed:
            return self._queue(None, "", CHANGING)
        seen = fingerprint(listed)
        if self._known.fingerprint == seen and not self._is_worth_another_try():
            if self._known.state is Hashing.PENDING:
                wake()
            return _artifacts(self._known)
        if len(listed) <= _SMALL_FILES and sum(file.size for file in listed) <= _SMALL_BYTES:
            return self._hash(listed, seen)
        return self._queue(listed, seen)

    def _is_worth_another_try(self) -> bool:
        if self._known.state is not Hashing.UNVERIFIABLE:
            return False
        return self._at - (self._known.hashed_at or 0) > _RETRY_AFTER_MS

    def _hash(self, listed: Sequence[Listed], seen: str) -> Artifacts:
        found = replace(self._known, fingerprint=seen, reason="", claimed_until=None, hashed_at=self._at)
        try:
            files = hash_all(self._place, listed, self._known.files, lambda _done, _hashed: None)
        except Changed:
            return self._queue(listed, seen, CHANGING)
        except Unverifiable as error:
            return self._save(replace(found, state=Hashing.UNVERIFIABLE, reason=error.reason))
        size = sum(file.size for file in files)
        return self._save(
            replace(found, state=Hashing.HASHED, files=files, bytes_done=size, bytes_total=size),
        )

    def _queue(self, listed: Sequence[Listed] | None, seen: str, reason: str = "") -> Artifacts:
        """Leave a place to be hashed; what has been hashed of it is kept. `listed` is None if listing it failed."""
        kept = self._known.files if listed is None else tuple(still_known(listed, self._known.files))
        waiting = KnownPlace(
            self._known.location,
            seen,
            Hashing.PENDING,
            reason,
            kept,
            bytes_done=sum(file.size for file in kept),
            bytes_total=self._known.bytes_total if listed is None else sum(file.size for file in listed),
        )
        artifacts = self._save(waiting)
        wake()
        return artifacts

    def _save(self, known: KnownPlace) -> Artifacts:
        with transaction(self._engine) as session:
            places.save(session, known)
        return _artifacts(known)


def _artifacts(known: KnownPlace) -> Artifacts:
    match known.state:
        case Hashing.HASHED:
            return Artifacts(Hashing.HASHED, tuple(file.digest for file in known.files))
        case Hashing.PENDING:
            return Artifacts(Hashing.PENDING, reason=known.reason or progress(known.bytes_done, known.bytes_total))
        case Hashing.UNVERIFIABLE:
            return Artifacts(Hashing.UNVERIFIABLE, reason=known.reason)
