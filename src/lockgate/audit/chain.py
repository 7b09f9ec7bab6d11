"""The hash chain: each entry is a line of text that holds the hash of the line before.

The hash of an entry is the SHA-256 of its line, without the line's end. So an export, which is those lines and nothing
else, can be followed with `sha256sum` alone.
"""

import hashlib
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from lockgate.audit.entry import AuditEntry
from lockgate.canonical import canonical

#: What the first entry has for the hash of the one before.
NOTHING = "0" * 64
#: What a line holds: everything that is known of an entry.
FIELDS = frozenset(("number", "previous", "at", *(field.name for field in fields(AuditEntry))))
#: How many problems are told: more would only bury the first ones.
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Link:
    """An entry's place in the chain."""

    number: int
    hash: str


#: What the first entry follows.
START = Link(0, NOTHING)


def line(entry: AuditEntry, at: datetime, follows: Link) -> str:
    """Return the line that stands for an entry.

    Args:
        entry: The entry.
        at: When it happened, in UTC; milliseconds count.
        follows: The entry before it.
    """
    return line_of_texts(entry, at, follows, canonical(entry.before), canonical(entry.after))


def line_of_texts(entry: AuditEntry, at: datetime, follows: Link, before: str, after: str) -> str:
    """Return the line that stands for an entry whose `before` and `after` are JSON already, as a line has it.

    Args:
        entry: The entry, of which those two don't count.
        at: When it happened, in UTC; milliseconds count.
        follows: The entry before it.
        before: What `before` is.
        after: What `after` is.
    """
    # In the order of the names, as all JSON of ours.
    first = canonical(
        {"action": entry.action, "actor": entry.actor, "actor_id": entry.actor_id, "address": entry.address}
    )
    rest = canonical(
        {
            "number": follows.number + 1,
            "previous": follows.hash,
            "outcome": entry.outcome,
            "workspace": entry.workspace,
            "model_id": entry.model_id,
            "model": entry.model,
            "version": entry.version,
            "target": entry.target,
            "request_id": entry.request_id,
            "decision_id": entry.decision_id,
            "reason": entry.reason,
        }
    )
    return f'{first[:-1]},"after":{after},"at":"{time_text(at)}","before":{before},{rest[1:]}'


def time_text(at: datetime) -> str:
    """Return a time as lines and checkpoints have it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line_hash(text: str) -> str:
    """Return the hash of a line. Half a surrogate pair, which no database stores, counts as what it is escaped to."""
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def link(entry: AuditEntry, at: datetime, follows: Link) -> Link:
    """Return the place of an entry that follows another one."""
    return Link(follows.number + 1, line_hash(line(entry, at, follows)))
