"""Weakening the policy needs approval under the old one: on the real server, on both databases."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial.bait import FILES, bait
from tests.conftest import BACKENDS
from tests.house import NO_RULES, ONE_APPROVAL, House

STRICT = ONE_APPROVAL.replace("required: 1", "required: 2")
CHANGES = ONE_APPROVAL + "changes: {approvals: [{required: 1, from: [group:senior]}, {required: 1}]}\n"
MAINTAINERS = ("mia", "moe")


@pytest.fixture(scope="module", params=BACKENDS)
def opened(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house of our own, for policies are everybody's; with two maintainers more, and one that is no person."""
    made = House(tmp_path_factory.mktemp("policies"), new_database(request.param)).open()
    try:
        for name in MAINTAINERS:
            join(made, {"name": name, "roles": ["maintainer"]})
        join(made, {"name": "gitops", "kind": "service", "roles": ["maintainer"], "owner": "moe"})
        yield made
    finally:
        made.close()


def join(house: House, principal: dict[str, Any]) -> None:
    house.call("admin", "POST", "/principals", principal)
    house.tokens[principal["name"]] = house.call("admin", "POST", "/tokens", {"principal": principal["name"]})["token"]


@pytest.fixture
def house(opened: House) -> House:
    """The house, with one approval by a senior as its policy."""
    for change in opened.call("admin", "GET", "/policies/changes?state=open")["changes"]:
        opened.call("admin", "POST", f"/policies/changes/{change['id']}/reject")
    put(opened, "admin", NO_RULES, None)
    if source(opened) != NO_RULES:
        change = put(opened, "admin", NO_RULES, 403)["details"]["change_id"]
        for name in ("sue", "max"):
            opened.call(name, "POST", f"/policies/changes/{change}/approve")
    put(opened, "admin", ONE_APPROVAL)
    return opened


def put(house: House, name: str, text: str, status: int | None = 200) -> Any:
    response = house.http(name).put("/api/lockgate/v1/policies", json={"source": text})
    assert status in (None, response.status_code), response.text
    return response.json()


def propose(house: House, name: str, text: str = NO_RULES) -> int:
    number: int = put(house, name, text, 403)["details"]["change_id"]
    return number


def approve(house: House, name: str, change: int, status: int = 200) -> Any:
    return house.call(name, "POST", f"/policies/changes/{change}/approve", {}, status)


def source(house: House) -> str:
    return str(house.call("vic", "GET", "/policies")["source"])


def newest(house: House, action: str) -> dict[str, Any]:
    entries = house.call("admin", "GET", "/audit")["entries"]
    found: dict[str, Any] = next(entry for entry in entries if entry["action"] == action)
    return found


def test_a_maintainers_weakening_waits_for_another_one(house: House) -> None:
    refused = put(house, "max", NO_RULES, 403)
    change = refused["details"]["change_id"]
    assert refused["error_code"] == "PERMISSION_DENIED"
    assert f"lockgate policy approve {change}" in refused["message"]
    assert "stage:Production is no longer protected." in refused["details"]["weakens"]
    assert "1 more approval" in refused["details"]["missing"][0]
    assert newest(house, "policy.proposed")["after"]["weakens"] == refused["details"]["weakens"]
    assert source(house) == ONE_APPROVAL

    again = put(house, "max", NO_RULES, 403)
    assert again["details"]["change_id"] == put(house, "mia", NO_RULES, 403)["details"]["change_id"] == change
    assert "nobody approves their own work" in approve(house, "max", change, 403)["message"]
    assert newest(house, "policy.approved")["outcome"] == "refused"
    assert "none of those" in approve(house, "sue", change, 403)["message"]
    assert "service account" in approve(house, "gitops", change, 403)["message"]
    assert source(house) == ONE_APPROVAL

    done = approve(house, "mia", change)
    assert (done["state"], done["missing"], [given["by"] for given in done["approvals"]]) == ("applied", [], ["mia"])
    applied = newest(house, "policy.applied")
    assert applied["after"]["approvers"] == ["mia"]
    assert applied["after"]["proposer"] == house.call("vic", "GET", "/policies")["applied_by"] == "max"
    assert source(house) == NO_RULES
    assert "applied already" in approve(house, "mia", change, 409)["message"]


def test_a_change_seals_what_served_before_it_protected_that(house: House) -> None:
    target = bait(house)
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(target.model, "blue", "1")
    approve(house, "mia", propose(house, "max", ONE_APPROVAL.replace("alias:champion", "alias:blue")))
    put = f"/api/2.0/mlflow-artifacts/artifacts/0/{target.run_id}/artifacts/model/MLmodel"
    assert house.http("junior").put(put, content=b"evil").status_code == 403
    assert target.files == FILES


def test_what_is_stricter_is_in_force_at_once(house: House) -> None:
    stored = put(house, "max", STRICT)
    assert "weakens" not in newest(house, "policy.applied")["after"]
    versions = house.call("vic", "GET", "/policies/versions")["versions"]
    assert [(v["version"], v["applied_by"]) for v in versions[:1]] == [(stored["version"], "max")]
    assert house.call("vic", "GET", f"/policies/versions/{stored['version'] - 1}")["source"] == ONE_APPROVAL
    assert "alias:champion" in house.call("vic", "GET", "/policies/versions/0")["source"]
    house.call("vic", "GET", f"/policies/versions/{stored['version'] + 1}", status=404)


def test_an_admins_weakening_is_in_force_at_once_and_on_record(house: House) -> None:
    put(house, "admin", NO_RULES)
    assert "Rule 'production' is gone." in newest(house, "policy.applied")["after"]["weakens"]


def test_changes_binds_admins_too_and_names_who_approves(house: House) -> None:
    put(house, "admin", CHANGES)
    change = propose(house, "admin")
    assert len(house.call("vic", "GET", f"/policies/changes/{change}")["missing"]) == 2
    assert len(approve(house, "sue", change)["missing"]) == 1
    # One person fills one place, however often they approve.
    assert len(approve(house, "sue", change)["missing"]) == 1
    assert source(house) == CHANGES
    assert approve(house, "max", change)["state"] == "applied"
    assert source(house) == NO_RULES


def test_a_change_is_stale_once_another_policy_is_in_force(house: House) -> None:
    change = propose(house, "max")
    put(house, "mia", STRICT)
    assert "Propose it again" in approve(house, "mia", change, 409)["message"]
    assert house.call("vic", "GET", f"/policies/changes/{change}")["state"] == "stale"
    assert propose(house, "max") > change


def test_who_has_left_does_not_count(house: House) -> None:
    put(house, "admin", CHANGES)
    change = propose(house, "max")
    approve(house, "mia", change)
    house.call("admin", "PATCH", "/principals/mia", {"active": False})
    try:
        waiting = approve(house, "sue", change)
        assert waiting["state"] == "open"
        assert "mia's approval no longer counts" in waiting["missing"][0]
    finally:
        house.call("admin", "PATCH", "/principals/mia", {"active": True})
    assert approve(house, "moe", change)["state"] == "applied"


def test_a_proposer_who_may_not_govern_any_more_applies_nothing(house: House) -> None:
    change = propose(house, "max")
    house.call("admin", "PATCH", "/principals/max", {"roles": ["viewer"]})
    try:
        assert "may no longer change policies" in approve(house, "mia", change)["missing"][0]
        assert propose(house, "mia") > change
    finally:
        house.call("admin", "PATCH", "/principals/max", {"roles": ["maintainer"]})


def test_whoever_answers_for_a_service_account_does_not_approve_what_it_proposes(house: House) -> None:
    change = propose(house, "gitops")
    assert "answers for gitops" in approve(house, "moe", change, 403)["message"]
    assert approve(house, "mia", change)["state"] == "applied"


def test_a_change_is_rejected_or_taken_back(house: House) -> None:
    change = propose(house, "max")
    house.call("rex", "POST", f"/policies/changes/{change}/reject", {}, 403)
    assert house.call("mia", "POST", f"/policies/changes/{change}/reject", {"comment": "no"})["state"] == "rejected"
    assert newest(house, "policy.rejected")["reason"] == "no"
    approve(house, "moe", change, 409)
    again = propose(house, "max")
    assert house.call("max", "POST", f"/policies/changes/{again}/reject")["state"] == "withdrawn"
    assert house.call("vic", "GET", "/policies/changes?state=open")["changes"] == []
    house.call("mia", "POST", "/policies/changes/999999/approve", {}, 404)


def test_of_many_at_once_each_becomes_a_version_or_waits(house: House) -> None:
    """Ten stricter policies at the same moment, each weaker than some other: none slips past the comparison."""
    texts = [ONE_APPROVAL.replace("required: 1", f"required: {n}") for n in range(2, 12)]
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(lambda text: put(house, "max", text, None), texts))
    versions = [answer["version"] for answer in answers if "version" in answer]
    assert len(set(versions)) == len(versions)
    assert all("version" in answer or answer["error_code"] == "PERMISSION_DENIED" for answer in answers)
    applied = [
        texts[i] for i in sorted(range(10), key=lambda i: answers[i].get("version", 0)) if "version" in answers[i]
    ]
    assert applied == sorted(applied, key=texts.index)
    assert source(house) == texts[-1]


def test_whoever_applies_a_policy_reads_whom_it_names_in_vain(house: House, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(ONE_APPROVAL.replace("from: [group:senior]", "from: [group:senior, group:seniors, user:nobody]"))
    applied = house.cli("admin", "policy", "apply", str(file))
    assert "names group:seniors, user:nobody, and nobody is that yet" in applied.stdout, applied.stderr
    file.write_text(ONE_APPROVAL)
    assert "nobody is that" not in house.cli("admin", "policy", "apply", str(file)).stdout
    assert house.call("vic", "GET", "/policies")["unknown"] == []


def test_the_command_says_what_is_weaker_and_who_can_approve(house: House, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(NO_RULES)
    diff = house.cli("max", "policy", "diff", str(file))
    assert diff.returncode == 0, diff.stderr
    assert "Rule 'production' is gone." in diff.stdout
    refused = house.cli("max", "policy", "apply", str(file))
    assert refused.returncode == 1
    assert "  - Rule 'production' is gone." in refused.stderr
    command = refused.stderr.strip().splitlines()[-1].partition(": ")[2].split()
    assert command[:3] == ["lockgate", "policy", "approve"]
    listed = house.cli("mia", "policy", "changes", "--state", "open")
    assert command[3] in listed.stdout
    assert "max" in listed.stdout
    assert "rules: []" in house.cli("mia", "policy", "changes", command[3]).stdout
    approved = house.cli("mia", *command[1:])
    assert "applied" in approved.stdout, approved.stderr
    assert "max" in house.cli("mia", "policy", "versions").stdout
    assert "applied already" in house.cli("max", "policy", "reject", command[3]).stderr
    file.write_text(ONE_APPROVAL)
    assert "weakens nothing" in house.cli("max", "policy", "diff", str(file)).stdout


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_restart_does_not_bring_an_old_file_back(
    kind: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(STRICT)
    house = House(tmp_path / "house", new_database(kind), "--policy", str(file)).open()
    try:
        assert "Policy version 1 is in force." in house.server.log
        put(house, "admin", NO_RULES)
        restart(house)
        assert "Policy version 2, which admin has applied since, stays in force." in house.server.log
        assert source(house) == NO_RULES
        put(house, "admin", STRICT)
        file.write_text(ONE_APPROVAL)
        restart(house)
        assert "Policy version 4 is in force." in house.server.log
        assert source(house) == ONE_APPROVAL
        assert any("fewer" in sentence for sentence in newest(house, "policy.applied")["after"]["weakens"])
    finally:
        house.close()


def restart(house: House) -> None:
    house.server.stop()
    house.server.start()
