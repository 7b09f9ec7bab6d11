"""Jira: an issue for each request, and what becomes of it."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate

from lockgate.errors import BadInput
from lockgate.events.dialect import Call, Endpoint, Remembering, Told
from lockgate.events.dialects.jira import Jira, notation
from lockgate.events.event import EventType
from tests.told import ATTEMPT, PROMOTION, told

CLOUD = {"project": "ML", "user": "bot@example.com", "token": "t0ken"}
KNOWN = replace(ATTEMPT, remembered="ML-24")

#: https://developer.atlassian.com/cloud/jira/platform/rest/v2/api-group-issues/#api-rest-api-2-issue-post
ISSUE = {
    "type": "object",
    "required": ["fields"],
    "properties": {
        "fields": {
            "type": "object",
            "required": ["project", "issuetype", "summary"],
            "properties": {
                "project": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}},
                "issuetype": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                "summary": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\n\r]*$"},
                "description": {"type": "string", "maxLength": 32_767},
                "labels": {"type": "array", "items": {"type": "string", "maxLength": 255, "pattern": r"^\S+$"}},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
#: .../api-group-issue-comments/#api-rest-api-2-issue-issueidorkey-comment-post
COMMENT = {
    "type": "object",
    "required": ["body"],
    "properties": {"body": {"type": "string", "minLength": 1, "maxLength": 32_767}},
    "additionalProperties": False,
}
#: .../api-group-issues/#api-rest-api-2-issue-issueidorkey-transitions-post
TRANSITION = {
    "type": "object",
    "required": ["transition"],
    "properties": {
        "transition": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        "update": {
            "type": "object",
            "properties": {
                "comment": {
                    "type": "array",
                    "items": {"type": "object", "required": ["add"], "properties": {"add": COMMENT}},
                }
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


def endpoint(url: str = "https://acme.atlassian.net", **settings: str) -> Endpoint:
    return Endpoint("hook-1", url, settings={**CLOUD, **settings})


def call(event: Told, attempt: Any = ATTEMPT, to: Endpoint | None = None) -> Call:
    return Jira().call(event, event.type, to or endpoint(), attempt)


def says(call: Call, shape: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(call.body)
    validate(body, shape)
    return dict(body)


def asked(kind: EventType = EventType.REQUEST_OPENED, **data: Any) -> Told:
    return told(kind, **{"version": 3, "target": "stage:Production", "request_id": 7, **data})


def test_a_request_becomes_an_issue() -> None:
    made = call(asked(after={"state": "open", "gates": [{"name": "auc", "outcome": "pending"}]}, reason="better"))
    assert (made.method, made.url) == ("POST", "https://acme.atlassian.net/rest/api/2/issue")
    fields = says(made, ISSUE)["fields"]
    assert fields["project"] == {"key": "ML"}
    assert fields["issuetype"] == {"name": "Task"}
    assert fields["summary"] == "Promotion: version 3 of 'fraud' → stage:Production"
    assert fields["labels"] == ["lockgate", "lockgate-request-7"]
    assert "… pending: auc" in fields["description"]
    assert fields["description"].endswith("\n\nhttps://gate.example.com/lockgate/requests/7")


def test_another_type_of_issue_and_a_jira_below_a_path() -> None:
    made = call(asked(), to=endpoint("https://jira.example.com/jira/", issue_type="Approval"))
    assert made.url == "https://jira.example.com/jira/rest/api/2/issue"
    assert says(made, ISSUE)["fields"]["issuetype"] == {"name": "Approval"}


def test_in_the_cloud_user_and_token_prove_who_calls_and_else_the_token_alone() -> None:
    basic = call(asked()).headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic) == b"bot@example.com:t0ken"
    assert call(asked(), to=endpoint(user="")).headers["Authorization"] == "Bearer t0ken"


def test_what_happens_to_it_is_a_comment() -> None:
    made = call(asked(EventType.REQUEST_COMMENTED, reason="why?"), KNOWN)
    assert made.url == "https://acme.atlassian.net/rest/api/2/issue/ML-24/comment"
    assert "why&#63;" in says(made, COMMENT)["body"]


def test_what_decides_it_moves_it_along() -> None:
    made = call(PROMOTION, KNOWN, endpoint(**{"transition.promotion.done": "41"}))
    assert made.url == "https://acme.atlassian.net/rest/api/2/issue/ML-24/transitions"
    body = says(made, TRANSITION)
    assert body["transition"] == {"id": "41"}
    assert "better on all counts" in body["update"]["comment"][0]["add"]["body"]


@pytest.mark.parametrize(
    ("outcome", "state", "path"),
    [("done", "approved", "transitions"), ("done", "open", "comment"), ("refused", "approved", "comment")],
)
def test_a_review_moves_it_along_once_it_is_the_last_that_is_needed(outcome: str, state: str, path: str) -> None:
    review = asked(EventType.REQUEST_REVIEWED, outcome=outcome, after={"verdict": "approve", "state": state})
    assert call(review, KNOWN, endpoint(**{"transition.request.reviewed": "21"})).url.endswith(f"/ML-24/{path}")


def test_an_issue_that_is_not_known_is_made_by_whatever_happens_next() -> None:
    made = call(PROMOTION, ATTEMPT, endpoint(**{"transition.promotion.done": "41"}))
    assert made.url.endswith("/rest/api/2/issue")
    assert "lockgate-request-7" in says(made, ISSUE)["fields"]["labels"]


def test_it_is_remembered_by_request() -> None:
    assert isinstance(Jira(), Remembering)
    assert Jira().subject(PROMOTION) == "lockgate-request-7"
    assert Jira().subject(told(EventType.MODEL_CREATED)) is None


def test_the_key_of_the_issue_is_learnt() -> None:
    answer = b'{"id": "10000", "key": "ML-24", "self": "https://acme.atlassian.net/rest/api/2/issue/10000"}'
    assert Jira().learn(PROMOTION, answer) == "ML-24"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"ok",
        b"[]",
        b'"ML-24"',
        b"null",
        b'{"id": "1"}',
        b'{"key": 24}',
        b'{"key": null}',
        b'{"key": "ML-24/../../user"}',
        b'{"key": "ML-24\\n"}',
        b'{"key": "ml-24"}',
        b'{"key": "../ML-24"}',
        b'{"key": "ML-\xd9\xa1"}',
        b'{"key": "ML-%d"}' % 10**400,
        b"[" * 60_000,
        b"\xff\xfe",
    ],
)
def test_a_receiver_does_not_steer_where_the_next_call_goes(answer: bytes) -> None:
    assert Jira().learn(PROMOTION, answer) is None


@given(st.text(max_size=30))
def test_whatever_is_learnt_is_a_key(text: str) -> None:
    learnt = Jira().learn(PROMOTION, json.dumps({"key": text}).encode())
    assert learnt is None or (learnt == text and learnt.isascii() and not set(learnt) & set("/?#%.\\ "))


def test_only_what_is_about_a_request_is_told() -> None:
    assert Jira().names(PROMOTION) == ("promotion.done",)
    assert Jira().names(told(EventType.PROMOTION_REFUSED, version=3, target="alias:a")) == ()
    assert Jira().names(told(EventType.MODEL_CREATED)) == ()
    assert Jira().names(told(EventType.CHECK_REPORTED, version=3)) == ()


@pytest.mark.parametrize("event", Jira.EVENTS)
def test_no_event_is_too_much_for_jira(event: str) -> None:
    after = {
        "unmet": ["{" * 300] * 20,
        "gates": [{"name": "[" * 300, "outcome": "failed"}] * 50,
        "changes": ["*" * 5_000] * 100,
        "asked": ["x" * 300] * 900,
    }
    full = asked(EventType(event), model="m" * 256, after=after, reason="\\" * 10_000)
    says(call(full), ISSUE)
    says(call(full, KNOWN), COMMENT)


def test_what_people_wrote_makes_no_link_no_mention_and_no_macro() -> None:
    written = notation("[click|http://evil.example] {noformat} [~admin] !http://x/y.png! *b* \\\\ a\nb")
    assert not set(written) & set("[]{}!*\\|~\n")
    assert "://" not in written


@pytest.mark.parametrize(
    "settings",
    [
        {"project": ""},
        {"project": "ml"},
        {"project": "ML/../x"},
        {"token": ""},
        {"user": "a:b"},
        {"transition.promotion.done": "Done"},
        {"transition.promotion.done": ""},
        {"transition.model.created": "31"},
        {"transition.nonsense": "31"},
    ],
)
def test_what_jira_can_not_be_called_with_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        Jira().check(endpoint(**settings))


def test_what_it_can_is_taken() -> None:
    Jira().check(endpoint(**{"transition.request.rejected": "31", "transition.promotion.done": "41"}))
    Jira().check(Endpoint("hook-1", "https://jira.example.com", settings={"project": "ML", "token": "t"}))
