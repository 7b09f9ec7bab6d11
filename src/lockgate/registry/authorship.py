"""Noting who had a hand in runs, logged models and artifact folders. MLflow's own user fields and tags can be
written by anybody and count for nothing here.
"""

import os
import posixpath
from urllib.parse import unquote, urlsplit

from sqlalchemy import Engine

from lockgate.access.principals import current_caller
from lockgate.database import authors
from lockgate.database.engine import now
from lockgate.registry.transaction import transaction

RUN = "run"
LOGGED_MODEL = "model"
ARTIFACTS = "artifacts"

_FORGET_AFTER = 100_000


class Authorship:
    """Writes down, once each, that a principal had a hand in something.

    What has been written is remembered, so that a training loop that logs a thousand metrics pays once.

    Args:
        engine: The registry's database, where our tables are.
        destination: Where the server keeps artifacts.
    """

    def __init__(self, engine: Engine, destination: str) -> None:
        self._engine = engine
        self.destination = destination
        self._written: set[tuple[str, str, int]] = set()

    def note(self, kind: str, thing: str | None) -> None:
        """Note that the caller has a hand in something, before it is done.

        Args:
            kind: One of `RUN`, `LOGGED_MODEL`, `ARTIFACTS`.
            thing: The id of the run or logged model, or the folder's path. None is ignored.
        """
        if not thing or not isinstance(thing, str) or "\0" in thing:
            return
        who = current_caller().principal.id
        if (kind, thing, who) in self._written:
            return
        with transaction(self._engine) as session:
            authors.add(session, kind, thing, who, now(session))
        if len(self._written) >= _FORGET_AFTER:
            self._written.clear()
        self._written.add((kind, thing, who))


def artifact_folder(location: str, destination: str) -> str:
    """Return the folder that files at a location belong to: that of their run or logged model, if the path shows it.

    MLflow lays them out as `<experiment>/<run>/artifacts/...` and `<experiment>/models/<model>/artifacts/...`. Every
    spelling of a place gives the same folder: percent-encoded, with `.` and `..`, through the server or around it.

    Args:
        location: A path below the server's artifacts destination, or the URI of a run, model or version.
        destination: The artifacts destination.
    """
    path = _below(_decoded(location), _decoded(destination))
    parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
    return "/".join(parts[: parts.index("artifacts") + 1] if "artifacts" in parts else parts)


def _decoded(text: str) -> str:
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


def _below(location: str, destination: str) -> str:
    """Return a location as a path below the destination if it lies there, else its own path."""
    if _is_local(location) and _is_local(destination):
        root = os.path.abspath(urlsplit(destination).path)
        for path in (os.path.abspath(urlsplit(location).path), os.path.realpath(urlsplit(location).path)):
            if path.startswith(root + os.sep):
                return path.removeprefix(root)
        return urlsplit(location).path
    root = destination.rstrip("/") + "/"
    return location.removeprefix(root) if location.startswith(root) else urlsplit(location).path


def _is_local(location: str) -> bool:
    return urlsplit(location).scheme in ("", "file")
