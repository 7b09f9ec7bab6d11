"""How commands speak: JSON if asked for, words and tables else; refusals on stderr with exit code 1."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockgate.client.connection import Connection
from lockgate.errors import LockgateError

P = ParamSpec("P")
R = TypeVar("R")

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

#: Lines of tables that go into a file or a pipe are not folded.
_PIPE_WIDTH = 400

_COLOURS = {
    **dict.fromkeys(("passed", "approved", "promoted", "success", "approve", "done", "applied"), "green"),
    **dict.fromkeys(("failed", "error", "rejected", "failure", "reject", "refused"), "red"),
    **dict.fromkeys(("pending", "open", "stale"), "yellow"),
}


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--json`, and end it with exit code 1 and the reason on stderr if the server refuses."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except LockgateError as error:
            if kwargs.get("as_json"):
                show_json({"error_code": error.code, "message": error.message, "details": dict(error.details)})
            fail(error)

    return told


def fail(error: LockgateError) -> NoReturn:
    """Say what is wrong and end."""
    unmet = error.details.get("unmet")
    if isinstance(unmet, list) and "request_id" in error.details:
        _err.print(Text("Refused:", style="red"))
        for sentence in unmet:
            _err.print(Text(f"  - {sentence}"))
        if error.details.get("url"):
            _err.print(Text(f"Request {error.details.get('request_id')}: {error.details['url']}"))
    elif "change_id" in error.details and isinstance(error.details.get("weakens"), list):
        _refuse_policy(error.details)
    else:
        _err.print(Text(error.message, style="red"))
    sys.exit(1)


def _refuse_policy(details: Mapping[str, Any]) -> None:
    _err.print(Text("Refused: this policy is weaker than the one in force.", style="red"))
    for sentence in details["weakens"]:
        _err.print(Text(f"  - {sentence}"))
    _err.print(Text(" ".join([f"It waits as policy change {details['change_id']}.", *details.get("missing", [])])))
    _err.print(Text(f"To approve it: lockgate policy approve {details['change_id']}"))


def connect() -> Connection:
    """Connect to the server that the environment names."""
    return Connection.from_environment()


def show_json(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Print a sentence."""
    _out.print(Text(text))


def say_all(shown: Iterable[tuple[str, object]]) -> None:
    """Print things with their names, a line each, but those that there aren't."""
    for name, value in shown:
        if value not in (None, ""):
            say(f"{name}: {value}")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print a table, or a sentence if there is nothing to show."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(coloured(cell) for cell in row))
    if grid.row_count:
        if sys.stdout.isatty():
            Console(highlight=False).print(grid)
            return
        plain = Console(highlight=False, width=_PIPE_WIDTH)
        with plain.capture() as printed:
            plain.print(grid)
        click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
    else:
        say(empty)


def coloured(value: object) -> Text:
    """Return a word in its colour, if it has one."""
    text = "" if value is None else str(value)
    return Text(text, style=_COLOURS.get(text, ""))


_SAID = {"approve": "approved", "reject": "rejected", "comment": "commented"}


def said(verdict: str) -> str:
    """Return what a reviewer did: `approved`."""
    return _SAID.get(verdict, verdict)


def at(time: str | None) -> str:
    """Return a time as people read it: `2026-05-12 14:00:00Z`."""
    return f"{time[:10]} {time[11:19]}Z" if time else ""
