"""Reading the hash chain: its lines, its head, and whether it holds."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, select
from sqlalchemy.orm import Session

from lockgate.audit.chain import MOST_PROBLEMS, START, Link, line_hash, line_of_texts, time_text
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.audit.restore import RESTORED, Restore, restore_of
from lockgate.canonical import canonical
from lockgate.database.engine import from_ms
from lockgate.database.tables import audit, chain_head, events
from lockgate.events.event import event_of

_BATCH = 1000
#: The name of what is no JSON object any more.
_ODD = "not as it was written"
#: Before any number that somebody could have given an entry.
_BEFORE_ALL = -(2**63)
_ROWS = select(audit).where(audit.c.id > bindparam("after")).order_by(audit.c.id).limit(bindparam("most"))


@dataclass(frozen=True)
class Head:
    """The last entry of the log, and which log it is."""

    last: Link
    log_id: str


@dataclass(frozen=True)
class Followed:
    """What following some entries of the chain has found."""

    entries: int
    last: Link
    #: Whether the chain goes on.
    goes_on: bool
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """An entry as it is stored."""

    number: int
    line: str
    hash: str
    #: What the entry after it, or the head, was chained to.
    chained: str | None

    @property
    def is_intact(self) -> bool:
        """Whether it is what was chained: by itself, and to what came after."""
        return line_hash(self.line) == self.hash == self.chained


def entries(session: Session, *about: ColumnElement[bool]) -> list[Stored]:
    """Return the entries that are about something, oldest first."""
    rows = session.execute(select(audit).where(*about).order_by(audit.c.id)).all()
    last = head(session).last
    after = select(audit.c.id, audit.c.previous).where(audit.c.id.in_([row.id + 1 for row in rows]))
    chained = {last.number: last.hash, **{row.id - 1: row.previous for row in session.execute(after)}}
    return [Stored(row.id, _line(row), row.hash, chained.get(row.id)) for row in rows]


def head(session: Session) -> Head:
    """Return the head of the log."""
    row = session.execute(select(chain_head)).one()
    return Head(Link(row.number, row.hash), row.log_id)


def hash_of(session: Session, number: int) -> str | None:
    """Return the hash that an entry is stored with, if there is one of this number."""
    return session.execute(select(audit.c.hash).where(audit.c.id == number)).scalar()


def hashes(session: Session, numbers: Collection[int]) -> dict[int, str]:
    """Return the hashes that entries are stored with, by number; of those that are there."""
    rows = session.execute(select(audit.c.id, audit.c.hash).where(audit.c.id.in_(numbers)))
    return {row.id: row.hash for row in rows}


def restores(session: Session) -> list[Restore]:
    """Return the restores that entries acknowledge, oldest first."""
    rows = session.execute(select(audit).where(audit.c.action == RESTORED).order_by(audit.c.id))
    found = (
        restore_of(row.id, time_text(from_ms(row.at)), row.reason, _json(row.before), _json(row.after)) for row in rows
    )
    return [one for one in found if one is not None]


def lines(session: Session, after: int, most: int) -> list[str]:
    """Return the entries after one as lines, made of what the table says now."""
    return [_line(row) for row in _rows(session, after, most)]


def follow(session: Session, after: int, most: int) -> Followed:
    """Follow the chain from one entry on, and see that each entry is what it was chained as.

    Args:
        session: A session that reads.
        after: The number of an entry that has been checked; 0 to begin with the first.
        most: How many entries to look at.
    """
    last = START if after == 0 else Link(after, hash_of(session, after) or "")
    entries, problems = 0, list[str]()
    for row in _rows(session, after, most):
        entries += 1
        if (problem := _problem(session, row, last)) is not None and len(problems) < MOST_PROBLEMS:
            problems.append(problem)
        last = Link(row.id, row.hash)
    goes_on = entries == most
    if not goes_on and (wrong := _wrong_end(session, last)) is not None:
        problems.append(wrong)
    return Followed(entries, last, goes_on, tuple(problems))


def _rows(session: Session, after: int, most: int) -> Iterator[Row[Any]]:
    if after == 0:
        after = _BEFORE_ALL
    while most > 0:
        rows = session.execute(_ROWS, {"after": after, "most": min(most, _BATCH)}).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        after, most = rows[-1].id, most - len(rows)


def _problem(session: Session, row: Row[Any], last: Link) -> str | None:
    """Say how an entry is not what it was chained as, or not where."""
    if row.id != last.number + 1:
        return f"After entry {last.number:,} comes entry {row.id:,}: what was between them is missing."
    if row.previous != last.hash:
        return f"Entry {row.id:,} was not chained to entry {last.number:,} as it is now."
    if line_hash(_line(row)) != row.hash:
        return f"Entry {row.id:,} is not what was chained: {_altered(session, row)}."
    return None


def _wrong_end(session: Session, last: Link) -> str | None:
    """Say how the chain's end is not where its head is. Entries that have been written meanwhile are no matter."""
    found = head(session).last
    if found.number > last.number and _later(session, last.number):
        return None
    if found.number != last.number:
        return (
            f"The log ends with entry {last.number:,}, and not with entry {found.number:,}: it was cut off or added to."
        )
    if found.hash != last.hash:
        return f"Entry {last.number:,} is not the one that the log ended with."
    return None


def _later(session: Session, number: int) -> bool:
    return session.execute(select(audit.c.id).where(audit.c.id > number).limit(1)).first() is not None


def _line(row: Row[Any]) -> str:
    """Return the line that an entry is now, with its JSON as it is stored: only that one text of it was chained."""
    before, after = _on_one_line(row.before), _on_one_line(row.after)
    return line_of_texts(_without_json(row), from_ms(row.at), Link(row.id - 1, row.previous), before, after)


def _on_one_line(stored: str) -> str:
    """Return a stored text as a line can hold it; what somebody has made something else of is shown as that."""
    is_whole = "\n" not in stored and "\r" not in stored and _ODD not in _json(stored)
    return stored if is_whole else canonical({_ODD: stored})


def _entry(row: Row[Any]) -> AuditEntry:
    return replace(_without_json(row), before=_json(row.before), after=_json(row.after))


def _without_json(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        action=row.action,
        actor=row.actor,
        actor_id=row.actor_id,
        address=row.address,
        outcome=_outcome(row.outcome),
        workspace=row.workspace,
        model_id=row.model_id,
        model=row.model,
        version=row.version,
        target=row.target,
        request_id=row.request_id,
        decision_id=row.decision_id,
        reason=row.reason,
    )


def _outcome(stored: str) -> AuditOutcome:
    # What somebody has put there is shown as it is, and is not what was chained.
    return AuditOutcome(stored) if stored in set(AuditOutcome) else stored  # type: ignore[return-value]


def _json(stored: str) -> Mapping[str, Any]:
    try:
        found = json.loads(stored)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {_ODD: stored}


def _altered(session: Session, row: Row[Any]) -> str:
    """Say what of an entry was changed, as far as the event that told of it still knows."""
    told = session.execute(select(events).where(events.c.audit_id == row.id)).first()
    if told is None:
        return "something in it was changed, or it in whole"
    return _difference(row, told) or "something in it was changed of which its event does not tell"


def _difference(row: Row[Any], told: Row[Any]) -> str:
    entry = _entry(row)
    now: dict[str, Any] = {"action": entry.action, "workspace": entry.workspace, "model": entry.model, "at": row.at}
    was: dict[str, Any] = {"action": told.type, "workspace": told.workspace, "model": told.model, "at": told.at}
    with suppress(ValueError):  # An action that there isn't.
        now, was = {**event_of(entry).data, **now}, {**_json(told.data), **was}
    changed = [name for name in sorted(now.keys() | was.keys()) if canonical(now.get(name)) != canonical(was.get(name))]
    return "; ".join(
        f"its `{name}` is {_shown(now.get(name))}, and its event says {_shown(was.get(name))}" for name in changed
    )


def _shown(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."
