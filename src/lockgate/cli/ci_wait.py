"""Waiting until a promotion request is decided."""

import time
from enum import StrEnum
from typing import Any

from lockgate.cli.duration import spoken
from lockgate.cli.patience import pauses, until_answered
from lockgate.cli.progress import Progress, one_line
from lockgate.client.connection import Connection
from lockgate.errors import LockgateError, NotFound, Refused

#: A server that never answered may be no server: who mistyped its address should not wait for hours to hear it.
_FIRST_ANSWER_SECONDS = 60
_PAGE = 200


class Goal(StrEnum):
    """What is waited for."""

    APPROVED = "approved"
    PROMOTED = "promoted"


_REACHED = {Goal.APPROVED: ("approved", "promoted"), Goal.PROMOTED: ("promoted",)}
_GOES_ON = ("open", "approved")


class TimedOut(LockgateError):
    """Nobody has decided in time: ask those who can, then wait again."""


def is_reached(request: dict[str, Any], goal: Goal) -> bool:
    """Say whether a request has come to where it is waited for.

    Args:
        request: As the server shows it.
        goal: What is waited for.

    Raises:
        Refused: if it has ended otherwise, with the reason.
    """
    if request["state"] in _REACHED[goal]:
        return True
    if request["state"] in _GOES_ON:
        return False
    because = one_line(request["outcome"]).rstrip(".")
    raise Refused(f"Promotion request {request['id']} is {request['state']}{because and f': {because}'}.")


def newest_request(server: Connection, model: str, target: str, version: str | None) -> int:
    """Return the number of the newest request for a target of a model.

    Args:
        server: The server.
        model: The model.
        target: The target.
        version: Only for this version.

    Raises:
        NotFound: if nobody has asked.
    """
    token: str | None = None
    while True:
        page = server.call("GET", "/requests", model=model, target=target, max_results=_PAGE, page_token=token)
        for request in page["requests"]:
            if version in (None, request["version"]):
                return int(request["id"])
        token = page["next_page_token"]
        if token is None:
            of = f"version {version} of '{model}'" if version else f"'{model}'"
            raise NotFound(
                f"Nobody has asked that {target} move to {of}. Ask: lockgate ci request {model} "
                f"{version or 'VERSION'} {target}"
            )


def wait(server: Connection, number: int, goal: Goal, timeout: int) -> dict[str, Any]:
    """Wait until a request is decided, and return it.

    Args:
        server: The server; it may be restarted meanwhile.
        number: The request's number.
        goal: What is waited for.
        timeout: For how long, in seconds.

    Raises:
        Refused: if it has ended otherwise, with the reason.
        TimedOut: if nobody has decided in time.
        Unreachable: if the server has not answered in the first place, or not any more at the end.
    """
    progress, began = Progress(), time.monotonic()
    patience = min(began + _FIRST_ANSWER_SECONDS, began + timeout)
    for pause in pauses():
        request = until_answered(lambda: server.call("GET", f"/requests/{number}"), patience, progress)
        patience = began + timeout
        progress.tell(_where(request), *request["unmet"])
        if is_reached(request, goal):
            return dict(request)
        left = began + timeout - time.monotonic()
        if left <= 0:
            raise TimedOut(_too_late(request, goal, timeout))
        time.sleep(min(pause, left))
    raise AssertionError("pauses have no end")


def _where(request: dict[str, Any]) -> str:
    asked = f"{request['model']} version {request['version']} -> {request['target']}"
    return f"Request {request['id']}: {asked}: {request['state']} ({request['url']})"


def _too_late(request: dict[str, Any], goal: Goal, timeout: int) -> str:
    missing = f" Still missing: {one_line(' '.join(request['unmet']))}" if request["unmet"] else ""
    return (
        f"Promotion request {request['id']} was not {goal} within {spoken(timeout)}; it is {request['state']}, and "
        f"stays so: run this again to wait on.{missing} {request['url']}"
    )
