"""The schema that receivers are given is what is told."""

import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from lockgate.events import schema
from lockgate.events.dialect import Endpoint, Told
from lockgate.events.dialects.standard import Standard, new_secret
from lockgate.events.event import EventType
from lockgate.events.titles import TITLES
from tests.told import ATTEMPT, PROMOTION, told

COMMITTED = Path(__file__).parents[2] / "docs/events.json"
VALIDATOR = Draft202012Validator(schema.document(), format_checker=Draft202012Validator.FORMAT_CHECKER)
SECRET = new_secret()

EXAMPLES = [
    PROMOTION,
    told(EventType.POLICY_APPLIED, model=None, before={"policy": 1}, after={"policy": 2}),
    told(EventType.VERSION_CREATED, version=1, after={"source": "s3://x", "run_id": None, "tags": {"a": "b"}}),
    told(EventType.VERSION_CREATED, version=1, after={"tags": {"prompt": "x" * 50_000}}),
    told(EventType.TARGET_MOVED, target="alias:a", before={"alias:a": [1]}, after={}),
    told(EventType.ROLLED_BACK, target="alias:a", outcome="refused", reason="No role."),
    told(EventType.WOULD_REFUSE, version=1, target="alias:a", after={"rules": ["r"], "unmet": ["s"]}),
    told(EventType.CHECK_REPORTED, version=1, after={"check": "c", "status": "success", "metrics": {"auc": 0.9}}),
]


def body(event: Told) -> dict:
    call = Standard().call(event, event.type, Endpoint("hook-1", "https://example.com", (SECRET,)), ATTEMPT)
    return json.loads(call.body)


def test_the_committed_document_is_current() -> None:
    """`LOCKGATE_WRITE_SCHEMA=1 make test PYTEST_ARGS=tests/unit/test_events_schema.py` writes it anew."""
    if os.environ.get("LOCKGATE_WRITE_SCHEMA"):
        COMMITTED.write_text(schema.text())
    assert COMMITTED.read_text() == schema.text()


def test_it_is_a_schema_with_a_definition_for_every_event() -> None:
    Draft202012Validator.check_schema(schema.document())
    assert set(schema.document()["$defs"]) == {"data", *EventType}
    assert set(TITLES) == set(EventType)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.type)
def test_what_is_told_is_valid(event: Told) -> None:
    VALIDATOR.validate(body(event))


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "promotion.imagined"},
        {"timestamp": None},
        {"data": {}},
        {"data": {**body(PROMOTION)["data"], "version": "3"}},
        {"data": {**body(PROMOTION)["data"], "after": {"stages": ["Production"]}}},
        {"data": {key: value for key, value in body(PROMOTION)["data"].items() if key != "request_id"}},
    ],
)
def test_what_would_not_be_told_is_not_valid(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        VALIDATOR.validate({**body(PROMOTION), **wrong})
