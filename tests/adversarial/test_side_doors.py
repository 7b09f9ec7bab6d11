"""Ways around the gate through the registry: provenance, names, prompts, deletions, approvals used elsewhere."""

import secrets
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from tests.adversarial.bait import PRODUCTION, bait, good_run, refusals, request_state
from tests.house import ONE_APPROVAL, House
from tests.integration.test_gate import refusal

GOOD_ENOUGH = ONE_APPROVAL + "    gates: [{name: auc, expr: 'metrics.val_auc >= 0.95'}]\n"
IS_PROMPT = "mlflow.prompt.is_prompt"


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def act(house: House, who: str, asked: dict[str, Any], what: str, status: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = house.call(who, "POST", f"/requests/{asked['id']}/{what}", {}, status)
    return found


def refused_by(attempt: partial) -> MlflowException:
    with pytest.raises(MlflowException) as refused:
        attempt()
    return refused.value


# One model's metrics, another's bytes


def logged_model(client: MlflowClient, run_id: str, name: str = "evil") -> str:
    made = client.create_logged_model("0", name=name, source_run_id=run_id)
    client.finalize_logged_model(made.model_id, "READY")
    return str(made.model_id)


@pytest.mark.parametrize(
    "source",
    [
        "s3://elsewhere/model",
        "s3://elsewhere/0/{good}/artifacts/model",
        "s3://elsewhere/models/{good_model}/artifacts",
        "http://elsewhere/{good}/artifacts/model",
        "file:///etc",
        "/etc",
        "{folder}/0/{bad}/artifacts/model",
        "file://{folder}/0/{bad}/artifacts/model",
        "mlflow-artifacts:/0/{bad}/artifacts/model",
        "mlflow-artifacts:/0/{good}/artifacts/../../{bad}/artifacts/model",
        "mlflow-artifacts:/0/{good}/artifacts/%2e%2e/%2e%2e/{bad}/artifacts/model",
        "mlflow-artifacts://elsewhere:80/0/{good}/artifacts/model",
        "mlflow-artifacts:/0/models/{bad_model}/artifacts",
        "mlflow-artifacts:/0/models/{bad_model}/artifacts/{good_model}",
        "runs:/{bad}/model",
        "runs:/{good}/../{bad}/artifacts/model",
        "models:/{bad_model}",
        "dbfs:/model",
    ],
)
def test_a_good_run_does_not_vouch_for_other_files(house: House, source: str) -> None:
    house.apply_policy(GOOD_ENOUGH)
    good, bad = good_run(house, auc=0.99), good_run(house, auc=0.1)
    model = f"foreign-{good}"
    with house.acting_as("ada") as client:
        good_model, bad_model = logged_model(client, good), logged_model(client, bad)
        client.create_registered_model(model)
        folder = house.folder / "mlartifacts"
        told = source.format(good=good, bad=bad, good_model=good_model, bad_model=bad_model, folder=folder)
        model_id = bad_model if bad_model in told else None
        try:
            client.create_model_version(model, told, good, await_creation_for=0, model_id=model_id)
        except RestException:
            return
    asked = house.ask(model, "1", PRODUCTION)
    assert asked["evidence"]["metrics"] == {}
    assert asked["gates"][0]["outcome"] == "failed"
    assert f"are not those of run {good}" in asked["unmet"][0]
    act(house, "sue", asked, "approve")
    assert "are not those of run" in act(house, "bot", asked, "promote", 403)["message"]


@pytest.mark.parametrize("source", ["runs:/{run}/evil", "mlflow-artifacts:/0/{run}/artifacts/evil", "models:/{evil}"])
def test_a_good_model_of_the_same_run_does_not_vouch_for_another(house: House, source: str) -> None:
    """A run may train several models; what it logged for one of them says nothing of the others."""
    house.apply_policy(GOOD_ENOUGH)
    with house.acting_as("ada") as client:
        run_id = client.create_run("0").info.run_id
        good, evil = logged_model(client, run_id, "good"), logged_model(client, run_id, "evil")
        client.log_metric(run_id, "val_auc", 0.99, model_id=good)
        client.log_text(run_id, "evil", "evil/MLmodel")
        model = f"sibling-{run_id}"
        client.create_registered_model(model)
        told = source.format(run=run_id, evil=evil)
        model_id = evil if evil in told else None
        client.create_model_version(model, told, run_id, await_creation_for=0, model_id=model_id)
    asked = house.ask(model, "1", PRODUCTION)
    assert "val_auc" not in asked["evidence"]["metrics"]
    assert asked["gates"][0]["outcome"] == "failed"


def test_the_metrics_of_a_versions_own_logged_model_count(house: House) -> None:
    house.apply_policy(GOOD_ENOUGH)
    with house.acting_as("ada") as client:
        run_id = client.create_run("0").info.run_id
        mine = logged_model(client, run_id, "mine")
        client.log_metric(run_id, "val_auc", 0.99, model_id=mine)
        client.log_metric(run_id, "loss", 0.1)
        for number, source in enumerate((f"runs:/{run_id}/mine", f"models:/{mine}")):
            model = f"own{number}-{run_id}"
            client.create_registered_model(model)
            model_id = mine if mine in source else None
            client.create_model_version(model, source, run_id, await_creation_for=0, model_id=model_id)
            asked = house.ask(model, "1", PRODUCTION)
            assert asked["evidence"]["metrics"] == {"val_auc": 0.99, "loss": 0.1}


def test_no_experiment_keeps_its_files_on_another_server(house: House) -> None:
    """Clients would load from there, whatever lies here by that path."""
    for place in ("mlflow-artifacts://elsewhere.example:80/9", "mlflow-artifacts://elsewhere.example/9"):
        with house.acting_as("ada") as client:
            error = refused_by(partial(client.create_experiment, f"e-{secrets.token_hex(4)}", place))
            assert error.get_http_status_code() == 400


def test_a_copy_needs_its_own_approval_and_keeps_its_own_bytes(house: House) -> None:
    house.apply_policy(GOOD_ENOUGH)
    target = bait(house)
    act(house, "bot", target.approved(), "promote")
    with house.acting_as("junior") as client:
        copy = f"copy-{target.model}"
        client.copy_model_version(f"models:/{target.model}/1", copy)
        assert "needs 1 more approval" in refusal(client, copy, "1", PRODUCTION).message
    (asked,) = house.call("sue", "GET", f"/requests?model={copy}")["requests"]
    assert asked["evidence"]["artifacts"]["state"] == "hashed"
    paths = [file["path"] for file in asked["evidence"]["artifacts"]["files"]]
    assert paths == ["MLmodel", "data/weights.bin"]
    assert {"ada", "junior"} <= asked["excluded"].keys()


# What is behind a protected target stays


def test_nothing_behind_a_protected_target_is_deleted(house: House) -> None:
    with house.acting_as("ada") as client:
        experiment = client.create_experiment(f"serving-{secrets.token_hex(4)}")
        run_id = client.create_run(experiment).info.run_id
        model_id = client.create_logged_model(experiment, name="m", source_run_id=run_id).model_id
        client.finalize_logged_model(model_id, "READY")
        model = f"serving-{run_id}"
        client.create_registered_model(model)
        client.create_model_version(model, f"models:/{model_id}", run_id, await_creation_for=0, model_id=model_id)
    house.promote(model, "1", PRODUCTION)
    house.promote(model, "1", "alias:champion")
    for who in ("ada", "max", "admin"):
        with house.acting_as(who) as client:
            for attempt in (
                partial(client.delete_model_version, model, "1"),
                partial(client.delete_registered_model, model),
                partial(client.delete_run, run_id),
                partial(client.delete_experiment, experiment),
                partial(client.delete_logged_model, model_id),
                *([partial(client.delete_registered_model_alias, model, "champion")] if who != "admin" else []),
                partial(client.rename_registered_model, model, f"{model}-2"),
            ):
                error = refused_by(attempt)
                assert (error.error_code, error.get_http_status_code()) == ("PERMISSION_DENIED", 403), attempt
    with house.acting_as("vic") as client:
        assert client.get_model_version_by_alias(model, "champion").current_stage == "Production"
        assert client.get_run(run_id).info.lifecycle_stage == "active"


# Names


ALIASES = ["CHAMPION", "champion\n", "champion ", "сhampion", "ｃhampion", "champi0n", "champ1on", "champiοn",
           "cham-pion", "champion_", "champi\u200bon", "chámpion"]  # fmt: skip


def test_look_alikes_of_a_protected_alias(house: House) -> None:
    model = house.new_model()
    for alias in ALIASES:
        with house.acting_as("ada") as client:
            error = refusal(client, model, "1", f"alias:{alias}")
            assert error.get_http_status_code() == 400, alias
            assert client.get_registered_model(model).aliases == {}
        body = {"model": model, "version": "1", "target": f"alias:{alias}"}
        house.call("ada", "POST", "/requests", body, 400)


TWINS = ["Pay-all-go", "pаy-all-go", "ｐay-all-go", "pay-all-go\n", "pay-all-go ", "páy-all-go", "p\u200bay-all-go",
         "pay-a1l-go", "pay-aIl-go", "pay-all-g0", "pay -all-go"]  # fmt: skip


def test_look_alikes_of_a_governed_models_name(house: House) -> None:
    mark = secrets.token_hex(4).translate(str.maketrans("01", "23"))
    house.new_model(f"{mark}-pay-all-go")
    other = house.new_model()
    with house.acting_as("junior") as client:
        for twin in TWINS:
            for attempt in (
                partial(client.create_registered_model, f"{mark}-{twin}"),
                partial(client.rename_registered_model, other, f"{mark}-{twin}"),
            ):
                error = refused_by(attempt)
                assert error.get_http_status_code() == 400, twin
                assert "could be taken for that of the model" in error.message
        client.create_registered_model(f"{mark}-pay-all-going")  # a name of its own


TWO_RULES = """\
version: 1
rules:
  - {name: strict, models: "strict-*", targets: [stage:Production], approvals: {required: 2}}
  - {name: lax, models: "lax-*", targets: [stage:Production], approvals: {required: 1}}
"""


def test_a_rename_takes_no_approval_along_to_a_stricter_rule(house: House) -> None:
    house.apply_policy(TWO_RULES)
    name = secrets.token_hex(6)
    asked = house.ask(house.new_model(f"lax-{name}"), "1", PRODUCTION)
    assert act(house, "sue", asked, "approve")["state"] == "approved"
    with house.acting_as("ada") as client:
        client.rename_registered_model(f"lax-{name}", f"strict-{name}")
    refused = act(house, "bot", asked, "promote", 403)
    assert "Rule 'strict' needs 1 more approval" in refused["message"]


def test_a_rename_to_where_no_rule_is_closes_the_target(house: House) -> None:
    house.apply_policy(TWO_RULES)
    name = secrets.token_hex(6)
    asked = house.ask(house.new_model(f"strict-{name}"), "1", PRODUCTION)
    with house.acting_as("ada") as client:
        client.rename_registered_model(f"strict-{name}", f"free-{name}")
    assert act(house, "bot", asked, "promote", 403)
    with house.acting_as("bot") as client:
        assert refusal(client, f"free-{name}", "1", PRODUCTION).get_http_status_code() in (403, 409)


def test_what_was_promoted_under_a_laxer_name_does_not_get_the_strict_one(house: House) -> None:
    house.apply_policy(TWO_RULES)
    name = secrets.token_hex(6)
    house.new_model(f"strict-{name}")
    with house.acting_as("ada") as client:
        client.rename_registered_model(f"strict-{name}", f"lax-{name}")
    house.promote(f"lax-{name}", "1", PRODUCTION)
    with house.acting_as("ada") as client:
        error = refused_by(partial(client.rename_registered_model, f"lax-{name}", f"strict-{name}"))
    assert "can't be renamed while it holds stage:Production" in error.message


# Prompts


@pytest.mark.parametrize("value", ["true", "false", "TRUE", ""])
def test_a_governed_model_does_not_become_a_prompt(house: House, value: str) -> None:
    model = house.new_model()
    house.promote(model, "1", PRODUCTION)
    with house.acting_as("ada") as client:
        for attempt in (
            partial(client.set_registered_model_tag, model, IS_PROMPT, value),
            partial(client.set_model_version_tag, model, "1", IS_PROMPT, value),
            partial(
                client.create_model_version, model, "prompt-template", None, {IS_PROMPT: value}, await_creation_for=0
            ),
        ):
            assert refused_by(attempt).get_http_status_code() in (400, 403)
        assert [found.name for found in client.search_registered_models(f"name='{model}'")] == [model]


def test_a_prompt_under_a_governed_name_goes_through_the_gate_and_stays_a_prompt(house: House) -> None:
    name = f"prompt-{secrets.token_hex(4)}"
    tags = [{"key": IS_PROMPT, "value": "true"}, {"key": "mlflow.prompt.text", "value": "hi"}]
    ada = house.http("ada")
    ada.post("/api/2.0/mlflow/registered-models/create", json={"name": name, "tags": tags}).raise_for_status()
    body = {"name": name, "source": "dummy-source", "tags": tags}
    ada.post("/api/2.0/mlflow/model-versions/create", json=body).raise_for_status()
    alias = {"name": name, "alias": "champion", "version": "1"}
    answer = ada.post("/api/2.0/mlflow/registered-models/alias", json=alias)
    assert answer.status_code == 403
    assert "needs 1 more approval" in answer.json()["message"]
    marker = {"name": name, "key": IS_PROMPT}
    answer = ada.request("DELETE", "/api/2.0/mlflow/registered-models/delete-tag", json=marker)
    assert answer.status_code == 403
    assert "governed by the policy" in answer.json()["message"]


# What serves is what was approved


def test_latest_is_never_what_nobody_approved(house: House, tmp_path: Path) -> None:
    """Who only serves models gets by `latest` what was approved, or nothing."""
    import mlflow

    target = bait(house)
    with house.acting_as("vic") as client:
        assert client.get_latest_versions(target.model) == []
        for path in (f"models:/{target.model}/latest", f"models:/{target.model}@latest"):
            with pytest.raises(MlflowException):
                mlflow.artifacts.download_artifacts(path, dst_path=str(tmp_path))
        refused_by(partial(client.get_model_version_by_alias, target.model, "latest"))
    act(house, "bot", target.approved(), "promote")
    with house.acting_as("ada") as client:
        house.new_version(client, target.model)
        assert client.get_model_version_by_alias(target.model, "latest").version == "2"
    with house.acting_as("vic") as client:
        assert [v.version for v in client.get_latest_versions(target.model)] == ["1"]
        assert client.get_model_version_by_alias(target.model, "latest").version == "1"
        loaded = mlflow.artifacts.download_artifacts(f"models:/{target.model}/latest", dst_path=str(tmp_path))
        assert (Path(loaded) / "data/weights.bin").read_text() == "a" * 100
    get = house.http("vic").get
    for twin in ("api", "ajax-api"):
        found = get(f"/{twin}/2.0/mlflow/registered-models/get-latest-versions", params={"name": target.model}).json()
        assert [v["version"] for v in found["model_versions"]] == ["1"]


# Approvals used elsewhere


def test_an_approval_is_for_one_version_target_and_request(house: House) -> None:
    model = house.new_model(versions=2)
    approved = house.ask(model, "1", "alias:champion")
    act(house, "sue", approved, "approve")
    with house.acting_as("bot") as client:
        for version, target in (("2", "alias:champion"), ("1", PRODUCTION), ("2", PRODUCTION)):
            assert "needs 1 more approval" in refusal(client, model, version, target).message
    second = house.ask(model, "2", "alias:champion")
    act(house, "sue", second, "approve")
    act(house, "bot", second, "promote")
    assert request_state(house, approved) == "superseded"
    act(house, "bot", approved, "promote", 409)
    again = house.ask(model, "1", "alias:champion")
    assert again["id"] != approved["id"]
    assert again["reviews"] == []
    act(house, "bot", again, "promote", 403)


def test_an_approval_is_not_for_a_model_recreated_under_the_name(house: House) -> None:
    target = bait(house)
    asked = target.approved()
    with house.acting_as("ada") as client:
        client.delete_registered_model(target.model)
        client.create_registered_model(target.model)
        client.create_model_version(target.model, f"runs:/{target.run_id}/model", target.run_id, await_creation_for=0)
    act(house, "bot", asked, "promote", 409)
    with house.acting_as("bot") as client:
        assert "needs 1 more approval" in refusal(client, target.model, "1", PRODUCTION).message
    # Nor if the deletion had not ended it.
    house.sql(f"UPDATE lockgate_requests SET state = 'approved' WHERE id = {asked['id']}")
    assert "renamed or deleted meanwhile" in act(house, "bot", asked, "promote", 409)["message"]


@pytest.mark.parametrize(
    "change",
    [{"active": False}, {"roles": ["viewer"]}, {"roles": ["reviewer:other-*"]}, {"groups": []}],
    ids=["deactivated", "role lost", "role elsewhere", "group left"],
)
def test_standing_counts_at_the_promotion_not_at_the_approval(house: House, change: dict[str, Any]) -> None:
    name = f"lost-{secrets.token_hex(4)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["reviewer"], "groups": ["senior"]})
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    asked = house.ask(house.new_model(), "1", PRODUCTION)
    assert act(house, name, asked, "approve")["state"] == "approved"
    house.call("admin", "PATCH", f"/principals/{name}", change)
    assert "needs 1 more approval" in act(house, "bot", asked, "promote", 403)["message"]
    house.call("admin", "PATCH", f"/principals/{name}", {"active": True, "roles": ["reviewer"], "groups": ["senior"]})
    assert act(house, "bot", asked, "promote")["state"] == "promoted"


@pytest.mark.parametrize("door", ["ours", "mlflow", "databricks request", "databricks transition", "another person"])
def test_what_was_rejected_is_not_asked_for_by_another_door(house: House, door: str) -> None:
    model = house.new_model()
    act(house, "sue", house.ask(model, "1", PRODUCTION), "reject")
    body = {"name": model, "version": "1", "stage": "Production", "archive_existing_versions": True}
    for who in ("ada", "junior", "ci"):
        client = house.http(who)
        match door:
            case "ours" | "another person":
                answer = client.post(
                    "/api/lockgate/v1/requests", json={"model": model, "version": "1", "target": PRODUCTION}
                )
            case "mlflow":
                answer = client.post("/api/2.0/mlflow/model-versions/transition-stage", json=body)
            case "databricks request":
                sent = {key: body[key] for key in ("name", "version", "stage")}
                answer = client.post("/api/2.0/mlflow/transition-requests/create", json=sent)
            case _:
                answer = client.post("/api/2.0/mlflow/databricks/model-versions/transition-stage", json=body)
        assert answer.status_code == 403, answer.text
        assert "sue rejected version 1" in answer.json()["message"]
    approve = {"name": model, "version": "1", "stage": "Production", "archive_existing_versions": True}
    assert house.http("sam").post("/api/2.0/mlflow/transition-requests/approve", json=approve).status_code == 404
    assert len(house.call("vic", "GET", f"/requests?model={model}")["requests"]) == 1
    assert len(refusals(house, model, "promotion.refused")) == 3


def test_breaking_the_glass_for_what_was_rejected_says_so(house: House) -> None:
    model = house.new_model()
    act(house, "sue", house.ask(model, "1", PRODUCTION), "reject")
    body = {"model": model, "version": "1", "target": PRODUCTION, "reason": "fire"}
    for who in ("ada", "bot", "sue"):
        house.call(who, "POST", "/break-glass", body, 403)
    done = house.call("oz", "POST", "/break-glass", body)
    (found,) = [b for b in house.call("sue", "GET", "/break-glass")["break_glass"] if b["id"] == done["break_glass"]]
    assert any("sue rejected version 1" in reason for reason in found["unmet"]), found["unmet"]
