"""Somebody whose receivers all hang, with as many webhooks as they like, keeps nobody else from being told."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BACKENDS
from tests.house import House
from tests.receivers import Receiver, hang

ALLOWED = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "127.0.0.1", "LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}
HANGING = 60
#: How long a delivery may take on a machine with much to do, in seconds: a call that hangs is given up after 30.
SOON = 8.0


@pytest.fixture(params=BACKENDS)
def house(request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    with closing(House(tmp_path, new_database(request.param), environment=ALLOWED)) as opened:
        yield opened.open()


def test_many_webhooks_of_one_person_that_hang_delay_nobody_else(house: House) -> None:
    house.call("admin", "POST", "/principals", {"name": "pam", "roles": ["maintainer:payments-*"]})
    house.tokens["pam"] = house.call("admin", "POST", "/tokens", {"principal": "pam"})["token"]
    theirs = [house.new_model(f"payments-{number}", versions=0) for number in range(4)]
    ours = house.new_model(versions=0)
    with Receiver(hang) as hanging, Receiver() as healthy:
        for _ in range(HANGING):
            asked = {"url": hanging.url, "events": ["model.updated"], "models": "payments-*"}
            house.call("pam", "POST", "/webhooks", asked, 201)
        house.call("admin", "POST", "/webhooks", {"url": healthy.url, "events": ["model.updated"], "models": ours}, 201)
        with house.acting_as("ada") as client:
            for model in theirs:
                client.set_registered_model_tag(model, "n", "0")
            occupied = until_it_grows_no_more(lambda: len(hanging.requests))
            began = time.monotonic()
            client.set_registered_model_tag(ours, "n", "0")
        while not healthy.requests and time.monotonic() - began < SOON:
            time.sleep(0.02)
        assert healthy.requests, f"{occupied} calls hang, and nobody else is told"


def until_it_grows_no_more(count: Callable[[], int]) -> int:
    last, since = 0, time.monotonic()
    while time.monotonic() - since < 2 or not last:
        if (found := count()) != last:
            last, since = found, time.monotonic()
        time.sleep(0.05)
    return last


def test_nobody_makes_webhooks_without_end(house: House) -> None:
    body: dict[str, Any] = {"url": "http://127.0.0.1:9/hook", "events": ["model.updated"], "status": "disabled"}
    made = [house.call("admin", "POST", "/webhooks", body, 201)["id"] for _ in range(100)]
    refused = house.call("admin", "POST", "/webhooks", body, 403)
    assert "has made 100 webhooks" in refused["message"]
    house.call("admin", "DELETE", f"/webhooks/{made[0]}")
    house.call("admin", "POST", "/webhooks", body, 201)
