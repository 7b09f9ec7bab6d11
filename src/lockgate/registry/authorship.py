"""Noting who had a hand in runs, logged models and artifact folders. MLflow's own user fields and tags can be
written by anybody and count for nothing here.
"""

import os
import posixpath
import time
from collections.abc import Callable, Iterable
from urllib.parse import unquote, urlsplit

from sqlalchemy import Engine, event

from lockgate.access.principals import current_caller
from lockgate.database import authors
from lockgate.registry.sealing import Serving, refuse_if_sealed, refuse_if_serving
from lockgate.registry.transaction import ambient_session, transaction

RUN = "run"
LOGGED_MODEL = "model"
ARTIFACTS = "artifacts"

_FORGET_AFTER = 100_000
_REMEMBERED_SECONDS = 60.0


class Authorship:
    """Writes down, once each, that a principal had a hand in something.

    What has been written is remembered for a minute, so that a training loop that logs a thousand metrics pays once in
    that time; and no longer than connections last: behind a new one there may be a standby, or a restored backup, that
    has not got it.

    Args:
        engine: The registry's database, where our tables are.
        destination: Where the server keeps artifacts.
    """

    def __init__(self, engine: Engine, destination: str) -> None:
        self._engine = engine
        self.destination = destination
        self._written: dict[tuple[str, str, int], float] = {}
        event.listen(engine, "connect", lambda _connection, _record: self._written.clear())

    def refuse_if_sealed(self, place: str, and_below: bool = False) -> None:
        """Refuse to change files of an approved version: see `lockgate.registry.sealing`."""
        refuse_if_sealed(self._engine, place, and_below)

    def refuse_if_serving(self, what: str, is_behind: Callable[[Serving], bool]) -> None:
        """Refuse to delete what is behind a serving version: see `lockgate.registry.sealing`."""
        refuse_if_serving(self._engine, what, is_behind)

    def note(self, kind: str, thing: str | None) -> None:
        """Note that the caller has a hand in something, before it is done.

        Args:
            kind: One of `RUN`, `LOGGED_MODEL`, `ARTIFACTS`.
            thing: The id of the run or logged model, or the folder's path. None is ignored.
        """
        if not thing or not isinstance(thing, str) or "\0" in thing:
            return
        who = current_caller().principal.id
        began = time.monotonic()
        if began - self._written.get((kind, thing, who), -_REMEMBERED_SECONDS) < _REMEMBERED_SECONDS:
            return
        with transaction(self._engine) as session:
            authors.add(session, kind, thing, who)
        if ambient_session(self._engine) is not None:
            return  # It is written as soon as that transaction is, if it is.
        if len(self._written) >= _FORGET_AFTER:
            self._written.clear()
        self._written[kind, thing, who] = began

    def note_folder(self, place: str) -> None:
        """Note that the caller has a hand in the files of the run or logged model in whose folder a place is."""
        self.note(ARTIFACTS, artifact_folder(place, self.destination))


def artifact_folder(location: str, destination: str) -> str:
    """Return the folder that files at a location belong to: that of their run or logged model, if the path shows it.

    MLflow lays them out as `<experiment>/<run>/artifacts/...` and `<experiment>/models/<model>/artifacts/...`. Every
    spelling of a place gives the same folder: percent-encoded, with `.` and `..`, through the server or around it.

    Args:
        location: A path below the server's artifacts destination, or the URI of a run, model or version.
        destination: The artifacts destination.
    """
    path = _below(decoded(location), decoded(destination))
    parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
    return "/".join(parts[: parts.index("artifacts") + 1] if "artifacts" in parts else parts)


def logged_models_in(locations: Iterable[str]) -> list[str]:
    """Return the ids of the logged models that locations name: `models:/m-...`, `.../models/m-.../artifacts`."""
    parts = (part for location in locations for part in decoded(location).split("/"))
    return list(dict.fromkeys(part for part in parts if part.startswith("m-")))


def decoded(text: str) -> str:
    """Return a location without percent-encoding, however often it was encoded."""
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


def _below(location: str, destination: str) -> str:
    """Return a location as a path below the destination if it lies there, else its own path."""
    below = _below_destination(location, destination)
    return urlsplit(location).path if below is None else below


def _below_destination(location: str, destination: str) -> str | None:
    if _is_local(location) and _is_local(destination):
        root = os.path.abspath(urlsplit(destination).path)
        for path in (os.path.abspath(urlsplit(location).path), os.path.realpath(urlsplit(location).path)):
            if path == root or path.startswith(root + os.sep):
                return path.removeprefix(root)
        return None
    root = destination.rstrip("/")
    if location == root or location.startswith(root + "/"):
        return location.removeprefix(root)
    return None


def _is_local(location: str) -> bool:
    return urlsplit(location).scheme in ("", "file")
