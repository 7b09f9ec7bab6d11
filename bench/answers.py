"""Whether two servers answer the same."""

from collections.abc import Sequence
from typing import Any

from bench.clients import Call, Client
from bench.pair import Pair

# When something was done can't be the same on two servers on which it was done one after the other.
_TIMES = frozenset({"creation_timestamp", "last_updated_timestamp"})


def compare(pair: Pair, calls: Sequence[Call], changes: bool) -> str | None:
    """Send calls to both servers; return where they answer differently, if they do.

    Args:
        pair: The servers.
        calls: What is sent.
        changes: Whether the calls change something: then the times that they are given may differ.

    Raises:
        RuntimeError: if a call is refused.
    """
    stock, lockgate = (Client(side.uri, side.token) for side in (pair.stock, pair.lockgate))
    for call in calls:
        expected, found = stock.send(call), lockgate.send(call)
        if changes:
            expected, found = without_times(expected), without_times(found)
        if place := difference(expected, found):
            return f"{call.path}: {place}"
    return None


def difference(expected: Any, found: Any, place: str = "$") -> str | None:
    """Return the first place where two JSON values differ, and how; None if they are equal."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return next((it for key in expected if (it := difference(expected[key], found[key], f"{place}.{key}"))), None)
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return next((it for at, (one, other) in pairs if (it := difference(one, other, f"{place}[{at}]"))), None)
    if type(expected) is type(found) and expected == found:
        return None
    return f"{place} is {_short(found)}, and {_short(expected)} of stock MLflow"


def without_times(value: Any) -> Any:
    """Return a JSON value without the times of changes."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in _TIMES}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
