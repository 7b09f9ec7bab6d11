"""Comparing a log with checkpoints: what they prove of it, and what they say against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockgate.audit.chain import START, Link
from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.restore import Restore


@dataclass(frozen=True)
class Log:
    """What is known of a log."""

    id: str
    last: Link
    #: Hashes of entries by their number: at least of those that checkpoints are of, as far as they are there.
    hashes: Mapping[int, str]
    #: The restores that its entries acknowledge.
    restores: Sequence[Restore] = ()


@dataclass(frozen=True)
class Contradiction:
    """A checkpoint that is not of the log as it is, and how."""

    checkpoint: Checkpoint
    said: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to."""

    #: Checkpoints that are of the log as it is.
    agreeing: tuple[Checkpoint, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    @property
    def proven_to(self) -> int | None:
        """Up to which entry checkpoints prove the log; None if none does."""
        return max((one.last.number for one in self.agreeing), default=None)

    def proves(self, restore: Restore) -> bool:
        """Say whether a restore was on record when a checkpoint was signed that proves the log."""
        return restore.entry <= (self.proven_to or 0)


def compare(checkpoints: Sequence[Checkpoint], log: Log) -> Comparison:
    """Compare a log with checkpoints.

    What was given up with a restore is no contradiction, if a checkpoint proves the restore itself: else whoever writes
    to the database could excuse anything by an entry.

    Args:
        checkpoints: Checkpoints that are believed.
        log: The log.
    """
    told = [(one, _against(one, log)) for one in checkpoints]
    agreeing = Comparison(tuple(one for one, said in told if said is None))
    restores = [restore for restore in log.restores if agreeing.proves(restore)]
    contradictions = tuple(
        Contradiction(one, said)
        for one, said in told
        if said is not None and not any(restore.gives_up(one) for restore in restores)
    )
    return Comparison(agreeing.agreeing, contradictions)


def still_binding(comparison: Comparison, log: Log) -> int:
    """Return up to which entry checkpoints bind a log, if all that contradicts it is given up.

    That is its last entry, if it was only cut off. If what it has is contradicted, too, it went on from an older entry
    before anybody noticed, or was changed: then only what a checkpoint agrees with is left.

    Args:
        comparison: What speaks for and against the log.
        log: The log.
    """
    against = [one.checkpoint for one in comparison.contradictions if one.checkpoint.log_id == log.id]
    first = min((one.last.number for one in against), default=log.last.number + 1)
    if first > log.last.number:
        return log.last.number
    return max((one.last.number for one in comparison.agreeing if one.last.number < first), default=0)


def _against(one: Checkpoint, log: Log) -> str | None:
    """Say how a log is not the one that a checkpoint is of; None if it is."""
    if one.log_id != log.id:
        return f"{one} is of another log ({one.log_id[:8]}..., and this is {log.id[:8]}...)"
    number = one.last.number
    if number > log.last.number:
        return f"the log ends with entry {log.last.number:,}, and {one} is of entry {number:,}: it was cut off there"
    found = START.hash if number == START.number else log.hashes.get(number)
    if found != one.last.hash:
        return f"entry {number:,} is not what {one} is of: it, or an entry before it, was changed or is missing"
    return None
