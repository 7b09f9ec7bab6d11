"""Giving checkpoints to witnesses, and seeing at a start whether theirs are of this log."""

import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.audit import checkpoint
from lockgate.audit.checkpoint import Checkpoint, as_line
from lockgate.audit.entry import AuditEntry
from lockgate.audit.envelope import Signer
from lockgate.database import chain, witnesses
from lockgate.database.engine import from_ms, now, to_ms
from lockgate.database.record import record
from lockgate.errors import BadInput, Conflict, LockgateError
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction
from lockgate.witnesses.named import witness
from lockgate.witnesses.witness import Unreachable, Witness
from lockgate.workflow.signing import signer

_logger = logging.getLogger("lockgate.checkpoints")


@dataclass(frozen=True)
class Schedule:
    """Who keeps checkpoints, and how often there is one if the log has grown."""

    uris: tuple[str, ...] = ()
    entries: int = 1000
    seconds: int = 60

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Schedule":
        """Read it from the environment, as `lockgate server` has set it."""
        return cls(
            tuple(environment.get("LOCKGATE_CHECKPOINT_TO", "").split()),
            int(environment.get("LOCKGATE_CHECKPOINT_ENTRIES", "1000")),
            int(environment.get("LOCKGATE_CHECKPOINT_SECONDS", "60")),
        )

    def is_due(self, kept: witnesses.Kept, number: int, at_ms: int) -> bool:
        """Say whether a witness should be given a checkpoint of an entry now."""
        if number <= kept.number or at_ms < kept.claimed_until_ms:
            return False
        return number - kept.number >= self.entries or at_ms - kept.at_ms >= self.seconds * 1000


def sign_head(engine: Engine, with_: Signer) -> tuple[Checkpoint, dict[str, Any]]:
    """Return a checkpoint of what the log comes to now, and the same signed."""
    with reading(engine) as session:
        head, at = chain.head(session), now(session)
    made = Checkpoint(head.log_id, head.last, at)
    return made, checkpoint.sign(made, with_)


def contradiction(session: Session, found: Witness, with_: Signer) -> tuple[Checkpoint, str] | None:
    """Return the latest checkpoint of a witness and how this log isn't the one that it is of; None if it may be.

    Args:
        session: A session that reads.
        found: The witness.
        with_: What this server signs with.

    Raises:
        Unreachable: if the witness can't be asked, or has something else than a checkpoint.
    """
    line = found.latest()
    if line is None:
        return None
    try:
        signed = _parsed(line)
        latest = checkpoint.read(signed, None)
    except BadInput as error:
        raise Unreachable(f"what it has last is no checkpoint: {error.message}") from None
    head = chain.head(session)
    said = checkpoint.contradiction(latest, head.log_id, head.last, chain.hash_of(session, latest.last.number))
    if said is None and not _is_ours(signed, with_):
        said = f"{latest} is not signed with the key of this database"
    return (latest, said) if said is not None else None


def _is_ours(signed: Any, with_: Signer) -> bool:
    try:
        checkpoint.read(signed, [with_.key.public_key()])
    except BadInput:
        return False
    return True


def check_start(engine: Engine, schedule: Schedule, acknowledged: str) -> None:
    """Refuse to go on from a database that is older than a checkpoint, or another one, until somebody acknowledges it.

    Args:
        engine: The registry's database.
        schedule: The witnesses.
        acknowledged: The reason of whoever acknowledges it; empty if nobody does.

    Raises:
        BadInput: if it is not acknowledged, or can't be signed that it was.
    """
    if not schedule.uris:
        return
    try:
        signs = signer(engine)
    except Conflict as error:
        raise BadInput(f"--checkpoint-to needs something to sign with. {error.message}") from None
    against: list[tuple[str, Checkpoint, str]] = []
    for uri in schedule.uris:
        found = witness(uri)
        try:
            with reading(engine) as session:
                said = contradiction(session, found, signs)
        except Unreachable as error:
            _logger.warning("Whether %s has later checkpoints can't be seen now: %s", found.name, error)
            continue
        if said is not None:
            against.append((uri, *said))
    if not against:
        return
    if not acknowledged:
        told = " ".join(f"{witness(uri).name}: {said}." for uri, _, said in against)
        raise BadInput(
            f"This database is not the one that was signed last, so Lockgate does not start. {told} If it was restored "
            "from a backup, and that is meant, start once with --acknowledge-restore 'why': that is put on record. If "
            "not, somebody has changed the log."
        )
    _acknowledge(engine, [made for _, made, _ in against], acknowledged)
    for uri in schedule.uris:
        _give(engine, uri, witness(uri), signs)


def _acknowledge(engine: Engine, given_up: Sequence[Checkpoint], reason: str) -> None:
    with transaction(engine) as session:
        head, at = chain.head(session), now(session)
        for log_id in sorted({one.log_id for one in given_up}):
            last = max((one.last for one in given_up if one.log_id == log_id), key=lambda link: link.number)
            before = {"log_id": log_id, "number": last.number, "hash": last.hash}
            after = {"log_id": head.log_id, "number": head.last.number, "hash": head.last.hash}
            entry = AuditEntry(EventType.LOG_RESTORED, "lockgate", None, "", before=before, after=after, reason=reason)
            record(session, entry, at)


def _give(engine: Engine, uri: str, to: Witness, with_: Signer) -> bool:
    """Give a witness a checkpoint; says whether it has it now."""
    made, signed = sign_head(engine, with_)
    try:
        to.keep(as_line(signed), f"{made.at:%Y-%m-%dT%H:%M:%S}.{made.at.microsecond // 1000:03}Z", made.last.number)
    except Unreachable as error:
        _logger.warning("%s did not take the checkpoint of entry %s: %s", to.name, made.last.number, error)
        return False
    with transaction(engine) as session:
        witnesses.note(session, uri, made.last.number, made.at)
    return True


class Checkpointer:
    """Gives checkpoints to witnesses, one thread in each server process; one of all processes at a time.

    Args:
        engine: The registry's database.
        schedule: The witnesses, and how often.
        poll: How often to see whether one is due, in seconds.
    """

    #: For how long a witness is left to whoever gives it a checkpoint, or has failed to.
    LEASE = timedelta(seconds=90)

    def __init__(self, engine: Engine, schedule: Schedule, poll: float = 2) -> None:
        self._engine = engine
        self._schedule = schedule
        self._poll = poll
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, if there are witnesses; it ends with the process."""
        if self._schedule.uris:
            threading.Thread(target=self._run, name="lockgate-checkpointer", daemon=True).start()

    def stop(self) -> None:
        """Give no further checkpoint."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._poll):
            try:
                self.turn()
            except LockgateError as error:
                _logger.warning("No checkpoint could be signed; it is tried again: %s", error.message)
            except Exception:
                _logger.exception("Giving checkpoints failed; it is tried again.")

    def turn(self) -> int:
        """Give a checkpoint to each witness that is due; returns how many have one now."""
        with reading(self._engine) as session:
            number, at_ms = chain.head(session).last.number, to_ms(now(session))
            known = {uri: witnesses.load(session, uri) for uri in self._schedule.uris}
        due = [uri for uri, kept in known.items() if self._schedule.is_due(kept, number, at_ms)]
        return sum(self._to(uri, known[uri], from_ms(at_ms)) for uri in due)

    def _to(self, uri: str, kept: witnesses.Kept, at: datetime) -> bool:
        with transaction(self._engine) as session:
            if not witnesses.claim(session, uri, kept, at + self.LEASE):
                return False
        found, signs = witness(uri), signer(self._engine)
        try:
            with reading(self._engine) as session:
                said = contradiction(session, found, signs)
        except Unreachable as error:
            _logger.warning("%s can't be reached, and is tried again: %s", found.name, error)
            return False
        if said is not None:
            _logger.error("Nothing is signed for %s: %s. See `lockgate audit verify`.", found.name, said[1])
            return False
        return _give(self._engine, uri, found, signs)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise BadInput("it can't be read as JSON") from None
