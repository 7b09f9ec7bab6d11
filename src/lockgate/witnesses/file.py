"""A file that checkpoints are appended to, a line each."""

import os
from dataclasses import dataclass
from pathlib import Path

from lockgate.witnesses.witness import Unreachable

#: How much of its end is read: some hundred checkpoints.
_TAIL = 65_536


@dataclass(frozen=True)
class File:
    """A file on this machine, or one that is mounted."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def recent(self) -> list[str]:
        """Return its last whole lines."""
        try:
            with self.path.open("rb") as file:
                begin = file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                # What comes after the last line's end was being written when something failed.
                whole = file.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unreachable(error.strerror or "it can't be read") from None
        return lines_of(whole.decode(errors="replace"))[1 if begin else 0 :]

    def keep(self, line: str, at: str, number: int) -> None:
        """Append a line, and see it on the disk."""
        try:
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_line(self.path):
                    file.write(b"\n")
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unreachable(error.strerror or "it can't be written") from None


def lines_of(text: str) -> list[str]:
    """Return the lines that are not empty."""
    return [line for line in text.split("\n") if line.strip()]


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
