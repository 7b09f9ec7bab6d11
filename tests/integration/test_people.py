"""Tokens that are narrowed, one person behind two accounts, owners of service accounts, names of new models."""

import secrets
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.exceptions import MlflowException

from tests.house import CAST, ONE_APPROVAL, House, form_of

TARGET = "stage:Production"
TWO_APPROVALS = ONE_APPROVAL.replace("required: 1, from: [group:senior]", "required: 2")


def join(house: House, *roles: str, name: str | None = None, **more: Any) -> str:
    """Let somebody in."""
    name = name or f"p-{secrets.token_hex(4)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": list(roles), **more})
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    return name


def narrowed(house: House, who: str, *, by: str | None = None, **body: Any) -> str:
    """Make a narrowed token for somebody; returns a name under which the house has it."""
    made = house.call(by or who, "POST", "/tokens", {"principal": who, **body})
    name = f"{who} with token {made['id']}"
    house.tokens[name] = made["token"]
    return name


def status(house: House, token: str) -> int:
    answer = httpx.get(f"{house.uri}/api/lockgate/v1/tokens", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


# Tokens


def test_a_narrowed_token_does_only_what_it_says(house: House) -> None:
    prefix = secrets.token_hex(3)
    inside, outside = house.new_model(f"{prefix}-a"), house.new_model()
    only = narrowed(house, "sue", only=["review"], only_models=[f"{prefix}-*"])
    for model, expected in ((inside, 200), (outside, 404)):
        asked = house.ask(model, "1", TARGET)
        house.call(only, "POST", f"/requests/{asked['id']}/approve", {}, expected)
    with house.acting_as(only) as client:
        with pytest.raises(MlflowException) as refused:
            client.set_registered_model_tag(inside, "a", "b")
        assert refused.value.error_code == "PERMISSION_DENIED"
        assert "the token that is used allows only read, approve and reject" in refused.value.message
        with pytest.raises(MlflowException, match="the token that is used allows only"):
            client.create_run("0")
    with house.acting_as("sue") as client:
        client.set_registered_model_tag(inside, "a", "b")
        client.create_run("0")


def test_a_narrowed_token_never_does_more_than_its_principal(house: House) -> None:
    model = house.new_model()
    asked = house.ask(model, "1", TARGET)
    house.call(narrowed(house, "ada", only=["promote", "review"]), "POST", f"/requests/{asked['id']}/approve", {}, 403)
    house.call(narrowed(house, "sue", only=["review"]), "POST", f"/requests/{asked['id']}/approve", {})
    house.call(narrowed(house, "vic", only=["promote"]), "POST", f"/requests/{asked['id']}/promote", {}, 403)
    house.call(narrowed(house, "bot", only=["promote"]), "POST", f"/requests/{asked['id']}/promote", {})


def test_a_selector_still_needs_the_permission(house: House) -> None:
    house.apply_policy(ONE_APPROVAL + "    promote: {by: [service:bot]}\n    rollback: {by: [role:operator]}\n")
    model = house.new_model(versions=2)
    house.promote(model, "1", TARGET)
    asked = house.ask(model, "2", TARGET)
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    refused = house.call(narrowed(house, "bot", only=["write"]), "POST", f"/requests/{asked['id']}/promote", {}, 403)
    assert "bot may not carry out promotions" in refused["message"]
    house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
    back = {"target": TARGET, "reason": "bad"}
    house.call(narrowed(house, "oz", only=["read"]), "POST", f"/models/{model}/rollback", back, 403)
    house.call(narrowed(house, "oz", only=["rollback"]), "POST", f"/models/{model}/rollback", back)


def test_what_needs_no_role_needs_the_token(house: House) -> None:
    """One's own request, freeze of a pattern, policy change: may be one's right, but not this token's."""
    only = narrowed(house, "ada", only=["read"])
    asked = house.ask(house.new_model(), "1", TARGET)
    house.call(only, "POST", f"/requests/{asked['id']}/withdraw", {}, 403)
    house.call(narrowed(house, "ada", only=["ask"]), "POST", f"/requests/{asked['id']}/withdraw", {})
    pattern = f"{secrets.token_hex(3)}-*"
    freeze = {"models": pattern, "to": "2099-01-01T00:00:00Z", "reason": "holidays"}
    house.call(narrowed(house, "oz", only=["rollback"], only_models=[pattern]), "POST", "/freezes", freeze, 403)
    house.call(narrowed(house, "oz", only=["rollback"]), "POST", "/freezes", freeze, 201)


def test_a_narrowed_token_approves_no_policy(house: House) -> None:
    boss = join(house, "maintainer")
    weaker = house.call("max", "PUT", "/policies", {"source": "version: 1\nrules: []\n"}, 403)["details"]["change_id"]
    path = f"/policies/changes/{weaker}/approve"
    assert "with this token" in house.call(narrowed(house, boss, only=["review"]), "POST", path, {}, 403)["message"]
    assert house.call(narrowed(house, boss, only=["govern"]), "POST", path, {})["state"] == "applied"


def test_a_token_makes_none_that_is_stronger(house: House) -> None:
    only = narrowed(house, "sue", only=["review"], expires="1h")
    mine = house.call(only, "GET", "/tokens")["tokens"]
    ends = max(token["expires_at"] for token in mine if token["caveats"] and token["expires_at"])
    # Narrowed the same way once more, it is not told twice.
    assert len(house.call(only, "POST", "/tokens", {"principal": "sue", "only": ["review"]}, 201)["caveats"]) == 1
    for body in ({}, {"expires": "90d"}, {"only": ["write", "review"], "only_models": ["*"]}):
        made = house.call(only, "POST", "/tokens", {"principal": "sue", **body}, 201)
        assert made["caveats"][0] == {"only": ["approve and reject", "read"], "only_models": None}
        assert made["expires_at"] == ends
        house.tokens["made"] = made["token"]
        house.call("made", "POST", "/checks", {"model": "m", "version": "1", "name": "n", "status": "success"}, 403)
    house.call(only, "POST", "/tokens", {"principal": "admin"}, 403)
    whole = house.call("sue", "POST", "/tokens", {"principal": "sue", "expires": "90d"})
    assert (whole["caveats"], whole["expires_at"] > ends) == ([], True)
    house.call(only, "DELETE", f"/tokens/{whole['id']}", status=404)
    house.call(only, "DELETE", f"/tokens/{only.rpartition(' ')[2]}", status=204)
    house.call("sue", "DELETE", f"/tokens/{whole['id']}", status=204)


def test_an_admins_narrowed_token_takes_nobody_over(house: House) -> None:
    only = narrowed(house, "admin", only=["govern"])
    taken = {"name": "admin", "password": "taken over"}
    house.call(only, "POST", "/principals", taken, 403)
    house.call(only, "POST", "/principals", {"name": f"p-{secrets.token_hex(4)}", "roles": ["admin"]}, 403)
    house.call(only, "POST", "/principals", {"name": f"p-{secrets.token_hex(4)}", "roles": ["viewer"]}, 201)


def test_a_session_is_as_narrow_as_the_token_that_began_it(house: House) -> None:
    only = narrowed(house, "sue", only=["read"])
    for who, expected in ((only, 403), ("sue", 200)):
        asked = house.ask(house.new_model(), "1", TARGET)
        with httpx.Client(base_url=house.uri, headers={"Origin": house.uri}) as browser:
            hidden = form_of(browser.get("/lockgate/sign-in"))
            browser.post("/lockgate/sign-in", data={**hidden, "token": house.tokens[who]})
            answer = browser.post(f"/api/lockgate/v1/requests/{asked['id']}/approve", json={})
        assert answer.status_code == expected, answer.text


def test_tokens_know_their_last_use(house: House) -> None:
    name = join(house, "viewer")
    unused = house.call("admin", "POST", "/tokens", {"principal": name})["id"]

    def used() -> dict[int, str | None]:
        return {token["id"]: token["last_used_at"] for token in house.call(name, "GET", "/tokens")["tokens"]}

    used()
    while set(noted := used().values()) == {None}:
        time.sleep(0.05)
    assert used()[unused] is None
    for _ in range(3):
        assert set(used().values()) == set(noted)  # not noted again and again
    listed = house.cli(name, "tokens", "list").stdout
    assert "LAST USED" in listed
    assert "never" in listed


def test_narrowed_tokens_on_the_command_line(house: House) -> None:
    made = house.cli("sue", "tokens", "create", "sue", "--only", "review", "--only-model", "payments-*")
    assert (made.returncode, made.stdout.count("\n")) == (0, 1)
    assert "approve and reject, read on payments-*" in house.cli("sue", "tokens", "list").stdout
    wrong = house.cli("sue", "tokens", "create", "sue", "--only", "fly")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "Actions: read, write, ask" in wrong.stderr
    assert "payments-*" in house.cli("admin", "audit", "export").stdout


# One person behind two accounts


def second_account(house: House, first: str, *roles: str) -> str:
    name = join(house, *roles)
    house.call("admin", "PATCH", f"/principals/{name}", {"same_person_as": first})
    return name


@pytest.mark.parametrize("first_asks", [True, False])
def test_nobody_approves_with_another_account_what_they_asked_for(house: House, first_asks: bool) -> None:
    ann = join(house, "reviewer", "contributor", groups=["senior"])
    other = join(house, "reviewer", "contributor", groups=["senior"])
    asks, approves = (ann, other) if first_asks else (other, ann)
    asked = house.ask(house.new_model(), "1", TARGET, by=asks)
    house.call("admin", "PATCH", f"/principals/{other}", {"same_person_as": ann})
    refused = house.call(approves, "POST", f"/requests/{asked['id']}/approve", {}, 403)["message"]
    assert f"{approves} is the same person as {asks}, who asked for this promotion" in refused
    house.call("admin", "PATCH", f"/principals/{other}", {"same_person_as": other})
    house.call(approves, "POST", f"/requests/{asked['id']}/approve", {})


def test_nor_what_they_made_or_a_service_account_of_theirs_did(house: House) -> None:
    ann = join(house, "contributor")
    other = second_account(house, ann, "reviewer")
    house.apply_policy(ONE_APPROVAL.replace(", from: [group:senior]", ""))
    account = join(house, "contributor", kind="service", owner=ann)
    for maker in (ann, account):
        asked = house.ask(house.new_model(by=maker), "1", TARGET, by="junior")
        refused = house.call(other, "POST", f"/requests/{asked['id']}/approve", {}, 403)["message"]
        assert f"{other} is the same person as {ann}" in refused
        house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})


def test_two_accounts_approve_once(house: House) -> None:
    house.apply_policy(TWO_APPROVALS)
    ann = join(house, "reviewer")
    other = second_account(house, ann, "reviewer")
    asked = house.ask(house.new_model(), "1", TARGET)
    house.call(ann, "POST", f"/requests/{asked['id']}/approve", {})
    once = house.call(other, "POST", f"/requests/{asked['id']}/approve", {})
    assert once["state"] == "open"
    assert "1 more approval" in " ".join(once["unmet"])
    assert house.call("rex", "POST", f"/requests/{asked['id']}/approve", {})["state"] == "approved"


def test_nor_the_policy_that_their_other_account_proposed(house: House) -> None:
    ann = join(house, "maintainer")
    other = second_account(house, ann, "maintainer")
    change = house.call(ann, "PUT", "/policies", {"source": "version: 1\nrules: []\n"}, 403)["details"]["change_id"]
    refused = house.call(other, "POST", f"/policies/changes/{change}/approve", {}, 403)["message"]
    assert f"{other} is the same person as {ann}, who proposed it" in refused
    assert house.call("max", "POST", f"/policies/changes/{change}/approve", {})["state"] == "applied"


def test_nor_the_break_glass_that_their_other_account_did(house: House) -> None:
    ann = join(house, "operator")
    other = second_account(house, ann, "reviewer", "operator")
    house.apply_policy(ONE_APPROVAL.replace(", from: [group:senior]", ""))
    body = {"model": house.new_model(), "version": "1", "target": TARGET, "reason": "fire"}
    number = house.call(ann, "POST", "/break-glass", body)["break_glass"]
    house.call(other, "POST", f"/break-glass/{number}/review", {"verdict": "approve"}, 403)
    house.call("rex", "POST", f"/break-glass/{number}/review", {"verdict": "approve"})


def test_only_an_admin_says_who_is_who_and_it_is_on_record(house: House) -> None:
    ann, other, third = join(house, "viewer"), join(house, "viewer"), join(house, "viewer")
    house.call("max", "PATCH", f"/principals/{other}", {"same_person_as": ann}, 403)
    done = house.cli("admin", "users", "set", other, "--same-person-as", ann)
    assert (done.returncode, f"same person as {ann}" in done.stdout) == (0, True)
    newest = house.call("admin", "GET", "/audit?max_results=1")["entries"][0]
    assert (newest["action"], newest["after"]["same_person_as"]) == ("principal.changed", ann)
    # Beside a second account is beside the first one; and who has second accounts takes them along.
    of_third = house.call("admin", "PATCH", f"/principals/{third}", {"same_person_as": other})
    assert of_third["same_person_as"] == ann
    fourth = join(house, "viewer")
    house.call("admin", "PATCH", f"/principals/{ann}", {"same_person_as": fourth})
    entries = house.call("admin", "GET", "/audit?max_results=3")["entries"]
    assert {entry["after"]["name"] for entry in entries} == {ann, other, third}
    listed = {p["name"]: p["same_person_as"] for p in house.call("vic", "GET", "/principals")["principals"]}
    assert [listed[name] for name in (ann, other, third, fourth)] == [fourth, fourth, fourth, None]
    house.call("admin", "PATCH", f"/principals/{ann}", {"same_person_as": "bot"}, 400)
    house.call("admin", "PATCH", "/principals/bot", {"same_person_as": ann}, 400)
    house.call("admin", "PATCH", f"/principals/{ann}", {"same_person_as": "nobody"}, 400)


# Owners


def test_somebody_answers_for_each_service_account(house: House) -> None:
    name = f"p-{secrets.token_hex(4)}"
    made = house.call("max", "POST", "/principals", {"name": name, "kind": "service", "roles": ["viewer"]}, 201)
    assert made["owner"] == "max"
    robot = join(house, "admin", kind="service")
    body = {"name": f"p-{secrets.token_hex(4)}", "kind": "service"}
    assert "--owner" in house.call(robot, "POST", "/principals", body, 400)["message"]
    assert house.call(robot, "POST", "/principals", {**body, "owner": "vic"}, 201)["owner"] == "vic"
    house.call("admin", "PATCH", f"/principals/{robot}", {"active": False})


def test_a_pipelines_account_reports_checks_of_what_it_registered(house: House) -> None:
    """Also if its owner may not approve that; but not of what its owner shaped."""
    house.apply_policy(ONE_APPROVAL + "    gates: [{name: smoke, check: smoke}]\n")
    owner = join(house, "contributor")
    account = join(house, "contributor", kind="service", owner=owner)
    for maker, outcome in ((account, "passed"), (owner, "pending")):
        model = house.new_model(by=maker)
        asked = house.ask(model, "1", TARGET)
        body = {"model": model, "version": "1", "name": "smoke", "status": "success"}
        house.call(account, "POST", "/checks", body, 201)
        assert house.call("vic", "GET", f"/requests/{asked['id']}")["gates"][0]["outcome"] == outcome


def test_an_account_that_nobody_answers_for_is_named(house: House) -> None:
    owner = join(house, "viewer")
    orphan, left = join(house, kind="service"), join(house, kind="service", owner=owner)
    house.sql(f"UPDATE lockgate_principals SET owner_id = NULL WHERE name = '{orphan}'")
    house.call("admin", "PATCH", f"/principals/{owner}", {"active": False})
    found = house.cli("vic", "access", "check")
    assert found.returncode == 1
    assert f"Nobody answers for {orphan}" in found.stdout
    assert f"{owner}, who answers for {left}, is not active" in found.stdout
    assert "NOBODY" in house.cli("vic", "users", "list").stdout
    for name in (orphan, left):
        assert house.cli("admin", "users", "set", name, "--owner", "vic").returncode == 0
    assert house.cli("vic", "access", "check").returncode == 0


# What is taken away binds at once, on every instance


def test_what_is_taken_away_binds_on_the_next_call_of_every_instance(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    database = new_database("postgresql")
    with closing(House(tmp_path / "one", database)) as one, closing(House(tmp_path / "two", database)) as two:
        one.open()
        two.server.start()
        two.tokens = one.tokens

        def both_let_in(token: str) -> list[bool]:
            return [status(house, token) == 200 for house in (one, two)]

        first, second = (one.call("admin", "POST", "/tokens", {"principal": "ada"}) for _ in range(2))
        assert both_let_in(first["token"]) == [True, True]
        two.call("admin", "DELETE", f"/tokens/{first['id']}")
        assert both_let_in(first["token"]) == [False, False]
        assert both_let_in(second["token"]) == [True, True]
        asked = one.ask(one.new_model(), "1", TARGET)
        path = f"/requests/{asked['id']}/approve"
        two.call("admin", "PATCH", "/principals/sue", {"roles": ["viewer"]})
        for house in (one, two):
            house.call("sue", "POST", path, {}, 403)
        one.call("admin", "PATCH", "/principals/sue", {"roles": CAST["sue"]["roles"]})
        two.call("sue", "POST", path, {})
        two.call("admin", "PATCH", "/principals/ada", {"active": False})
        assert both_let_in(second["token"]) == [False, False]


# Names


def test_new_models_are_named_as_the_policy_says(house: House) -> None:
    suffix = secrets.token_hex(3)
    known = house.new_model(f"Old{suffix}")
    house.apply_policy(ONE_APPROVAL.replace("version: 1\n", 'version: 1\nnaming: "{domain}-{team}-{use_case}"\n'))
    with house.acting_as("ada") as client:
        for attempt in (
            lambda: client.create_registered_model(f"Fraud{suffix}"),
            lambda: client.rename_registered_model(known, f"fraud{suffix}"),
        ):
            with pytest.raises(MlflowException, match="A good one: 'domain-team-use-case'") as refused:
                attempt()
            assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
        client.update_registered_model(known, description="is there already")
        client.rename_registered_model(known, f"payments-risk-{suffix}")
        client.create_registered_model(f"payments-fraud-{suffix}")
        client.register_prompt(f"Prompt{suffix}", "Hello")
        with pytest.raises(MlflowException):
            client.delete_registered_model_tag(f"Prompt{suffix}", "mlflow.prompt.is_prompt")


def test_whoami(house: House) -> None:
    assert house.cli("sue", "whoami").stdout == "sue (user): roles contributor, reviewer, groups senior\n"
    narrow = narrowed(house, "sue", only=["review"], only_models=["risk-*"], expires="1h")
    said = house.cli(narrow, "whoami").stdout
    assert "This token only allows approve and reject, read on risk-*." in said
    assert "It ends at " in said
    assert house.call(narrow, "GET", "/me")["caveats"] == [
        {"only": ["approve and reject", "read"], "only_models": ["risk-*"]}
    ]
