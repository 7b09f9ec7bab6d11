"""Giving checkpoints to witnesses, and seeing at a start whether theirs are of this log."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.audit import checkpoint
from lockgate.audit.chain import START
from lockgate.audit.checkpoint import Checkpoint, as_line
from lockgate.audit.comparison import still_binding
from lockgate.audit.entry import AuditEntry
from lockgate.audit.envelope import Signer
from lockgate.database import chain, witnesses
from lockgate.database.engine import now, to_ms
from lockgate.database.record import record
from lockgate.errors import BadInput, Conflict, LockgateError
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction
from lockgate.witnesses.named import witness
from lockgate.witnesses.witness import Unreachable, Witness
from lockgate.workflow.signing import signer
from lockgate.workflow.testimony import Heard, Testimony, hear

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
        if at_ms < kept.claimed_until_ms:
            return False
        # A log that has become shorter is nothing to wait with, nor is a witness that had something to say against it.
        if number < kept.number or kept.is_in_trouble:
            return True
        return number > kept.number and (
            number - kept.number >= self.entries or at_ms - kept.at_ms >= self.seconds * 1000
        )


def sign_head(engine: Engine, with_: Signer) -> tuple[Checkpoint, dict[str, Any]]:
    """Return a checkpoint of what the log comes to now, and the same signed."""
    with reading(engine) as session:
        head, at = chain.head(session), now(session)
    made = Checkpoint(head.log_id, head.last, at)
    return made, checkpoint.sign(made, with_)


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
    heard = hear(engine, schedule.uris, signs)
    if heard.contradicts and not acknowledged:
        told = " ".join(f"{one.name}: {'; '.join(one.against)}." for one in heard.testimonies if one.against)
        raise BadInput(
            f"This database is not the one that was signed last, so Lockgate does not start. {told} Look first whether "
            "each place is mounted, and the one that the other instances write to. If the database was restored from a "
            "backup, and that is meant, start once with --acknowledge-restore 'why': that is put on record. If "
            "not, somebody has changed the log."
        )
    _tell(heard, acknowledged)
    with transaction(engine) as session:
        for one in heard.testimonies:
            witnesses.set_trouble(session, one.uri, one.trouble)
        if heard.contradicts:
            _acknowledge(session, heard, acknowledged)
    if heard.contradicts:
        for uri in schedule.uris:
            _give(engine, uri, witness(uri), signs)


def _tell(heard: Heard, acknowledged: str) -> None:
    """Write into the server's log what whoever starts it should know."""
    for one in heard.testimonies:
        if one.unasked:
            _logger.warning("Whether %s has later checkpoints can't be seen now: %s", one.name, one.unasked)
    if any(one.unasked for one in heard.testimonies) and not any(one.agreeing for one in heard.testimonies):
        _logger.error(
            "No checkpoint could be compared: nobody can say whether this database is the one that was signed last. "
            "See `lockgate doctor`, and `lockgate audit verify` as soon as a place that keeps them can be asked."
        )
    if acknowledged and not heard.contradicts:
        _logger.warning(
            "--acknowledge-restore is given, and there is nothing to acknowledge. Take it away: with it, the next "
            "restore goes unnoticed."
        )


def _acknowledge(session: Session, heard: Heard, reason: str) -> None:
    """Put on record which checkpoints are given up."""
    log, at = heard.log, now(session)
    for log_id in sorted({one.log_id for one in heard.against} or {log.id}):
        last = max(
            (one.last for one in heard.against if one.log_id == log_id), key=lambda link: link.number, default=log.last
        )
        kept = still_binding(heard.comparison, log) if log_id == log.id else log.last.number
        before = {"log_id": log_id, "number": last.number, "hash": last.hash}
        after = {"log_id": log.id, "number": kept, "hash": chain.hash_of(session, kept) or START.hash}
        record(
            session,
            AuditEntry(EventType.LOG_RESTORED, "lockgate", None, "", before=before, after=after, reason=reason),
            at,
        )
    witnesses.forget_beyond(session, log.last.number)


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

    def start(self) -> None:
        """Begin, if there are witnesses; it ends with the process."""
        if self._schedule.uris:
            threading.Thread(target=self._run, name="lockgate-checkpointer", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._poll)
            try:
                self.turn()
            except LockgateError as error:
                _logger.warning("No checkpoint could be signed; it is tried again: %s", error.message)
            except Exception:
                _logger.exception("Giving checkpoints failed; it is tried again.")

    def turn(self) -> int:
        """Give a checkpoint to each witness that is due; returns how many have one now."""
        due = self._claimed()
        if not due:
            return 0
        signs = signer(self._engine)
        heard = {one.uri: one for one in hear(self._engine, self._schedule.uris, signs).testimonies}
        return sum(self._to(heard[uri], signs) for uri in due)

    def _claimed(self) -> list[str]:
        """Return the witnesses that are due, and are this process's to see to for a while."""
        with reading(self._engine) as session:
            number, at = chain.head(session).last.number, now(session)
            known = {uri: witnesses.load(session, uri) for uri in self._schedule.uris}
        due = [uri for uri, kept in known.items() if self._schedule.is_due(kept, number, to_ms(at))]
        claimed = []
        for uri in due:
            with transaction(self._engine) as session:
                if witnesses.claim(session, uri, known[uri], at + self.LEASE):
                    claimed.append(uri)
        return claimed

    def _to(self, told: Testimony, with_: Signer) -> bool:
        if told.against:
            _logger.error("Nothing is signed for %s: %s. See `lockgate audit verify`.", told.name, told.trouble)
        elif told.unasked:
            _logger.warning("%s can't be reached, and is tried again: %s", told.name, told.unasked)
        else:
            return _give(self._engine, told.uri, witness(told.uri), with_)
        with transaction(self._engine) as session:
            witnesses.set_trouble(session, told.uri, told.trouble)
        return False
