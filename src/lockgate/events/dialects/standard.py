"""Standard Webhooks v1.0.0 (https://www.standardwebhooks.com): our own events, for receivers of our own kind."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lockgate.errors import BadInput
from lockgate.events.dialect import MOST_BYTES, Attempt, Call, Endpoint, Told
from lockgate.events.event import EventType
from lockgate.events.payload import compact, payload
from lockgate.events.settings import Setting

_PREFIX = "whsec_"
_FEWEST_KEY_BYTES, _MOST_KEY_BYTES = 24, 64
#: How long a part of `before` or `after` may be, a reason, and any text, once the whole is too large.
_MOST_OF_A_PART = 1_000
_MOST_OF_A_REASON = 2_000
_MOST_OF_A_TEXT = 200


class Standard:
    """Tells an event as Standard Webhooks do, below their 20,000 bytes."""

    EVENTS: ClassVar[tuple[str, ...]] = tuple(EventType)
    SIGNS: ClassVar[bool] = True
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint without a secret, or with one that is none.

        Raises:
            BadInput: saying what a secret looks like.
        """
        if not endpoint.secrets:
            raise BadInput(f"Standard Webhooks are signed: give a secret, {_looks_like()}.")
        for secret in endpoint.secrets:
            check_secret(secret)

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type: it is told as what it is."""
        return (told.type,)

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that tells of an event, signed with each of the endpoint's secrets."""
        body = _body(payload(told, attempt.base_url))
        at = str(int(attempt.at.timestamp()))
        signed = f"{attempt.message_id}.{at}.".encode() + body
        headers = {
            "content-type": "application/json",
            "webhook-id": attempt.message_id,
            "webhook-timestamp": at,
            "webhook-signature": " ".join(_signature(secret, signed) for secret in endpoint.secrets),
        }
        return Call(endpoint.url, body, headers)


def new_secret() -> str:
    """Return a new secret to sign with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(secret: str) -> None:
    """Refuse what is no secret of Standard Webhooks.

    Raises:
        BadInput: saying what one looks like, without repeating it.
    """
    _key(secret)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _FEWEST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES:
        raise BadInput(f"This is no secret of Standard Webhooks. Give {_looks_like()}; or give none, and one is made.")
    return key


def _looks_like() -> str:
    return f"{_PREFIX} and {_FEWEST_KEY_BYTES} to {_MOST_KEY_BYTES} random bytes in base64"


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _body(told: Mapping[str, Any]) -> bytes:
    """Return a payload as JSON. What is too large is shortened step by step, and says so."""
    body = compact(told)
    data = told["data"]
    for shorten in _STEPS:
        if len(body) < MOST_BYTES:
            break
        data = shorten(data)
        body = compact({**told, "data": {**data, "shortened": True}})
    return body


def _without_large_parts(data: Mapping[str, Any]) -> dict[str, Any]:
    small = dict(data)
    for side in ("before", "after"):
        if side in small:
            small[side] = {k: v for k, v in small[side].items() if len(compact({k: v})) <= _MOST_OF_A_PART}
    return small


def _with_a_short_reason(data: Mapping[str, Any]) -> dict[str, Any]:
    return {**data, "reason": data["reason"][:_MOST_OF_A_REASON]} if "reason" in data else dict(data)


def _without_difference(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in ("before", "after")}


def _with_short_texts(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[:_MOST_OF_A_TEXT] if isinstance(value, str) else value for key, value in data.items()}


_STEPS: tuple[Callable[[Mapping[str, Any]], dict[str, Any]], ...] = (
    _without_large_parts,
    _with_a_short_reason,
    _without_difference,
    _with_short_texts,
)
