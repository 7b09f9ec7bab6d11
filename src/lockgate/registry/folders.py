"""Files in a folder of the server."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from mlflow.store.artifact.local_artifact_repo import _TEMP_ARTIFACT_PREFIX

from lockgate.evidence.manifest import shown_path
from lockgate.registry.listing import (
    CHUNK,
    MOST_FILES,
    TOO_MANY,
    Changed,
    Listed,
    Unreachable,
    Unverifiable,
    check_path,
)

#: In seconds.
_UPLOADS_END_WITHIN = 3600
#: The clock by which a file system stamps its files ticks every 1 to 10 ms.
REST_NS = 50_000_000


@dataclass(frozen=True)
class Folder:
    """A folder, or a single file.

    **Why an unchanged mark proves unchanged content.** Every write, truncation, rename and change of owner or mode
    sets a file's ctime to the file system's clock; no system call sets it to anything else, `utime` included. That
    clock is coarse, so a second write within one tick would leave no trace: therefore a file whose ctime is young is
    read only after it has rested, longer than a tick. Whatever is written from then on gets another ctime than the one
    in the mark, and the mark is compared before and after reading. A file put in the place of another one shows
    by its inode, or if that is used again, by its ctime. Pages written through a memory map get a new ctime only when
    they were clean, so they are written out first.

    **What it does not prove.** Who is root on the machine can set its clock or write to the disk under
    the file system. A network file system may answer from a cache of attributes for some seconds, and stamps by a clock
    of its own. tmpfs gives memory-mapped writes no ctime. Keep artifacts where only the server writes.
    """

    root: str

    def files(self) -> tuple[Listed, ...]:
        """List the files below the folder; links that stay inside of it are followed."""
        try:
            found = os.stat(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise _unread("The folder", error) from None
        if not stat.S_ISDIR(found.st_mode):
            name = os.path.basename(self.root)
            return (_listed(name, found),)
        walk = _Walk(os.path.realpath(self.root))
        walk.into("", walk.root, (walk.root,))
        return tuple(sorted(walk.found))

    def read(self, file: Listed) -> Iterator[bytes]:
        """Read a file chunk by chunk, if it is the one that was listed."""
        whole = self.root if os.path.isfile(self.root) else os.path.join(self.root, file.path)
        try:
            # A pipe put in its place must not make us wait for somebody to write to it.
            handle = os.open(whole, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Changed from None
        except OSError as error:
            raise _unread(f"The file {shown_path(file.path)}", error) from None
        try:
            yield from _chunks(handle, file)
        except OSError as error:
            raise _unread(f"The file {shown_path(file.path)}", error) from None
        finally:
            os.close(handle)


#: Errors of a disk or network that may be over in a while.
_FOR_NOW = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


def _unread(what: str, error: OSError) -> Exception:
    said = f"{what} can't be read ({error.strerror})."
    return Unreachable(said) if error.errno in _FOR_NOW else Unverifiable(said)


def _chunks(handle: int, file: Listed) -> Iterator[bytes]:
    with suppress(OSError):  # Some file systems can't, and have nothing to write out.
        os.fsync(handle)
    _rest(os.fstat(handle).st_ctime_ns)
    _check_same(handle, file)
    left = file.size
    for chunk in iter(partial(os.read, handle, CHUNK), b""):
        left -= len(chunk)
        if left < 0:
            raise Changed
        yield chunk
    _check_same(handle, file)


def _rest(changed_at_ns: int) -> None:
    young = REST_NS - (time.time_ns() - changed_at_ns)
    if young > 0:
        time.sleep(min(young, REST_NS) / 1e9)


def _check_same(handle: int, file: Listed) -> None:
    if _mark(os.fstat(handle)) != file.mark:
        raise Changed


def _listed(path: str, found: os.stat_result) -> Listed:
    check_path(path)
    if not stat.S_ISREG(found.st_mode):
        raise Unverifiable(f"{shown_path(path)} is no file but a pipe, socket or device.")
    return Listed(path, found.st_size, _mark(found))


def _mark(found: os.stat_result) -> str:
    stamps = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_mode)
    return "-".join(str(stamp) for stamp in stamps)


def _is_being_uploaded(entry: os.DirEntry[str]) -> bool:
    """Say whether this is what MLflow keeps beside a file while an upload goes on. What is old was left by a crash."""
    if not entry.name.startswith(_TEMP_ARTIFACT_PREFIX):
        return False
    return time.time() - entry.stat(follow_symlinks=False).st_mtime < _UPLOADS_END_WITHIN


class _Walk:
    """A walk below a root. It counts all that it sees: links to folders can make a few of them look like very many."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.found: list[Listed] = []
        self._seen = 0

    def into(self, path: str, folder: str, above: tuple[str, ...]) -> None:
        """Walk into a folder.

        Args:
            path: Its path below the root.
            folder: Where it really is.
            above: Where the folders above it, and itself, really are.
        """
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._count()
                    self._entry(f"{path}/{entry.name}".lstrip("/") if path else entry.name, entry, above)
        except (FileNotFoundError, NotADirectoryError):
            raise Changed from None
        except OSError as error:
            where = f"The folder {shown_path(path)}" if path else "The folder"
            raise _unread(where, error) from None

    def _count(self) -> None:
        self._seen += 1
        if self._seen > MOST_FILES:
            raise Unverifiable(TOO_MANY)

    def _entry(self, path: str, entry: os.DirEntry[str], above: tuple[str, ...]) -> None:
        if _is_being_uploaded(entry):
            raise Changed
        really = self._target(path, entry) if entry.is_symlink() else entry.path
        found = os.stat(really, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode) or really in above:
            raise Unverifiable(f"The link {shown_path(path)} leads round in a circle.")
        if not stat.S_ISDIR(found.st_mode):
            self.found.append(_listed(path, found))
        else:
            self.into(path, really, (*above, really))

    def _target(self, path: str, entry: os.DirEntry[str]) -> str:
        really = os.path.realpath(entry.path)
        if os.path.commonpath((self.root, really)) != self.root:
            raise Unverifiable(f"The link {shown_path(path)} leads out of the version's files.")
        if not os.path.lexists(really):
            raise Unverifiable(f"The link {shown_path(path)} leads nowhere.")
        return really
