"""Examples of events, to try out who is told of them. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from lockgate.events.dialect import Dialect, Told, event_named
from lockgate.events.event import EventType

_MODEL = "an-example"
#: From which stage a version goes to each.
_BEFORE = {"Staging": "None", "Production": "Staging", "Archived": "Production"}
_COMMON: Mapping[str, Any] = {
    "actor": "lockgate",
    "outcome": "done",
    "model": _MODEL,
    "reason": "an example: nothing has happened",
}


#: Of a request, whose version was trained from a commit.
_GLANCE: Mapping[str, Any] = {
    "state": "open",
    "gates": [{"name": "an-example", "outcome": "passed"}],
    "commit": "0" * 40,
}


def example_of(spoken: Dialect, event: str, workspace: str, at: datetime) -> tuple[Told, str] | None:
    """Return an example of one of a dialect's events, and the name that the dialect tells it under.

    Args:
        spoken: The dialect.
        event: One of its `EVENTS`.
        workspace: The workspace that it is said to have happened in.
        at: When it is said to have happened.

    Returns:
        Both; None if there is no example of it.
    """
    for kind, data in _examples():
        told = Told(0, kind, at, workspace, _MODEL, {**_COMMON, **data})
        for name in spoken.names(told):
            if event_named(name) == event:
                return told, name
    return None


def _examples() -> Iterator[tuple[EventType, dict[str, Any]]]:
    """Yield what events tell: enough for each dialect to have an example of each of its own."""
    for stage, before in _BEFORE.items():
        moved = {"before": {"stages": {"3": before}}, "after": {"version": 3, "stages": {"3": stage}}}
        yield EventType.PROMOTED, {"version": 3, "target": f"stage:{stage}", **moved}
        yield EventType.REQUEST_OPENED, {"version": 3, "target": f"stage:{stage}"}
    for is_prompt in ({}, {"is_prompt": True}):
        yield EventType.TARGET_MOVED, {"version": 3, "target": "alias:champion", "after": is_prompt}
        yield EventType.TARGET_MOVED, {"target": "alias:champion", "after": is_prompt}
        yield EventType.MODEL_CREATED, {"after": is_prompt}
        yield EventType.VERSION_CREATED, {"version": 3, "after": is_prompt}
        for kind, about in ((EventType.VERSION_UPDATED, {"version": 3}), (EventType.MODEL_UPDATED, {})):
            for value in ("yes", None):
                yield kind, {**about, "after": {"tags": {"example": value}, **is_prompt}}
    # For dialects in which each of our types of event is one, or each of a request's.
    for kind in EventType:
        yield kind, {"version": 3, "target": "stage:Production", "request_id": 0, "after": _GLANCE}
