"""What is known of the files of a model version: a closed world, so a file too many counts like a file changed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from typing import Any

# More would only bury the first ones.
_MOST_CHANGES = 50
_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


class Hashing(StrEnum):
    """How far the hashing of a version's files is."""

    HASHED = "hashed"
    PENDING = "pending"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True, order=True)
class FileDigest:
    """A file, by its path below the version's location."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Artifacts:
    """The files of a version, as far as they are known.

    Nothing at a location is `hashed`, with no files.
    """

    state: Hashing
    #: In the order of their paths; complete if hashed, else empty.
    files: tuple[FileDigest, ...] = ()
    #: Why they can't be verified, or how far the hashing is.
    reason: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the OpenSSF model-signing statement about the files, with its name in front; empty if not hashed.

        It is taken over the whole statement. The digest inside of it, of its subject, leaves the names of the files
        out, so files could be renamed under it.
        """
        if self.state is not Hashing.HASHED:
            return ""
        return "sha256:" + hashlib.sha256(_canonical(statement(self.files)).encode()).hexdigest()

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(file.size for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"state": self.state.value, "files": [asdict(file) for file in self.files], "reason": self.reason}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Artifacts":
        """Return what `to_json` wrote."""
        return cls(Hashing(data["state"]), tuple(FileDigest(**file) for file in data["files"]), data["reason"])

    def changes_since(self, before: "Artifacts") -> list[str]:
        """Name what differs from an earlier look, a phrase each: `file weights.bin changed (120 bytes, was 100)`.

        Progress is no change.
        """
        if self.state is Hashing.HASHED and before.state is Hashing.HASHED:
            return _shortened(_file_changes(before.files, self.files))
        if self.state is before.state and (self.state is Hashing.PENDING or self.reason == before.reason):
            return []
        match self.state:
            case Hashing.HASHED:
                return [f"the files are hashed: {len(self.files)} files, {amount(self.size)}"]
            case Hashing.PENDING:
                return ["the files are being hashed"]
            case Hashing.UNVERIFIABLE:
                return [f"the files can't be verified: {self.reason}"]


def load_format() -> Any:
    """Return the module that makes statements, imported when it is first needed: a server starts without it, and loads
    it in the background."""
    return import_module("lockgate.evidence.openssf")


def statement(files: tuple[FileDigest, ...]) -> dict[str, Any]:
    """Return the in-toto statement that OpenSSF model signing makes of files: what would be signed.

    The subject has the same name whatever the location is called: equal files have equal statements.
    """
    stated: dict[str, Any] = load_format().statement((file.path, file.sha256) for file in files)
    return stated


def progress(done: int, total: int) -> str:
    """Say how far hashing is: `3.1 of 10.0 GB hashed`."""
    unit, size = next(((unit, size) for unit, size in _UNITS if total >= size), ("bytes", 1))
    if size == 1:
        return f"{done} of {total} bytes hashed"
    return f"{done / size:.1f} of {total / size:.1f} {unit} hashed"


def amount(size: int) -> str:
    """Say how much a number of bytes is: `3.1 GB`."""
    return next((f"{size / one:.1f} {unit}" for unit, one in _UNITS if size >= one), f"{size} bytes")


def shown_path(path: str) -> str:
    """Return a path as a sentence can hold it: what can't be printed is escaped."""
    return path if path.isprintable() else json.dumps(path)


def _file_changes(before: tuple[FileDigest, ...], after: tuple[FileDigest, ...]) -> list[str]:
    were = {file.path: file for file in before}
    are = {file.path: file for file in after}
    gone = sorted(were.keys() - are.keys())
    new = sorted(are.keys() - were.keys())
    renamed = _renamed([were[path] for path in gone], [are[path] for path in new])
    arrived = set(renamed.values())
    return [
        *(
            f"file {shown_path(path)} changed ({are[path].size} bytes, was {were[path].size})"
            for path in sorted(were.keys() & are.keys())
            if were[path] != are[path]
        ),
        *(f"file {shown_path(path)} was renamed to {shown_path(to)}" for path, to in renamed.items()),
        *(f"file {shown_path(path)} is new" for path in new if path not in arrived),
        *(f"file {shown_path(path)} is gone" for path in gone if path not in renamed),
    ]


def _renamed(gone: list[FileDigest], new: list[FileDigest]) -> dict[str, str]:
    """Pair files that went with files of the same content that came."""
    waiting: dict[str, list[str]] = {}
    for file in reversed(new):
        waiting.setdefault(file.sha256, []).append(file.path)
    return {file.path: waiting[file.sha256].pop() for file in gone if waiting.get(file.sha256)}


def _shortened(changes: list[str]) -> list[str]:
    if len(changes) <= _MOST_CHANGES:
        return changes
    return [*changes[:_MOST_CHANGES], f"{len(changes) - _MOST_CHANGES} more changes to files"]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
