"""What the storage says of the files at a place, cheaply: without reading them."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

#: How much of a file is in memory at a time.
CHUNK = 1024 * 1024
MOST_FILES = 10_000

TOO_MANY = f"There are more than {MOST_FILES:,} files, which is more than Lockgate hashes."


class Unread(Exception):
    """The files could not be looked at.

    Args:
        reason: Why, in a sentence that everybody may read.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unverifiable(Unread):
    """The files can't be listed or read, or not in a way that proves anything."""


class Unreachable(Unread):
    """The storage does not answer now. That says nothing about the files: look again later."""


class Changed(Exception):
    """The files changed while they were looked at. Look again."""


@dataclass(frozen=True, order=True)
class Listed:
    """A file as the storage lists it."""

    #: Below the place, with `/` between its parts.
    path: str
    size: int
    #: Whatever the storage says that is different after each change of the content.
    mark: str


class Place(Protocol):
    """Where the files of a version are."""

    def files(self) -> tuple[Listed, ...]:
        """List the files, in the order of their paths.

        Raises:
            Unverifiable: if that can't be done in full.
            Changed: if files came or went meanwhile.
        """
        ...

    def read(self, file: Listed) -> Iterator[bytes]:
        """Read a file chunk by chunk.

        Raises:
            Unverifiable: if it can't be read.
            Changed: if it is not, or at the end is no longer, the file that was listed.
        """
        ...


def fingerprint(files: Iterable[Listed]) -> str:
    """Return the SHA-256 of a listing. As long as it stays the same, no file has been added, removed or changed."""
    told = json.dumps([[file.path, file.size, file.mark] for file in sorted(files)], separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def check_path(path: str) -> None:
    """Refuse a path that a manifest can't hold as it is, so that two files could look like one.

    Raises:
        Unverifiable: if it is such a path.
    """
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise Unverifiable(f"The file name {json.dumps(path)} is ambiguous: it has empty parts, `.` or `..` in it.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Unverifiable(f"The file name {json.dumps(path)} is not UTF-8.") from None
