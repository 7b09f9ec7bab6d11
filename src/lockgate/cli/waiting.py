"""Waiting for a server that is still hashing a version's files, with the progress on stderr."""

import time
from collections.abc import Callable
from typing import Any

import click

from lockgate.cli.output import connect
from lockgate.errors import Conflict

_POLL_SECONDS = 1.0
#: Files that take longer are not being hashed: the server has none that does it, or can't read them.
_LONGEST_SECONDS = 3_600


def call_when_hashed(call: Callable[[], Any]) -> Any:
    """Call until the server no longer asks to come back when it has hashed the files.

    Raises:
        Conflict: if they are not hashed within an hour.
        LockgateError: any other refusal, as it is.
    """
    said, until = "", time.monotonic() + _LONGEST_SECONDS
    while True:
        try:
            return call()
        except Conflict as error:
            if not error.details.get("retry"):
                raise
            _give_up_after(until, error.message)
            said = _say_once(error.message, said)
            time.sleep(_POLL_SECONDS)


def wait_until_hashed(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request as it is when the files of its version are hashed.

    Raises:
        Conflict: if they are not hashed within an hour.
    """
    said, until = "", time.monotonic() + _LONGEST_SECONDS
    while request["hashing"]:
        _give_up_after(until, request["hashing"])
        said = _say_once(f"Hashing the files: {request['hashing']}", said)
        time.sleep(_POLL_SECONDS)
        request = connect().call("GET", f"/requests/{request['id']}")
    return request


def _give_up_after(until: float, message: str) -> None:
    if time.monotonic() >= until:
        raise Conflict(
            f"The version's files were not hashed within {_LONGEST_SECONDS // 60} minutes. {message} Look at the "
            "server's log for what keeps it, then run this again."
        )


def _say_once(message: str, before: str) -> str:
    if message != before:
        click.echo(message, err=True)
    return message
