"""What is open to anybody, known or not: the only calls that the edge lets through without asking who it is.

Which of MLflow's routes are, its inventory says (`access/routes.py`); here stand ours.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from fastapi import FastAPI
from flask import Flask

from lockgate.access.routes import ROUTES, Right
from lockgate.server.inventory import paths_of

#: Both with the static prefix and without it, for whatever looks whether the server is up.
_PROBES = ("/healthz", "/readyz")
_PAGES = (
    ("GET", "/lockgate/sign-in"),
    ("POST", "/lockgate/sign-in"),
    ("GET", "/lockgate/sign-in/with"),
    ("GET", "/lockgate/sign-in/callback"),
    ("GET", "/lockgate/static/"),
)


class Opening(NamedTuple):
    """A method and a path, or with a slash at its end all that is under it."""

    method: str
    path: str


class Openings:
    """Knows which calls are open.

    Args:
        openings: All of them.
    """

    def __init__(self, openings: Iterable[Opening]) -> None:
        known = frozenset(openings)
        self._folders = frozenset(one for one in known if one.path.endswith("/"))
        self._calls = known - self._folders

    def include(self, method: str, path: str) -> bool:
        """Say whether a call is open."""
        method = "GET" if method == "HEAD" else method
        if Opening(method, path) in self._calls:
            return True
        return ".." not in path and any(
            method == folder.method and path.startswith(folder.path) for folder in self._folders
        )


def openings(fastapi_app: FastAPI, flask_app: Flask, prefix: str) -> Openings:
    """Return what is open: our own probes and pages, and what MLflow's inventory says.

    Args:
        fastapi_app: MLflow's application.
        flask_app: The one in it.
        prefix: The static prefix.
    """
    probes = (Opening("GET", f"{before}{path}") for before in {"", prefix} for path in _PROBES)
    ours = (Opening(method, f"{prefix}{path}") for method, path in _PAGES)
    return Openings((*probes, *ours, *_mlflows(fastapi_app, flask_app)))


def _mlflows(fastapi_app: FastAPI, flask_app: Flask) -> Iterable[Opening]:
    for route, path in paths_of(fastapi_app, flask_app):
        need = ROUTES.get(route)
        if need is not None and need.right is Right.OPEN:
            # A path with a parameter in it: what is under the part before it.
            yield Opening(route.method, re.split("[<{]", path)[0])
