"""Rollbacks, holds and breaking the glass, through the real server."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from tests.adversarial.bait import bait
from tests.house import ONE_APPROVAL, House
from tests.integration.test_gate import refusal

PRODUCTION, CHAMPION = "stage:Production", "alias:champion"
ALWAYS = "    freeze: [{name: always, from: 'Mon 00:00', to: 'Mon 00:00'}]\n"


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def act(house: House, who: str, asked: dict, what: str, status: int | None = None, **body: Any) -> dict:
    return house.call(who, "POST", f"/requests/{asked['id']}/{what}", body, status)


def roll_back(house: House, model: str, status: int | None = None, target: str = CHAMPION, by: str = "oz") -> dict:
    return house.call(by, "POST", f"/models/{model}/rollback", {"target": target, "reason": "it drifts"}, status)


def served(house: House, *versions: str) -> str:
    model = house.new_model(versions=max(map(int, versions)))
    for version in versions:
        house.promote(model, version, CHAMPION)
    return model


def approved(house: House, model: str, version: str) -> dict:
    asked = house.ask(model, version, CHAMPION)
    assert act(house, "sue", asked, "approve")["state"] == "approved"
    return asked


def champion(house: House, model: str) -> str:
    with house.acting_as("vic") as client:
        return str(client.get_model_version_by_alias(model, "champion").version)


def test_what_was_rolled_back_is_on_hold_until_somebody_lifts_it(house: House) -> None:
    model = served(house, "1", "2")
    hold = roll_back(house, model)["hold"]
    (held,) = [one for one in house.call("vic", "GET", "/holds")["holds"] if one["model"] == model]
    assert (held["id"], held["version"], held["target"], held["by"]) == (hold, "2", CHAMPION, "oz")
    asked = approved(house, model, "2")
    assert "Version 2 is on hold" in act(house, "bot", asked, "promote", 403)["message"]
    with house.acting_as("bot") as client:
        assert f"lockgate unhold {hold}" in refusal(client, model, "2", CHAMPION).message
    for who in ("ada", "bot", "ci", "vic"):
        house.call(who, "DELETE", f"/holds/{hold}", None, 403)
    house.call("rex", "DELETE", f"/holds/{hold}?comment=fixed")
    house.call("rex", "DELETE", f"/holds/{hold}", None, 409)
    assert act(house, "bot", asked, "promote")["state"] == "promoted"
    assert champion(house, model) == "2"


def test_a_hold_is_for_people_with_standing_and_needs_a_reason(house: House) -> None:
    model = house.new_model()
    body = {"model": model, "version": "1", "target": CHAMPION, "reason": "odd"}
    for who in ("ada", "ci", "bot", "vic"):
        house.call(who, "POST", "/holds", body, 403)
    house.call("sue", "POST", "/holds", {**body, "reason": ""}, 400)
    house.call("sue", "POST", "/holds", body)
    asked = approved(house, model, "1")
    assert "Version 1 is on hold" in act(house, "bot", asked, "promote", 403)["message"]
    other = house.ask(model, "1", PRODUCTION)
    assert "is on hold for alias:champion" in other["warnings"][0]
    act(house, "sue", other, "approve")
    assert act(house, "bot", other, "promote")["state"] == "promoted"


def test_a_rollback_passes_over_what_is_held_or_deleted(house: House) -> None:
    model = served(house, "1", "2", "3", "4")
    house.call("sue", "POST", "/holds", {"model": model, "version": "3", "reason": "biased"})
    with house.acting_as("ada") as client:
        client.delete_model_version(model, "2")
    assert roll_back(house, model)["version"] == "1"
    assert champion(house, model) == "1"
    roll_back(house, model, 409)


@pytest.mark.parametrize("by", ["rollback", "mlflow"])
def test_a_rollback_respects_freezes_where_the_policy_says_so(house: House, by: str) -> None:
    """Whichever call it is: an operator who moves an alias back with MLflow's client rolls back too."""

    def attempt(model: str) -> str:
        if by == "rollback":
            return str(roll_back(house, model, 403)["message"])
        with house.acting_as("oz") as client:
            return str(refusal(client, model, "1", CHAMPION).message)

    model, other = served(house, "1", "2"), served(house, "1", "2")
    house.apply_policy(ONE_APPROVAL + ALWAYS + "    rollback: {respects_freeze: true}\n")
    assert "freeze window 'always'" in attempt(model)
    house.apply_policy(ONE_APPROVAL + "    rollback: {respects_freeze: true}\n")
    body = {"models": model, "to": "2999-01-01T00:00:00Z", "reason": "audit day"}
    freeze = house.call("oz", "POST", "/freezes", body)
    assert "audit day" in attempt(model)
    assert champion(house, model) == "2"
    house.call("oz", "DELETE", f"/freezes/{freeze['id']}")
    house.apply_policy(ONE_APPROVAL + ALWAYS)
    if by == "rollback":
        roll_back(house, other)
    else:
        with house.acting_as("oz") as client:
            client.set_registered_model_alias(other, "champion", "1")
    assert champion(house, other) == "1"


@pytest.mark.parametrize("by", ["rollback", "mlflow"])
def test_a_rollback_does_not_go_to_changed_files(house: House, by: str) -> None:
    target = bait(house)
    house.promote(target.model, "1", CHAMPION)
    with house.acting_as("ada") as client:
        house.new_version(client, target.model)
    house.promote(target.model, "2", CHAMPION)
    before = (target.folder / "MLmodel").read_text()
    (target.folder / "MLmodel").write_text("flavors: {evil: 1}\n")
    if by == "rollback":
        message = roll_back(house, target.model, 403)["message"]
    else:
        with house.acting_as("oz") as client:
            message = refusal(client, target.model, "1", CHAMPION).message
    assert "file MLmodel changed (19 bytes, was 12)" in message
    assert champion(house, target.model) == "2"
    (target.folder / "MLmodel").write_text(before)
    assert roll_back(house, target.model)["version"] == "1"


# Break-glass

STRICT = ONE_APPROVAL + "    break_glass: {by: [user:oz], ticket: required, review_within: 2h}\n"


def break_glass(
    house: House, model: str, version: str = "1", by: str = "oz", status: int | None = None, **more: Any
) -> dict:
    body = {"model": model, "version": version, "target": CHAMPION, "reason": "production is down", **more}
    return house.call(by, "POST", "/break-glass", body, status)


def review(house: House, by: str, number: int, verdict: str = "approve", status: int | None = None) -> dict:
    return house.call(by, "POST", f"/break-glass/{number}/review", {"verdict": verdict}, status)


def test_breaking_the_glass_is_for_few_and_needs_a_ticket(house: House) -> None:
    model = house.new_model()
    assert break_glass(house, model, reason="  ", status=400)
    house.apply_policy(STRICT)
    for who in ("ada", "sue", "bot", "ci", "max", "vic"):
        break_glass(house, model, by=who, status=403, ticket="INC-1")
    assert "lets only user:oz" in break_glass(house, model, by="admin", status=403, ticket="INC-1")["message"]
    assert "wants a ticket" in break_glass(house, model, status=400)["message"]
    done = break_glass(house, model, ticket="INC-1")
    assert (done["kind"], done["version"], champion(house, model)) == ("break-glass", "1", "1")
    (found,) = [
        b for b in house.call("vic", "GET", "/break-glass?unreviewed=true")["break_glass"] if b["model"] == model
    ]
    assert (found["by"], found["ticket"]) == ("oz", "INC-1")
    assert any("needs 1 more approval" in reason for reason in found["unmet"])
    house.apply_policy(ONE_APPROVAL)
    other = house.new_model()
    assert break_glass(house, other)["kind"] == "break-glass"  # a ticket is optional by default
    break_glass(house, other, status=409)  # it serves already
    house.apply_policy(ONE_APPROVAL.replace('"*"', '"payments-*"'))
    break_glass(house, house.new_model(), status=403)  # closed to models that no rule covers


def test_the_time_for_the_review_is_the_shortest(house: House) -> None:
    def time_left() -> timedelta:
        done = break_glass(house, house.new_model())
        return datetime.fromisoformat(done["review_by"]) - datetime.fromisoformat(done["at"])

    assert time_left() == timedelta(hours=24)
    house.apply_policy(ONE_APPROVAL + "    break_glass: {review_within: 2h}\n")
    assert time_left() == timedelta(hours=2)


def test_a_second_person_reviews_it_and_until_then_too_late_nothing_is_promoted(house: House) -> None:
    model = house.new_model(versions=2)
    done = break_glass(house, model)
    number = done["break_glass"]
    asked = approved(house, model, "2")
    assert house.call("vic", "GET", f"/requests/{asked['id']}")["unmet"] == []
    house.sql(f"UPDATE lockgate_break_glass SET review_by = at WHERE id = {number}")
    assert "no second person has reviewed" in act(house, "bot", asked, "promote", 403)["message"]
    for who in ("oz", "ada", "bot", "vic", "max"):
        review(house, who, number, status=403)
    assert review(house, "sam", number)["reviewer"] == "sam"
    review(house, "sue", number, "reject", 409)
    assert act(house, "bot", asked, "promote")["state"] == "promoted"
    assert roll_back(house, model)["version"] == "1"  # approved, it counts as if it had been promoted


def test_rejected_it_is_on_hold_and_nothing_goes_back_to_it(house: House) -> None:
    model = served(house, "1")
    with house.acting_as("ada") as client:
        house.new_version(client, model)
        house.new_version(client, model)
    number = break_glass(house, model, "2")["break_glass"]
    review(house, "sue", number, "reject")
    assert champion(house, model) == "2"  # it serves until somebody moves the target
    (held,) = [one for one in house.call("vic", "GET", "/holds")["holds"] if one["model"] == model]
    assert (held["version"], held["target"]) == ("2", None)
    house.promote(model, "3", CHAMPION)
    assert roll_back(house, model)["version"] == "1"
    asked = approved(house, model, "2")
    assert "is on hold" in act(house, "bot", asked, "promote", 403)["message"]


def test_nobody_goes_back_to_what_nobody_has_reviewed(house: House) -> None:
    model = house.new_model(versions=2)
    break_glass(house, model)
    house.promote(model, "2", CHAMPION)
    roll_back(house, model, 409)
    with house.acting_as("oz") as client, pytest.raises(MlflowException):
        client.set_registered_model_alias(model, "champion", "1")


def test_files_of_what_came_past_the_gate_stay_as_they_are(house: House) -> None:
    """Approved afterwards, a rollback may go back to it; so nobody writes to it after it has been replaced either."""
    target = bait(house)
    review(house, "sam", break_glass(house, target.model)["break_glass"])
    put = f"/api/2.0/mlflow-artifacts/artifacts/0/{target.run_id}/artifacts/model/MLmodel"
    assert house.http("junior").put(put, content=b"evil").status_code == 403
    with house.acting_as("ada") as client:
        house.new_version(client, target.model)
    house.promote(target.model, "2", CHAMPION)
    assert house.http("junior").put(put, content=b"evil").status_code == 403
    assert roll_back(house, target.model)["version"] == "1"
    assert (target.folder / "MLmodel").read_text() == "flavors: {}\n"


def test_a_rollback_to_what_came_past_the_gate_does_not_go_to_changed_files(house: House) -> None:
    target = bait(house)
    review(house, "sam", break_glass(house, target.model)["break_glass"])
    with house.acting_as("ada") as client:
        house.new_version(client, target.model)
    house.promote(target.model, "2", CHAMPION)
    (target.folder / "MLmodel").write_text("flavors: {evil: 1}\n")
    roll_back(house, target.model, 403)


def test_whoever_made_the_version_is_not_the_second_person(house: House) -> None:
    target = bait(house, by="sue")
    review(house, "sue", break_glass(house, target.model)["break_glass"], status=403)
