"""What was measured, as Markdown; and where it stands in the documentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.goals import Goal, Growth
from bench.wrk import Borne

DOCUMENT = Path(__file__).parents[1] / "docs/performance.md"
_BEGIN, _END = "<!-- measured -->", "<!-- end of what was measured -->"


@dataclass(frozen=True)
class Cost:
    """How a server bore a load, and what a call cost: milliseconds of a processor, of server and database."""

    borne: Borne
    processor: float


@dataclass(frozen=True)
class Row:
    """A work beside what stock MLflow makes of it."""

    name: str
    stock: Cost
    lockgate: Cost
    goal: Goal | None = None
    #: Where the answers differ, if they do.
    differs: str | None = None

    @property
    def verdict(self) -> str:
        """Say whether the goal is reached, and what is wrong besides."""
        failed = [
            f"{cost.borne.failed:,} of {cost.borne.calls:,} failed{where}"
            for cost, where in ((self.stock, " at stock"), (self.lockgate, ""))
            if cost.borne.failed
        ]
        answers = ["the answers differ"] if self.differs else []
        reached = self.goal is not None and self.goal.holds(self.stock.borne, self.lockgate.borne) and not self.differs
        return ", ".join((*([] if self.goal is None else ["yes" if reached else "no"]), *failed, *answers))


@dataclass(frozen=True)
class Grown:
    """A call where there is little, beside the same one where there is much."""

    growth: Growth
    little: Cost
    much: Cost


def line(row: Row) -> str:
    """Return the line of a work in its table."""
    return _line(_cells(row))


def rows(measured: Sequence[Row]) -> str:
    """Return a table of works."""
    heads = (
        "",
        "calls a second",
        "stock",
        "ratio",
        "p50 (ms)",
        "stock",
        "p99 (ms)",
        "stock",
        "processor (ms)",
        "stock",
    )
    return _table((*heads, "goal", "reached"), [_cells(row) for row in measured])


def grown(measured: Sequence[Grown]) -> str:
    """Return a table of how times grow."""
    cells = []
    for one in measured:
        times = one.growth.measured(one.little.borne, one.much.borne)
        reached = "yes" if one.growth.holds(one.little.borne, one.much.borne) else "no"
        cells.append((one.growth.name, f"{times:.2f} ×", f"{one.growth.at_most:g} ×", reached))
    return _table(("", "time", "at most", "reached"), cells)


def put(text: str, into: Path = DOCUMENT) -> None:
    """Write what was measured into the documentation, in place of what was there.

    Raises:
        ValueError: if there is no place for it.
    """
    into.write_text(replaced(into.read_text(), text))


def replaced(document: str, text: str) -> str:
    """Return a document with a text between its two marks.

    Raises:
        ValueError: if it doesn't have them, once each and in order.
    """
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end) or _BEGIN in rest or _END in after:
        raise ValueError(f"The document needs {_BEGIN} and, after it, {_END}, once each.")
    return f"{before}{_BEGIN}\n{text.strip()}\n{_END}{after}"


def _cells(row: Row) -> Sequence[str]:
    mine, stock = row.lockgate.borne, row.stock.borne
    return (
        row.name,
        *(f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}" for rate in (mine.rate, stock.rate)),
        f"{mine.rate / stock.rate:.1f} ×" if stock.rate else "",
        *(f"{time:.2f}" for time in (mine.p50, stock.p50, mine.p99, stock.p99)),
        *(f"{cost.processor:.2f}" for cost in (row.lockgate, row.stock)),
        str(row.goal or ""),
        row.verdict,
    )


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return "\n".join(map(_line, (heads, ["---"] * len(heads), *cells)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
