"""Databricks' dialect, spoken by the real databricks-sdk; and by hand where the client would not say such a thing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import (
    DatabricksError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    ResourceConflict,
    ResourceDoesNotExist,
)
from databricks.sdk.service.ml import (
    Activity,
    ActivityAction,
    ActivityType,
    CommentActivityAction,
    ModelRegistryAPI,
    PermissionLevel,
)

from tests.house import ADMIN_TOKEN, ONE_APPROVAL, House

TWO_APPROVALS = ONE_APPROVAL.replace("required: 1", "required: 2")
ON_APPROVAL = ONE_APPROVAL + "    promote: {on: approval}\n"


class Registry:
    """The registry's part of the SDK, as each of the cast."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._made: dict[str, ModelRegistryAPI] = {}

    def __getitem__(self, name: str) -> ModelRegistryAPI:
        if name not in self._made:
            client = WorkspaceClient(host=self._house.uri, token=self._house.tokens[name])
            self._made[name] = client.model_registry
        return self._made[name]


@pytest.fixture(autouse=True)
def nothing_of_databricks_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("DATABRICKS_"):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


@pytest.fixture
def sdk(house: House) -> Registry:
    return Registry(house)


@pytest.fixture
def model(house: House) -> str:
    return house.new_model(versions=2)


@pytest.fixture
def lead(house: House) -> str:
    """Somebody who may both review and carry out."""
    standing = {"name": "lead", "roles": ["reviewer", "releaser"], "groups": ["senior"]}
    house.call("admin", "POST", "/principals", standing)
    if "lead" not in house.tokens:
        house.tokens["lead"] = house.call("admin", "POST", "/tokens", {"principal": "lead"})["token"]
    return "lead"


def audited(house: House, model: str) -> list[str]:
    return [entry["action"] for entry in house.call("vic", "GET", f"/audit?model={model}")["entries"]]


def stage_of(house: House, model: str, version: str) -> str:
    with house.acting_as("vic") as client:
        return str(client.get_model_version(model, version).current_stage)


def test_a_request_is_the_same_request(house: House, sdk: Registry, model: str) -> None:
    made = sdk["ada"].create_transition_request(model, "1", "production", comment="beats the old one").request
    assert made is not None
    assert (made.to_stage, made.user_id, made.comment) == ("Production", "ada", "beats the old one")
    assert made.available_actions == [ActivityAction.CANCEL_TRANSITION_REQUEST]
    again = sdk["sue"].create_transition_request(model, "1", "Production", comment="me too").request
    assert again is not None
    assert (again.user_id, again.creation_timestamp) == ("ada", made.creation_timestamp)

    [ours] = house.call("vic", "GET", f"/requests?model={model}")["requests"]
    assert (ours["target"], ours["requester"], ours["comment"]) == ("stage:Production", "ada", "beats the old one")

    [listed] = sdk["vic"].list_transition_requests(model, "1")
    assert listed.activity_type is ActivityType.REQUESTED_TRANSITION
    assert (listed.id, listed.user_id, listed.from_stage, listed.to_stage) == (
        str(ours["id"]),
        "ada",
        "None",
        "Production",
    )
    assert listed.system_comment is not None
    assert "needs 1 more approval" in listed.system_comment
    assert list(sdk["vic"].list_transition_requests(model, "2")) == []


def test_a_request_made_elsewhere_is_listed_with_what_each_may_do(house: House, sdk: Registry, model: str) -> None:
    house.ask(model, "1", "stage:Production")
    house.ask(model, "1", "alias:champion")  # no stage: not in this dialect

    def actions(who: str) -> list[str]:
        answer = house.http(who).get("/api/2.0/mlflow/transition-requests/list", params={"name": model, "version": "1"})
        [request] = answer.raise_for_status().json()["requests"]
        return [str(action) for action in request["available_actions"]]

    review = ["APPROVE_TRANSITION_REQUEST", "REJECT_TRANSITION_REQUEST"]
    assert actions("vic") == actions("bot") == []
    assert actions("ada") == actions("max") == ["CANCEL_TRANSITION_REQUEST"]
    assert actions("sue") == review
    assert actions("admin") == [*review, "CANCEL_TRANSITION_REQUEST"]


def approved(sdk: Registry, who: str, model: str, version: str = "1") -> Activity:
    done = sdk[who].approve_transition_request(model, version, "Production", True, comment=f"by {who}").activity
    assert done is not None
    return done


def test_approving_is_one_thing_and_carrying_out_another(house: House, sdk: Registry, model: str, lead: str) -> None:
    with pytest.raises(ResourceDoesNotExist, match=r"no open request .*create_transition_request"):
        approved(sdk, "sue", model)
    sdk["sue"].create_transition_request(model, "1", "Production")
    with pytest.raises(PermissionDenied, match="sue asked for this promotion, and nobody approves their own work"):
        approved(sdk, "sue", model)

    first = approved(sdk, "sam", model)
    assert first.activity_type is ActivityType.APPROVED_REQUEST
    assert (first.user_id, first.comment, first.from_stage, first.to_stage) == ("sam", "by sam", "None", "Production")
    assert first.system_comment is not None
    assert "sam may not carry out promotions" in first.system_comment
    assert stage_of(house, model, "1") == "None"

    applied = approved(sdk, lead, model)
    assert applied.activity_type is ActivityType.APPLIED_TRANSITION
    assert (applied.from_stage, applied.system_comment) == ("None", None)
    assert stage_of(house, model, "1") == "Production"
    assert list(sdk["vic"].list_transition_requests(model, "1")) == []
    with pytest.raises(ResourceConflict, match="holds stage:Production already"):
        sdk["ada"].create_transition_request(model, "1", "Production")

    sdk["ada"].create_transition_request(model, "2", "Production")
    assert approved(sdk, lead, model, "2").activity_type is ActivityType.APPLIED_TRANSITION
    assert (stage_of(house, model, "1"), stage_of(house, model, "2")) == ("Archived", "Production")


def test_all_approvals_are_needed(house: House, sdk: Registry, model: str, lead: str) -> None:
    house.apply_policy(TWO_APPROVALS)
    sdk["ada"].create_transition_request(model, "1", "Production")
    first = approved(sdk, lead, model)
    assert first.activity_type is ActivityType.APPROVED_REQUEST
    assert first.system_comment is not None
    assert "1 of 2 given" in first.system_comment
    assert approved(sdk, lead, model).activity_type is ActivityType.APPROVED_REQUEST  # the same person again
    assert stage_of(house, model, "1") == "None"
    assert approved(sdk, "sue", model).activity_type is ActivityType.APPROVED_REQUEST  # who may not carry out
    applied = sdk["bot"].transition_stage(model, "1", "Production", True).model_version_databricks
    assert applied is not None
    assert applied.current_stage == "Production"

    sdk["ada"].create_transition_request(model, "2", "Production")
    assert approved(sdk, "sue", model, "2").activity_type is ActivityType.APPROVED_REQUEST
    assert approved(sdk, lead, model, "2").activity_type is ActivityType.APPLIED_TRANSITION


def test_approvals_are_about_the_evidence(house: House, sdk: Registry, model: str) -> None:
    sdk["ada"].create_transition_request(model, "1", "Production")

    def log(value: float) -> None:
        with house.acting_as("ada") as client:
            client.log_metric(client.get_model_version(model, "1").run_id, "val_auc", value)

    log(0.2)
    with pytest.raises(ResourceConflict, match=r"metrics.val_auc was 0.9, is 0.2"):
        approved(sdk, "sue", model)
    list(sdk["sue"].list_transition_requests(model, "1"))  # she looks again
    approved(sdk, "sue", model)
    log(0.1)
    with pytest.raises(PermissionDenied, match="needs 1 more approval"):
        sdk["bot"].transition_stage(model, "1", "Production", True)


def test_what_keeps_an_approved_request_is_said(house: House, sdk: Registry, model: str, lead: str) -> None:
    """Version 1 serves production; staging it would leave production empty, which only carrying out finds."""
    house.promote(model, "1", "stage:Production")
    house.apply_policy(ONE_APPROVAL.replace("[stage:Production,", "[stage:Production, stage:Staging,"))
    sdk["ada"].create_transition_request(model, "1", "Staging")
    done = sdk[lead].approve_transition_request(model, "1", "Staging", False).activity
    assert done is not None
    assert done.activity_type is ActivityType.APPROVED_REQUEST
    assert done.system_comment is not None
    assert "would leave production empty" in done.system_comment
    assert stage_of(house, model, "1") == "Production"
    [listed] = sdk["vic"].list_transition_requests(model, "1")
    assert (listed.from_stage, listed.to_stage) == ("Production", "Staging")


def test_the_last_approval_applies_where_the_policy_says_so(house: House, sdk: Registry, model: str) -> None:
    house.apply_policy(ON_APPROVAL)
    sdk["ada"].create_transition_request(model, "1", "Production")
    assert approved(sdk, "sue", model).activity_type is ActivityType.APPLIED_TRANSITION
    assert stage_of(house, model, "1") == "Production"


def test_rejecting(house: House, sdk: Registry, model: str) -> None:
    sdk["ada"].create_transition_request(model, "1", "Production")
    with pytest.raises(PermissionDenied, match="needs the role reviewer"):
        sdk["vic"].reject_transition_request(model, "1", "Production")
    done = sdk["sue"].reject_transition_request(model, "1", "Production", comment="drifts").activity
    assert done is not None
    assert (done.activity_type, done.user_id, done.comment) == (ActivityType.REJECTED_REQUEST, "sue", "drifts")
    [ours] = house.call("vic", "GET", f"/requests?model={model}")["requests"]
    assert ours["reviews"][-1]["verdict"] == "reject"


def test_a_request_is_deleted_by_naming_its_creator(house: House, sdk: Registry, model: str) -> None:
    sdk["ada"].create_transition_request(model, "1", "Production")
    with pytest.raises(ResourceDoesNotExist, match=r"junior has no open request .* is ada's"):
        sdk["junior"].delete_transition_request(model, "1", "Production", creator="junior")
    with pytest.raises(PermissionDenied, match="only ada or a maintainer"):
        sdk["junior"].delete_transition_request(model, "1", "Production", creator="ada")
    done = sdk["ada"].delete_transition_request(model, "1", "Production", creator="ada", comment="too early").activity
    assert done is not None
    assert done.activity_type is ActivityType.CANCELLED_REQUEST
    assert list(sdk["ada"].list_transition_requests(model, "1")) == []
    [ours] = house.call("vic", "GET", f"/requests?model={model}")["requests"]
    assert (ours["state"], ours["outcome"]) == ("withdrawn", "ada withdrew it: too early")
    sdk["ada"].create_transition_request(model, "1", "Production")
    sdk["max"].delete_transition_request(model, "1", "Production", creator="ada")


def test_a_stage_moves_by_the_gate_alone(house: House, sdk: Registry, model: str, lead: str) -> None:
    with pytest.raises(PermissionDenied, match=r"may not go to stage:Production yet.*needs 1 more approval"):
        sdk["ada"].transition_stage(model, "1", "Production", True)
    assert [one.user_id for one in sdk["ada"].list_transition_requests(model, "1")] == ["ada"]

    moved = sdk["ada"].transition_stage(model, "1", "Staging", False, comment="try it").model_version_databricks
    assert moved is not None
    assert (moved.name, moved.version, moved.current_stage) == (model, "1", "Staging")
    assert moved.user_id == "ada"
    assert moved.permission_level is PermissionLevel.CAN_MANAGE_STAGING_VERSIONS
    assert moved.status is not None
    assert moved.source
    assert moved.run_id
    assert [one.to_stage for one in moved.open_requests or []] == ["Production"]
    assert "comment.created" in audited(house, model)
    archived = sdk["ada"].transition_stage(model, "1", "Archived", True).model_version_databricks
    assert archived is not None
    assert archived.current_stage == "Archived"

    approved(sdk, "sue", model)
    carried_out = sdk["bot"].transition_stage(model, "1", "Production", True).model_version_databricks
    assert carried_out is not None
    assert (carried_out.current_stage, carried_out.open_requests) == ("Production", [])
    assert (carried_out.user_id, carried_out.permission_level) == (
        "ada",
        PermissionLevel.CAN_MANAGE_PRODUCTION_VERSIONS,
    )


def test_a_model_is_shown_with_its_identity(house: House, sdk: Registry, model: str) -> None:
    with house.acting_as("ada") as client:
        client.update_registered_model(model, "scores loans")
        client.set_registered_model_tag(model, "team", "risk")
    house.promote(model, "1", "stage:Production")
    shown = sdk["vic"].get_model(model).registered_model_databricks
    assert shown is not None
    assert (shown.name, shown.description, shown.permission_level) == (model, "scores loans", PermissionLevel.CAN_READ)
    assert {tag.key: tag.value for tag in shown.tags or []} == {"team": "risk"}
    assert {v.version: v.current_stage for v in shown.latest_versions or []} == {"1": "Production", "2": "None"}
    assert shown.creation_timestamp
    assert shown.id
    with house.acting_as("bot") as client:
        client.transition_model_version_stage(model, "1", "Archived")
    with house.acting_as("ada") as client:
        client.rename_registered_model(model, f"{model}-renamed")
    renamed = sdk["max"].get_model(f"{model}-renamed").registered_model_databricks
    assert renamed is not None
    assert (renamed.id, renamed.permission_level) == (shown.id, PermissionLevel.CAN_MANAGE)
    with pytest.raises(NotFound):
        sdk["vic"].get_model(model)


def test_comments_are_their_authors(house: House, sdk: Registry, model: str) -> None:
    made = sdk["ada"].create_comment(model, "1", "looks good").comment
    assert made is not None
    assert made.id is not None
    assert (made.user_id, made.comment) == ("ada", "looks good")
    assert made.creation_timestamp == made.last_updated_timestamp
    assert made.available_actions == [CommentActivityAction.EDIT_COMMENT, CommentActivityAction.DELETE_COMMENT]
    with pytest.raises(PermissionDenied, match="may only look"):
        sdk["vic"].create_comment(model, "1", "me too")
    for who in ("sue", "max"):
        with pytest.raises(PermissionDenied, match="only ada can change it"):
            sdk[who].update_comment(made.id, "looks bad")
    with pytest.raises(PermissionDenied, match="only ada or a maintainer"):
        sdk["sue"].delete_comment(made.id)

    edited = sdk["ada"].update_comment(made.id, "x" * 65_535).comment
    assert edited is not None
    assert (edited.id, edited.comment) == (made.id, "x" * 65_535)
    assert (edited.last_updated_timestamp or 0) >= (made.creation_timestamp or 0) == edited.creation_timestamp
    sdk["ada"].delete_comment(made.id)
    with pytest.raises(ResourceDoesNotExist):
        sdk["ada"].update_comment(made.id, "again")
    other = sdk["sue"].create_comment(model, "1", "careful").comment
    assert other is not None
    assert other.id is not None
    sdk["max"].delete_comment(other.id)
    written = [action for action in reversed(audited(house, model)) if action.startswith("comment.")]
    assert written == [f"comment.{what}" for what in ("created", "updated", "deleted", "created", "deleted")]


def test_comments_go_with_their_version(house: House, sdk: Registry, model: str) -> None:
    made = sdk["ada"].create_comment(model, "2", "broken").comment
    assert made is not None
    assert made.id is not None
    with house.acting_as("ada") as client:
        client.delete_model_version(model, "2")
    with pytest.raises(ResourceDoesNotExist):
        sdk["ada"].delete_comment(made.id)


def test_nothing_is_requested_of_stages_that_nothing_is_served_from(sdk: Registry, model: str) -> None:
    for stage in ("Archived", "None"):
        with pytest.raises(InvalidParameterValue, match=r"transition version 1 of .* directly"):
            sdk["ada"].create_transition_request(model, "1", stage)
    with pytest.raises(InvalidParameterValue, match="Invalid Model Version stage"):
        sdk["ada"].create_transition_request(model, "1", "Prod")


def test_the_preview_prefix_says_the_same_and_more_than_the_client_reads(house: House, model: str) -> None:
    path = "/api/2.0/preview/mlflow/transition-requests"
    sent = {"name": model, "version": "1", "stage": "Staging", "unknown": 1}
    house.apply_policy(ONE_APPROVAL.replace("stage:Production", "stage:Staging"))
    made = house.http("ada").post(f"{path}/create", json=sent).raise_for_status().json()["request"]
    assert made.keys() == {
        "id", "activity_type", "user_id", "comment", "from_stage", "to_stage", "creation_timestamp",
        "last_updated_timestamp", "available_actions", "system_comment",
    }  # fmt: skip
    assert isinstance(made["creation_timestamp"], int)
    assert isinstance(made["id"], str)
    assert made["activity_type"] == "REQUESTED_TRANSITION"
    done = house.http("sue").post(f"{path}/approve", json=sent).raise_for_status().json()["activity"]
    assert done["activity_type"] == "APPROVED_REQUEST"
    shown = house.http("ada").get("/api/2.0/preview/mlflow/databricks/registered-models/get", params={"name": model})
    assert shown.json()["registered_model_databricks"]["name"] == model


@pytest.mark.parametrize("root", ["/api/2.0/mlflow", "/api/2.0/preview/mlflow"])
def test_nobody_unknown_speaks_it(house: House, root: str) -> None:
    assert house.http(None).get(f"{root}/databricks/registered-models/get?name=m").status_code == 401


GOOD = {"name": "MODEL", "version": "1", "stage": "Production"}
BAD: list[tuple[str, str, Any]] = [
    *(("POST", f"transition-requests/{what}", body) for what in ("create", "approve", "reject") for body in (
        None, [], {}, {"name": "MODEL"}, {**GOOD, "stage": None}, {**GOOD, "stage": "Prod"}, {**GOOD, "stage": ["x"]},
        {**GOOD, "stage": "None"}, {**GOOD, "stage": "archived"}, {**GOOD, "stage": ""}, {**GOOD, "version": "99"},
        {**GOOD, "version": "one"}, {**GOOD, "version": 10**30}, {**GOOD, "version": "-1"}, {**GOOD, "name": "nowhere"},
        {**GOOD, "name": ""}, {**GOOD, "name": "a\0b"}, {**GOOD, "name": "\ud800"}, {**GOOD, "name": "x" * 5000},
        {**GOOD, "comment": "x" * 10_001}, {**GOOD, "comment": "a\0b"}, {**GOOD, "comment": 7},
    )),
    ("POST", "transition-requests/approve", GOOD),
    ("POST", "transition-requests/reject", GOOD),
    ("POST", "transition-requests/approve", {**GOOD, "archive_existing_versions": "perhaps"}),
    ("DELETE", "transition-requests/delete?name=MODEL&version=1&stage=Production", None),
    ("DELETE", "transition-requests/delete?name=MODEL&version=1&stage=Production&creator=ada", None),
    ("DELETE", "transition-requests/delete?name=MODEL&version=1&stage=Archived&creator=ada", None),
    ("DELETE", "transition-requests/delete?name=MODEL&version=x&stage=Production&creator=ada", None),
    ("DELETE", "transition-requests/delete", None),
    ("GET", "transition-requests/list", None),
    ("GET", "transition-requests/list?name=MODEL", None),
    ("GET", "transition-requests/list?name=MODEL&version=99", None),
    ("GET", "transition-requests/list?name=MODEL&version=1e3", None),
    ("GET", "transition-requests/list?name=nowhere&version=1", None),
    ("GET", "transition-requests/list?name=a%00b&version=1", None),
    ("POST", "comments/create", {"name": "MODEL", "version": "1"}),
    ("POST", "comments/create", {"name": "MODEL", "version": "1", "comment": ""}),
    ("POST", "comments/create", {"name": "MODEL", "version": "1", "comment": "x" * 65_536}),
    ("POST", "comments/create", {"name": "MODEL", "version": "1", "comment": "a\0b"}),
    ("POST", "comments/create", {"name": "MODEL", "version": "1", "comment": "\ud800"}),
    ("POST", "comments/create", {"name": "MODEL", "version": "99", "comment": "c"}),
    ("POST", "comments/create", {"name": "nowhere", "version": "1", "comment": "c"}),
    ("PATCH", "comments/update", {"id": "999999", "comment": "c"}),
    ("PATCH", "comments/update", {"id": "seven", "comment": "c"}),
    ("PATCH", "comments/update", {"comment": "c"}),
    ("DELETE", "comments/delete", None),
    ("DELETE", "comments/delete?id=999999", None),
    ("DELETE", "comments/delete?id=99999999999999999999999", None),
    ("POST", "databricks/model-versions/transition-stage", {**GOOD, "stage": "Prod"}),
    ("POST", "databricks/model-versions/transition-stage", {**GOOD, "version": "99"}),
    ("POST", "databricks/model-versions/transition-stage", {**GOOD, "name": "nowhere"}),
    ("POST", "databricks/model-versions/transition-stage", {**GOOD, "stage": "Staging", "comment": "x" * 65_536}),
    ("POST", "databricks/model-versions/transition-stage", {"name": "MODEL", "version": "1"}),
    ("GET", "databricks/registered-models/get", None),
    ("GET", "databricks/registered-models/get?name=nowhere", None),
    ("GET", "databricks/registered-models/get?name=a%00b", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), BAD)
def test_bad_input_is_answered_clearly_and_changes_nothing(
    house: House, model: str, method: str, path: str, body: Any
) -> None:
    if isinstance(body, dict) and body.get("name") == "MODEL":
        body = {**body, "name": model}
    before = audited(house, model)
    content = None if body is None else json.dumps(body).encode()
    answer = house.http("admin").request(
        method,
        f"/api/2.0/mlflow/{path.replace('MODEL', model)}",
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert 400 <= answer.status_code < 500, answer.text
    said = answer.json()
    assert said["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"), said
    assert said["message"]
    for inside in ("Traceback", "SELECT ", "INSERT ", "sqlalche", "psycopg", "sqlite3"):
        assert inside not in answer.text
    assert house.call("vic", "GET", f"/requests?model={model}")["requests"] == []
    assert audited(house, model) == before


def test_mlflows_own_routes_are_still_there(house: House, model: str) -> None:
    version = {"name": model, "version": "1"}
    mine = house.http("ada")
    assert mine.get("/api/2.0/mlflow/model-versions/get", params=version).status_code == 200
    assert mine.get("/api/2.0/mlflow/registered-models/get", params={"name": model}).status_code == 200
    moved = mine.post("/api/2.0/mlflow/model-versions/transition-stage", json={**version, "stage": "Staging"})
    assert moved.json()["model_version"]["current_stage"] == "Staging"
    for method, path in (("GET", "transition-requests/create"), ("POST", "comments/delete"), ("GET", "comments/list")):
        assert mine.request(method, f"/api/2.0/mlflow/{path}").status_code in (404, 405)


@pytest.fixture
def prefixed(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, f"sqlite:///{tmp_path}/db", "--static-prefix", "/ml")
    house.server.start()
    yield house
    house.close()


def test_it_moves_under_a_static_prefix(prefixed: House) -> None:
    with httpx.Client(base_url=prefixed.uri, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as client:
        client.post("/ml/api/2.0/mlflow/registered-models/create", json={"name": "m"}).raise_for_status()
        path = "/databricks/registered-models/get?name=m"
        for root in ("/ml/api/2.0/mlflow", "/ml/api/2.0/preview/mlflow"):
            assert client.get(root + path).status_code == 200
        assert client.get("/api/2.0/mlflow" + path).status_code == 404


def test_refusals_are_the_clients_own_errors(sdk: Registry, model: str) -> None:
    with pytest.raises(DatabricksError) as refused:
        sdk["vic"].create_transition_request(model, "1", "Production")
    assert refused.value.error_code == "PERMISSION_DENIED"
    assert "vic may not ask for promotions" in str(refused.value)
