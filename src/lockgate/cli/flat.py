"""Versions as rows of cells, for tables that other programs read: a column for each key that any of them has."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Cell = str | float | None
Row = Mapping[str, Cell]

#: Kinds of facts with keys, and what their columns are called before the dot.
_KEYED = {"tags": "tag", "metrics": "metric", "params": "run_param", "run_tags": "run_tag"}


def is_number(column: str) -> bool:
    """Say whether a column's cells are numbers; those of all others are texts."""
    return column.startswith("metric.")


def rows_of(versions: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Row]]:
    """Return the columns and the rows of versions.

    Args:
        versions: As the server tells them.
    """
    rows: list[Row] = [dict(_cells(version)) for version in versions]
    fixed = [name for name, _ in _fixed(_EMPTY)]
    keyed = {name for row in rows for name in row} - set(fixed)
    order = list(_KEYED.values())
    return [*fixed, *sorted(keyed, key=lambda name: (order.index(name.partition(".")[0]), name))], rows


def _cells(version: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    yield from _fixed(version)
    for kind, called in _KEYED.items():
        for key, value in version[kind].items():
            yield f"{called}.{key}", math.nan if value is None else value


def _fixed(version: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    for name in ("model", "version", "stage"):
        yield name, version[name]
    yield "aliases", " ".join(version["aliases"])
    for name in ("created", "run_id", "source", "description"):
        yield name, version[name]
    yield "datasets", " ".join(f"{one['name']}@{one['digest']}" for one in version["datasets"])
    yield "holds", " ".join(held["target"] for held in version["holds"])
    yield "requests", " ".join(str(request["id"]) for request in version["requests"])


_EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(("model", "version", "stage", "created", "run_id", "source", "description"), ""),
    **dict.fromkeys(("aliases", "datasets", "holds", "requests"), ()),
}
