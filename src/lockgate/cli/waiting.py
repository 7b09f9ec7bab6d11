"""Waiting for a server that is still hashing a version's files, with the progress on stderr."""

import time
from collections.abc import Callable
from typing import Any

import click

from lockgate.cli.output import connect
from lockgate.errors import Conflict

_POLL_SECONDS = 1.0


def call_when_hashed(call: Callable[[], Any]) -> Any:
    """Call until the server no longer asks to come back when it has hashed the files.

    Raises:
        LockgateError: any other refusal, as it is.
    """
    said = ""
    while True:
        try:
            return call()
        except Conflict as error:
            if not error.details.get("retry"):
                raise
            said = _say_once(error.message, said)
            time.sleep(_POLL_SECONDS)


def wait_until_hashed(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request as it is when the files of its version are hashed."""
    said = ""
    while request["hashing"]:
        said = _say_once(f"Hashing the files: {request['hashing']}", said)
        time.sleep(_POLL_SECONDS)
        request = connect().call("GET", f"/requests/{request['id']}")
    return request


def _say_once(message: str, before: str) -> str:
    if message != before:
        click.echo(message, err=True)
    return message
