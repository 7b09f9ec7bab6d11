"""Trying a policy on what has happened, before it is in force."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.house import NO_RULES, ONE_APPROVAL, House

FLOOR = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [stage:Production, alias:champion]
    gates: [{name: auc-floor, expr: "metrics.val_auc >= 0.85"}]
"""
BETTER = FLOOR.replace("metrics.val_auc >= 0.85", "incumbent == null || metrics.val_auc > incumbent.metrics.val_auc")
CHECKED = FLOOR.replace('expr: "metrics.val_auc >= 0.85"', "check: smoke-test")
SOAKED = FLOOR.replace('expr: "metrics.val_auc >= 0.85"', "soak: {target: stage:Staging, for: SPAN}")
TWO_APPROVALS = ONE_APPROVAL.replace("required: 1", "required: 2")
AUDITED = FLOOR + "    mode: audit\n"


@pytest.fixture(autouse=True)
def policy(house: House) -> Iterator[None]:
    """Nothing is protected, and afterwards everything is as other tests expect it."""
    house.apply_policy(NO_RULES)
    yield
    house.apply_policy(ONE_APPROVAL)


def tried(house: House, source: str | None, model: str | None, by: str = "vic", **more: Any) -> dict[str, Any]:
    """Simulate a policy."""
    body = {"source": source, "model": model, **more}
    found: dict[str, Any] = house.call(by, "POST", "/policies/simulate", body)
    return found


def move(house: House, model: str, version: str, stage: str = "Production") -> None:
    with house.acting_as("ada") as client:
        client.transition_model_version_stage(model, version, stage, archive_existing_versions=True)


def outcomes(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return version and outcome of each move, oldest first."""
    return [(one["version"], one["outcome"]) for one in reversed(found["moves"])]


def new_model(house: House, *aucs: float) -> str:
    model = house.new_model(auc=aucs[0])
    with house.acting_as("ada") as client:
        for auc in aucs[1:]:
            house.new_version(client, model, auc)
    return model


def test_direct_moves_are_judged_with_the_numbers(house: House) -> None:
    model = new_model(house, 0.9, 0.8)
    move(house, model, "1")
    move(house, model, "2")
    found = tried(house, FLOOR, model)
    assert outcomes(found) == [("1", "allowed"), ("2", "refused")]
    bad, good = found["moves"]
    assert bad["unmet"] == ["Gate 'auc-floor' failed: metrics.val_auc >= 0.85 does not hold: metrics.val_auc is 0.8."]
    assert (bad["how"], bad["by"], bad["evidence"], bad["target"]) == ("direct", "ada", "now", "stage:Production")
    assert (good["unmet"], bad["audited"], found["cut"]) == ([], [], False)
    assert found["totals"] == {
        "moves": 2, "allowed": 1, "refused": 1, "exempt": 0, "audited": 0, "left_out": 0,
        "refused_by": [{"rule": "production", "name": "auc-floor", "moves": 1}],
    }  # fmt: skip
    everything = tried(house, FLOOR, None, max_results=1)
    assert (len(everything["moves"]), everything["cut"]) == (1, True)


def test_it_changes_nothing(house: House) -> None:
    model = new_model(house, 0.8)
    move(house, model, "1")
    before = house.call("vic", "GET", f"/audit?model={model}")
    version = house.call("vic", "GET", "/policies")["version"]
    tried(house, FLOOR, model)
    assert house.call("vic", "GET", f"/audit?model={model}") == before
    assert house.call("vic", "GET", "/policies")["version"] == version


def test_each_move_is_compared_with_its_own_incumbent(house: House) -> None:
    model = new_model(house, 0.8, 0.9, 0.85)
    for version in ("1", "2", "3", "1"):
        move(house, model, version)
    assert outcomes(tried(house, BETTER, model)) == [
        ("1", "allowed"), ("2", "allowed"), ("3", "refused"), ("1", "refused"),
    ]  # fmt: skip


def test_approvals_of_then_count(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    house.promote(model, "1", "stage:Production")
    house.apply_policy(NO_RULES)
    one, two = tried(house, ONE_APPROVAL, model), tried(house, TWO_APPROVALS, model)
    assert outcomes(one) == [("1", "allowed")]
    assert (one["moves"][0]["evidence"], one["moves"][0]["how"]) == ("frozen", "promotion")
    assert outcomes(two) == [("1", "refused")]
    assert "needs 1 more approval" in two["moves"][0]["unmet"][0]
    assert "(1 of 2 given)" in two["moves"][0]["unmet"][0]
    assert two["totals"]["refused_by"] == [{"rule": "production", "name": "approvals", "moves": 1}]


def test_evidence_is_as_it_was_when_it_was_approved(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(auc=0.8)
    house.promote(model, "1", "stage:Production")
    with house.acting_as("ada") as client:
        client.log_metric(client.get_model_version(model, "1").run_id, "val_auc", 0.99)
    assert outcomes(tried(house, FLOOR, model)) == [("1", "refused")]


def test_a_check_that_was_reported_later_does_not_count(house: House) -> None:
    model = new_model(house, 0.9, 0.9)
    report = {"model": model, "name": "smoke-test", "status": "success"}
    move(house, model, "1")
    house.call("ci", "POST", "/checks", {**report, "version": "1"})
    house.call("ci", "POST", "/checks", {**report, "version": "2"})
    move(house, model, "2")
    house.call("ci", "POST", "/checks", {**report, "version": "2", "status": "failure"})
    found = tried(house, CHECKED, model)
    assert outcomes(found) == [("1", "refused"), ("2", "allowed")]
    assert "has not been reported" in found["moves"][1]["unmet"][0]


def test_soak_is_counted_until_the_move(house: House) -> None:
    model = new_model(house, 0.9, 0.9)
    move(house, model, "1", "Staging")
    time.sleep(1.1)
    move(house, model, "1")
    move(house, model, "2")
    for span, first in (("1d", "refused"), ("1s", "allowed")):
        found = tried(house, SOAKED.replace("SPAN", span), model)
        moves = [one for one in reversed(found["moves"]) if one["target"] == "stage:Production"]
        assert [one["outcome"] for one in moves] == [first, "refused"]
        assert span == "1s" or "version 1 has been in stage:Staging for 1 s of 1 d" in moves[0]["unmet"][0]
        assert "version 2 is not in stage:Staging" in moves[1]["unmet"][0]


def test_freeze_windows_of_then(house: House) -> None:
    model = new_model(house, 0.9)
    move(house, model, "1")
    at = datetime.fromisoformat(tried(house, NO_RULES, model)["moves"][0]["at"]).astimezone(UTC)
    for ahead, outcome in ((-1, "refused"), (2, "allowed")):
        start, end = (at + timedelta(hours=ahead + hours) for hours in (0, 2))
        window = f"{{name: friday, from: '{start:%a %H:%M}', to: '{end:%a %H:%M}'}}"
        found = tried(house, FLOOR + f"    freeze: [{window}]\n", model)
        assert outcomes(found) == [("1", outcome)]
    assert "freeze" not in {part["name"] for part in found["totals"]["refused_by"]}


def test_a_rollback_is_exempt_unless_a_freeze_binds_it(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    for version in ("1", "2"):
        house.promote(model, version, "stage:Production")
    house.call("oz", "POST", f"/models/{model}/rollback", {"target": "stage:Production", "reason": "errors"})
    found = tried(house, TWO_APPROVALS, model)
    assert outcomes(found) == [("1", "refused"), ("2", "refused"), ("1", "exempt")]
    assert (found["moves"][0]["how"], found["totals"]["exempt"]) == ("rollback", 1)
    always = "    freeze: [{name: always, from: 'Mon 00:00', to: 'Mon 00:00'}]\n"
    bound = tried(house, ONE_APPROVAL + always + "    rollback: {respects_freeze: true}\n", model)
    assert outcomes(bound)[-1] == ("1", "refused")


def test_a_broken_glass_is_exempt(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    body = {"model": model, "version": "1", "target": "stage:Production", "reason": "all is down"}
    house.call("oz", "POST", "/break-glass", body)
    (moved,) = tried(house, TWO_APPROVALS, model)["moves"]
    assert (moved["how"], moved["outcome"], moved["by"]) == ("break-glass", "exempt", "oz")


def test_what_no_rule_is_about(house: House) -> None:
    model = new_model(house, 0.8)
    move(house, model, "1", "Staging")
    move(house, model, "1")
    elsewhere = FLOOR.replace('"*"', '"somebody-elses-*"')
    open_, closed = reversed(tried(house, elsewhere, model)["moves"])
    assert (open_["outcome"], open_["evidence"]) == ("allowed", None)
    assert closed["outcome"] == "refused"
    assert "no rule of the policy covers the model" in closed["unmet"][0]
    found = tried(house, elsewhere + "    mode: audit\n", model)
    assert found["moves"][0]["audited"] == found["moves"][0]["unmet"] != []
    assert found["totals"]["refused_by"] == [{"rule": "", "name": "uncovered", "moves": 1}]


def test_rules_in_audit_mode_let_it_go_and_tell(house: House) -> None:
    house.apply_policy(AUDITED)
    model = new_model(house, 0.8)
    move(house, model, "1")
    found = tried(house, None, model)
    (moved,) = found["moves"]
    assert (moved["outcome"], moved["audited"]) == ("refused", moved["unmet"])
    assert found["totals"]["audited"] == 1
    (finding,) = found["findings"]
    assert (finding["model"], finding["version"], finding["target"]) == (model, "1", "stage:Production")
    assert (finding["rules"], finding["by"]) == (["production"], "ada")
    assert finding["unmet"] == moved["unmet"]
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    after = tried(house, None, model, since=later)
    assert (after["moves"], after["findings"]) == ([], [])


def test_live_requests_as_they_would_be_judged_now(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = new_model(house, 0.8)
    asked = house.ask(model, "1", "stage:Production")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    (fine,) = tried(house, None, model)["requests"]
    assert (fine["request_id"], fine["outcome"], fine["how"]) == (asked["id"], "allowed", "request")
    both = TWO_APPROVALS + FLOOR.partition("rules:\n")[2].replace("name: production", "name: floor")
    (refused,) = tried(house, both, model)["requests"]
    assert refused["outcome"] == "refused"
    assert len(refused["unmet"]) == 2
    house.call("sue", "POST", "/holds", {"model": model, "version": "1", "target": None, "reason": "looks odd"})
    (held,) = tried(house, ONE_APPROVAL, model)["requests"]
    assert "is on hold" in held["unmet"][0]


def test_what_was_deleted_is_left_out_but_for_what_was_frozen(house: House) -> None:
    model = new_model(house, 0.8, 0.7)
    move(house, model, "1")
    move(house, model, "2")
    with house.acting_as("max") as client:
        client.delete_model_version(model, "1")
    found = tried(house, BETTER, model)
    assert outcomes(found) == [("2", "refused")]
    assert found["totals"]["left_out"] == 1
    assert "incumbent.metrics.val_auc" in found["moves"][0]["unmet"][0]


def test_nobody_sees_models_that_are_not_theirs(house: House) -> None:
    mine = house.new_model()
    other = house.new_model()
    for model in (mine, other):
        move(house, model, "1")
    name = f"narrow-{mine}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": [f"viewer:{mine}"]})
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    assert {one["model"] for one in tried(house, FLOOR, None, by=name)["moves"]} == {mine}
    for unseen in (other, "no-such-model"):
        house.call(name, "POST", "/policies/simulate", {"model": unseen}, status=404)


def test_a_wrong_policy_is_refused_with_its_line(house: House) -> None:
    said = house.call("vic", "POST", "/policies/simulate", {"source": FLOOR + "    gate: []\n"}, status=400)
    assert "line 7" in said["message"]
    assert "gate" in said["message"]
    for body in ({"max_results": 0}, {"max_results": 1001}, {"since": "yesterday"}, {"modle": "m"}):
        house.call("vic", "POST", "/policies/simulate", body, status=400)


def test_the_command(house: House, tmp_path: Any) -> None:
    model = new_model(house, 0.9, 0.8)
    move(house, model, "1")
    move(house, model, "2")
    file = tmp_path / "policy.yaml"
    file.write_text(FLOOR)
    done = house.cli("vic", "policy", "simulate", str(file), "--model", model)
    assert done.returncode == 0, done.stderr
    assert "2 moves: 1 would have been allowed, 1 refused: auc-floor 1" in done.stdout
    assert "metrics.val_auc is 0.8" in done.stdout
    assert '"refused": 1' in house.cli("vic", "policy", "simulate", str(file), "--model", model, "--json").stdout
    in_force = house.cli("vic", "policy", "simulate", "--model", model)
    assert "2 moves: 2 would have been allowed, 0 refused" in in_force.stdout
    file.write_text("version: 2\n")
    wrong = house.cli("vic", "policy", "simulate", str(file))
    assert (wrong.returncode, "line 1" in wrong.stderr) == (1, True)
