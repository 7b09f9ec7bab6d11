"""How large a search may be.

Every clause of a filter is a join or a subquery, and so is most of what is ordered by. SQLite takes 64 tables at once,
PostgreSQL plans some thousands for minutes while others wait; and MLflow's parser takes a time that grows with the
square of what it reads.
"""

import functools
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from sqlparse.exceptions import SQLParseError

from lockgate.registry.wrapping import what_comes_next

_logger = logging.getLogger("lockgate.registry")

MAX_LENGTH = 16_000
MAX_CLAUSES = 50
MAX_DEPTH = 20
#: Each metric, parameter or tag to order by is a join as well.
MAX_ORDERS = 20
#: The arguments of MLflow's stores that hold filters.
_FILTERS = frozenset({"filter_string", "filter_string1", "filter_string2", "base_filter", "filters"})

# The second half is for a quote that nothing ends: else it would be looked for again from every quote.
_QUOTED = re.compile(r"'[^']*(?:'|$)|\"[^\"]*(?:\"|$)|`[^`]*(?:`|$)")
_RLIKE = re.compile(r"\brlike\b", re.IGNORECASE)
_NO_EXPRESSIONS = (
    "On SQLite searches have no RLIKE: a regular expression may take hours there, in which nobody else is served. Use "
    "LIKE or ILIKE; on PostgreSQL there is RLIKE."
)
_AND = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)

S = TypeVar("S", bound=type)


def why_too_large(filter_string: str) -> str | None:
    """Say why a filter can't be searched by; None if it can."""
    if len(filter_string) > MAX_LENGTH:
        return f"The filter has {len(filter_string)} characters; {MAX_LENGTH} are taken at most."
    bare = _QUOTED.sub("''", filter_string)
    clauses = _clauses(bare)
    if clauses > MAX_CLAUSES:
        return f"The filter has {clauses} clauses; {MAX_CLAUSES} are taken at most."
    if _depth(bare) > MAX_DEPTH:
        return f"The filter's parentheses are nested more than {MAX_DEPTH} deep."
    return None


def _clauses(bare: str) -> int:
    return len(_AND.findall(bare)) + 1 if bare.strip() else 0


def _depth(bare: str) -> int:
    depth = deepest = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


def has_expression(filter_string: str) -> bool:
    """Say whether a filter has a regular expression in it."""
    return _RLIKE.search(_QUOTED.sub("''", filter_string)) is not None


def why_too_much(filters: Iterable[str], ordered_by: int) -> str | None:
    """Say why a search can't be carried out; None if it can.

    Args:
        filters: Its filters, each within its own bounds.
        ordered_by: By how many things it is ordered.
    """
    if ordered_by > MAX_ORDERS:
        return f"The search is ordered by {ordered_by} things; {MAX_ORDERS} are taken at most."
    clauses = sum(_clauses(_QUOTED.sub("''", one)) for one in filters) + ordered_by
    if clauses > MAX_CLAUSES:
        return f"The search has {clauses} clauses, with what it is ordered by; {MAX_CLAUSES} are taken at most."
    return None


def bounded_searches(store: S) -> S:
    """Make each method of a store that takes a filter refuse a search that is too large, whatever route it came by."""
    for name, method in inspect.getmembers(store, inspect.isfunction):
        taken = inspect.signature(method).parameters.keys()
        if not name.startswith("_") and taken & _FILTERS:
            setattr(store, name, _bounded(store, name, method))
    return store


def _bounded(store: type[Any], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    signature, then = inspect.signature(method), what_comes_next(store, name)

    @functools.wraps(method)
    def search(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **kwargs).arguments
        filters = [one for argument in _FILTERS for one in _texts(given.get(argument))]
        why = next(filter(None, map(why_too_large, filters)), None)
        if self.engine.dialect.name == "sqlite" and any(map(has_expression, filters)):
            raise MlflowException.invalid_parameter_value(_NO_EXPRESSIONS)
        why = why or why_too_much(filters, len(given.get("order_by") or ()))
        if why is not None:
            raise MlflowException.invalid_parameter_value(f"{why} Search for less at once.")
        with _told_what_is_wrong(name):
            return then(self)(*args, **kwargs)

    return search


#: What MLflow's parsers and stores stumble over, where a filter or an order is none that they know.
_STUMBLED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


@contextmanager
def _told_what_is_wrong(name: str) -> Iterator[None]:
    """Refuse a search that MLflow can't read, where MLflow would say that the server is broken."""
    try:
        yield
    except SQLParseError as error:
        raise MlflowException.invalid_parameter_value(
            "The filter is too complicated to be read. Search for less at once."
        ) from error
    except _STUMBLED as error:
        raise _unreadable(name, error) from error
    except MlflowException as error:
        # What is raised within a session of its store MLflow has wrapped, as a fault of the server.
        if isinstance(error.__cause__, _STUMBLED) and error.get_http_status_code() >= 500:
            raise _unreadable(name, error.__cause__) from error
        raise


def _unreadable(name: str, error: BaseException) -> MlflowException:
    _logger.warning("MLflow could not carry out %s", name, exc_info=error)
    return MlflowException.invalid_parameter_value(
        "The search can't be carried out as it is written: check the filter and what it is ordered by."
    )


def _texts(value: Any) -> Sequence[str]:
    """Return the filters that an argument holds: one, a list of them, or none."""
    if isinstance(value, str):
        return (value,)
    return [one for one in value or () if isinstance(one, str)]
