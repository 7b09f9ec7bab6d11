"""Getting around whose approval counts by saying who is behind an account. Each beside a call that passes."""

from typing import Any

import pytest

from tests.house import ONE_APPROVAL, House
from tests.integration.test_people import join

TARGET = "stage:Production"


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL.replace(", from: [group:senior]", ""))


def ways_to_change_the_owner(account: str, owner: str) -> list[tuple[str, str, dict[str, Any]]]:
    file = f"version: 1\nservice_accounts:\n  - {{name: {account}, owner: {owner}, roles: [contributor]}}\n"
    return [
        ("PATCH", f"/principals/{account}", {"owner": owner}),
        ("POST", "/principals", {"name": account, "owner": owner}),
        ("PUT", "/access", {"source": file, "dry_run": True}),
        ("PUT", "/access", {"source": file}),
    ]


def test_a_maintainer_doesn_t_get_rid_of_an_account_to_approve_what_it_makes(house: House) -> None:
    pat = join(house, "maintainer", "reviewer", "contributor")
    account = join(house, "contributor", kind="service", owner=pat)
    for method, path, body in ways_to_change_the_owner(account, "vic"):
        refused = house.call(pat, method, path, body, 403)["message"]
        assert "Only an admin changes who answers for a service account" in refused
    asked = house.ask(house.new_model(by=account), "1", TARGET, by="junior")
    house.call(pat, "POST", f"/requests/{asked['id']}/approve", {}, 403)
    # Saying what is so already changes nothing, and an admin may say otherwise.
    for method, path, body in ways_to_change_the_owner(account, pat):
        house.call(pat, method, path, body)
    for method, path, body in ways_to_change_the_owner(account, "vic"):
        house.call("admin", method, path, body)
    owners = {known["name"]: known["owner"] for known in house.call("vic", "GET", "/principals")["principals"]}
    assert owners[account] == "vic"


def test_a_maintainer_names_who_answers_for_an_account_that_nobody_does(house: House) -> None:
    account = join(house, "contributor", kind="service")
    house.sql(f"UPDATE lockgate_principals SET owner_id = NULL WHERE name = '{account}'")
    assert house.call("max", "PATCH", f"/principals/{account}", {"owner": "vic"})["owner"] == "vic"
    house.call("max", "PATCH", f"/principals/{account}", {"owner": "max"}, 403)
