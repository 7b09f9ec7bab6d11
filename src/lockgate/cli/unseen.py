"""What is secret is read from a person or stdin, and not taken from the command line."""

import sys
from collections.abc import Sequence

import click

from lockgate.client.connection import Connection
from lockgate.errors import BadInput

#: In place of a value that is to be read.
READ = "-"


def refuse_secrets(server: Connection, dialect: str, settings: Sequence[tuple[str, str]]) -> None:
    """Refuse what is secret on the command line, where other users of the machine read it, and shells keep it.

    Args:
        server: Knows what is secret in a dialect.
        dialect: The dialect.
        settings: By name, as they stand on the command line.

    Raises:
        BadInput: naming a secret setting, and saying how else to give it.
    """
    plain = {name for name, value in settings if value != READ}
    if not plain:
        return
    spoken = {one["name"]: one["secret_settings"] for one in server.call("GET", "/dialects")["dialects"]}
    for name in sorted(name for name in plain if any(_is_called(name, one) for one in spoken.get(dialect, ()))):
        raise BadInput(
            f"{name} is secret and doesn't belong on the command line, where others can read it. "
            f"Write `--setting {name}=-` and give it when you are asked, or on stdin. Consider it known, and make "
            "another."
        )


def _is_called(name: str, secret: str) -> bool:
    """Say whether a setting is one of those that the server calls secret: it may name several, `variables[NAME]`."""
    several, is_several, _ = secret.partition("[NAME]")
    return name.startswith(f"{several}[") if is_several else name == secret


def given(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return settings, with those read that are to be.

    Raises:
        BadInput: if stdin has no line for one.
    """
    return {name: read(name) if value == READ else value for name, value in settings}


def read(name: str) -> str:
    """Read something secret: unseen from a person, else the next line of stdin.

    Args:
        name: What to ask a person for.

    Raises:
        BadInput: if stdin has no such line.
    """
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise BadInput(f"There is no line for {name} on stdin.")
    return line
