"""The doctor and the history, as people call them; roles by the command."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import ONE_APPROVAL, House


def test_the_history_says_who_approved_on_what_evidence(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    done = house.promote(model, "1", "alias:champion")
    (held,) = house.call("vic", "GET", f"/models/{model}/history?target=alias:champion")["history"]
    assert (held["how"], held["by"], held["approved_by"]) == ("promotion", "bot", ["sue"])
    assert held["evidence_digest"] == done["evidence"]["digest"]
    assert held["request_url"] == done["url"]
    assert held["from"] in house.cli("vic", "history", model).stdout
    told = house.cli("vic", "history", model, "--at", held["from"]).stdout
    assert f"(decision {held['decision_id']})" in told
    before = house.cli("vic", "history", model, "--target", "alias:champion", "--at", "2020-01-01T00:00:00Z").stdout
    assert "alias:champion of" in before
    assert "held no version at 2020" in before
    assert done["evidence"]["digest"] in told
    assert done["url"] in told


def test_only_those_approved_who_approved_what_was_decided_about(house: House) -> None:
    """Not who approved other evidence before; and a rollback rests on the approval of what it returns to."""
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    asked = house.ask(model, "1", "alias:champion")["id"]
    house.call("sam", "POST", f"/requests/{asked}/approve", {})
    with house.acting_as("ada") as client:
        client.update_model_version(model, "1", "Now described")
    first = house.call("sue", "GET", f"/requests/{asked}")
    house.call("sue", "POST", f"/requests/{asked}/approve", {})
    house.call("bot", "POST", f"/requests/{asked}/promote", {})
    house.promote(model, "2", "alias:champion")
    house.call("oz", "POST", f"/models/{model}/rollback", {"target": "alias:champion", "reason": "Worse"})
    held = house.call("vic", "GET", f"/models/{model}/history")["history"]
    told = [(one["version"], one["how"], one["by"], one["approved_by"]) for one in held]
    assert told == [
        ("1", "promotion", "bot", ["sue"]),
        ("2", "promotion", "bot", ["sue"]),
        ("1", "rollback", "oz", ["sue"]),
    ]
    assert held[2]["evidence_digest"] == held[0]["evidence_digest"] == first["evidence"]["digest"]
    assert held[2]["request_url"] == first["url"]


def test_what_a_deleted_model_served_is_not_forgotten(house: House) -> None:
    model = house.new_model()
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "canary", "1")
        client.delete_registered_model_alias(model, "canary")
    with house.acting_as("admin") as client:
        client.delete_registered_model(model)
    (held,) = house.call("vic", "GET", f"/models/{model}/history")["history"]
    assert (held["target"], held["version"]) == ("alias:canary", "1")
    assert held["to"] is not None
    assert held["model_deleted"]
    house.new_model(model)
    assert house.call("vic", "GET", f"/models/{model}/history")["history"] == [held]


def test_what_is_moved_past_the_server_is_seen_and_what_is_protected_is_not_moved(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    house.promote(model, "1", "alias:champion")
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "canary", "1")
    house.sql(f"UPDATE registered_model_aliases SET version = 2 WHERE name = '{model}' AND alias = 'canary'")
    with pytest.raises(Exception, match="Lockgate protects"):
        house.sql(f"UPDATE registered_model_aliases SET version = 2 WHERE name = '{model}' AND alias = 'champion'")
    held = house.call("vic", "GET", f"/models/{model}/history?target=alias:canary")["history"]
    assert [(one["version"], one["how"], one["by"]) for one in held] == [("1", "direct", "ada"), ("2", "behind", None)]


def test_a_guard_that_was_broken_is_told_and_repaired(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    house.promote(model, "1", "alias:champion")
    house.call("max", "GET", "/doctor", status=403)
    assert house.call("admin", "GET", "/doctor")["ok"]
    assert house.cli("admin", "doctor").returncode == 0
    trigger = "lockgate_guard_aliases"
    broken = f"{trigger}_changed" if house.backend.startswith("sqlite") else f"{trigger} ON registered_model_aliases"
    house.sql(f"DROP TRIGGER {broken}")
    house.sql(f"UPDATE registered_model_aliases SET version = 2 WHERE name = '{model}' AND alias = 'champion'")
    assert house.http(None).get("/readyz").status_code == 503
    told = house.cli("admin", "doctor")
    assert told.returncode == 1
    assert trigger in told.stdout
    found = house.call("admin", "POST", "/doctor/repair")
    assert found["ok"]
    assert [(one["target"], one["version"]) for one in found["pointers"] if one["model"] == model] == [
        ("alias:champion", "2")
    ]
    assert house.http(None).get("/readyz").status_code == 200
    held = house.call("vic", "GET", f"/models/{model}/history?target=alias:champion")["history"]
    assert [(one["version"], one["how"], one["to"] is None) for one in held] == [
        ("1", "promotion", False),
        ("2", "behind", True),
    ]
    house.call("oz", "POST", f"/models/{model}/rollback", {"target": "alias:champion", "reason": "it was not approved"})


@pytest.mark.long
def test_each_signs_in_with_a_role_of_its_own(new_database: Callable[[str], str], tmp_path: Path) -> None:
    backend = new_database("postgresql")
    house = House(tmp_path, backend.replace("postgres:", "gatekeeper:", 1))
    roles = ("--owner", "proprietor", "--app", "gatekeeper", "--others", "guest")
    for _ in range(2):
        done = house.cli("admin", "init-db", "--backend-store-uri", backend, *roles)
        assert done.returncode == 0, done.stderr
    try:
        house.open().apply_policy(ONE_APPROVAL)
        model = house.new_model(versions=2)
        house.promote(model, "1", "alias:champion")
        assert house.call("admin", "GET", "/doctor")["access"] == []
        told = [
            one["after"]
            for one in house.call("admin", "GET", "/audit?max_results=200")["entries"]
            if one["action"] == "roles.set"
        ]
        assert [sorted(one["made"]) for one in told][-1] == ["gatekeeper", "guest", "proprietor"]
    finally:
        house.close()


@pytest.mark.parametrize(("column", "what"), [("source", "its source was"), ("run_id", "its run was")])
def test_a_rollback_is_to_what_was_approved(house: House, column: str, what: str) -> None:
    """Also if the database was without its guard meanwhile."""
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    house.promote(model, "1", "alias:champion")
    house.promote(model, "2", "alias:champion")
    on_sqlite = house.backend.startswith("sqlite")
    house.sql(f"DROP TRIGGER lockgate_guard_content{'' if on_sqlite else ' ON model_versions'}")
    house.sql(f"UPDATE model_versions SET {column} = 'evil' WHERE name = '{model}' AND version = 1")
    assert house.call("admin", "POST", "/doctor/repair")["ok"]
    wanted = {"target": "alias:champion", "reason": "it is slow"}
    refused = house.call("oz", "POST", f"/models/{model}/rollback", wanted, 403)
    assert what in refused["message"]
    (held,) = [
        one
        for one in house.call("vic", "GET", f"/models/{model}/history?target=alias:champion")["history"]
        if not one["to"]
    ]
    assert held["version"] == "2"


def test_a_guard_that_knows_another_policy_is_told_and_repaired(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    house.sql("DELETE FROM lockgate_protected WHERE target = 'alias:champion'")
    assert house.http(None).get("/readyz").status_code == 503
    assert house.call("admin", "GET", "/doctor")["guard"] == [
        "The guard does not know that the policy protects alias:champion."
    ]
    assert house.call("admin", "POST", "/doctor/repair")["ok"]
    assert house.http(None).get("/readyz").status_code == 200
