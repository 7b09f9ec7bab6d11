"""What happens when an unmodified mlflow client meets a closed target."""

from functools import partial

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.house import NO_RULES, ONE_APPROVAL, House

STAGING_BY_GATES = """\
version: 1
rules:
  - name: staging
    models: "*"
    targets: [stage:Staging]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.80"}
"""


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def refusal(client: MlflowClient, model: str, version: str, target: str) -> MlflowException:
    """Try to move a target as stock MLflow would, and return the error."""
    kind, _, name = target.partition(":")
    move = (
        partial(client.transition_model_version_stage, model, version, name)
        if kind == "stage"
        else partial(client.set_registered_model_alias, model, name, version)
    )
    with pytest.raises(MlflowException) as refused:
        move()
    return refused.value


@pytest.mark.parametrize("target", ["stage:Production", "stage:production", "alias:champion"])
def test_a_refusal_opens_one_request_and_says_what_is_missing(house: House, target: str) -> None:
    model = house.new_model()
    with house.acting_as("junior") as client:
        errors = [refusal(client, model, "1", target) for _ in range(3)]
        assert client.get_model_version(model, "1").current_stage == "None"
        assert client.get_registered_model(model).aliases == {}
    assert {(e.error_code, e.get_http_status_code()) for e in errors} == {("PERMISSION_DENIED", 403)}
    assert len({e.message for e in errors}) == 1
    (found,) = house.call("vic", "GET", f"/requests?model={model}")["requests"]
    assert (found["requester"], found["state"]) == ("junior", "open")
    assert found["target"].lower() == target.lower()
    for said in (*found["unmet"], found["url"], f"request {found['id']}", "needs the role releaser"):
        assert said in errors[0].message


@pytest.mark.parametrize("target", ["stage:Production", "alias:champion"])
def test_the_same_call_promotes_once_it_is_approved(house: House, target: str) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", target)
    with house.acting_as("bot") as client:
        assert "needs 1 more approval" in refusal(client, model, "1", target).message
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {"comment": "fine"})
    with house.acting_as("junior") as client:
        assert "needs the role releaser" in refusal(client, model, "1", target).message
    with house.acting_as("bot") as client:
        if target == "stage:Production":
            moved = client.transition_model_version_stage(model, "1", "Production")
            assert moved.current_stage == "Production"
        else:
            client.set_registered_model_alias(model, "champion", "1")
            assert client.get_model_version_by_alias(model, "champion").version == "1"
    assert house.call("vic", "GET", f"/requests/{asked['id']}")["state"] == "promoted"


def test_moving_to_where_it_is_changes_nothing(house: House) -> None:
    model = house.new_model()
    house.promote(model, "1", "stage:Production")
    with house.acting_as("junior") as client:
        client.transition_model_version_stage(model, "1", "Production")
        assert client.get_model_version(model, "1").current_stage == "Production"
    with house.acting_as("bot") as client:
        client.transition_model_version_stage(model, "1", "Production")
    assert len(house.call("vic", "GET", f"/requests?model={model}")["requests"]) == 1


def test_a_promotion_archives_the_predecessor_whatever_the_client_asks(house: House) -> None:
    model = house.new_model(versions=2)
    house.promote(model, "1", "stage:Production")
    asked = house.ask(model, "2", "stage:Production")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    with house.acting_as("bot") as client:
        client.transition_model_version_stage(model, "2", "Production", archive_existing_versions=False)
        stages = {v.version: v.current_stage for v in client.search_model_versions(f"name='{model}'")}
    assert stages == {"1": "Archived", "2": "Production"}


def test_where_gates_are_all_that_is_asked_ci_moves_in_one_call(house: House) -> None:
    house.apply_policy(STAGING_BY_GATES)
    model = house.new_model(versions=1, auc=0.9, by="ci")
    with house.acting_as("ci") as client:
        house.new_version(client, model, auc=0.71)
        client.transition_model_version_stage(model, "1", "Staging")
        message = refusal(client, model, "2", "stage:Staging").message
    assert "Gate 'auc-floor' failed: metrics.val_auc >= 0.80 does not hold: metrics.val_auc is 0.71." in message
    with house.acting_as("junior") as client:
        assert "releaser" in refusal(client, model, "2", "stage:Staging").message


def test_closed_targets_are_left_only_by_those_who_may_carry_out(house: House) -> None:
    model = house.new_model(versions=2)
    for target in ("stage:Production", "alias:champion"):
        house.promote(model, "1", target)
    with house.acting_as("ada") as client:
        for attempt in (
            lambda: client.transition_model_version_stage(model, "1", "Archived"),
            lambda: client.transition_model_version_stage(model, "1", "Staging"),
            lambda: client.delete_registered_model_alias(model, "champion"),
            lambda: client.delete_model_version(model, "1"),
            lambda: client.delete_registered_model(model),
        ):
            with pytest.raises(MlflowException) as refused:
                attempt()
            assert refused.value.error_code == "PERMISSION_DENIED"
        assert client.get_model_version(model, "1").aliases == ["champion"]
    with house.acting_as("bot") as client:
        client.transition_model_version_stage(model, "1", "Archived")
        client.delete_registered_model_alias(model, "champion")
    ended = house.call("vic", "GET", f"/models/{model}/history")["history"]
    assert all(held["to"] is not None for held in ended)
    with house.acting_as("ada") as client:
        client.delete_model_version(model, "1")


def test_a_releaser_needs_no_other_role(house: House) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", "stage:Production")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    with house.acting_as("relay") as client:
        for _ in range(2):
            client.transition_model_version_stage(model, "1", "Production")
        with pytest.raises(MlflowException, match="needs the role contributor"):
            client.set_registered_model_alias(model, "shadow", "1")
        client.transition_model_version_stage(model, "1", "Archived")
        assert client.get_model_version(model, "1").current_stage == "Archived"


def test_what_no_rule_names_moves_as_in_stock_mlflow(house: House) -> None:
    model = house.new_model(versions=2)
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "challenger", "2")
        client.set_registered_model_alias(model, "challenger", "1")
        client.transition_model_version_stage(model, "1", "Staging")
        client.transition_model_version_stage(model, "2", "Staging")
        assert client.get_model_version(model, "1").current_stage == "Staging"
        client.transition_model_version_stage(model, "1", "Staging", archive_existing_versions=True)
        assert client.get_model_version(model, "2").current_stage == "Archived"
        client.delete_registered_model_alias(model, "challenger")
    held = [
        (h["target"], h["version"], h["to"] is None, h["how"])
        for h in house.call("vic", "GET", f"/models/{model}/history")["history"]
    ]
    assert held == [
        ("alias:challenger", "2", False, "direct"),
        ("alias:challenger", "1", False, "direct"),
        ("stage:Staging", "1", True, "direct"),
        ("stage:Staging", "2", False, "direct"),
    ]


@pytest.mark.parametrize("alias", ["Champion", "champ1on", "\u0441hampion", "champion\n"])
def test_aliases_that_look_like_a_closed_one_are_refused(house: House, alias: str) -> None:
    model = house.new_model()
    with house.acting_as("ada") as client:
        error = refusal(client, model, "1", f"alias:{alias}")
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "could be taken for the protected alias 'champion'" in error.message


def test_a_closed_target_is_closed_to_models_that_no_rule_covers(house: House) -> None:
    house.apply_policy(ONE_APPROVAL.replace('"*"', '"payments-*"'))
    model = house.new_model()
    with house.acting_as("ada") as client:
        assert "no rule of the policy covers" in refusal(client, model, "1", "alias:champion").message
    answer = house.call("ada", "POST", "/requests", {"model": model, "version": "1", "target": "alias:champion"}, 403)
    assert answer["error_code"] == "PERMISSION_DENIED"
    assert house.call("vic", "GET", f"/requests?model={model}")["requests"] == []


def test_no_rules_protect_nothing(house: House) -> None:
    house.apply_policy(NO_RULES)
    model = house.new_model(versions=2)
    with house.acting_as("junior") as client:
        client.transition_model_version_stage(model, "1", "Production")
        client.transition_model_version_stage(model, "2", "Production")
        assert client.get_model_version(model, "1").current_stage == "Production"
        client.set_registered_model_alias(model, "champion", "1")


def test_a_request_opened_without_rules_does_not_outlive_their_coming(house: House) -> None:
    house.apply_policy(NO_RULES)
    model = house.new_model()
    asked = house.ask(model, "1", "alias:champion", by="ci")
    house.apply_policy(ONE_APPROVAL)
    refused = house.call("ci", "POST", f"/requests/{asked['id']}/promote", {}, status=403)
    assert "is protected now" in refused["message"]


def test_a_model_that_serves_is_not_renamed(house: House) -> None:
    model = house.new_model()
    with house.acting_as("ada") as client:
        client.rename_registered_model(model, f"{model}-2")
    house.promote(f"{model}-2", "1", "alias:champion")
    with house.acting_as("ada") as client, pytest.raises(MlflowException) as refused:
        client.rename_registered_model(f"{model}-2", model)
    assert refused.value.error_code == "PERMISSION_DENIED"
    assert "holds alias:champion" in refused.value.message
    with house.acting_as("bot") as client:
        client.delete_registered_model_alias(f"{model}-2", "champion")
        client.rename_registered_model(f"{model}-2", model)


def test_nothing_about_staging_leaves_production_empty(house: House) -> None:
    house.apply_policy(ONE_APPROVAL.replace("[stage:Production,", "[stage:Staging, stage:Production,"))
    model = house.new_model(versions=2)
    for version, target in (("1", "stage:Staging"), ("2", "stage:Staging"), ("1", "stage:Production")):
        house.promote(model, version, target)
    body = {"target": "stage:Staging", "reason": "back"}
    refused = house.call("oz", "POST", f"/models/{model}/rollback", body, 409)
    assert "would leave production empty" in refused["message"]
    with house.acting_as("oz") as client:
        error = refusal(client, model, "1", "stage:Staging")
        assert error.error_code == "RESOURCE_CONFLICT"
        assert client.get_model_version(model, "1").current_stage == "Production"


def test_deleting_and_recreating_a_model_inherits_nothing(house: House) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", "stage:Production")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    with house.acting_as("ada") as client:
        client.delete_registered_model(model)
    house.new_model(model, by="junior")
    with house.acting_as("bot") as client:
        assert "needs 1 more approval" in refusal(client, model, "1", "stage:Production").message
    assert house.call("vic", "GET", f"/requests/{asked['id']}")["state"] == "withdrawn"
    refused = house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, status=409)
    assert "withdrawn" in refused["message"]


def test_viewers_change_nothing(house: House) -> None:
    model = house.new_model()
    with house.acting_as("vic") as client:
        for attempt in (
            lambda: client.create_registered_model("vics"),
            lambda: client.set_registered_model_tag(model, "a", "b"),
            lambda: client.set_registered_model_alias(model, "champion", "1"),
            lambda: client.set_registered_model_alias(model, "shadow", "1"),
            lambda: client.create_run("0"),
            lambda: client.create_experiment("vics"),
            lambda: client.update_model_version(model, "1", "x"),
        ):
            with pytest.raises(MlflowException) as refused:
                attempt()
            assert refused.value.error_code == "PERMISSION_DENIED"
        assert client.get_registered_model(model).name == model
    assert house.call("vic", "GET", f"/requests?model={model}")["requests"] == []
