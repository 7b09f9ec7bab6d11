"""Standard Webhooks, as the library of those who wrote the standard verifies them."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from lockgate.errors import BadInput
from lockgate.events.dialect import MOST_BYTES, Call, Endpoint, Told
from lockgate.events.dialects.standard import Standard, check_secret, new_secret
from lockgate.events.event import EventType
from tests.told import ATTEMPT, PROMOTION, told

OLD, NEW = new_secret(), new_secret()


def call(event: Told, *secrets: str) -> Call:
    """Return the call of an attempt that is made now: the library compares with its own clock."""
    endpoint = Endpoint("hook-1", "https://example.com/hook", secrets or (NEW,))
    return Standard().call(event, event.type, endpoint, replace(ATTEMPT, at=datetime.now(UTC)))


def made_at(made: Call) -> int:
    return int(made.headers["webhook-timestamp"])


def body(event: Told) -> dict[str, Any]:
    return dict(json.loads(call(event).body))


def test_a_call_is_verified_by_the_standards_own_library() -> None:
    made = call(PROMOTION)
    assert Webhook(NEW).verify(made.body, dict(made.headers)) == body(PROMOTION)
    assert made.headers["webhook-id"] == ATTEMPT.message_id
    at = datetime.fromtimestamp(made_at(made), UTC)
    assert Webhook(NEW).sign(ATTEMPT.message_id, at, made.body.decode()) == made.headers["webhook-signature"]


@pytest.mark.parametrize("secret", [NEW, OLD], ids=["new", "old"])
def test_while_a_secret_is_exchanged_both_verify(secret: str) -> None:
    made = call(PROMOTION, NEW, OLD)
    assert Webhook(secret).verify(made.body, dict(made.headers))


@pytest.mark.parametrize(
    "tampered",
    [
        lambda made: (made.body.replace(b'"version":3', b'"version":4'), made.headers),
        lambda made: (made.body, {**made.headers, "webhook-id": "msg_other"}),
        lambda made: (made.body, {**made.headers, "webhook-timestamp": str(made_at(made) + 1)}),
        lambda made: (
            made.body,
            {**made.headers, "webhook-signature": call(PROMOTION, OLD).headers["webhook-signature"]},
        ),
    ],
)
def test_what_was_tampered_with_is_not_verified(tampered: Any) -> None:
    changed, headers = tampered(call(PROMOTION))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(changed, dict(headers))


def test_what_a_promotion_says() -> None:
    assert body(PROMOTION) == {
        "type": "promotion.done",
        "timestamp": "2026-05-12T14:00:00.123Z",
        "data": {
            "id": 41,
            "workspace": "default",
            "outcome": "done",
            "model": "fraud",
            "version": 3,
            "target": "stage:Production",
            "request_id": 7,
            "actor": "bot",
            "before": {"version": 2, "stages": {"2": "Production", "3": "Staging"}},
            "after": {"version": 3, "stages": {"2": "Archived", "3": "Production"}},
            "reason": "better on all counts",
            "url": "https://gate.example.com/lockgate/requests/7",
        },
    }


def test_it_is_compact_and_without_a_request_has_no_link() -> None:
    applied = told(EventType.POLICY_APPLIED, model=None)
    assert b": " not in call(applied).body
    assert "url" not in body(applied)["data"]


def test_what_is_too_large_loses_its_large_parts_first() -> None:
    large = told(EventType.VERSION_CREATED, version=1, after={"run_id": "r", "tags": {"prompt": "x" * 50_000}})
    assert body(large)["data"]["after"] == {"run_id": "r"}
    assert body(large)["data"]["shortened"] is True


def test_a_long_reason_is_cut() -> None:
    data = body(told(reason="x" * 65_000, after={"version": 3}))["data"]
    assert (len(data["reason"]), data["after"], data["shortened"]) == (2_000, {"version": 3}, True)


def test_texts_of_any_length_are_cut_at_last() -> None:
    data = body(told(model="\N{SNOWMAN}" * 5_000, version=1, target="alias:a"))["data"]
    assert (data["model"], data["target"], data["version"]) == ("\N{SNOWMAN}" * 200, "alias:a", 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3_000),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=300), inner, max_size=20),
    max_leaves=30,
)


@given(
    text=st.text(max_size=300).map(lambda some: some * 30),
    before=st.dictionaries(st.text(max_size=50), JSON, max_size=30),
    times=st.integers(1, 60),
)
def test_a_body_is_always_small_enough_and_json(text: str, before: dict[str, Any], times: int) -> None:
    many = {f"{key}{number}": value for key, value in before.items() for number in range(times)}
    made = call(told(model=text, target=text, version=1, before=many, after=many, reason=text * 10))
    assert len(made.body) < MOST_BYTES
    assert json.loads(made.body)["data"]["version"] == 1


def test_a_new_secret_is_one_and_no_two_are_alike() -> None:
    check_secret(NEW)
    assert len(base64.b64decode(NEW.removeprefix("whsec_"))) == 32
    assert NEW != OLD


@pytest.mark.parametrize("size", [24, 64])
def test_keys_may_have_24_to_64_bytes(size: int) -> None:
    check_secret("whsec_" + base64.b64encode(b"k" * size).decode())


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "hunter2",
        base64.b64encode(b"k" * 32).decode(),
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_" + "é" * 40,
        "whsec_" + base64.b64encode(b"k" * 32).decode().rstrip("=") + "!",
    ],
)
def test_what_is_no_secret_is_refused_with_what_one_is_and_not_repeated(secret: str) -> None:
    with pytest.raises(BadInput, match="24 to 64 random bytes") as refused:
        Standard().check(Endpoint("hook-1", "https://example.com", (secret,)))
    assert not secret or secret == "whsec_" or secret not in refused.value.message


def test_an_endpoint_without_a_secret_is_refused() -> None:
    with pytest.raises(BadInput, match="are signed: give a secret"):
        Standard().check(Endpoint("hook-1", "https://example.com"))


@pytest.mark.parametrize("event", EventType)
def test_every_event_is_told_as_what_it_is(event: EventType) -> None:
    assert Standard().names(told(event)) == (event,)
    assert event in Standard.EVENTS
