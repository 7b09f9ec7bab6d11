"""Versions as JSON, CSV or Parquet, on stdout or into a file."""

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from lockgate.cli.flat import Cell, is_number, rows_of
from lockgate.errors import BadInput

P = ParamSpec("P")
R = TypeVar("R")

#: Spreadsheets take a cell that begins with one of these for a formula, and run it (OWASP, "CSV Injection").
_BEGINS_A_FORMULA = tuple("=+-@\t\r\n＝＋－＠")

_OPTIONS = (
    click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", "csv", "parquet"]),
        default="table",
        show_default=True,
        help="How to print it.",
    ),
    click.option(
        "--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="A file to write it to."
    ),
)


def export_options(function: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--format` and `--out`."""
    return reduce(lambda given, option: option(given), reversed(_OPTIONS), function)


def form_asked_for(form: str, as_json: bool, out: Path | None) -> str:
    """Return the form that a command was asked for.

    Raises:
        click.UsageError: if it and the file don't go together.
    """
    form = "json" if as_json else form
    if form == "parquet" and out is None:
        raise click.UsageError("Parquet is no text: say which file to write, with --out FILE.")
    if form == "table" and out is not None:
        raise click.UsageError("A table is for people to read: with --out FILE, name a --format too.")
    return form


def export(whole: Mapping[str, Any], form: str, out: Path | None) -> None:
    """Print something with versions in it, or write it to a file.

    Args:
        whole: As the server tells it; `versions` is what CSV and Parquet hold.
        form: `json`, `csv` or `parquet`.
        out: The file; None is stdout.

    Raises:
        BadInput: if the file can't be written, or for Parquet a package is missing.
    """
    written = _WRITTEN[form](whole)
    if out is None:
        sys.stdout.buffer.write(written)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(written)
    except OSError as error:
        raise BadInput(f"{out} can't be written: {error.strerror}.") from error


def _as_json(whole: Mapping[str, Any]) -> bytes:
    return (json.dumps(whole, indent=2, ensure_ascii=False) + "\n").encode()


def _as_csv(whole: Mapping[str, Any]) -> bytes:
    columns, rows = rows_of(whole["versions"])
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([harmless(column) for column in columns])
    writer.writerows([harmless(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode()


def harmless(cell: Cell) -> Cell:
    """Return a cell with a quote before it if a spreadsheet would take it for a formula; numbers stay numbers."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGINS_A_FORMULA) else cell


def _as_parquet(whole: Mapping[str, Any]) -> bytes:
    try:
        # A large package, for who wants it.
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise BadInput(
            "Parquet needs the package pyarrow, which is not installed here: `pip install pyarrow`, or ask for "
            "--format csv or json."
        ) from None
    columns, rows = rows_of(whole["versions"])
    kinds = {name: pyarrow.float64() if is_number(name) else pyarrow.string() for name in columns}
    schema = pyarrow.schema({**kinds, "created": pyarrow.timestamp("ms", tz="UTC")})
    values: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in columns}
    values["created"] = [datetime.fromisoformat(str(row["created"])) for row in rows]
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(values, schema=schema), sink)
    return sink.getvalue()


_WRITTEN: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    "json": _as_json,
    "csv": _as_csv,
    "parquet": _as_parquet,
}


def all_pages(page: Callable[[str | None], dict[str, Any]]) -> dict[str, Any]:
    """Return a list with the versions of all its pages.

    Args:
        page: Asks for the page of a token; None is the first one.
    """
    whole = page(None)
    token = whole.pop("next_page_token")
    while token is not None:
        more = page(token)
        whole["versions"] += more["versions"]
        token = more["next_page_token"]
    return whole


def numbers(metrics: Mapping[str, float | None]) -> str:
    """Return metrics as a table has them: `val_auc=0.912`."""
    return " ".join(f"{name}={_short(number)}" for name, number in sorted(metrics.items()))


def _short(number: float | None) -> str:
    return "NaN" if number is None else format(number, ".6g")
