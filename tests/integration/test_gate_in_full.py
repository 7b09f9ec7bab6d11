"""What a policy can ask for beyond one approval, through the real server: modes, datasets, checks, reviews, times."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from tests.house import NO_RULES, ONE_APPROVAL, House
from tests.integration.test_gate import refusal

PRODUCTION, CHAMPION, STAGING = "stage:Production", "alias:champion", "stage:Staging"
FLOOR = "{name: floor, expr: 'metrics.val_auc >= 0.95'}"


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def act(house: House, who: str, asked: dict, what: str, status: int | None = None, **body: Any) -> dict:
    return house.call(who, "POST", f"/requests/{asked['id']}/{what}", body, status)


def look(house: House, asked: dict) -> dict:
    return house.call("vic", "GET", f"/requests/{asked['id']}")


def entries(house: House, model: str, action: str) -> list[dict]:
    found = house.call("admin", "GET", f"/audit?model={model}&max_results=200")["entries"]
    return [entry for entry in found if entry["action"] == action]


def with_gate(gate: str) -> str:
    return ONE_APPROVAL + f"    gates: [{gate}]\n"


# Modes


def test_a_gate_that_warns_or_is_only_audited_refuses_nothing(house: House) -> None:
    warn, audit = FLOOR.replace("}", ", mode: warn}"), FLOOR.replace("floor", "quiet").replace("}", ", mode: audit}")
    house.apply_policy(with_gate(f"{warn}, {audit}"))
    asked = house.ask(house.new_model(auc=0.9), "1", CHAMPION)
    assert [gate["mode"] for gate in asked["gates"]] == ["warn", "audit"]
    assert [gate["outcome"] for gate in asked["gates"]] == ["failed", "failed"]
    (warning,) = asked["warnings"]
    assert "Gate 'floor' failed" in warning
    assert not any("Gate" in reason for reason in asked["unmet"])
    act(house, "sue", asked, "approve")
    assert act(house, "bot", asked, "promote")["state"] == "promoted"


def test_a_rule_in_audit_mode_records_what_it_would_refuse(house: House) -> None:
    audited = with_gate(FLOOR) + "    mode: audit\n"
    house.apply_policy(audited)
    model = house.new_model(versions=2, auc=0.9)
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "champion", "1")
        client.transition_model_version_stage(model, "1", "Production")
    found = entries(house, model, "policy.would_refuse")
    assert {entry["target"] for entry in found} == {CHAMPION, PRODUCTION}
    for entry in found:
        assert entry["after"]["rules"] == ["production"]
        assert "Gate 'floor' failed" in entry["reason"]
        assert "needs 1 more approval" in entry["reason"]
    house.apply_policy(audited + ONE_APPROVAL.partition("rules:\n")[2].replace("name: production", "name: real"))
    house.promote(model, "2", CHAMPION)
    newest = entries(house, model, "policy.would_refuse")[0]
    assert newest["version"] == "2"
    assert "Gate 'floor' failed" in newest["reason"]
    assert newest["request_id"] is not None


@pytest.mark.parametrize(("when", "first", "second"), [("first", False, True), ("replacing", True, False)])
def test_a_gate_for_first_promotions_or_for_replacements(house: House, when: str, first: bool, second: bool) -> None:
    house.apply_policy(with_gate(FLOOR.replace("}", f", when: {when}}}")))
    model = house.new_model(versions=2, auc=0.9)
    asked = house.ask(model, "1", CHAMPION)
    act(house, "sue", asked, "approve")
    assert look(house, asked)["unmet"] == [] if first else "Gate 'floor' failed" in look(house, asked)["unmet"][0]
    house.apply_policy(ONE_APPROVAL)
    act(house, "ada", asked, "withdraw")
    house.promote(model, "1", CHAMPION)
    house.apply_policy(with_gate(FLOOR.replace("}", f", when: {when}}}")))
    asked = house.ask(model, "2", CHAMPION)
    act(house, "sue", asked, "approve")
    act(house, "bot", asked, "promote", None if second else 403)


def test_both_were_measured_on_the_same_dataset(house: House) -> None:
    import pandas

    def version(context: str, value: int) -> str:
        with house.acting_as("ada") as client:
            with mlflow.start_run(experiment_id="0") as run:
                for about, data in ((context, value), ("training", secrets.randbits(30))):
                    mlflow.log_input(mlflow.data.from_pandas(pandas.DataFrame({"a": [data]})), context=about)
            made = client.create_model_version(
                model, f"runs:/{run.info.run_id}/m", run.info.run_id, await_creation_for=0
            )
        return str(made.version)

    house.apply_policy(with_gate("{name: same, same_dataset: {context: evaluation}}"))
    model = house.new_model(versions=0)
    house.promote(model, version("evaluation", 1), CHAMPION)
    outcomes = [
        house.ask(model, version(context, value), CHAMPION)["gates"][0]
        for context, value in (("evaluation", 1), ("evaluation", 2), ("test", 1))
    ]
    assert [gate["outcome"] for gate in outcomes] == ["passed", "failed", "failed"]
    assert "was measured on dataset" in outcomes[1]["explanation"]
    assert "logged no dataset with the context 'evaluation'" in outcomes[2]["explanation"]


# Checks and approvals are about evidence


def test_a_check_is_about_the_evidence_that_was_checked(house: House) -> None:
    house.apply_policy(with_gate("{name: smoke, check: smoke}"))
    model = house.new_model()
    asked = house.ask(model, "1", CHAMPION)
    seen = asked["evidence"]["digest"]
    report = {"model": model, "version": "1", "name": "smoke", "status": "success", "evidence_digest": seen}
    house.call("ci", "POST", "/checks", report)
    assert look(house, asked)["gates"][0]["outcome"] == "passed"
    with house.acting_as("ada") as client:
        client.log_metric(client.get_model_version(model, "1").run_id, "val_auc", 0.91)
    void = look(house, asked)["gates"][0]
    assert (void["outcome"], "evidence that has changed since" in void["explanation"]) == ("pending", True)
    stale = house.call("ci", "POST", "/checks", report, 409)
    assert stale["details"]["evidence_digest"] == look(house, asked)["evidence"]["digest"] != seen
    house.call("ci", "POST", "/checks", {**report, "evidence_digest": stale["details"]["evidence_digest"]})
    assert look(house, asked)["gates"][0]["outcome"] == "passed"


def test_a_dismissed_approval_shows_the_difference_and_its_giver_is_asked_again(house: House) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", CHAMPION)
    act(house, "sue", asked, "approve")
    act(house, "ada", asked, "re-request", 409)  # nobody's approval was dismissed
    with house.acting_as("ada") as client:
        client.log_metric(client.get_model_version(model, "1").run_id, "val_auc", 0.5)
    now = look(house, asked)
    assert now["state"] == "open"
    assert now["reviews"][0]["dismissed"] == "metrics.val_auc was 0.9, is 0.5"
    assert now["asked_reviewers"] == ["sue"]
    (change,) = entries(house, model, "request.evidence_changed")
    assert change["after"]["asked_again"] == ["sue"]
    assert act(house, "junior", asked, "re-request", reviewers=["sam"])["asked_reviewers"] == ["sam", "sue"]
    for name, says in (
        ("ada", "asked for"),
        ("bot", "service account"),
        ("vic", "role reviewer"),
        ("nobody", "no principal"),
    ):
        assert says in act(house, "ada", asked, "re-request", 400, reviewers=[name])["message"]
    act(house, "vic", asked, "re-request", 403, reviewers=["sam"])
    assert act(house, "sue", asked, "approve")["asked_reviewers"] == ["sam"]
    assert act(house, "ada", asked, "re-request")["asked_reviewers"] == ["sam", "sue"]


def test_several_demands_need_as_many_people(house: House) -> None:
    house.apply_policy(
        ONE_APPROVAL.replace(
            "{required: 1, from: [group:senior]}", "[{required: 1, from: [group:senior]}, {required: 2}]"
        )
    )
    asked = house.ask(house.new_model(), "1", CHAMPION)
    for who, left in (("sue", 2), ("sue", 2), ("rex", 1)):
        given = act(house, who, asked, "approve")
        assert given["state"] == "open"
        assert sum(int(reason.partition(" needs ")[2][0]) for reason in given["unmet"]) == left
    assert act(house, "sam", asked, "approve")["state"] == "approved"


# Rejections


def test_a_rejection_stands_until_its_author_or_a_maintainer_lifts_it(house: House) -> None:
    model = house.new_model()
    for lifter in ("sue", "max"):
        asked = house.ask(model, "1", CHAMPION)
        act(house, "sue", asked, "reject", comment="no data sheet")
        for who in ("ada", "junior"):
            answer = house.call(who, "POST", "/requests", {"model": model, "version": "1", "target": CHAMPION}, 403)
            assert "sue rejected version 1" in answer["message"]
            assert "no data sheet" in answer["message"]
            assert answer["details"]["rejected_in"] == asked["id"]
        for who in ("ada", "sam", "rex", "bot", "oz", "vic"):
            assert "only sue or a maintainer" in act(house, who, asked, "lift", 403)["message"]
        act(house, lifter, asked, "lift", comment="there is one now")
        act(house, lifter, asked, "lift", 409)
        assert look(house, asked)["state"] == "rejected"
    assert house.ask(model, "1", CHAMPION)["state"] == "open"
    assert [e["actor"] for e in entries(house, model, "request.rejection_lifted")] == ["max", "sue"]


@pytest.mark.parametrize("protected", [False, True])
def test_a_rejection_unstages_where_the_policy_says_so(house: House, protected: bool) -> None:
    keep, unstage = house.new_model(), house.new_model()
    staging = "  - {name: staging, models: '*', targets: [stage:Staging]}\n" if protected else ""
    for model, rule, after in ((keep, "", "Staging"), (unstage, "    on_rejection: unstage\n", "None")):
        house.apply_policy(ONE_APPROVAL + rule + staging)
        with house.acting_as("ci") as client:
            client.transition_model_version_stage(model, "1", "Staging")
        act(house, "sue", house.ask(model, "1", PRODUCTION), "reject")
        with house.acting_as("vic") as client:
            assert client.get_model_version(model, "1").current_stage == after
    held = house.call("vic", "GET", f"/models/{unstage}/history?target={STAGING}")["history"]
    assert held[0]["to"] is not None


# Times


def test_a_request_lives_as_long_as_the_shortest_rule(house: House) -> None:
    def lifetime() -> timedelta:
        asked = house.ask(house.new_model(), "1", CHAMPION)
        return datetime.fromisoformat(asked["expires_at"]) - datetime.fromisoformat(asked["created_at"])

    assert lifetime() == timedelta(days=7)
    house.apply_policy(ONE_APPROVAL + "    expires_after: 36h\n")
    assert lifetime() == timedelta(hours=36)
    second = "  - {name: other, models: '*', targets: [alias:champion], expires_after: 15m}\n"
    house.apply_policy(ONE_APPROVAL + "    expires_after: 36h\n" + second)
    assert lifetime() == timedelta(minutes=15)


def test_a_one_off_freeze_stops_promotions_until_it_is_lifted(house: House) -> None:
    model, other = house.new_model(), house.new_model()
    asked, others = (house.ask(name, "1", CHAMPION) for name in (model, other))
    for one in (asked, others):
        act(house, "sue", one, "approve")
    at = datetime.now(UTC)
    body = {"models": model, "target": CHAMPION, "to": (at + timedelta(hours=1)).isoformat(), "reason": "audit day"}
    for who in ("ada", "sue", "bot", "vic"):
        house.call(who, "POST", "/freezes", body, 403)
    house.call("oz", "POST", "/freezes", {**body, "reason": " "}, 400)
    house.call("oz", "POST", "/freezes", {**body, "to": (at - timedelta(hours=1)).isoformat()}, 400)
    coming = {**body, "from": (at + timedelta(minutes=30)).isoformat()}
    later = house.call("max", "POST", "/freezes", {**coming, "models": other})
    made = house.call("oz", "POST", "/freezes", body)
    assert {made["id"], later["id"]} <= {f["id"] for f in house.call("vic", "GET", "/freezes")["freezes"]}
    assert "audit day" in act(house, "bot", asked, "promote", 403)["message"]
    with house.acting_as("bot") as client:
        assert "audit day" in refusal(client, model, "1", CHAMPION).message
    act(house, "bot", others, "promote")
    house.call("bot", "DELETE", f"/freezes/{made['id']}", None, 403)
    house.call("oz", "DELETE", f"/freezes/{made['id']}")
    house.call("oz", "DELETE", f"/freezes/{made['id']}", None, 409)
    act(house, "bot", asked, "promote")
    house.call("max", "DELETE", f"/freezes/{later['id']}")


def test_what_no_rule_protects_is_held_but_not_frozen(house: House) -> None:
    house.apply_policy(NO_RULES)
    model = house.new_model(versions=2)
    frozen = {"models": model, "to": "2100-01-01T00:00:00Z", "reason": "the year is over"}
    house.call("oz", "POST", "/freezes", frozen)
    house.call("oz", "POST", "/holds", {"model": model, "version": "2", "reason": "odd"})
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "champion", "1")
        with pytest.raises(MlflowException, match="is on hold"):
            client.set_registered_model_alias(model, "champion", "2")
    asked = house.ask(model, "2", "alias:champion")
    refused = house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, status=403)
    assert "is on hold" in refused["message"]
