"""Who may approve, what approvals are worth, and how requests end."""

import pytest
from mlflow.exceptions import MlflowException

from tests.house import ONE_APPROVAL, House


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def act(house: House, who: str, request: dict, what: str, status: int | None = None) -> dict:
    return house.call(who, "POST", f"/requests/{request['id']}/{what}", {"comment": f"{what} by {who}"}, status)


def test_nobody_approves_their_own_work(house: House) -> None:
    """sue is a senior with the role reviewer, and each time she has a hand in it."""
    with house.acting_as("ada") as client:
        run = client.create_run("0", tags={"mlflow.user": "sue"})  # anybody can write that
        client.log_metric(run.info.run_id, "val_auc", 0.9)
    with house.acting_as("sue") as client:
        seniors_run = client.create_run("0")

    def registered(by: str, run_id: str) -> str:
        name = f"{by}-{run_id}"
        with house.acting_as(by) as client:
            client.create_registered_model(name)
            client.create_model_version(name, f"runs:/{run_id}/model", run_id, await_creation_for=0)
        return name

    asked_by_her = house.ask(registered("junior", run.info.run_id), "1", "stage:Production", by="sue")
    refused = act(house, "sue", asked_by_her, "approve", 403)
    assert "asked for this promotion" in refused["message"]

    registered_by_her = house.ask(registered("sue", run.info.run_id), "1", "stage:Production")
    refused = act(house, "sue", registered_by_her, "approve", 403)
    assert "registered this version" in refused["message"]
    refused = act(house, "sue", registered_by_her, "reject", 403)

    her_run = house.ask(registered("ada", seniors_run.info.run_id), "1", "stage:Production")
    refused = act(house, "sue", her_run, "approve", 403)
    assert "had a hand in the run" in refused["message"]
    assert act(house, "sam", her_run, "approve")["state"] == "approved"

    # What MLflow's own field says is nobody's word.
    approved = act(house, "sue", house.ask(f"junior-{run.info.run_id}", "1", "alias:champion"), "approve")
    assert approved["state"] == "approved"


@pytest.mark.parametrize("logs", ["metric", "tag", "param", "artifact", "input"])
def test_whoever_logs_to_the_run_has_a_hand_in_it(house: House, logs: str, tmp_path) -> None:
    with house.acting_as("ada") as client:
        run = client.create_run("0").info
    with house.acting_as("sue") as client:
        match logs:
            case "metric":
                client.log_metric(run.run_id, "val_auc", 0.99)
            case "tag":
                client.set_tag(run.run_id, "data_version", "v1")
            case "param":
                client.log_param(run.run_id, "trees", 5)
            case "artifact":
                (tmp_path / "MLmodel").write_text("{}")
                client.log_artifact(run.run_id, str(tmp_path / "MLmodel"), "model")
            case "input":
                house.http("sue").post(
                    "/ajax-api/2.0/mlflow/runs/log-inputs",
                    json={
                        "run_id": run.run_id,
                        "datasets": [{"dataset": {"name": "d", "digest": "1", "source_type": "s", "source": "s"}}],
                    },
                ).raise_for_status()
    name = f"touched-{run.run_id}"
    with house.acting_as("ada") as client:
        client.create_registered_model(name)
        client.create_model_version(name, f"runs:/{run.run_id}/model", run.run_id, await_creation_for=0)
    refused = act(house, "sue", house.ask(name, "1", "stage:Production"), "approve", 403)
    assert "had a hand in the run" in refused["message"]


@pytest.mark.parametrize(
    ("who", "says"),
    [("bot", "service account"), ("vic", "needs the role reviewer"), ("max", "needs the role reviewer")],
)
def test_others_can_not_approve(house: House, who: str, says: str) -> None:
    asked = house.ask(house.new_model(), "1", "stage:Production")
    assert says in act(house, who, asked, "approve", 403)["message"]
    assert house.call("vic", "GET", f"/requests/{asked['id']}")["reviews"] == []


def test_a_reviewer_whom_the_policy_does_not_name_does_not_count(house: House) -> None:
    asked = house.ask(house.new_model(), "1", "stage:Production")
    given = act(house, "rex", asked, "approve")
    assert given["state"] == "open"
    assert "from group:senior" in given["unmet"][0]
    assert act(house, "sue", asked, "approve")["state"] == "approved"


def test_approvals_are_about_the_evidence_that_was_seen(house: House) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", "stage:Production")
    act(house, "sue", asked, "approve")
    with house.acting_as("ada") as client:
        run_id = client.get_model_version(model, "1").run_id
        client.log_metric(run_id, "val_auc", 0.2)
    refused = act(house, "bot", asked, "promote", 403)
    assert "metrics.val_auc was 0.9, is 0.2" in refused["message"]
    assert "needs 1 more approval" in refused["message"]
    assert refused["details"]["request_id"] == asked["id"]
    again = act(house, "sam", asked, "approve")
    assert again["evidence"]["metrics"]["val_auc"] == 0.2
    assert act(house, "bot", asked, "promote")["state"] == "promoted"


def test_nobody_approves_what_they_have_not_seen(house: House) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", "stage:Production")
    seen = asked["evidence"]["digest"]

    def change(value: float) -> None:
        with house.acting_as("ada") as client:
            client.log_metric(client.get_model_version(model, "1").run_id, "val_auc", value)

    change(0.5)
    refused = act(house, "sue", asked, "approve", 409)
    assert refused["details"]["changes"] == ["metrics.val_auc was 0.9, is 0.5"]
    assert "metrics.val_auc was 0.9, is 0.5" in refused["message"]
    path = f"/requests/{asked['id']}/approve"
    house.call("sue", "POST", path, {"evidence_digest": seen}, 409)

    change(0.4)
    now = house.call("sue", "GET", f"/requests/{asked['id']}")
    assert now["evidence"]["metrics"]["val_auc"] == 0.4
    approved = house.call("sue", "POST", path, {"evidence_digest": now["evidence"]["digest"]})
    assert approved["state"] == "approved"

    change(0.3)
    looked = house.call("vic", "GET", f"/requests/{asked['id']}")
    assert looked["state"] == "open"
    assert "sue approved, but evidence or standing has changed since" in looked["unmet"][0]


@pytest.mark.parametrize("source", ["runs:/RUN/model", "mlflow-artifacts:/0/RUN/artifacts/model"])
def test_the_signature_is_read_wherever_the_version_says_it_is(house: House, source: str, tmp_path) -> None:
    house.apply_policy(ONE_APPROVAL + "    gates: [{name: signed, requires: {signature: true}}]\n")
    file = tmp_path / "MLmodel"
    with house.acting_as("ada") as client:
        run_id = client.create_run("0").info.run_id
        file.write_text("signature: {inputs: '[1]'}")
        client.log_artifact(run_id, str(file), "model")
        model = f"signed-{run_id}"
        client.create_registered_model(model)
        client.create_model_version(model, source.replace("RUN", run_id), run_id, await_creation_for=0)
    asked = house.ask(model, "1", "alias:champion")
    assert asked["gates"][0]["outcome"] == "passed"
    act(house, "sue", asked, "approve")
    kept = house.folder / f"mlartifacts/0/{run_id}/artifacts/model/MLmodel"
    kept.write_text("signature: {inputs: '[2]'}")  # behind the server's back: it lets nobody change approved files
    assert "signature.inputs was [1], is [2]" in act(house, "bot", asked, "promote", 403)["message"]


def test_standing_is_that_of_the_moment(house: House) -> None:
    asked = house.ask(house.new_model(), "1", "stage:Production")
    house.call("admin", "POST", "/principals", {"name": "leaver", "roles": ["reviewer"], "groups": ["senior"]})
    made = house.call("admin", "POST", "/tokens", {"principal": "leaver"})
    house.tokens["leaver"] = made["token"]
    assert act(house, "leaver", asked, "approve")["state"] == "approved"
    house.call("admin", "PATCH", "/principals/leaver", {"active": False})
    assert "needs 1 more approval" in act(house, "bot", asked, "promote", 403)["message"]
    house.call("leaver", "GET", "/requests", status=401)
    house.call("admin", "PATCH", "/principals/leaver", {"active": True, "roles": ["viewer"]})
    assert "needs 1 more approval" in act(house, "bot", asked, "promote", 403)["message"]


def test_requests_end_once(house: House) -> None:
    model = house.new_model(versions=3)
    rejected = house.ask(model, "1", "stage:Production")
    assert act(house, "sue", rejected, "reject")["state"] == "rejected"
    for what in ("approve", "reject", "promote", "withdraw"):
        who = "ada" if what == "withdraw" else "sue" if what != "promote" else "bot"
        assert "is rejected" in act(house, who, rejected, what, 409)["message"]

    withdrawn = house.ask(model, "2", "stage:Production")
    assert "only ada or a maintainer" in act(house, "junior", withdrawn, "withdraw", 403)["message"]
    assert act(house, "ada", withdrawn, "withdraw")["state"] == "withdrawn"
    assert act(house, "max", house.ask(model, "2", "stage:Production"), "withdraw")["state"] == "withdrawn"


def test_one_wins_and_the_other_is_told_who(house: House) -> None:
    model = house.new_model(versions=2)
    first, second = (house.ask(model, version, "stage:Production") for version in "12")
    for asked in (first, second):
        act(house, "sue", asked, "approve")
    act(house, "bot", first, "promote")
    lost = act(house, "bot", second, "promote", 409)
    assert lost["error_code"] == "RESOURCE_CONFLICT"
    assert f"Version 1 took stage:Production first (request {first['id']}, by bot)" in lost["message"]
    assert house.call("vic", "GET", f"/requests/{second['id']}")["state"] == "superseded"
    refused = house.call(
        "bot", "POST", "/requests", {"model": model, "version": "1", "target": "stage:Production"}, 409
    )
    assert "holds stage:Production already" in refused["message"]


def test_the_last_approval_promotes_where_the_policy_says_so(house: House) -> None:
    house.apply_policy(ONE_APPROVAL + "    promote: {on: approval}\n")
    model = house.new_model()
    asked = house.ask(model, "1", "alias:champion")
    assert asked["state"] == "open"
    assert act(house, "sue", asked, "approve")["state"] == "promoted"
    with house.acting_as("vic") as client:
        assert client.get_model_version_by_alias(model, "champion").version == "1"


def test_requests_expire(house: House) -> None:
    house.apply_policy(ONE_APPROVAL + "    expires_after: 1h\n")
    model = house.new_model()
    asked = house.ask(model, "1", "alias:champion")
    act(house, "sue", asked, "approve")
    house.sql(f"UPDATE lockgate_requests SET expires_at = created_at WHERE id = {asked['id']}")
    # Nobody has looked at it since.
    assert "expired" in act(house, "bot", asked, "promote", 409)["message"]
    assert house.call("vic", "GET", f"/requests/{asked['id']}")["state"] == "expired"
    assert house.call("vic", "GET", f"/requests?model={model}")["requests"][0]["state"] == "expired"
    with house.acting_as("bot") as client, pytest.raises(MlflowException, match="PERMISSION_DENIED"):
        client.set_registered_model_alias(model, "champion", "1")


def test_a_freeze_window_stops_promotions_but_no_rollback(house: House) -> None:
    model = house.new_model(versions=3)
    for version in "12":
        house.promote(model, version, "alias:champion")
    house.apply_policy(ONE_APPROVAL + "    freeze: [{name: always, from: 'Mon 00:00', to: 'Mon 00:00'}]\n")
    asked = house.ask(model, "3", "alias:champion")
    act(house, "sue", asked, "approve")
    assert "freeze window 'always'" in act(house, "bot", asked, "promote", 403)["message"]
    decision = house.call("oz", "POST", f"/models/{model}/rollback", {"target": "alias:champion", "reason": "bad"})
    assert (decision["version"], decision["previous_version"]) == ("1", "2")


def test_rollback_is_for_operators_with_a_reason_and_something_to_go_back_to(house: House) -> None:
    model = house.new_model(versions=2)
    path, body = f"/models/{model}/rollback", {"target": "stage:Production", "reason": "users complain"}
    assert "Nothing served" in house.call("oz", "POST", path, body, 409)["message"]
    house.promote(model, "1", "stage:Production")
    house.promote(model, "2", "stage:Production")
    assert "needs the role operator" in house.call("bot", "POST", path, body, 403)["message"]
    assert "needs a reason" in house.call("oz", "POST", path, {**body, "reason": " "}, 400)["message"]
    assert house.call("oz", "POST", path, body)["version"] == "1"
    assert "nothing to go back to" in house.call("oz", "POST", path, body, 409)["message"]
    held = house.call("vic", "GET", f"/models/{model}/history?target=stage:Production")["history"]
    assert [(h["version"], h["how"], h["by"], h["approved_by"]) for h in held] == [
        ("1", "promotion", "bot", ["sue"]),
        ("2", "promotion", "bot", ["sue"]),
        ("1", "rollback", "oz", ["sue"]),
    ]
    assert held[2]["reason"] == "users complain"
    then = held[1]["from"]
    at = house.call("vic", "GET", f"/models/{model}/history?target=stage:Production&at={then}")["history"]
    assert [h["version"] for h in at] == ["2"]


def test_checks_count_from_ci_and_not_from_the_author(house: House) -> None:
    house.apply_policy(ONE_APPROVAL + "    gates: [{name: smoke, check: smoke-test}]\n")
    model = house.new_model()
    asked = house.ask(model, "1", "alias:champion")
    assert asked["gates"][0]["outcome"] == "pending"

    def outcome_after(who: str, status: str) -> str:
        check = {"model": model, "version": 1, "name": "smoke-test", "status": status, "metrics": {"lift": 0.1}}
        house.call(who, "POST", "/checks", check)
        return house.call("vic", "GET", f"/requests/{asked['id']}")["gates"][0]["outcome"]

    assert outcome_after("ada", "success") == "pending"
    assert outcome_after("ci", "failure") == "failed"
    assert outcome_after("ci", "pending") == "pending"
    assert outcome_after("ci", "success") == "passed"
    house.call("vic", "POST", "/checks", {"model": model, "version": 1, "name": "smoke-test", "status": "success"}, 403)


def test_requests_are_listed_in_pages(house: House) -> None:
    model = house.new_model(versions=5)
    asked = [house.ask(model, str(v), "stage:Production")["id"] for v in range(1, 6)]
    seen, token = [], ""
    while token is not None:
        page = house.call(
            "vic",
            "GET",
            f"/requests?model={model}&max_results=2&page_token={token}"
            if token
            else f"/requests?model={model}&max_results=2",
        )
        seen += [r["id"] for r in page["requests"]]
        token = page["next_page_token"]
    assert seen == asked[::-1]
    act(house, "sue", {"id": asked[0]}, "approve")
    assert [r["id"] for r in house.call("vic", "GET", f"/requests?model={model}&reviewer=sue")["requests"]] == asked[:1]
    assert [r["id"] for r in house.call("vic", "GET", f"/requests?model={model}&state=approved")["requests"]] == asked[
        :1
    ]
