"""Databricks' registry webhooks: their events, and the payload of each."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from databricks.sdk.service.ml import RegistryWebhookEvent
from jsonschema import validate

from lockgate.events.dialect import PROMPT_MARKER, Call, Endpoint, Told, event_named
from lockgate.events.dialects.databricks import Databricks
from lockgate.events.event import EventType
from tests.told import AT, ATTEMPT, PROMOTION, told

#: https://docs.databricks.com/en/mlflow/model-registry-webhooks.html#webhook-payload
DOCUMENTED = {
    "type": "object",
    "required": ["event", "webhook_id", "event_timestamp", "model_name", "text"],
    "properties": {
        "event": {"enum": [event.value for event in RegistryWebhookEvent]},
        "webhook_id": {"type": "string"},
        "event_timestamp": {"type": "integer"},
        "model_name": {"type": "string"},
        "version": {"type": "string", "pattern": r"^\d+$"},
        "to_stage": {"enum": ["None", "Staging", "Production", "Archived"]},
        "from_stage": {"enum": ["None", "Staging", "Production", "Archived"]},
        "text": {"type": "string"},
        "comment": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "object", "required": ["key", "value"]}},
        # Not Databricks': for handlers that were written for a nested one.
        "model_version": {"type": "object", "required": ["version"]},
    },
    "additionalProperties": False,
}
STAGED = ("Staging", "Production", "Archived")


def moved(
    version: int, before: dict[str, str], after: dict[str, str], kind: EventType = EventType.TARGET_MOVED
) -> Told:
    return told(kind, version=version, before={"stages": before}, after={"stages": after})


def endpoint(*secrets: str, **settings: str) -> Endpoint:
    return Endpoint("c5599f", "https://example.com/hook", secrets, settings)


def calls(event: Told, to: Endpoint | None = None) -> list[Call]:
    speaks = Databricks()
    return [speaks.call(event, name, to or endpoint(), ATTEMPT) for name in speaks.names(event)]


def bodies(event: Told) -> list[dict[str, Any]]:
    made = [json.loads(call.body) for call in calls(event)]
    for body in made:
        validate(body, DOCUMENTED)
    return made


HEARD: list[tuple[Told, list[str]]] = [
    (told(EventType.MODEL_CREATED), ["REGISTERED_MODEL_CREATED"]),
    (told(EventType.VERSION_CREATED, version=3, after={"source": "s3://bucket/x"}), ["MODEL_VERSION_CREATED"]),
    (told(EventType.VERSION_UPDATED, version=3, after={"tags": {"k": "v"}}), ["MODEL_VERSION_TAG_SET"]),
    (told(EventType.COMMENT_CREATED, version=3, reason="Looks good."), ["COMMENT_CREATED"]),
    *(
        (
            told(EventType.REQUEST_OPENED, version=3, request_id=7, target=f"stage:{stage}"),
            ["TRANSITION_REQUEST_CREATED", f"TRANSITION_REQUEST_TO_{stage.upper()}_CREATED"],
        )
        for stage in STAGED
    ),
    *(
        (
            moved(3, {"3": "None"}, {"3": stage}),
            ["MODEL_VERSION_TRANSITIONED_STAGE", f"MODEL_VERSION_TRANSITIONED_TO_{stage.upper()}"],
        )
        for stage in STAGED
    ),
    (moved(3, {"3": "Staging"}, {"3": "None"}), ["MODEL_VERSION_TRANSITIONED_STAGE"]),
]


@pytest.mark.parametrize(("event", "names"), HEARD, ids=["-".join(names) for _, names in HEARD])
def test_each_event_is_told_under_each_of_its_names(event: Told, names: list[str]) -> None:
    assert [body["event"] for body in bodies(event)] == names
    assert {body["webhook_id"] for body in bodies(event)} == {"c5599f"}


def test_all_twelve_events_are_told() -> None:
    assert set(Databricks.EVENTS) == {event.value for event in RegistryWebhookEvent}
    assert {name for _, names in HEARD for name in names} == set(Databricks.EVENTS)


def test_a_promotion_is_told_as_databricks_documents_it() -> None:
    stage, production, *_ = bodies(PROMOTION)
    assert stage == {
        "event": "MODEL_VERSION_TRANSITIONED_STAGE",
        "webhook_id": "c5599f",
        "event_timestamp": 1778594400123,
        "model_name": "fraud",
        "version": "3",
        "model_version": {"version": "3"},
        "from_stage": "Staging",
        "to_stage": "Production",
        "text": "Registered model 'fraud' version 3 transitioned from Staging to Production.",
    }
    assert AT.timestamp() == 1778594400.123
    assert production == {**stage, "event": "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION"}


def test_the_version_that_it_replaced_is_told_of_too() -> None:
    names = Databricks().names(PROMOTION)
    assert names == (
        "MODEL_VERSION_TRANSITIONED_STAGE",
        "MODEL_VERSION_TRANSITIONED_TO_PRODUCTION",
        "MODEL_VERSION_TRANSITIONED_STAGE:2",
        "MODEL_VERSION_TRANSITIONED_TO_ARCHIVED:2",
    )
    assert {event_named(name) for name in names} <= set(Databricks.EVENTS)
    *_, stage, archived = bodies(PROMOTION)
    assert [(body["version"], body["from_stage"], body["to_stage"]) for body in (stage, archived)] == [
        ("2", "Production", "Archived")
    ] * 2
    assert archived["model_version"] == {"version": "2"}


def test_several_versions_that_were_replaced_are_told_each() -> None:
    event = moved(
        10, {"2": "Production", "9": "Production", "10": "None"}, {"2": "Archived", "9": "Archived", "10": "Production"}
    )
    assert [body["version"] for body in bodies(event)] == ["10", "10", "2", "2", "9", "9"]


def test_tags_and_comments_are_told_with_what_they_say() -> None:
    (tag,) = bodies(told(EventType.VERSION_UPDATED, version=3, after={"tags": {"k": "v"}}))
    assert (tag["tags"], tag["version"]) == ([{"key": "k", "value": "v"}], "3")
    (comment,) = bodies(told(EventType.COMMENT_CREATED, version=3, reason="Looks good."))
    assert comment["comment"] == "Looks good."


def test_where_files_are_is_told_nobody() -> None:
    (call,) = calls(told(EventType.VERSION_CREATED, version=3, after={"source": "s3://bucket/x"}))
    assert b"s3://" not in call.body


def test_the_body_is_signed_with_the_newest_secret() -> None:
    for call in calls(PROMOTION, endpoint("new", "old")):
        expected = hmac.new(b"new", call.body, hashlib.sha256).hexdigest()
        assert call.headers["X-Databricks-Signature"] == expected


def test_an_authorization_goes_along_as_it_was_given() -> None:
    call, *_ = calls(PROMOTION, endpoint(authorization="Bearer abc"))
    assert call.headers == {"Content-Type": "application/json", "Authorization": "Bearer abc"}


@pytest.mark.parametrize(
    "event",
    [
        told(version=3, target="alias:champion", before={"version": 2}, after={"version": 3}),
        told(EventType.REQUEST_OPENED, version=3, target="alias:champion", request_id=7),
        told(EventType.ROLLED_BACK, target="stage:Production", outcome="refused"),
        moved(3, {"3": "Production"}, {"3": "Production"}),
        told(EventType.VERSION_UPDATED, version=3, after={"tags": {"k": None}}),
        told(EventType.CLEARED, version=3, target="stage:Production", before={"versions": [3]}),
        told(EventType.MODEL_CREATED, after={"tags": {PROMPT_MARKER: "true"}}),
        told(EventType.VERSION_UPDATED, version=3, after={"tags": {"k": "v"}, "is_prompt": True}),
        told(EventType.POLICY_APPLIED, model=None),
    ],
)
def test_what_databricks_tells_nothing_of(event: Told) -> None:
    assert Databricks().names(event) == ()
