"""Webhooks on a real server: what is told, to whom, in which order, and what becomes of what can't be delivered."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.webhook import WebhookEvent
from standardwebhooks import Webhook

from tests.conftest import BACKENDS
from tests.house import ONE_APPROVAL, House
from tests.receivers import Receiver, ok, status

ALLOWED = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "127.0.0.1", "LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}
#: Attempts follow each other at once, and there are four of them.
HASTY = {**ALLOWED, "LOCKGATE_WEBHOOK_RETRIES": "0.1,0.1,0.1"}
TARGET = "alias:champion"


@pytest.fixture(params=BACKENDS)
def house(request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    with closing(House(tmp_path, new_database(request.param), environment=HASTY)) as opened:
        yield opened.open()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def bodies(receiver: Receiver) -> list[Any]:
    return [json.loads(request.body) for request in receiver.requests]


def add(house: House, receiver: Receiver, **more: Any) -> Any:
    return house.call("admin", "POST", "/webhooks", {"url": receiver.url, **more}, 201)


def delivered(house: House, **asked: Any) -> list[Any]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    found: list[Any] = house.call("admin", "GET", f"/deliveries?{query}")["deliveries"]
    return found


def test_the_whole_way_of_a_promotion_is_told_in_order(house: House, receiver: Receiver) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    add(house, receiver)
    house.promote(model, "1", TARGET)
    until(lambda: any(body["type"] == "promotion.done" for body in bodies(receiver)))
    told = [body["type"] for body in bodies(receiver) if body["data"].get("model") == model]
    assert told == ["request.opened", "request.reviewed", "promotion.done"]
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert len(set(ids)) == len(ids)


def test_what_could_not_be_delivered_is_tried_again_under_the_same_id_and_nothing_overtakes_it(
    house: House, receiver: Receiver
) -> None:
    model = house.new_model()
    add(house, receiver, events=["model.updated"])
    receiver.behaviour = status(500)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(model, "n", "0")
        until(lambda: len(receiver.requests) >= 2)
        client.set_registered_model_tag(model, "n", "1")
        receiver.behaviour = ok
    until(lambda: len(delivered(house, state="delivered")) == 2)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    tags = [body["data"]["after"]["tags"]["n"] for body in bodies(receiver)]
    assert tags == ["0"] * (len(tags) - 1) + ["1"]
    assert len(set(ids)) == 2
    last, first = delivered(house)
    assert [attempt["status"] for attempt in first["attempts"]] == [500] * (len(tags) - 2) + [200]
    assert [attempt["status"] for attempt in last["attempts"]] == [200]


def test_who_can_not_be_reached_for_days_fails_visibly_and_gets_all_of_it_when_taken_up_again(
    house: House, receiver: Receiver
) -> None:
    model = house.new_model()
    webhook = add(house, receiver, events=["model.updated"])["id"]
    receiver.behaviour = status(503)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(model, "n", "0")
        failed = until(lambda: _if(house.call("admin", "GET", f"/webhooks/{webhook}"), "failed"))
        assert "it answered 503" in failed["reason"]
        assert failed["failing_since"]
        client.set_registered_model_tag(model, "n", "1")
    until(lambda: len(delivered(house, state="waiting")) == 2)
    receiver.requests.clear()
    receiver.behaviour = ok
    assert house.call("admin", "PATCH", f"/webhooks/{webhook}", {"status": "active"})["reason"] == ""
    until(lambda: len(delivered(house, state="delivered")) == 2)
    assert [body["data"]["after"]["tags"]["n"] for body in bodies(receiver)] == ["0", "1"]


def _if(webhook: Any, status: str) -> Any:
    return webhook if webhook["status"] == status else None


def test_who_is_gone_is_told_nothing_any_more(house: House, receiver: Receiver) -> None:
    model = house.new_model()
    webhook = add(house, receiver, events=["model.updated"])["id"]
    receiver.behaviour = status(410)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(model, "n", "0")
        failed = until(lambda: _if(house.call("admin", "GET", f"/webhooks/{webhook}"), "failed"))
        assert "410" in failed["reason"]
        client.set_registered_model_tag(model, "n", "1")
    until(lambda: len(delivered(house, state="waiting")) == 2)
    assert len(receiver.requests) == 1


def test_one_that_can_not_be_told_is_parked_and_does_not_keep_the_others(house: House, receiver: Receiver) -> None:
    """What it can't take is about one model; what is about another arrives meanwhile."""
    poison, other = house.new_model(), house.new_model()
    add(house, receiver, events=["model.updated"])

    def behave(visit: Any) -> None:
        visit.take()
        is_poison = b'"bad"' in visit.receiver.requests[-1].body
        visit.say(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"400 Bad Request" if is_poison else b"200 OK"))

    receiver.behaviour = behave
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(poison, "n", "bad")
        until(lambda: receiver.requests)
        client.set_registered_model_tag(other, "n", "good")
        client.set_registered_model_tag(poison, "n", "good")
    [parked] = until(lambda: delivered(house, state="parked"))
    assert [attempt["status"] for attempt in parked["attempts"]] == [400] * 4
    until(lambda: len(delivered(house, state="delivered")) == 2)
    receiver.behaviour = ok
    house.call("admin", "POST", f"/deliveries/{parked['id']}/redeliver")
    until(lambda: len(delivered(house, state="delivered")) == 3)
    again = [r.headers["webhook-id"] for r in receiver.requests if b'"bad"' in r.body]
    assert set(again) == {parked["message_id"]}


def test_a_webhook_is_told_of_its_models_only(house: House, receiver: Receiver) -> None:
    one, other = house.new_model(), house.new_model()
    add(house, receiver, events=["model.updated"], models=one)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(other, "n", "0")
        client.set_registered_model_tag(one, "n", "1")
    until(lambda: receiver.requests)
    assert [body["data"]["model"] for body in bodies(receiver)] == [one]


def test_secrets_are_shown_once_and_stored_encrypted(house: House, receiver: Receiver) -> None:
    made = add(house, receiver, dialect="databricks", events=["MODEL_VERSION_CREATED"], secret="s3cr3t-of-the-hook",
               settings={"authorization": "Bearer hidden-token"})  # fmt: skip
    listed = json.dumps(house.call("admin", "GET", "/webhooks"))
    for secret in ("s3cr3t-of-the-hook", "hidden-token"):
        assert secret not in listed
        assert secret not in str(house.rows("SELECT * FROM lockgate_webhooks"))
        assert secret not in str(house.rows("SELECT * FROM lockgate_audit"))
        assert secret not in house.server.log
    assert made["secret"] == "s3cr3t-of-the-hook"


def test_only_who_maintains_the_models_sets_up_who_is_told_of_them(house: House, receiver: Receiver) -> None:
    house.call("admin", "POST", "/principals", {"name": "pam", "roles": ["maintainer:payments-*"]})
    house.tokens["pam"] = house.call("admin", "POST", "/tokens", {"principal": "pam"})["token"]
    theirs = add(house, receiver)["id"]
    for name in ("ada", "sue", "oz", "pam"):
        house.call(name, "POST", "/webhooks", {"url": receiver.url}, 403)
        house.call(name, "GET", f"/webhooks/{theirs}", status=404)
        assert house.call(name, "GET", "/webhooks") == {"webhooks": []}
    house.call("pam", "POST", "/webhooks", {"url": receiver.url, "models": "payments-*"}, 201)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"url": "https://10.0.0.1/"}, "not a public one"),
        ({"url": "ftp://127.0.0.1/"}, "https"),
        ({"url": "https://xn--a/"}, "not a URL"),
        ({"events": ["promotion.dome"]}, "There is no event 'promotion.dome'"),
        ({"dialect": "klingon"}, "There is no dialect 'klingon'"),
        ({"secret": "short"}, "whsec_"),
    ],
)
def test_bad_input_changes_nothing(house: House, receiver: Receiver, body: dict[str, Any], said: str) -> None:
    refused = house.call("admin", "POST", "/webhooks", {"url": receiver.url, **body}, 400)
    assert said in refused["message"]
    assert house.call("admin", "GET", "/webhooks") == {"webhooks": []}


def test_an_example_is_sent_at_once_and_nothing_of_the_answer_is_shown(house: House, receiver: Receiver) -> None:
    webhook = add(house, receiver, events=["promotion.done"])["id"]
    receiver.behaviour = status(418, b"what only the inside may read")
    answer = house.call("admin", "POST", f"/webhooks/{webhook}/test")
    assert (answer["status"], bodies(receiver)[0]["type"]) == (418, "promotion.done")
    assert "inside" not in json.dumps(answer)


def test_mlflows_own_webhooks_are_delivered_from_the_outbox(house: House, receiver: Receiver) -> None:
    with house.acting_as("admin") as client:
        made = client.create_webhook(
            "hook", receiver.url, [WebhookEvent("model_version", "created")], secret="a secret of MLflow's"
        )
        tried = client.test_webhook(made.webhook_id)
        assert (tried.success, tried.response_status) == (True, 200)
    receiver.requests.clear()
    receiver.behaviour = status(500)
    model = house.new_model()
    until(lambda: receiver.requests)
    receiver.behaviour = ok
    until(lambda: delivered(house, state="delivered"))
    last = receiver.requests[-1]
    assert json.loads(last.body)["data"]["name"] == model
    assert last.headers["x-mlflow-signature"].startswith("v1,")
    assert {request.headers["x-mlflow-delivery-id"] for request in receiver.requests} == {
        last.headers["x-mlflow-delivery-id"]
    }


def test_what_is_secret_does_not_go_to_another_address(house: House, receiver: Receiver) -> None:
    """Who maintains a webhook beside others could have their tokens sent to themselves."""
    settings = {"project": "42", "ref": "main", "token": "trigger-token"}
    made = add(house, receiver, dialect="gitlab", events=["promotion.done"], settings=settings)
    with Receiver() as other:
        for changes in (
            {"url": other.url},
            {"url": other.url, "settings": {**settings, "token": "..."}},
            {"verify_certificate": False},
            {"settings": {**settings, "project": "43", "token": "..."}},
        ):
            refused = house.call("admin", "PATCH", f"/webhooks/{made['id']}", changes, 400)
            assert "token again" in refused["message"]
        shown = house.call("admin", "GET", f"/webhooks/{made['id']}")
        assert (shown["url"], shown["settings"]["token"]) == (receiver.url, "...")
        house.call("admin", "PATCH", f"/webhooks/{made['id']}", {"url": other.url, "settings": settings})
        house.call("admin", "POST", f"/webhooks/{made['id']}/test")
        assert b"trigger-token" in other.requests[0].body
    told = house.rows("SELECT before, after FROM lockgate_audit WHERE action = 'webhook.changed' ORDER BY id DESC")
    assert told[0][0] != told[0][1]


def test_a_narrowed_webhook_keeps_what_it_was_told_to_those_who_may_know_it(house: House, receiver: Receiver) -> None:
    house.call("admin", "POST", "/principals", {"name": "pam", "roles": ["maintainer:payments-*"]})
    house.tokens["pam"] = house.call("admin", "POST", "/tokens", {"principal": "pam"})["token"]
    secret = house.new_model("secret-model")
    webhook = add(house, receiver, events=["model.updated"])["id"]
    receiver.behaviour = status(500)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(secret, "n", "0")
    until(lambda: receiver.requests)
    house.call("admin", "PATCH", f"/webhooks/{webhook}", {"models": "payments-*"})
    receiver.behaviour = ok
    [delivery] = until(lambda: delivered(house, state="parked"))
    assert house.call("pam", "GET", "/deliveries")["deliveries"] == []
    house.call("pam", "POST", f"/deliveries/{delivery['id']}/redeliver", status=404)


def test_many_lanes_that_fail_at_once_are_all_written_down(house: House, receiver: Receiver) -> None:
    models = [house.new_model(versions=0) for _ in range(4)]
    webhook = add(house, receiver, events=["model.updated"])["id"]
    gone = threading.Barrier(4, timeout=20)

    def behave(visit: Any) -> None:
        visit.take()
        with suppress(threading.BrokenBarrierError):
            gone.wait()
        visit.say(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")

    receiver.behaviour = behave
    with house.acting_as("ada") as client:
        for model in models:
            client.set_registered_model_tag(model, "n", "0")
    until(lambda: [len(one["attempts"]) for one in delivered(house)] == [1] * 4)
    assert house.call("admin", "GET", f"/webhooks/{webhook}")["status"] == "failed"
    assert "Deadlock" not in house.server.log
    receiver.behaviour = ok
    # Side by side, as impatient people do it: it ends as what was said last, and nothing is stuck.
    with ThreadPoolExecutor(2) as threads:
        for status_ in ("disabled", "active") * 5:
            threads.submit(house.http("admin").patch, f"/api/lockgate/v1/webhooks/{webhook}", json={"status": status_})
    house.call("admin", "PATCH", f"/webhooks/{webhook}", {"status": "disabled"})
    house.call("admin", "PATCH", f"/webhooks/{webhook}", {"status": "active"})
    until(lambda: len(delivered(house, state="delivered")) == 4)


def test_what_an_old_attempt_says_does_not_overrule_people(house: House, receiver: Receiver) -> None:
    model = house.new_model()
    webhook = add(house, receiver, events=["model.updated"])["id"]
    go_on = threading.Event()

    def behave(visit: Any) -> None:
        visit.take()
        go_on.wait(20)
        visit.say(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")

    receiver.behaviour = behave
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(model, "n", "0")
    until(lambda: receiver.requests)
    house.call("admin", "PATCH", f"/webhooks/{webhook}", {"status": "disabled"})
    go_on.set()
    until(lambda: delivered(house)[0]["attempts"])
    assert house.call("admin", "GET", f"/webhooks/{webhook}")["status"] == "disabled"


def test_what_is_delivered_again_has_a_schedule_of_its_own(house: House, receiver: Receiver) -> None:
    model = house.new_model()
    webhook = add(house, receiver, events=["model.updated"])["id"]
    answers = iter([500, 500, 500, 200, 500])
    receiver.behaviour = lambda visit: status(next(answers, 200))(visit)
    with house.acting_as("ada") as client:
        client.set_registered_model_tag(model, "n", "0")
    [one] = until(lambda: delivered(house, state="delivered"))
    house.call("admin", "POST", f"/deliveries/{one['id']}/redeliver")
    until(lambda: len(receiver.requests) == 6)
    until(lambda: delivered(house, state="delivered"))
    assert house.call("admin", "GET", f"/webhooks/{webhook}")["status"] == "active"


def test_a_secret_is_exchanged_and_shown_once(house: House, receiver: Receiver) -> None:
    first = add(house, receiver, events=["model.updated"])
    second = house.call("admin", "POST", f"/webhooks/{first['id']}/secret")["secret"]
    assert second not in (None, first["secret"])
    house.call("admin", "POST", f"/webhooks/{first['id']}/test")
    assert len(receiver.requests[-1].headers["webhook-signature"].split()) == 2
    assert house.call("admin", "POST", f"/webhooks/{first['id']}/secret", {"drop_earlier": True})["secret"] is None
    house.call("admin", "POST", f"/webhooks/{first['id']}/test")
    last = receiver.requests[-1]
    assert len(last.headers["webhook-signature"].split()) == 1
    Webhook(second).verify(last.body, dict(last.headers))


def test_mlflows_webhooks_get_what_waits_when_they_are_taken_up_again(house: House, receiver: Receiver) -> None:
    model = house.new_model()
    receiver.behaviour = status(500)
    with house.acting_as("admin") as client:
        made = client.create_webhook("hook", receiver.url, [WebhookEvent("model_version", "created")])
        house.new_version(client, model)
        until(lambda: client.get_webhook(made.webhook_id).status.value == "DISABLED")
        receiver.requests.clear()
        receiver.behaviour = ok
        client.update_webhook(made.webhook_id, status="ACTIVE")
        until(lambda: delivered(house, state="delivered"))
        client.delete_webhook(made.webhook_id)
    assert house.rows("SELECT COUNT(*) FROM lockgate_deliveries") == [(0,)]


@pytest.mark.parametrize("kind", BACKENDS)
def test_what_was_delivered_is_forgotten_in_time(
    kind: str, new_database: Callable[[str], str], tmp_path: Path, receiver: Receiver
) -> None:
    environment = {**ALLOWED, "LOCKGATE_WEBHOOK_RETENTION": "2s"}
    with closing(House(tmp_path, new_database(kind), environment=environment)) as house:
        house.open()
        model = house.new_model()
        add(house, receiver, events=["model.updated"])
        with house.acting_as("ada") as client:
            client.set_registered_model_tag(model, "n", "0")
            until(lambda: receiver.requests)
            until(lambda: house.rows("SELECT COUNT(*) FROM lockgate_deliveries") == [(0,)])
            assert house.rows("SELECT COUNT(*) FROM lockgate_delivery_attempts") == [(0,)]
            client.set_registered_model_tag(model, "n", "1")
            until(lambda: len(receiver.requests) == 2)
