"""Proving from an export and checkpoints, without the server, that nothing was changed, dropped, reordered or cut off.

Reads line after line: the size of an export is no matter.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.audit.chain import FIELDS, START, Link
from lockgate.audit.checkpoint import Checkpoint, latest

#: The action of the entry by which somebody acknowledged that the database was restored.
RESTORED = "log.restored"
# More would only bury the first ones.
_MOST_PROBLEMS = 20


@dataclass
class Report:
    """What was found."""

    entries: int = 0
    last: Link = START
    #: Up to which entry checkpoints prove the log; None if no checkpoint was met.
    proven_to: int | None = None
    #: A sentence each.
    problems: list[str] = field(default_factory=list)
    #: What is in order and should be known all the same.
    notes: list[str] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, problem: str) -> None:
        """Note a problem; not what is past the first ones."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == _MOST_PROBLEMS:
            self.problems.append("There are more problems, which are not told.")


@dataclass(frozen=True)
class _Restore:
    """That somebody went on from an older database; checkpoints up to an entry are of a log that was given up."""

    log_id: str
    given_up: int
    text: str

    def explains(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.log_id == self.log_id and checkpoint.last.number <= self.given_up


def verify(lines: Iterable[bytes], checkpoints: Sequence[Checkpoint]) -> Report:
    """Follow an export from its first entry to its last, and compare it with checkpoints.

    Args:
        lines: The export, oldest entry first; line ends don't count.
        checkpoints: Checkpoints whose signatures are verified or believed.
    """
    report = Report()
    newest = latest(checkpoints)
    signed: dict[int, list[Checkpoint]] = defaultdict(list)
    for one in checkpoints:
        signed[one.last.number].append(one)
    restores: list[_Restore] = []
    contradicted: list[Checkpoint] = []
    for place, raw in enumerate(lines, 1):
        text = raw.rstrip(b"\r\n")
        entry = _read(text, place, report)
        if entry is None:
            continue
        _follow(entry, report)
        number = entry["number"]
        report.last = Link(number, hashlib.sha256(text).hexdigest())
        report.entries += 1
        if entry["action"] == RESTORED:
            restores += _restore(entry)
        for one in signed.pop(number, ()):
            if newest is None or one.log_id != newest.log_id or one.last.hash != report.last.hash:
                contradicted.append(one)
            else:
                report.proven_to = number
    missing = [one for several in signed.values() for one in several]
    _judge(report, newest, [*contradicted, *missing], restores)
    return report


def _read(text: bytes, place: int, report: Report) -> dict[str, Any] | None:
    """Return the entry on a line, or note that there is none."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        report.add(f"Line {place:,} is no entry: it can't be read as JSON.")
        return None
    if not isinstance(entry, dict) or type(entry.get("number")) is not int:
        report.add(f"Line {place:,} is no entry: it has no number.")
        return None
    if entry.keys() != FIELDS:
        wrong = ", ".join(f"`{name}`" for name in sorted(entry.keys() ^ FIELDS))
        report.add(f"Entry {entry['number']:,} lacks fields or has others than were written: {wrong[:300]}.")
        entry = {**dict.fromkeys(FIELDS), **entry}
    return entry


def _follow(entry: dict[str, Any], report: Report) -> None:
    """Note how an entry does not follow the one before it."""
    number, before = entry["number"], report.last
    if number > before.number + 1:
        gone = (
            f"entry {number - 1:,} is"
            if number == before.number + 2
            else f"entries {before.number + 1:,} to {number - 1:,} are"
        )
        report.add(f"After entry {before.number:,} comes entry {number:,}: {gone} missing.")
    elif number <= before.number:
        report.add(
            f"After entry {before.number:,} comes entry {number:,}: entries were put in another order, or twice."
        )
    elif entry["previous"] != before.hash:
        if number == 1:
            report.add("Entry 1 is not the first of a log: it names an entry before it.")
        else:
            report.add(
                f"Entry {before.number:,} is not what entry {number:,} was chained to: something in it, or the "
                f"`previous` of entry {number:,}, was changed."
            )


def _restore(entry: dict[str, Any]) -> list[_Restore]:
    try:
        log_id, given_up = str(entry["before"]["log_id"]), int(entry["before"]["number"])
    except (KeyError, TypeError, ValueError):
        return []
    text = (
        f"{entry['actor']} acknowledged with entry {entry['number']:,}, at {entry['at']}, that the database was "
        f"restored: checkpoints up to entry {given_up:,} that say otherwise are of what was given up. Reason: "
        f"{entry['reason']}"
    )
    return [_Restore(log_id, given_up, text)]


def _judge(
    report: Report, newest: Checkpoint | None, contradicted: Sequence[Checkpoint], restores: Sequence[_Restore]
) -> None:
    """Tell what checkpoints say against the log, but for those of what was given up with a restore."""
    told: set[str] = set()
    for one in contradicted:
        number = one.last.number
        known = next((restore for restore in restores if restore.explains(one)), None)
        if known is not None:
            told.add(known.text)
        elif newest is not None and one.log_id != newest.log_id:
            report.add(f"{_begun(one)} is of another log than the newest one. Give the checkpoints of one log.")
        elif number > report.last.number:
            report.add(
                f"The log ends with entry {report.last.number:,}, and {one} is of entry {number:,}: it was cut off."
            )
        else:
            report.add(
                f"Entry {number:,} is not what {one} is of: it, or an entry before it, was changed or is missing."
            )
    report.notes += sorted(told)


def _begun(checkpoint: Checkpoint) -> str:
    text = str(checkpoint)
    return text[:1].upper() + text[1:]
