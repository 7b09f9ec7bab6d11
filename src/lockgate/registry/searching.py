"""What MLflow's searches are given and give back, where its own store would stumble or say too much."""

import base64
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import SqlExperiment
from mlflow.utils.search_utils import SearchUtils
from sqlalchemy.orm import Session

from lockgate.registry.visible import current_sight
from lockgate.registry.wrapping import what_comes_next

#: More than there is of anything, and what a database takes as an offset.
_MAX_OFFSET = 2**31
_MAX_ID = 2**31
_MAX_TIME = 2**63

_Store = TypeVar("_Store", bound=type[Any])


def checking_page_tokens(store: _Store) -> _Store:
    """Have every method of a store that takes a page token refuse one that no search gave."""
    for name, method in inspect.getmembers(store, inspect.isfunction):
        if not name.startswith("_") and "page_token" in inspect.signature(method).parameters:
            setattr(store, name, _checking(store, name, method))
    return store


def _checking(store: type[Any], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    signature, then = inspect.signature(method), what_comes_next(store, name)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_page_token(signature.bind(self, *args, **kwargs).arguments.get("page_token"))
        return then(self)(*args, **kwargs)

    return checked


def check_page_token(token: str | None) -> None:
    """Refuse a page token that no search gave: MLflow's own store breaks on some of them.

    Raises:
        MlflowException: saying what to do.
    """
    if not token:
        return
    try:
        # What MLflow refuses, MLflow says; what it takes can still be more than it or a database can bear.
        offset = SearchUtils.parse_start_offset_from_page_token(token)
        json.loads(base64.b64decode(token).decode())  # as the search of logged models reads it
    except (AttributeError, TypeError, ValueError, OverflowError, RecursionError):
        offset = _MAX_OFFSET
    if offset >= _MAX_OFFSET:
        raise _unknown_token()


def check_cursor(token: str | None) -> None:
    """Refuse a page token of a dataset's records that no call for them gave.

    Raises:
        MlflowException: saying what to do.
    """
    if token and not _is_cursor(token):
        raise _unknown_token()


def _is_cursor(token: str) -> bool:
    try:
        created, found, _record = base64.b64decode(token.encode(), validate=True).decode().partition(":")
        return bool(found) and 0 <= int(created) < _MAX_TIME
    except ValueError:
        return False


def _unknown_token() -> MlflowException:
    return MlflowException.invalid_parameter_value(
        "Invalid page token: this is not one that a search gave. Start again without one."
    )


def visible_experiments(session: Session, ids: Iterable[Any]) -> Sequence[Any]:
    """Return those of some experiments that the caller may see; the others are left out as if they held nothing.

    Args:
        session: A session that shows only what the caller may see.
        ids: The experiments' ids.
    """
    if current_sight() is None:
        return list(ids)
    wanted = [int(one) for one in ids if str(one).isdecimal() and int(one) < _MAX_ID]
    found = session.query(SqlExperiment.experiment_id).filter(SqlExperiment.experiment_id.in_(wanted))
    return [row.experiment_id for row in found]


def ends_at_last(
    page: tuple[list[Any], str | None], search_one: Callable[[str], tuple[list[Any], str | None]]
) -> tuple[list[Any], str | None]:
    """Return a page of traces without the token that MLflow gives even with the last full one.

    Only for who sees a part: everybody else gets what MLflow gives.

    Args:
        page: What MLflow's store gave.
        search_one: Searches on from a token, for one trace.
    """
    found, token = page
    if token is None or current_sight() is None:
        return page
    return found, token if search_one(token)[0] else None
