"""Whoever tries a webhook out is sent an example of whatever event it is for."""

from datetime import UTC, datetime

import pytest

from lockgate.events.dialect import Attempt, Endpoint, Mail, event_named
from lockgate.events.dialects.named import dialects
from lockgate.events.examples import example_of

AT = datetime(2026, 5, 12, tzinfo=UTC)
SPOKEN = dialects()
SETTINGS = {"project": "42", "ref": "main", "token": "t", "owner": "acme", "repo": "deploy"}


@pytest.mark.parametrize(("name", "event"), [(name, event) for name, one in SPOKEN.items() for event in one.EVENTS])
def test_each_event_of_each_dialect_has_an_example_that_can_be_told(name: str, event: str) -> None:
    spoken = SPOKEN[name]
    found = example_of(spoken, event, "default", AT)
    assert found is not None
    told, named = found
    assert event_named(named) == event
    endpoint = Endpoint("hook", "https://example.com", ("whsec_" + "A" * 43 + "=",), SETTINGS)
    said = spoken.call(told, named, endpoint, Attempt("msg_1", AT, "https://gate.example.com"))
    assert said.text if isinstance(said, Mail) else said.body
