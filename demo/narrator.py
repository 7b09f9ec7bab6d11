"""How the demo speaks: acts with titles, who does what, and what came back."""

from collections.abc import Iterable

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
    "release-bot": "bright_green",
    "admin": "white",
}
_NAME_WIDTH = 13

_console = Console(highlight=False)
_console.width = min(_console.width, 110)


def act(title: str) -> None:
    """Begin an act."""
    _console.print()
    _console.print(Rule(Text(title, style="bold"), align="left", style="dim"))


def say(text: str) -> None:
    """Tell what is going on."""
    _console.print()
    _console.print(Padding(Text(text), (0, 0, 0, 2)))


def does(who: str, what: str) -> None:
    """Show a command or a call, and whose it is."""
    _console.print()
    _line(Text(who, style=f"bold {COLOURS[who]}"), Text(what, style="bold"))


def answers(text: str) -> None:
    """Show what came back from a step that was done."""
    _line("", Text("✓ ", style="green") + Text(text))


def refused(headline: str, reasons: Iterable[str]) -> None:
    """Show what came back from a step that was refused."""
    _line("", Text("✗ ", style="red") + Text(headline, style="red"))
    for reason in reasons:
        _line("", Text(f"· {reason}"), indent=2)


def gates(found: Iterable[dict[str, str]]) -> None:
    """Show what gates came to."""
    marks = {"passed": ("✓", "green"), "pending": ("…", "yellow")}
    for gate in found:
        mark, colour = marks.get(gate["outcome"], ("✗", "red"))
        _line("", Text(f"{mark} ", style=colour) + Text(f"{gate['name']}: {gate['explanation']}"), indent=2)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Show a table."""
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    _console.print()
    _console.print(Padding(grid, (0, 0, 0, 2)))


def plain(text: str) -> None:
    """Show lines to copy: they are never folded."""
    _console.print(Text(text), soft_wrap=True)


def failed(text: str) -> None:
    """Tell what went wrong."""
    _console.print()
    _console.print(Text(text, style="red"), soft_wrap=True)


def _line(left: str | Text, right: Text, indent: int = 0) -> None:
    grid = Table.grid(padding=0)
    grid.add_column(width=_NAME_WIDTH)
    grid.add_column(overflow="fold")
    grid.add_row(left, Padding(right, (0, 0, 0, indent)))
    _console.print(Padding(grid, (0, 0, 0, 2)))
