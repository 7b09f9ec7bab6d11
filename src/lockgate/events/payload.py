"""What an event says to the world: the payload that most dialects are made of."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lockgate.audit.chain import time_text
from lockgate.events.dialect import Told

#: What of an event's data goes into a payload, as far as there is such.
_TOLD = ("outcome", "model", "version", "target", "request_id", "actor", "before", "after", "reason")

#: Chats take addresses up to about 3,000 characters.
_MOST_OF_A_NAME = 2_000


def payload(told: Told, base_url: str) -> dict[str, Any]:
    """Return what an event says: its type, when it was, and what happened; `docs/events.json` has the schema.

    Args:
        told: The event.
        base_url: How people reach Lockgate; nothing if nobody said.
    """
    data: dict[str, Any] = {"id": told.id, "workspace": told.workspace}
    data.update((key, told.data[key]) for key in _TOLD if key in told.data)
    page = request_page(told, base_url)
    if page:
        data["url"] = page
    return {"type": str(told.type), "timestamp": time_text(told.at), "data": data}


def request_page(told: Told, base_url: str) -> str | None:
    """Return where people see the promotion request that an event is about, if it is about one and there is a place."""
    number = told.data.get("request_id")
    return f"{base_url}/lockgate/requests/{number}" if base_url and number is not None else None


def page(told: Told, base_url: str) -> str:
    """Return where people see what an event is about: its request, else its model, else what is asked of them.

    Nothing where nobody said how people reach Lockgate.
    """
    if not base_url:
        return ""
    found = request_page(told, base_url)
    if found:
        return found
    named = quote(told.model or "", safe="", errors="replace")
    if 0 < len(named) <= _MOST_OF_A_NAME:
        return f"{base_url}/lockgate/models/{named}/history"
    return f"{base_url}/lockgate/"


def compact(value: Mapping[str, Any]) -> bytes:
    """Return JSON without blanks, in ASCII: so what is no text to UTF-8, half a surrogate pair, gets through too."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
