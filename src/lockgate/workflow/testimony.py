"""What witnesses say of the log: whether their checkpoints are of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.audit import checkpoint
from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.comparison import Comparison, Contradiction, Log, compare
from lockgate.audit.envelope import Signer
from lockgate.database import chain, witnesses
from lockgate.errors import BadInput, Conflict
from lockgate.registry.transaction import reading
from lockgate.witnesses.named import witness
from lockgate.witnesses.witness import Unreachable


@dataclass(frozen=True)
class Testimony:
    """What one witness says."""

    uri: str
    name: str
    #: How it contradicts the log, in sentences without their stop.
    against: tuple[str, ...] = ()
    #: How many checkpoints of it were compared and agree.
    agreeing: int = 0
    #: Why it could not be asked; empty if it was.
    unasked: str = ""

    @property
    def trouble(self) -> str:
        """What is wrong with it, if anything is."""
        if self.against:
            return f"it contradicts the log: {'; '.join(self.against)}"
        return f"it could not be asked: {self.unasked}" if self.unasked else ""


@dataclass(frozen=True)
class Heard:
    """What all witnesses say."""

    testimonies: tuple[Testimony, ...]
    comparison: Comparison
    #: What is known of the log that they were asked about.
    log: Log
    #: The checkpoints that are not of the log, or not from its key.
    against: tuple[Checkpoint, ...]

    @property
    def contradicts(self) -> bool:
        """Whether one of them contradicts the log."""
        return any(one.against for one in self.testimonies)


def hear(engine: Engine, uris: Sequence[str], with_: Signer) -> Heard:
    """Ask witnesses for what they were given last, and compare the log with it.

    Args:
        engine: The registry's database.
        uris: The witnesses.
        with_: What this server signs with.
    """
    # In this order: what a witness is given meanwhile is no contradiction.
    with reading(engine) as session:
        given = {uri: witnesses.load(session, uri).number for uri in uris}
    said = [_ask(uri, with_) for uri in uris]
    with reading(engine) as session:
        comparison, log = _compared(session, [one for told in said for one in told.checkpoints])
    return Heard(
        tuple(_testimony(told, given[told.uri], comparison, log) for told in said),
        comparison,
        log,
        (
            *(one.checkpoint for one in comparison.contradictions),
            *(told.strange for told in said if told.strange is not None),
        ),
    )


@dataclass(frozen=True)
class _Said:
    """What one witness has."""

    uri: str
    name: str
    checkpoints: tuple[Checkpoint, ...] = ()
    #: What is wrong with what it has last; and what that is, if it is a checkpoint that somebody else signed.
    wrong: str = ""
    strange: Checkpoint | None = None
    unasked: str = ""
    only_takes: bool = False


def _ask(uri: str, with_: Signer) -> _Said:
    found = witness(uri)
    try:
        lines = found.recent()
    except Unreachable as error:
        return _Said(uri, found.name, unasked=str(error))
    if lines is None:
        return _Said(uri, found.name, only_takes=True)
    ours = [one for line in lines if (one := _read(line, [with_.key.public_key()])) is not None]
    # What is before one of ours was there when that was given.
    if not lines or _read(lines[-1], [with_.key.public_key()]) is not None:
        return _Said(uri, found.name, tuple(ours))
    strange = _read(lines[-1], None)
    wrong = "it has something last that is no checkpoint"
    if strange is not None:
        wrong = (
            f"{strange} (entry {strange.last.number:,} of the log {strange.log_id[:8]}...), which it has last, is not "
            "signed with the key of this database"
        )
    return _Said(uri, found.name, tuple(ours), wrong, strange)


def _read(line: str, keys: Sequence[Ed25519PublicKey] | None) -> Checkpoint | None:
    try:
        return checkpoint.read(json.loads(line), keys)
    except (BadInput, ValueError, RecursionError):
        return None


def _compared(session: Session, checkpoints: Sequence[Checkpoint]) -> tuple[Comparison, Log]:
    head = chain.head(session)
    log = Log(head.log_id, head.last, chain.hashes(session, {one.last.number for one in checkpoints}))
    found = compare(checkpoints, log)
    if not found.contradictions:
        return found, log
    log = Log(log.id, log.last, log.hashes, chain.restores(session))
    return compare(checkpoints, log), log


def _testimony(told: _Said, given: int, comparison: Comparison, log: Log) -> Testimony:
    against = [one for one in comparison.contradictions if one.checkpoint in told.checkpoints]
    sentences = [*_outermost(against), *([told.wrong] if told.wrong else []), *_missing(told, given, log)]
    agreeing = len(told.checkpoints) - len(against)
    return Testimony(told.uri, told.name, tuple(sentences), agreeing, told.unasked)


def _outermost(against: Sequence[Contradiction]) -> list[str]:
    """Return the first and the last of several contradictions: those between say the same."""
    ordered = sorted(against, key=lambda one: one.checkpoint.last.number)
    return list(dict.fromkeys(one.said for one in (*ordered[:1], *ordered[-1:])))


def _missing(told: _Said, given: int, log: Log) -> list[str]:
    """Say that the log, or a witness, has no more what the witness was given."""
    if log.last.number < given:
        return [
            f"the log ends with entry {log.last.number:,}, and it was given a checkpoint of entry {given:,}: the log "
            "was cut off there"
        ]
    newest = max((one.last.number for one in told.checkpoints), default=0)
    if told.unasked or told.only_takes or told.wrong or newest >= given:
        return []
    has = f"none that is newer than entry {newest:,}" if newest else "none"
    return [f"it was given a checkpoint of entry {given:,}, and has {has}"]


def check_uncontradicted(engine: Engine, uris: Sequence[str], with_: Signer) -> None:
    """Refuse to sign for somebody what a witness contradicts: a signature is what a forged log lacks.

    Args:
        engine: The registry's database.
        uris: The witnesses.
        with_: What this server signs with.

    Raises:
        Conflict: if one contradicts the log.
    """
    if uris and hear(engine, uris, with_).contradicts:
        raise Conflict(
            "A place that keeps checkpoints contradicts the audit log, so nothing is signed. `lockgate audit verify` "
            "says more."
        )


def troubles(engine: Engine, uris: Sequence[str]) -> Mapping[str, str]:
    """Return what was wrong when witnesses were asked last, by the name of each with which something was."""
    with reading(engine) as session:
        return {witness(uri).name: told for uri, told in witnesses.troubles(session, uris).items()}
