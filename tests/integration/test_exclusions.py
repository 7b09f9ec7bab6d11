"""Nobody approves their own work, whichever hand they had in it, and whether with their own account or another.

sue is a senior who reviews. In each case she has one hand in a version, and only that; without it she may approve.
"""

import secrets
from collections.abc import Callable

import pytest

from tests.house import ONE_APPROVAL, House

TARGET = "stage:Production"
HANDS = ["requests", "registers", "makes the run", "logs a metric", "logs to the logged model", "uploads a file",
         "uploads through the page", "deletes a file", "uploads to the logged model"]  # fmt: skip
SAYS = {"requests": "asked for this promotion", "registers": "registered this version"}


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


@pytest.fixture
def account(house: House) -> str:
    """A service account that sue answers for."""
    name = f"sues-{secrets.token_hex(4)}"
    house.call(
        "admin", "POST", "/principals", {"name": name, "kind": "service", "roles": ["contributor"], "owner": "sue"}
    )
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    return name


def a_request(house: House, hand: str, who: str) -> dict:
    """Make a version and a request for it, where `who` has one hand in it and ada and junior have the others."""

    def by(what: str) -> str:
        return who if what == hand else "ada"

    with house.acting_as(by("makes the run")) as client:
        run_id = client.create_run("0").info.run_id
    with house.acting_as("ada") as client:
        model_id = client.create_logged_model("0", name="logged", source_run_id=run_id).model_id
        client.finalize_logged_model(model_id, "READY")
    with house.acting_as(by("logs a metric")) as client:
        client.log_metric(run_id, "val_auc", 0.9)
    with house.acting_as(by("logs to the logged model")) as client:
        client.set_logged_model_tags(model_id, {"a": "b"})
    files = "/api/2.0/mlflow-artifacts/artifacts/0"
    put: Callable = house.http(by("uploads a file")).put
    put(f"{files}/{run_id}/artifacts/model/MLmodel", content=b"flavors: {}").raise_for_status()
    put = house.http(by("uploads to the logged model")).put
    put(f"{files}/models/{model_id}/artifacts/MLmodel", content=b"flavors: {}").raise_for_status()
    page = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=model/notes.txt"
    house.http(by("uploads through the page")).post(page, content=b"x").raise_for_status()
    house.http(by("deletes a file")).delete(f"{files}/{run_id}/artifacts/model/notes.txt").raise_for_status()
    name = f"hands-{run_id}"
    of_logged_model = "logged model" in hand
    with house.acting_as("ada") as client:
        client.create_registered_model(name)
    with house.acting_as(by("registers")) as client:
        source = f"models:/{model_id}" if of_logged_model else f"runs:/{run_id}/model"
        client.create_model_version(
            name, source, run_id, await_creation_for=0, model_id=model_id if of_logged_model else None
        )
    return house.ask(name, "1", TARGET, by=who if hand == "requests" else "junior")


def approve(house: House, asked: dict, status: int | None = None, by: str = "sue") -> dict:
    return house.call(by, "POST", f"/requests/{asked['id']}/approve", {}, status)


@pytest.mark.parametrize("hand", HANDS)
def test_one_hand_in_it_is_enough(house: House, hand: str) -> None:
    asked = a_request(house, hand, "sue")
    refused = approve(house, asked, 403)
    assert SAYS.get(hand, "had a hand in the run") in refused["message"]
    assert "nobody approves their own work" in refused["message"]
    assert house.call("sue", "POST", f"/requests/{asked['id']}/reject", {}, 403)
    assert approve(house, asked, by="sam")["state"] == "approved"


@pytest.mark.parametrize("hand", ["requests", "registers", "makes the run", "logs a metric", "uploads a file"])
def test_and_so_is_that_of_an_account_one_answers_for(house: House, hand: str, account: str) -> None:
    asked = a_request(house, hand, account)
    refused = approve(house, asked, 403)
    assert f"sue answers for {account}, which {SAYS.get(hand, 'had a hand in the run')}" in refused["message"]
    assert approve(house, asked, by="sam")["state"] == "approved"


def test_with_no_hand_in_it_she_approves(house: House, account: str) -> None:
    assert approve(house, a_request(house, "none", account))["state"] == "approved"
    assert approve(house, a_request(house, "none", "sue"))["state"] == "approved"


def test_an_account_that_changes_its_owner_takes_the_exclusion_along(house: House, account: str) -> None:
    """What counts is who answers for it when the target moves."""
    asked = a_request(house, "logs a metric", account)
    approve(house, asked, by="sam")
    house.call("admin", "PATCH", f"/principals/{account}", {"owner": "sam"})
    refused = house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, 403)
    assert "needs 1 more approval" in refused["message"]
    assert approve(house, asked)["state"] == "approved"


def test_an_approval_before_a_hand_in_it_does_not_count_after(house: House) -> None:
    asked = a_request(house, "none", "sue")
    approve(house, asked)
    with house.acting_as("sue") as client:
        client.set_tag(asked["evidence"]["run_id"], "reviewed", "yes")
    refused = house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, 403)
    assert "needs 1 more approval" in refused["message"]
    assert "had a hand in the run" in approve(house, asked, 403)["message"]
