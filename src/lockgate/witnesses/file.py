"""A file that checkpoints are appended to, a line each."""

import os
from dataclasses import dataclass
from pathlib import Path

from lockgate.witnesses.witness import Unreachable

#: More than a checkpoint is long.
_TAIL = 65_536


@dataclass(frozen=True)
class File:
    """A file on this machine, or one that is mounted."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def latest(self) -> str | None:
        """Return its last whole line."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                # What comes after the last line's end was being written when something failed.
                whole = file.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreachable(error.strerror or "it can't be read") from None
        return last_line(whole.decode(errors="replace"))

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


def last_line(text: str) -> str | None:
    """Return the last line that is not empty."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), None)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
