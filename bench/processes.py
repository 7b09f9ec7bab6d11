"""What processes use: those of a server and those of its database, with all that they started."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def family(root: int) -> set[int]:
    """Return a process and all that it started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            parents[int(entry.name)] = int(stat[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def processor_seconds(root: int) -> float:
    """Return how much of a processor a process, and all that it started, has used so far."""
    # Of each process: in user mode, in the kernel, and both of its children that have ended.
    return sum(sum(int(ticks) for ticks in stat[11:15]) for stat in _stats(family(root))) / _TICK


def memory(root: int) -> int:
    """Return the resident memory of a process and all that it started, in bytes."""
    return sum(int(stat[21]) for stat in _stats(family(root))) * _PAGE


def _stats(processes: Iterable[int]) -> list[list[str]]:
    return [stat for process in processes if (stat := _stat(process))]


def _stat(process: int) -> list[str]:
    """Return the fields after a process's name, from its state on; nothing if it has ended (`man 5 proc_pid_stat`)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
