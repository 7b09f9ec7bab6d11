"""What events of a real server tell, and that it suffices for those who are told in other dialects."""

import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lockgate.events import schema
from lockgate.events.dialect import Attempt, Endpoint, Mail, Told
from lockgate.events.dialects.named import dialects
from lockgate.events.event import EventType
from lockgate.events.glance import AT_A_GLANCE
from lockgate.events.payload import payload
from tests.house import NO_RULES, ONE_APPROVAL, House

PRODUCTION, CHAMPION = "stage:Production", "alias:champion"
MOVES = (EventType.TARGET_MOVED, EventType.PROMOTED, EventType.ROLLED_BACK, EventType.BREAK_GLASS)
SETTINGS = {"project": "7", "token": "glptt-1", "ref": "main", "owner": "acme", "repo": "models"}
ENDPOINT = Endpoint("hook-1", "https://example.com/hook", ("whsec_" + "MDEy" * 10,), SETTINGS)
ATTEMPT = Attempt("msg_1", datetime(2026, 5, 12, tzinfo=UTC), "https://lockgate.example.com")


def told_of(house: House, model: str, types: Collection[EventType] = tuple(EventType)) -> list[Told]:
    """Return the events about a model, of some types, oldest first."""
    return [told for told in all_told(house) if told.model == model and told.type in types]


def all_told(house: House) -> list[Told]:
    """Return all events of the outbox, oldest first."""
    found = house.rows("SELECT audit_id, at, type, workspace, model, data FROM lockgate_events ORDER BY id")
    return [
        Told(number, EventType(kind), datetime.fromtimestamp(at / 1000, UTC), workspace, model, json.loads(data))
        for number, at, kind, workspace, model, data in found
    ]


def stages(told: Told) -> dict[str, tuple[str, str]]:
    before, after = told.before.get("stages", {}), told.after.get("stages", {})
    assert before.keys() == after.keys()
    return {version: (before[version], after[version]) for version in after}


def said(told: Told, dialect: str) -> list[dict[str, Any]]:
    """Return the bodies by which a dialect tells of an event."""
    speaks = dialects()[dialect]
    return [json.loads(speaks.call(told, name, ENDPOINT, ATTEMPT).body) for name in speaks.names(told)]


def moved(house: House, model: str) -> Iterator[Told]:
    return iter([told for told in told_of(house, model, MOVES) if not told.was_refused])


def test_each_move_of_a_stage_tells_the_stages_of_all_versions_that_it_is_about(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=3)
    house.promote(model, "1", PRODUCTION)
    with house.acting_as("ada") as client:
        client.transition_model_version_stage(model, "2", "Staging")
    house.promote(model, "2", PRODUCTION)
    house.call("oz", "POST", f"/models/{model}/rollback", {"target": PRODUCTION, "reason": "it drifts"})
    broken = {"model": model, "version": "3", "target": PRODUCTION, "reason": "the fire", "ticket": "T-1"}
    house.call("oz", "POST", "/break-glass", broken)
    with house.acting_as("bot") as client:
        client.transition_model_version_stage(model, "3", "Archived")
    told = list(moved(house, model))
    assert [(one.type, stages(one)) for one in told] == [
        ("promotion.done", {"1": ("None", "Production")}),
        ("target.moved", {"2": ("None", "Staging")}),
        ("promotion.done", {"1": ("Production", "Archived"), "2": ("Staging", "Production")}),
        ("rollback.done", {"1": ("Archived", "Production"), "2": ("Production", "Archived")}),
        ("break_glass.used", {"1": ("Production", "Archived"), "3": ("None", "Production")}),
        ("target.moved", {"3": ("Production", "Archived")}),
    ]
    replaced = [
        (one["event"], one["version"], one["from_stage"], one["to_stage"]) for one in said(told[2], "databricks")
    ]
    assert replaced == [
        ("MODEL_VERSION_TRANSITIONED_STAGE", "2", "Staging", "Production"),
        ("MODEL_VERSION_TRANSITIONED_TO_PRODUCTION", "2", "Staging", "Production"),
        ("MODEL_VERSION_TRANSITIONED_STAGE", "1", "Production", "Archived"),
        ("MODEL_VERSION_TRANSITIONED_TO_ARCHIVED", "1", "Production", "Archived"),
    ]


def test_clearing_is_told_once_in_databricks_dialect(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    house.promote(model, "1", PRODUCTION)
    with house.acting_as("bot") as client:
        client.transition_model_version_stage(model, "1", "None")
    last = told_of(house, model)[-2:]
    assert [one.type for one in last] == ["target.cleared", "target.moved"]
    (told,) = [body for one in last for body in said(one, "databricks")]
    assert (told["event"], told["to_stage"]) == ("MODEL_VERSION_TRANSITIONED_STAGE", "None")


def test_a_rejection_that_sends_a_version_back_tells_so(house: House) -> None:
    house.apply_policy(ONE_APPROVAL + "    on_rejection: unstage\n")
    model = house.new_model()
    with house.acting_as("ada") as client:
        client.transition_model_version_stage(model, "1", "Staging")
    asked = house.ask(model, "1", PRODUCTION)
    house.call("sue", "POST", f"/requests/{asked['id']}/reject", {"comment": "not yet"})
    assert [stages(one) for one in moved(house, model)][-1] == {"1": ("Staging", "None")}


def test_moves_of_aliases_have_no_stages_and_are_told_in_mlflows_dialect(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    house.promote(model, "1", CHAMPION)
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "shadow", "2")
        client.delete_registered_model_alias(model, "shadow")
    told = list(moved(house, model))
    assert [stages(one) for one in told] == [{}, {}, {}]
    assert [one for event in told for one in said(event, "databricks")] == []
    bodies = [one for event in told for one in said(event, "mlflow")]
    assert [(one["entity"], one["action"], one["data"]) for one in bodies] == [
        ("model_version_alias", "created", {"name": model, "alias": "champion", "version": "1"}),
        ("model_version_alias", "created", {"name": model, "alias": "shadow", "version": "2"}),
        ("model_version_alias", "deleted", {"name": model, "alias": "shadow"}),
    ]


def test_what_mlflow_itself_would_tell_of_a_model(house: House) -> None:
    house.apply_policy(NO_RULES)
    model = house.new_model(versions=0)
    with house.acting_as("ada") as client:
        run = client.create_run("0")
        source = f"runs:/{run.info.run_id}/model"
        client.create_model_version(model, source, run.info.run_id, {"a": "b"}, description="x", await_creation_for=0)
        client.set_model_version_tag(model, "1", "c", "d")
        client.delete_model_version_tag(model, "1", "c")
        client.set_registered_model_tag(model, "not", "told")
    bodies = [one for event in told_of(house, model) for one in said(event, "mlflow")]
    version = {"name": model, "version": "1"}
    assert [(f"{one['entity']}.{one['action']}", one["data"]) for one in bodies] == [
        ("registered_model.created", {"name": model, "tags": {}, "description": ""}),
        (
            "model_version.created",
            {**version, "source": source, "run_id": run.info.run_id, "tags": {"a": "b"}, "description": "x"},
        ),
        ("model_version_tag.set", {**version, "key": "c", "value": "d"}),
        ("model_version_tag.deleted", {**version, "key": "c"}),
    ]


def test_what_mlflow_itself_would_tell_of_a_prompt(house: House) -> None:
    house.apply_policy(NO_RULES)
    name = "prompt-" + house.new_model()
    with house.acting_as("ada") as client:
        client.register_prompt(name, "Hello {{name}}", commit_message="first", tags={"a": "b"})
        client.set_prompt_tag(name, "c", "d")
        client.delete_prompt_tag(name, "c")
        client.set_prompt_alias(name, "live", 1)
        client.delete_prompt_alias(name, "live")
    told = told_of(house, name)
    bodies = [one for event in told for one in said(event, "mlflow")]
    heard = [f"{one['entity']}.{one['action']}" for one in bodies]
    assert [one for one in heard if not one.startswith("prompt")] == []
    assert [one for one in heard if "_tag" not in one] == [
        "prompt.created", "prompt_version.created", "prompt_alias.created", "prompt_alias.deleted",
    ]  # fmt: skip
    # The client tags prompts besides, in a thread of its own.
    ours = [one for one in bodies if one["data"].get("key") == "c"]
    assert [(one["entity"], one["action"]) for one in ours] == [("prompt_tag", "set"), ("prompt_tag", "deleted")]
    version = next(one["data"] for one in bodies if one["entity"] == "prompt_version")
    assert (version["template"], version["description"]) == ("Hello {{name}}", "first")
    assert [one for event in told for one in said(event, "databricks")] == []


def test_databricks_is_told_of_requests_comments_and_tags(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    house.ask(model, "1", PRODUCTION)
    house.ask(model, "1", CHAMPION)
    with house.acting_as("ada") as client:
        client.set_model_version_tag(model, "1", "ready", "yes")
    comment = {"name": model, "version": "1", "comment": "Looks <good>."}
    house.http("sue").post("/api/2.0/mlflow/comments/create", json=comment).raise_for_status()
    bodies = [one for event in told_of(house, model) for one in said(event, "databricks")]
    assert [one["event"] for one in bodies] == [
        "REGISTERED_MODEL_CREATED",
        "MODEL_VERSION_CREATED",
        "TRANSITION_REQUEST_CREATED",
        "TRANSITION_REQUEST_TO_PRODUCTION_CREATED",
        "MODEL_VERSION_TAG_SET",
        "COMMENT_CREATED",
    ]
    assert bodies[-1]["comment"] == "Looks <good>."
    assert bodies[-2]["tags"] == [{"key": "ready", "value": "yes"}]


def test_refusals_are_no_events_of_registries(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    house.call("rex", "POST", f"/models/{model}/rollback", {"target": CHAMPION, "reason": "no"}, status=403)
    (told,) = told_of(house, model, [EventType.ROLLED_BACK])
    assert told.was_refused
    assert said(told, "mlflow") == said(told, "databricks") == []


CHECKED = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [stage:Production, alias:champion]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.8"}
      - {name: validated, check: validation}
    approvals: {required: 1, from: [group:senior]}
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def checked(house: House, model: str, status: str) -> None:
    house.call("ci", "POST", "/checks", {"model": model, "version": "1", "name": "validation", "status": status})


def at_a_glance(told: Told) -> tuple[str, dict[str, str], int, str]:
    gates = {gate["name"]: gate["outcome"] for gate in told.after["gates"]}
    return told.after["state"], gates, len(told.after.get("unmet", ())), told.after["commit"]


def test_events_of_a_request_say_at_a_glance_where_it_stands(house: House) -> None:
    house.apply_policy(CHECKED)
    model = house.new_model(versions=0)
    with house.acting_as("ada") as client:
        run = client.create_run("0", tags={"git_commit": COMMIT})
        client.log_metric(run.info.run_id, "val_auc", 0.9)
        client.create_model_version(model, f"runs:/{run.info.run_id}/m", run.info.run_id, await_creation_for=0)
    asked = house.ask(model, "1", CHAMPION)
    checked(house, model, "failure")
    house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, status=403)
    checked(house, model, "success")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
    told = [one for one in told_of(house, model) if one.type in AT_A_GLANCE]
    passed = {"auc-floor": "passed"}
    assert [(one.type, *at_a_glance(one)) for one in told] == [
        ("request.opened", "open", {**passed, "validated": "pending"}, 2, COMMIT),
        ("request.gate_failed", "open", {**passed, "validated": "failed"}, 2, COMMIT),
        ("promotion.refused", "open", {**passed, "validated": "failed"}, 2, COMMIT),
        ("request.gates_passed", "open", {**passed, "validated": "passed"}, 1, COMMIT),
        ("request.reviewed", "approved", {**passed, "validated": "passed"}, 0, COMMIT),
        ("promotion.done", "promoted", {**passed, "validated": "passed"}, 0, COMMIT),
    ]
    assert "Gate 'validated' failed" in told[1].data["reason"]
    assert told[1].data["actor"] == "lockgate"


def test_requests_that_end_otherwise_say_so_at_a_glance_too(house: House) -> None:
    house.apply_policy(
        ONE_APPROVAL.replace("    approvals", '    gates: [{name: auc, expr: "metrics.val_auc >= 0.8"}]\n    approvals')
    )
    model = house.new_model(versions=4)
    with house.acting_as("ada") as client:
        for version in client.search_model_versions(f"name = '{model}'"):
            client.set_tag(version.run_id, "git_commit", COMMIT)
    asked = {version: house.ask(model, version, CHAMPION)["id"] for version in "1234"}
    house.call("sue", "POST", f"/requests/{asked['1']}/reject", {})
    house.call("ada", "POST", f"/requests/{asked['2']}/withdraw", {})
    house.call("sue", "POST", f"/requests/{asked['3']}/approve", {})
    house.call("bot", "POST", f"/requests/{asked['3']}/promote", {})
    ends = {one.type: one.after for one in told_of(house, model) if "request_id" in one.data}
    for kind in (EventType.REQUEST_REJECTED, EventType.REQUEST_WITHDRAWN, EventType.REQUEST_SUPERSEDED):
        assert (ends[kind]["gates"], ends[kind]["commit"]) == ([{"name": "auc", "outcome": "passed"}], COMMIT)


def test_evidence_that_changes_says_what_the_gates_came_to(house: House) -> None:
    house.apply_policy(CHECKED)
    model = house.new_model()
    asked = house.ask(model, "1", CHAMPION)
    with house.acting_as("ada") as client:
        run = client.get_model_version(model, "1").run_id
        client.log_metric(run, "val_auc", 0.1, step=1)
    house.call("ada", "GET", f"/requests/{asked['id']}")
    changed, failed = told_of(house, model, [EventType.EVIDENCE_CHANGED, EventType.GATE_FAILED])
    assert changed.after["gates"][0] == failed.after["gates"][0] == {"name": "auc-floor", "outcome": "failed"}
    house.call("ada", "GET", f"/requests/{asked['id']}")
    assert len(told_of(house, model, [EventType.GATE_FAILED])) == 1


@pytest.mark.parametrize("dialect", dialects())
def test_everything_that_happened_here_can_be_told(house: House, dialect: str) -> None:
    speaks = dialects()[dialect]
    told = all_told(house)
    assert told
    for one in told:
        for name in speaks.names(one):
            message = speaks.call(one, name, ENDPOINT, ATTEMPT)
            assert message.text if isinstance(message, Mail) else message.body


def test_everything_that_happened_here_is_as_the_schema_says(house: House) -> None:
    validator = Draft202012Validator(schema.document())
    happened = all_told(house)
    assert happened
    for told in happened:
        validator.validate(payload(told, ATTEMPT.base_url))
