"""Principals, roles, tokens and passwords over the API and the command line."""

import base64
import secrets

import httpx
import pytest
from mlflow.exceptions import MlflowException

from tests.house import ONE_APPROVAL, House


def new_name() -> str:
    return f"p-{secrets.token_hex(4)}"


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def status_with(house: House, headers: dict[str, str]) -> int:
    return httpx.get(f"{house.uri}/api/2.0/mlflow/registered-models/search", headers=headers).status_code


def test_passwords_and_tokens_let_in_and_nothing_else(house: House) -> None:
    name = new_name()
    body = {"name": name, "roles": ["viewer"], "password": "correct horse"}
    house.call("admin", "POST", "/principals", body, 201)
    token = house.call("admin", "POST", "/tokens", {"principal": name, "expires": "1h"})["token"]
    good = [basic(name, "correct horse"), basic(name, token), {"Authorization": f"Bearer {token}"}]
    assert [status_with(house, headers) for headers in good] == [200, 200, 200]
    bad = [
        basic(name, "wrong horse"), basic("nobody", "correct horse"), basic(name, ""), basic("admin", token),
        basic("a\0b", "x"), {"Authorization": "Basic !!!"}, {"Authorization": b"Basic \xe9"}, {"Authorization": "Bearer x"},
        {"Authorization": "Digest x"}, {"Authorization": token}, {"Cookie": f"lockgate_session={token}"},
    ]  # fmt: skip
    assert [status_with(house, headers) for headers in bad] == [401] * len(bad)


def test_tokens_expire_and_are_revoked(house: House) -> None:
    name = new_name()
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"]})
    short = house.call("admin", "POST", "/tokens", {"principal": name, "expires": "1s"})["token"]
    lasting = house.call("admin", "POST", "/tokens", {"principal": name})
    header = {"Authorization": f"Bearer {lasting['token']}"}
    assert status_with(house, header) == 200
    with httpx.Client(base_url=f"{house.uri}/api/lockgate/v1", headers=header) as mine:
        listed = mine.get("/tokens").json()["tokens"]
        assert lasting["id"] in {t["id"] for t in listed}
        assert {t["principal"] for t in listed} == {name}
        assert mine.delete("/tokens/1").status_code == 404  # the admin's
        assert mine.delete(f"/tokens/{lasting['id']}").status_code == 204
        assert mine.get("/tokens").status_code == 401
    while status_with(house, {"Authorization": f"Bearer {short}"}) == 200:
        pass
    assert status_with(house, {"Authorization": f"Bearer {short}"}) == 401


def test_a_principal_without_a_role_may_not_even_look(house: House) -> None:
    name = new_name()
    house.call("admin", "POST", "/principals", {"name": name})
    token = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    answer = httpx.get(f"{house.uri}/api/lockgate/v1/requests", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert "has no role yet" in answer.json()["message"]


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("max", {"roles": ["reviewer"]}, 201),
        ("max", {"roles": ["admin"]}, 403),
        ("max", {"roles": ["maintainer"]}, 403),
        ("ada", {"roles": ["viewer"]}, 403),
        ("sue", {}, 403),
    ],
)
def test_who_adds_whom(house: House, who: str, body: dict, status: int) -> None:
    house.call(who, "POST", "/principals", {"name": new_name(), **body}, status)


@pytest.mark.parametrize(
    "body", [{"name": "admin", "password": "taken over"}, {"name": "ada", "password": "taken over"}]
)
def test_a_maintainer_takes_nobody_over(house: House, body: dict) -> None:
    house.call("max", "POST", "/principals", body, 403)
    house.call("max", "POST", "/tokens", {"principal": body["name"]}, 403)
    house.call("max", "PATCH", "/principals/admin", {"active": False}, 403)


def test_the_last_admin_stays(house: House) -> None:
    assert (
        "Nobody would be left" in house.call("admin", "PATCH", "/principals/admin", {"active": False}, 409)["message"]
    )
    house.call("admin", "PATCH", "/principals/admin", {"roles": ["viewer"]}, 409)
    house.call("admin", "GET", "/principals")


def test_patterns_bound_roles(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    name, prefix = new_name(), secrets.token_hex(3)
    body = {"name": name, "roles": [f"contributor:{prefix}-*", f"releaser:{prefix}-*", "contributor:Default"]}
    house.call("admin", "POST", "/principals", body)
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    model = house.new_model(f"{prefix}-model", by=name)
    other = house.new_model()
    with house.acting_as(name) as client:
        for attempt in (
            lambda: client.create_registered_model(f"x{prefix}-model"),
            lambda: client.set_registered_model_tag(other, "a", "b"),
            lambda: client.rename_registered_model(model, f"x-{model}"),
            lambda: client.set_registered_model_alias(other, "shadow", "1"),
        ):
            with pytest.raises(MlflowException) as refused:
                attempt()
            # What is not seen can't be written to either, and may be answered as if it were not there.
            assert refused.value.error_code in ("PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST")
    house.call(name, "POST", "/requests", {"model": other, "version": "1", "target": "alias:champion"}, 404)
    house.call(name, "PUT", "/policies", {"source": "version: 1\nrules: []\n"}, 403)
    asked = house.ask(model, "1", "alias:champion", by=name)
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    assert house.call(name, "POST", f"/requests/{asked['id']}/promote", {})["state"] == "promoted"


def test_the_command_line_takes_the_last_role_and_group_away(house: House) -> None:
    name = new_name()

    def users(*arguments: str) -> tuple[int, str]:
        done = house.cli("admin", "users", *arguments)
        return done.returncode, done.stdout

    users("add", name, "--group", "senior", "--role", "reviewer")
    assert users("set", name, "--active") == (0, f"{name} (user): roles reviewer, groups senior\n")
    assert users("set", name, "--role", "viewer", "--no-groups") == (0, f"{name} (user): roles viewer\n")
    assert users("set", name, "--no-roles") == (0, f"{name} (user): roles none\n")
    for what in ("role", "group"):
        assert users("set", name, f"--no-{what}s", f"--{what}", "viewer") == (2, "")


def test_the_command_line_does_all_of_it(house: House, tmp_path) -> None:
    name = new_name()
    added = house.cli("admin", "users", "add", name, "--group", "senior", "--role", "reviewer", "--role", "viewer:x-*")
    assert (added.returncode, added.stdout) == (0, f"{name} (user): roles reviewer, viewer:x-*, groups senior\n")
    made = house.cli("admin", "tokens", "create", name, "--expires", "90d")
    assert made.returncode == 0
    assert made.stdout.startswith("lockgate_")
    assert made.stdout.count("\n") == 1
    house.tokens[name] = made.stdout.strip()
    with_password = house.cli("admin", "users", "add", name, "--password-stdin", input="correct horse\n")
    assert with_password.returncode == 0
    assert status_with(house, basic(name, "correct horse")) == 200

    policy = tmp_path / "policy.yaml"
    policy.write_text(ONE_APPROVAL)
    assert house.cli("admin", "policy", "validate", str(policy)).returncode == 0
    assert "is in force" in house.cli("admin", "policy", "apply", str(policy)).stdout
    assert "group:senior" in house.cli("vic", "policy", "show").stdout
    policy.write_text("version: 1\nrules: 7\n")
    wrong = house.cli("admin", "policy", "apply", str(policy))
    assert wrong.returncode == 1
    assert "line 2" in wrong.stderr

    model = house.new_model(versions=2)
    asked = house.cli("ada", "request", model, "1", "alias:champion", "--comment", "please")
    assert asked.returncode == 0
    assert "Still missing" in asked.stdout
    number = house.call("vic", "GET", f"/requests?model={model}")["requests"][0]["id"]
    refused = house.cli("ada", "approve", str(number))
    assert refused.returncode == 1
    assert "nobody approves their own work" in refused.stderr
    assert refused.stdout == ""
    assert "approved" in house.cli(name, "approve", str(number)).stdout
    checked = house.cli("ci", "check", model, "1", "smoke", "--status", "success", "--metric", "lift=0.2", "--json")
    assert '"lift": 0.2' in checked.stdout
    assert "promoted" in house.cli("bot", "promote", str(number)).stdout
    assert model in house.cli("vic", "requests", "--model", model).stdout
    house.promote(model, "2", "alias:champion")
    back = house.cli("oz", "rollback", model, "alias:champion", "--reason", "bad")
    serves, held = back.stdout.splitlines()
    assert serves == f"{model} alias:champion: version 1 serves again (was 2)."
    assert held.startswith("Version 2 is on hold for alias:champion until `lockgate unhold ")
    assert "rollback" in house.cli("vic", "history", model).stdout
    assert "promotion.done" in house.cli("vic", "audit", "list", "--model", model).stdout
    assert house.cli("vic", "show", "999999").returncode == 1
    assert house.cli("vic", "show", "seven").returncode == 2
    assert house.cli("vic", "nothing").returncode == 2
    second = house.ask(model, "2", "stage:Production")
    assert "rejected" in house.cli("sue", "reject", str(second["id"]), "--comment", "no").stdout
    assert "is lifted" in house.cli("sue", "lift", str(second["id"])).stdout
    third = house.ask(model, "2", "stage:Production")
    assert "thinking" in house.cli("rex", "comment", str(third["id"]), "thinking").stdout
    assert "withdrawn" in house.cli("ada", "withdraw", str(third["id"])).stdout


def test_no_secret_reaches_log_or_audit(house: House) -> None:
    name, password = new_name(), secrets.token_hex(16)
    house.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"], "password": password})
    token = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    assert status_with(house, basic(name, password)) == 200
    assert status_with(house, {"Authorization": f"Bearer {token}"}) == 200
    exported = house.cli("admin", "audit", "export").stdout
    assert name in exported
    for secret in (password, token, token.removeprefix("lockgate_"), house.tokens["admin"]):
        assert secret not in exported
        assert secret not in house.server.log
