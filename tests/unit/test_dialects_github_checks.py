"""GitHub's checks: where a request stands, at the commit that its version comes from."""

import json
from typing import Any

import pytest
from jsonschema import validate

from lockgate.errors import BadInput
from lockgate.events.dialect import Call, Endpoint, Told
from lockgate.events.dialects.github_checks import GithubChecks
from lockgate.events.event import EventType
from tests.told import ATTEMPT, told

SHA = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = {"owner": "acme", "repo": "models", "token": "ghs_1"}

#: https://docs.github.com/en/rest/checks/runs#create-a-check-run
CHECK_RUN = {
    "type": "object",
    "required": ["name", "head_sha"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "head_sha": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
        "details_url": {"type": "string", "pattern": "^https?://"},
        "external_id": {"type": "string"},
        "status": {"enum": ["queued", "in_progress", "completed"]},
        "conclusion": {
            "enum": ["action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"]
        },
        "output": {
            "type": "object",
            "required": ["title", "summary"],
            "properties": {
                "title": {"type": "string", "minLength": 1},
                "summary": {"type": "string", "minLength": 1, "maxLength": 65_535},
            },
            "additionalProperties": False,
        },
    },
    "if": {"required": ["conclusion"]},
    "then": {"properties": {"status": {"const": "completed"}}},
    "else": {"properties": {"status": {"enum": ["queued", "in_progress"]}}},
    "additionalProperties": False,
}


def stands(kind: EventType, state: str, *outcomes: str, commit: str = SHA, **data: Any) -> Told:
    gates = [{"name": f"g{number}", "outcome": outcome} for number, outcome in enumerate(outcomes)]
    after = {"state": state, "gates": gates, "commit": commit}
    return told(kind, **{"version": 3, "target": "stage:Production", "request_id": 7, "after": after, **data})


def call(event: Told, **settings: str) -> Call:
    to = Endpoint("hook-1", "https://api.github.com", settings={**SETTINGS, **settings})
    return GithubChecks().call(event, event.type, to, ATTEMPT)


def run(event: Told, **settings: str) -> dict[str, Any]:
    body = json.loads(call(event, **settings).body)
    validate(body, CHECK_RUN)
    return dict(body)


def test_it_is_called_as_github_documents() -> None:
    made = call(stands(EventType.REQUEST_OPENED, "open", "passed", "pending"))
    assert (made.method, made.url) == ("POST", "https://api.github.com/repos/acme/models/check-runs")
    assert made.headers["Authorization"] == "Bearer ghs_1"
    body = run(stands(EventType.REQUEST_OPENED, "open", "passed", "pending"))
    assert body["name"] == "Lockgate: fraud → stage:Production"
    assert body["head_sha"] == SHA
    assert body["external_id"] == "lockgate-request-7"
    assert body["details_url"] == "https://gate.example.com/lockgate/requests/7"
    assert "✓ passed: g0" in body["output"]["summary"]


@pytest.mark.parametrize(
    ("event", "status", "conclusion"),
    [
        (stands(EventType.REQUEST_OPENED, "open", "passed"), "in_progress", None),
        (stands(EventType.REQUEST_OPENED, "open", "failed"), "completed", "failure"),
        (stands(EventType.GATE_FAILED, "open", "passed", "error"), "completed", "failure"),
        (stands(EventType.GATES_PASSED, "open", "passed"), "in_progress", None),
        (stands(EventType.EVIDENCE_CHANGED, "open", "pending"), "in_progress", None),
        (stands(EventType.REQUEST_REVIEWED, "open"), "in_progress", None),
        (stands(EventType.REQUEST_REVIEWED, "approved", "passed"), "completed", "success"),
        (stands(EventType.REQUEST_REVIEWED, "approved", "failed"), "completed", "failure"),
        (stands(EventType.REQUEST_REVIEWED, "approved", "pending"), "in_progress", None),
        (stands(EventType.PROMOTED, "promoted", "passed"), "completed", "success"),
        (stands(EventType.REQUEST_REJECTED, "rejected", "passed"), "completed", "failure"),
        (stands(EventType.REQUEST_WITHDRAWN, "withdrawn"), "completed", "cancelled"),
        (stands(EventType.REQUEST_EXPIRED, "expired", "failed"), "completed", "cancelled"),
        (stands(EventType.REQUEST_SUPERSEDED, "superseded"), "completed", "neutral"),
    ],
)
def test_a_check_says_where_the_request_stands(event: Told, status: str, conclusion: str | None) -> None:
    body = run(event)
    assert (body["status"], body.get("conclusion")) == (status, conclusion)


def test_a_gate_that_only_warns_fails_no_check() -> None:
    after = {"state": "open", "commit": SHA, "gates": [{"name": "a", "outcome": "failed", "warns": True}]}
    assert run(stands(EventType.REQUEST_OPENED, "open", after=after))["status"] == "in_progress"


@pytest.mark.parametrize(
    "event",
    [
        stands(EventType.REQUEST_OPENED, "open", commit=""),
        stands(EventType.REQUEST_OPENED, "open", commit="0123456"),
        stands(EventType.REQUEST_OPENED, "nonsense"),
        stands(EventType.REQUEST_REVIEWED, "open", outcome="refused"),
        stands(EventType.PROMOTION_REFUSED, "open"),
        told(EventType.REQUEST_OPENED, version=3, request_id=7),
        told(EventType.MODEL_CREATED),
    ],
)
def test_where_there_is_no_commit_or_nothing_new_nobody_is_called(event: Told) -> None:
    assert GithubChecks().names(event) == ()


def test_a_name_can_be_set_for_rules_that_ask_for_it() -> None:
    event = stands(EventType.PROMOTED, "promoted")
    assert GithubChecks().names(event) == ("promotion.done",)
    assert run(event, name="promotion")["name"] == "promotion"


@pytest.mark.parametrize("event", GithubChecks.EVENTS)
def test_no_event_is_too_much_for_github(event: str) -> None:
    after = {
        "state": "open",
        "commit": SHA,
        "unmet": ["<" * 300] * 20,
        "gates": [{"name": "[" * 300, "outcome": "failed"}] * 50,
        "changes": ["*" * 5_000] * 100,
    }
    run(stands(EventType(event), "open", model="m" * 256, after=after, reason="x" * 10_000))


def test_what_people_wrote_makes_no_link_and_no_mention() -> None:
    event = stands(EventType.REQUEST_REJECTED, "rejected", reason="[click](http://evil.example) <img src=x>")
    assert "[click](" not in run(event)["output"]["summary"]


@pytest.mark.parametrize("settings", [{"owner": ""}, {"repo": ".."}, {"token": ""}, {"name": "x" * 101}])
def test_what_github_can_not_be_called_with_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="GitHub"):
        GithubChecks().check(Endpoint("hook-1", "https://api.github.com", settings={**SETTINGS, **settings}))
    GithubChecks().check(Endpoint("hook-1", "https://api.github.com", settings=SETTINGS))
