"""How large a filter of a search may be.

Every clause of a filter is a join or a subquery. SQLite takes 64 tables at once, PostgreSQL plans some thousands for
minutes while others wait; and MLflow's parser takes a time that grows with the square of what it reads.
"""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from sqlparse.exceptions import SQLParseError

MAX_LENGTH = 16_000
MAX_CLAUSES = 50
MAX_DEPTH = 20

# The second half is for a quote that nothing ends: else it would be looked for again from every quote.
_QUOTED = re.compile(r"'[^']*(?:'|$)|\"[^\"]*(?:\"|$)|`[^`]*(?:`|$)")
_AND = re.compile(r"\b(?:and|or)\b", re.IGNORECASE)

S = TypeVar("S", bound=type)


def why_too_large(filter_string: str) -> str | None:
    """Say why a filter can't be searched by; None if it can."""
    if len(filter_string) > MAX_LENGTH:
        return f"The filter has {len(filter_string)} characters; {MAX_LENGTH} are taken at most."
    bare = _QUOTED.sub("''", filter_string)
    clauses = len(_AND.findall(bare)) + 1
    if clauses > MAX_CLAUSES:
        return f"The filter has {clauses} clauses; {MAX_CLAUSES} are taken at most."
    if _depth(bare) > MAX_DEPTH:
        return f"The filter's parentheses are nested more than {MAX_DEPTH} deep."
    return None


def _depth(bare: str) -> int:
    depth = deepest = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


def bounded_searches(store: S) -> S:
    """Make each method of a store that takes a filter refuse one that is too large, whatever route it came by."""
    for name, method in inspect.getmembers(store, inspect.isfunction):
        filters = [each for each in inspect.signature(method).parameters if each.startswith("filter_string")]
        if filters:
            setattr(store, name, _bounded(store, name, method, filters))
    return store


def _bounded(store: type, name: str, method: Callable[..., Any], filters: list[str]) -> Callable[..., Any]:
    signature, is_own = inspect.signature(method), name in vars(store)

    @functools.wraps(method)
    def search(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **kwargs).arguments
        for filter_string in map(given.get, filters):
            why = why_too_large(filter_string) if isinstance(filter_string, str) else None
            if why is not None:
                raise MlflowException.invalid_parameter_value(f"{why} Search for less at once.")
        # What comes next depends on the object: MLflow's stores for workspaces come between.
        then = functools.partial(method, self) if is_own else getattr(super(store, self), name)
        try:
            return then(*args, **kwargs)
        except SQLParseError as error:
            raise MlflowException.invalid_parameter_value(
                "The filter is too complicated to be read. Search for less at once."
            ) from error

    return search
