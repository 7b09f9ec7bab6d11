"""How the demo speaks: acts with titles, who does what, and what came back."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

#: Everybody has a colour of their own.
COLOURS = {
    "junior": "yellow",
    "dana": "cyan",
    "sonia": "magenta",
    "ci": "blue",
    "release-bot": "green",
    "admin": "bright_black",
}
_NAME_WIDTH = 13
_WIDTH = 104
_MARKS = {"passed": ("✓", "green"), "pending": ("…", "yellow")}

if not sys.stdout.isatty():
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
# Its file is named, so that it goes on speaking while what others print is caught.
_console = Console(file=sys.stdout, highlight=False)
_console.width = min(_console.width, _WIDTH) if _console.is_terminal else _WIDTH


def act(title: str) -> None:
    """Begin an act."""
    _console.print()
    _console.print(Rule(Text(title, style="bold"), align="left", style="dim"))


def say(text: str) -> None:
    """Tell what is going on."""
    _console.print()
    _console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def does(who: str, what: str) -> None:
    """Show a command or a call, and whose it is."""
    _console.print()
    _line(Text(what, style="bold"), who=who)


def waiting(text: str) -> AbstractContextManager[object]:
    """Show, on a terminal, that something takes its time."""
    return _console.status(Text(text, style="dim"))


def answers(text: str) -> None:
    """Show what came back from a step that was done."""
    _line(Text(text), mark=("✓", "green"))


def refused(headline: str, reasons: Iterable[str]) -> None:
    """Show what came back from a step that was refused."""
    _line(Text(headline, style="red"), mark=("✗", "red"))
    for reason in reasons:
        _line(Text(reason), mark=("·", "red"), depth=1)


def gates(found: Iterable[dict[str, str]]) -> None:
    """Show what gates came to."""
    for gate in found:
        _line(Text(f"{gate['name']}: {gate['explanation']}"), mark=_MARKS.get(gate["outcome"], ("✗", "red")), depth=1)


def missing(sentences: Iterable[str]) -> None:
    """Show what a request still needs."""
    for sentence in sentences:
        _line(Text(f"still missing: {sentence}"), mark=("…", "yellow"), depth=1)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Show a table; names have their colours, and only the last column may be folded."""
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        grid.add_column(heading, no_wrap=True)
    grid.columns[-1].no_wrap = False
    for row in rows:
        grid.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    _console.print()
    _console.print(Padding(grid, (0, 0, 0, 2), expand=False))


def plain(text: str) -> None:
    """Show lines to copy or to search in: they are never folded."""
    _console.print(Text(text), soft_wrap=True)


def failed(text: str) -> None:
    """Tell what went wrong."""
    _console.print()
    _console.print(Text(text, style="red"), soft_wrap=True)


def _line(text: Text, who: str = "", mark: tuple[str, str] | None = None, depth: int = 0) -> None:
    grid = Table.grid(padding=0)
    grid.add_column(width=_NAME_WIDTH + 2 * depth)
    name = Text(who, style=f"bold {COLOURS.get(who, '')}")
    if mark is None:
        grid.add_row(name, text)
    else:
        grid.add_column(width=2)
        grid.add_row(name, Text(*mark), text)
    _console.print(Padding(grid, (0, 0, 0, 2), expand=False))
