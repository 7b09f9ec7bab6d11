"""Proving from an export and checkpoints, without the server, that nothing was changed, dropped, reordered or cut off.

Reads line after line: the size of an export is no matter.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.audit.chain import FIELDS, MOST_PROBLEMS, START, Link
from lockgate.audit.checkpoint import Checkpoint, latest
from lockgate.audit.comparison import Comparison, Log, compare
from lockgate.audit.restore import RESTORED, Restore, restore_of


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
    #: The restores that are on record in it.
    restores: list[Restore] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, problem: str) -> None:
        """Note a problem; not what is past the first ones."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == MOST_PROBLEMS:
            self.problems.append("There are more problems, which are not told.")


def verify(lines: Iterable[bytes], checkpoints: Sequence[Checkpoint], accepted: Collection[int] = ()) -> Report:
    """Follow an export from its first entry to its last, and compare it with checkpoints.

    Args:
        lines: The export, oldest entry first; line ends don't count.
        checkpoints: Checkpoints whose signatures are verified or believed.
        accepted: The numbers of entries that acknowledge a restore which the auditor knows of.
    """
    report = Report()
    signed = {one.last.number for one in checkpoints}
    hashes: dict[int, str] = {}
    for place, raw in enumerate(lines, 1):
        text = raw.rstrip(b"\r\n")
        entry = _read(text, place, report)
        if entry is None:
            continue
        _follow(entry, report)
        report.last = Link(entry["number"], hashlib.sha256(text).hexdigest())
        report.entries += 1
        if report.last.number in signed:
            hashes[report.last.number] = report.last.hash
        if entry["action"] == RESTORED:
            _note_restore(entry, report)
    _compare(report, checkpoints, hashes, accepted)
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


def _note_restore(entry: dict[str, Any], report: Report) -> None:
    told = {name: value if isinstance(value := entry[name], dict) else {} for name in ("before", "after")}
    restore = restore_of(entry["number"], str(entry["at"]), str(entry["reason"]), **told)
    if restore is not None:
        report.restores.append(restore)
    else:
        report.add(f"Entry {entry['number']:,} acknowledges a restore, and does not say of what.")


def _compare(
    report: Report, checkpoints: Sequence[Checkpoint], hashes: dict[int, str], accepted: Collection[int]
) -> None:
    newest = latest(checkpoints)
    found = Comparison()
    if newest is not None:
        found = compare(checkpoints, Log(newest.log_id, report.last, hashes, report.restores))
    report.proven_to = found.proven_to
    for contradiction in found.contradictions:
        report.add(f"{contradiction.said[:1].upper()}{contradiction.said[1:]}.")
    for restore in report.restores:
        if not found.proves(restore):
            report.add(f"{restore} No checkpoint proves that entry, so it excuses nothing: give a newer one.")
        elif restore.entry not in accepted:
            report.add(f"{restore} If you know of that, and it is right: --accept-restore {restore.entry}.")
        else:
            report.notes.append(f"{restore} You accepted it.")
