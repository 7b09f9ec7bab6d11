"""GitLab's and GitHub's pipelines: the calls that start them."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from jsonschema import validate

from lockgate.errors import BadInput
from lockgate.events.dialect import Call, Endpoint, Told
from lockgate.events.dialects.github import Github
from lockgate.events.dialects.gitlab import Gitlab
from lockgate.events.event import EventType
from tests.told import ATTEMPT, PROMOTION, told

IN_GITLAB = {"project": "ml/serving", "token": "glptt-1", "ref": "main"}
IN_GITHUB = {"owner": "acme", "repo": "serving", "token": "ghp_1"}

#: https://docs.gitlab.com/api/pipeline_triggers/#trigger-a-pipeline-with-a-token
TRIGGER = {
    "type": "object",
    "required": ["token", "ref"],
    "properties": {"token": {"type": "string"}, "ref": {"type": "string"}},
    "patternProperties": {r"^variables\[\w+\]$": {"type": "string"}},
    "additionalProperties": False,
}
#: https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
DISPATCH = {
    "type": "object",
    "required": ["event_type"],
    "properties": {
        "event_type": {"type": "string", "minLength": 1, "maxLength": 100},
        "client_payload": {"type": "object", "maxProperties": 10},
    },
    "additionalProperties": False,
}


def in_gitlab(event: Told, **settings: str) -> Call:
    endpoint = Endpoint("hook-1", "https://gitlab.example.com/", settings={**IN_GITLAB, **settings})
    return Gitlab().call(event, event.type, endpoint, ATTEMPT)


def fields(call: Call) -> dict[str, str]:
    form = {name: value for name, (value,) in parse_qs(call.body.decode(), keep_blank_values=True).items()}
    validate(form, TRIGGER)
    return form


def in_github(event: Told, **settings: str) -> Call:
    endpoint = Endpoint("hook-1", "https://api.github.com", settings={**IN_GITHUB, **settings})
    return Github().call(event, event.type, endpoint, ATTEMPT)


def dispatched(call: Call) -> dict[str, Any]:
    body = json.loads(call.body)
    validate(body, DISPATCH)
    return dict(body)


def test_gitlab_is_called_as_it_documents() -> None:
    call = in_gitlab(PROMOTION, **{"variables[PIPELINE_TYPE]": "deploy", "variables[REGION]": "eu"})
    assert (call.method, call.url) == (
        "POST",
        "https://gitlab.example.com/api/v4/projects/ml%2Fserving/trigger/pipeline",
    )
    assert call.headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert fields(call) == {
        "token": "glptt-1",
        "ref": "main",
        "variables[MODEL_NAME]": "fraud",
        "variables[MODEL_VERSION]": "3",
        "variables[MODEL_TARGET]": "stage:Production",
        "variables[PIPELINE_TYPE]": "deploy",
        "variables[REGION]": "eu",
    }


def test_what_kind_of_pipeline_it_is_is_the_event_where_nothing_is_set() -> None:
    assert fields(in_gitlab(PROMOTION))["variables[PIPELINE_TYPE]"] == "promotion.done"


def test_names_of_models_reach_no_variables_of_gitlab_and_no_other_field() -> None:
    form = fields(in_gitlab(told(model="$CI_JOB_TOKEN&ref=evil\nx", version=3)))
    assert form["variables[MODEL_NAME]"] == "$$CI_JOB_TOKEN&ref=evil\nx"
    assert form["ref"] == "main"


@pytest.mark.parametrize("missing", IN_GITLAB)
def test_gitlab_needs_project_token_and_ref(missing: str) -> None:
    settings = {name: value for name, value in IN_GITLAB.items() if name != missing}
    with pytest.raises(BadInput, match=f"needs {missing}"):
        Gitlab().check(Endpoint("hook-1", "https://gitlab.example.com", settings=settings))
    Gitlab().check(Endpoint("hook-1", "https://gitlab.example.com", settings=IN_GITLAB))


def test_github_is_called_as_it_documents() -> None:
    call = in_github(PROMOTION)
    assert (call.method, call.url) == ("POST", "https://api.github.com/repos/acme/serving/dispatches")
    assert call.headers == {
        "Accept": "application/vnd.github+json",
        "Authorization": "Bearer ghp_1",
        "Content-Type": "application/json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    body = dispatched(call)
    assert body["event_type"] == "promotion.done"
    assert body["client_payload"]["model"] == "fraud"
    assert body["client_payload"]["version"] == 3
    assert body["client_payload"]["change"]["after"]["stages"] == {"2": "Archived", "3": "Production"}


def test_another_type_can_be_set() -> None:
    assert dispatched(in_github(PROMOTION, event_type="deploy"))["event_type"] == "deploy"


@pytest.mark.parametrize("event", EventType)
def test_no_event_is_too_much_for_github(event: EventType) -> None:
    full = told(
        event,
        version=1,
        target="alias:a",
        request_id=1,
        before={"a": 1},
        after={"b": "x" * 70_000},
        reason="x" * 70_000,
    )
    call = in_github(full)
    assert dispatched(call)["client_payload"]["change"] == {"shortened": True}
    assert len(call.body) < 64_000


@pytest.mark.parametrize(
    "settings",
    [
        {"owner": ""},
        {"repo": "serving/../../user"},
        {"repo": ".."},
        {"token": ""},
        {"event_type": "x" * 101},
    ],
)
def test_what_github_can_not_be_called_with_is_refused(settings: dict[str, str]) -> None:
    given = {**IN_GITHUB, **settings}
    with pytest.raises(BadInput, match="GitHub"):
        Github().check(Endpoint("hook-1", "https://api.github.com", settings=given))
    Github().check(Endpoint("hook-1", "https://api.github.com", settings=IN_GITHUB))
