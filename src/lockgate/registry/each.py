"""What tables say of each of many things under some keys, so much of each and no more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, FromClause, Select, case, func, select
from sqlalchemy.orm import Session

#: How much is told of one thing at most, and how many characters of a text.
MAX_EACH = 100
MAX_TEXT = 500


@dataclass(frozen=True)
class Keys:
    """Keys that are asked for.

    Attributes:
        named: These; they come before others.
        others: Whether all others are asked for too.
    """

    named: frozenset[str] = frozenset()
    others: bool = False


NO_KEYS = Keys()
ALL_KEYS = Keys(others=True)


@dataclass
class Told:
    """What is said of one thing, in the order of the keys."""

    pairs: list[tuple[str, Any]]
    #: Whether there is more.
    cut: bool = False


ToldOfEach: TypeAlias = dict[tuple[Any, ...], Told]


def shortened(text: ColumnElement[str]) -> ColumnElement[str]:
    """Return a text as far as it may be told, with one character more if there is more."""
    return func.substr(text, 1, MAX_TEXT + 1)


def read_each(
    session: Session,
    source: FromClause,
    of: tuple[ColumnElement[Any], ...],
    key: ColumnElement[str],
    value: ColumnElement[Any],
    keys: Keys,
    conditions: Iterable[ColumnElement[bool]],
) -> ToldOfEach:
    """Return what a table says of each thing, by thing.

    Args:
        session: Reads.
        source: The table, or a join.
        of: The columns that say what it is about.
        key: The column of keys.
        value: The column of values.
        keys: Which keys.
        conditions: What rows to look at.
    """
    if keys == NO_KEYS:
        return {}
    is_named = key.in_(sorted(keys.named))
    order = (case((is_named, 0), else_=1), key, value) if keys.others and keys.named else (key, value)
    rank = func.row_number().over(partition_by=of, order_by=order)
    ranked = (
        select(*(column.label(f"of_{n}") for n, column in enumerate(of)), key.label("key"), value.label("value"))
        .add_columns(rank.label("rank"))
        .select_from(source)
        .where(*conditions, *([] if keys.others else [is_named]))
        .subquery()
    )
    bounded: Select[Any] = select(ranked).where(ranked.c.rank <= MAX_EACH + 1).order_by(ranked.c.rank)
    found: ToldOfEach = {}
    for *about, name, said, number in session.execute(bounded):
        told = found.setdefault(tuple(about), Told([]))
        if number > MAX_EACH:
            told.cut = True
        else:
            told.pairs.append((name, _as_told(said)))
    return found


def _as_told(value: Any) -> Any:
    return f"{value[:MAX_TEXT]}…" if isinstance(value, str) and len(value) > MAX_TEXT else value
