"""The condition that a name may be seen, for a statement to have."""

from sqlalchemy import ColumnElement, and_, false, or_
from sqlalchemy.orm import Session

from lockgate.access.patterns import as_glob, as_regex
from lockgate.access.sight import Sight


def is_seen(session: Session, name: ColumnElement[str], sight: Sight | None) -> list[ColumnElement[bool]]:
    """Return the conditions that a name may be seen; none for somebody who sees everything."""
    return [] if sight is None else [matches_sight(session.get_bind().dialect.name, name, sight)]


def matches_sight(dialect: str, name: ColumnElement[str], sight: Sight) -> ColumnElement[bool]:
    """Return the condition that a name may be seen, in the words of a database."""
    return and_(*(or_(false(), *(_matches(dialect, name, one) for one in any_of)) for any_of in sight.all_of))


def _matches(dialect: str, name: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    if dialect == "postgresql":
        regex = as_regex(pattern)
        return false() if regex is None else name.regexp_match(regex)
    glob = as_glob(pattern)
    return false() if glob is None else name.op("GLOB", is_comparison=True)(glob)
