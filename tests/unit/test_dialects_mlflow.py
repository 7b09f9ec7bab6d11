"""MLflow's own webhooks, compared with what MLflow's own code makes of the same."""

import json
from typing import Any, get_args

import pytest
from mlflow.entities.webhook import WebhookEvent, WebhookEventStr
from mlflow.prompt import constants as prompts
from mlflow.webhooks import constants
from mlflow.webhooks.delivery import _generate_hmac_signature
from mlflow.webhooks.types import get_payload_class_for_event

from lockgate.events import dialect
from lockgate.events.dialect import Call, Endpoint, Told
from lockgate.events.dialects import mlflow as ours
from lockgate.events.dialects.mlflow import Mlflow
from lockgate.events.event import EventType
from tests.told import ATTEMPT, PROMOTION, told

PROMPT = {prompts.IS_PROMPT_TAG_KEY: "true", prompts.PROMPT_TYPE_TAG_KEY: "text", "a": "b"}
VERSION = {"source": "runs:/r/model", "run_id": "r", "description": "x", "tags": {"a": "b"}}
MARKED = {"is_prompt": True}

HEARD: list[tuple[str, Told, dict[str, Any]]] = [
    (
        "registered_model.created",
        told(EventType.MODEL_CREATED, after={"description": "x", "tags": {"a": "b"}}),
        {"name": "fraud", "tags": {"a": "b"}, "description": "x"},
    ),
    (
        "model_version.created",
        told(EventType.VERSION_CREATED, version=3, after=VERSION),
        {"name": "fraud", "version": "3", **VERSION},
    ),
    (
        "model_version_tag.set",
        told(EventType.VERSION_UPDATED, version=3, after={"tags": {"k": "v"}}),
        {"name": "fraud", "version": "3", "key": "k", "value": "v"},
    ),
    (
        "model_version_tag.deleted",
        told(EventType.VERSION_UPDATED, version=3, after={"tags": {"k": None}}),
        {"name": "fraud", "version": "3", "key": "k"},
    ),
    *(
        (
            "model_version_alias.created",
            told(event, version=3, target="alias:champion", after={"version": 3}),
            {"name": "fraud", "alias": "champion", "version": "3"},
        )
        for event in (EventType.PROMOTED, EventType.ROLLED_BACK, EventType.BREAK_GLASS, EventType.TARGET_MOVED)
    ),
    (
        "model_version_alias.deleted",
        told(EventType.TARGET_MOVED, target="alias:champion"),
        {"name": "fraud", "alias": "champion"},
    ),
    (
        "prompt.created",
        told(EventType.MODEL_CREATED, after={"description": "x", "tags": PROMPT}),
        {"name": "fraud", "tags": {"a": "b"}, "description": "x"},
    ),
    (
        "prompt_version.created",
        told(EventType.VERSION_CREATED, version=1, after={"tags": {**PROMPT, prompts.PROMPT_TEXT_TAG_KEY: "Hello"}}),
        {"name": "fraud", "version": "1", "template": "Hello", "tags": {"a": "b"}, "description": None},
    ),
    (
        "prompt_tag.set",
        told(EventType.MODEL_UPDATED, after={"tags": {"k": "v"}, **MARKED}),
        {"name": "fraud", "key": "k", "value": "v"},
    ),
    (
        "prompt_tag.deleted",
        told(EventType.MODEL_UPDATED, after={"tags": {"k": None}, **MARKED}),
        {"name": "fraud", "key": "k"},
    ),
    (
        "prompt_version_tag.set",
        told(EventType.VERSION_UPDATED, version=1, after={"tags": {"k": "v"}, **MARKED}),
        {"name": "fraud", "version": "1", "key": "k", "value": "v"},
    ),
    (
        "prompt_version_tag.deleted",
        told(EventType.VERSION_UPDATED, version=1, after={"tags": {"k": None}, **MARKED}),
        {"name": "fraud", "version": "1", "key": "k"},
    ),
    (
        "prompt_alias.created",
        told(EventType.PROMOTED, version=1, target="alias:live", after={"version": 1, **MARKED}),
        {"name": "fraud", "alias": "live", "version": "1"},
    ),
    (
        "prompt_alias.deleted",
        told(EventType.TARGET_MOVED, target="alias:live", after=MARKED),
        {"name": "fraud", "alias": "live"},
    ),
]


def call(event: Told, *secrets: str, workspaces: bool = False) -> Call:
    speaks = Mlflow(workspaces)
    (name,) = speaks.names(event)
    return speaks.call(event, name, Endpoint("hook-1", "https://example.com/hook", secrets), ATTEMPT)


@pytest.mark.parametrize(("name", "event", "data"), HEARD, ids=[f"{name}-{told.type}" for name, told, _ in HEARD])
def test_each_event_has_the_payload_that_mlflow_gives_it(name: str, event: Told, data: dict[str, Any]) -> None:
    entity, action = name.split(".")
    body = json.loads(call(event).body)
    assert body == {"entity": entity, "action": action, "timestamp": "2026-05-12T14:00:00.123000+00:00", "data": data}
    theirs = get_payload_class_for_event(WebhookEvent.from_str(name))
    assert theirs is not None
    assert data.keys() == theirs.__annotations__.keys()


def test_every_event_of_mlflows_about_the_registry_can_be_heard() -> None:
    assert set(Mlflow.EVENTS) == set(get_args(WebhookEventStr)) - {"budget_policy.exceeded"}
    assert {name for name, _, _ in HEARD} == set(Mlflow.EVENTS)


def test_names_that_are_mlflows_are_as_mlflow_has_them() -> None:
    assert dialect.PROMPT_MARKER == prompts.IS_PROMPT_TAG_KEY
    assert (ours._PROMPT_TEXT, ours._PROMPT_TYPE) == (prompts.PROMPT_TEXT_TAG_KEY, prompts.PROMPT_TYPE_TAG_KEY)


def test_headers_and_signature_are_those_that_mlflow_makes() -> None:
    made = call(HEARD[0][1], "a secret", "an older one")
    at = str(int(ATTEMPT.at.timestamp()))
    assert made.headers == {
        "Content-Type": "application/json",
        constants.WEBHOOK_DELIVERY_ID_HEADER: ATTEMPT.message_id,
        constants.WEBHOOK_TIMESTAMP_HEADER: at,
        constants.WEBHOOK_SIGNATURE_HEADER: _generate_hmac_signature(
            "a secret", ATTEMPT.message_id, at, made.body.decode()
        ),
    }


def test_without_a_secret_nothing_is_signed() -> None:
    assert constants.WEBHOOK_SIGNATURE_HEADER not in call(HEARD[0][1]).headers


def test_where_workspaces_are_enabled_theirs_is_named() -> None:
    event = told(EventType.MODEL_CREATED, workspace="risk")
    assert json.loads(call(event, workspaces=True).body)["workspace"] == "risk"
    assert "workspace" not in json.loads(call(event).body)


@pytest.mark.parametrize(
    "event",
    [
        PROMOTION,
        told(target="alias:champion", version=3, outcome="refused"),
        told(EventType.VERSION_UPDATED, version=3, after={"description": "x"}),
        told(EventType.MODEL_UPDATED, after={"tags": {"k": "v"}}),
        told(EventType.CLEARED, version=3, target="alias:champion"),
        told(EventType.REQUEST_OPENED, version=3, target="alias:champion"),
        told(EventType.POLICY_APPLIED, model=None),
    ],
)
def test_what_mlflow_tells_nothing_of(event: Told) -> None:
    assert Mlflow().names(event) == ()
