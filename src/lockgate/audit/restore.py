"""Restores that somebody acknowledged: entries which say that checkpoints are of what was given up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.audit.checkpoint import Checkpoint

#: The action of the entry.
RESTORED = "log.restored"


@dataclass(frozen=True)
class Restore:
    """That a server went on from another database than the one that was signed last, and somebody wanted that."""

    #: The number of the entry that says so.
    entry: int
    at: str
    reason: str
    #: The log that was given up, and the one that goes on; the same for a backup of it.
    log_id: str
    goes_on_as: str
    #: The entry up to which checkpoints still bind, and the last one that was given up.
    kept: int
    given_up: int

    @property
    def is_of_another_log(self) -> bool:
        """Whether another log was given up, and with it all checkpoints of it."""
        return self.log_id != self.goes_on_as

    def gives_up(self, checkpoint: Checkpoint) -> bool:
        """Say whether a checkpoint is of what was given up."""
        if checkpoint.log_id != self.log_id:
            return False
        return self.is_of_another_log or self.kept < checkpoint.last.number <= self.given_up

    def __str__(self) -> str:
        given_up = (
            f"all checkpoints of the log {self.log_id[:8]}... are given up"
            if self.is_of_another_log
            else f"checkpoints of the entries {self.kept + 1:,} to {self.given_up:,} are given up"
            if self.kept < self.given_up
            else "no checkpoint that it knew of is given up"
        )
        unproven = (
            f", also of entries that the database had then ({self.kept + 1:,} to {self.entry - 1:,}): those are not "
            "what was signed"
            if not self.is_of_another_log and self.kept < min(self.given_up, self.entry - 1)
            else ""
        )
        reason = self.reason.rstrip(".")
        return f"Entry {self.entry:,}, of {self.at}, acknowledges a restore: {given_up}{unproven}. Reason: {reason}."


def restore_of(
    number: int, at: str, reason: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Restore | None:
    """Return what an entry of the action `log.restored` acknowledges; None if it doesn't say."""
    try:
        return Restore(
            number, at, reason, str(before["log_id"]), str(after["log_id"]), int(after["number"]), int(before["number"])
        )
    except (KeyError, TypeError, ValueError):
        return None
