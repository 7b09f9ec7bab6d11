"""Receivers that do what receivers do, and a deliverer that is killed: nothing is lost, and nothing overtakes.

`LOCKGATE_DELIVERY_EVENTS` says how many events there are for each receiver, `LOCKGATE_DELIVERY_KILLS` how often the
server's workers are killed, `LOCKGATE_DELIVERY_SCALE` by how much three days of attempts are shortened,
`LOCKGATE_DELIVERY_SEED` repeats a run's choices.
"""

import json
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lockgate.delivery.schedule import STANDARD
from tests.house import House
from tests.receivers import Behaviour, Receiver, Visit, endless_body, hang, malformed, ok, reset, slow, status

pytestmark = pytest.mark.long

EVENTS = int(os.environ.get("LOCKGATE_DELIVERY_EVENTS", "40"))
KILLS = int(os.environ.get("LOCKGATE_DELIVERY_KILLS", "3"))
SCALE = float(os.environ.get("LOCKGATE_DELIVERY_SCALE", "30000"))
SEED = int(os.environ.get("LOCKGATE_DELIVERY_SEED") or secrets.randbits(32))
MODELS = 4
#: How long to wait for the last of it, in seconds, beyond what the schedule takes.
PATIENCE = 60 + EVENTS / 5
ALLOWED = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "127.0.0.1", "LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}


def hastened() -> dict[str, str]:
    return {**ALLOWED, "LOCKGATE_WEBHOOK_RETRIES": ",".join(str(seconds / SCALE) for seconds in STANDARD)}


@dataclass
class Moody:
    """Does one of several things at each call, as chance has it."""

    moods: Sequence[Behaviour]
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def __call__(self, visit: Visit) -> None:
        mood = self.chance.choice(self.moods)
        self.done[getattr(mood, "__name__", "status")] += 1
        mood(visit)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path, new_database(request.param), "--workers", "2", environment=hastened())
    with closing(opened):
        yield opened.open()


def add(house: House, receiver: Receiver) -> str:
    made: str = house.call("admin", "POST", "/webhooks", {"url": receiver.url, "events": ["model.updated"]}, 201)["id"]
    return made


def count(house: House, model: str, numbers: Sequence[int]) -> None:
    """Make an event of each number; whoever was killed meanwhile is asked again."""
    for number in numbers:
        while True:
            try:
                body = {"name": model, "key": "n", "value": str(number)}
                answer = house.http("ada").post("/api/2.0/mlflow/registered-models/set-tag", json=body)
            except Exception:
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                break
            time.sleep(0.1)


def taken(receiver: Receiver) -> dict[str, list[tuple[int, str]]]:
    """Return what was received of each model, with the id of the call."""
    found: dict[str, list[tuple[int, str]]] = {}
    for request in receiver.requests:
        data = json.loads(request.body)["data"]
        found.setdefault(data["model"], []).append((int(data["after"]["tags"]["n"]), request.headers["webhook-id"]))
    return found


def check_order(receiver: Receiver, events: int, in_order: bool = True) -> None:
    """See that each event has arrived, that a repeated one has its id, and that none came before an earlier one."""
    for model, calls in taken(receiver).items():
        first_seen = list(dict.fromkeys(number for number, _ in calls))
        assert sorted(set(first_seen)) == list(range(events)), model
        if in_order:
            assert first_seen == sorted(first_seen), model
        ids: dict[int, set[str]] = {}
        for number, message_id in calls:
            ids.setdefault(number, set()).add(message_id)
        # A call that the killed server had answered to nobody was made again: that is another event.
        assert not in_order or all(len(of_one) == 1 for of_one in ids.values()), model


def states(house: House, webhook: str) -> dict[str, int]:
    rows = house.rows(f"SELECT state, COUNT(*) FROM lockgate_deliveries WHERE webhook_id = '{webhook}' GROUP BY state")
    return {str(state): int(many) for state, many in rows}


def wait_for(house: House, webhook: str, wanted: Callable[[dict[str, int]], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if wanted(states(house, webhook)):
            return
        time.sleep(0.2)
    raise AssertionError(f"{webhook}: {states(house, webhook)}")


@pytest.mark.timeout(300 + 3 * EVENTS)
def test_whatever_receivers_do_all_is_delivered_in_order_or_waits_where_it_is_seen(house: House) -> None:
    print(f"LOCKGATE_DELIVERY_SEED={SEED}")
    chance = random.Random(SEED)
    models = [house.new_model(versions=0) for _ in range(MODELS)]
    house.http("ada")  # One client for all threads, which would each make one.
    moods = (*[ok] * 15, status(500), status(302, location="http://127.0.0.1:1/"), reset, malformed(), endless_body)
    with ExitStack() as stack:
        healthy = stack.enter_context(Receiver())
        moody = stack.enter_context(Receiver(Moody(moods, chance)))
        late = stack.enter_context(Receiver(slow(0.05)))
        hanging = stack.enter_context(Receiver(hang))
        down = stack.enter_context(Receiver())
        down.__exit__(None, None, None)
        webhooks = {one: add(house, one) for one in (healthy, moody, late, hanging, down)}
        with ThreadPoolExecutor(MODELS) as threads:
            list(threads.map(lambda model: count(house, model, range(EVENTS)), models))
        every = EVENTS * MODELS
        for one in (healthy, late, moody):
            wait_for(house, webhooks[one], lambda found: found == {"delivered": every})
            check_order(one, EVENTS)
        # Those that take nothing have all of it before them still, or have failed visibly.
        for one in (hanging, down):
            assert states(house, webhooks[one]) == {"waiting": every}
        wait_for_failure(house, webhooks[down])


def wait_for_failure(house: House, webhook: str) -> None:
    deadline = time.monotonic() + sum(STANDARD) / SCALE + PATIENCE
    while time.monotonic() < deadline:
        found: Any = house.call("admin", "GET", f"/webhooks/{webhook}")
        if found["status"] == "failed":
            assert found["reason"]
            return
        time.sleep(0.2)
    raise AssertionError("it has not failed")


@pytest.mark.timeout(300 + 30 * KILLS)
def test_nothing_is_lost_when_those_who_deliver_are_killed(house: House) -> None:
    print(f"LOCKGATE_DELIVERY_SEED={SEED}")
    chance = random.Random(SEED)
    models = [house.new_model(versions=0) for _ in range(MODELS)]
    house.http("ada")  # One client for all threads, which would each make one.
    with Receiver(slow(0.01)) as receiver:
        webhook = add(house, receiver)
        number = 0
        for _ in range(KILLS):
            with ThreadPoolExecutor(MODELS) as threads:
                burst = range(number, number + 10)
                working = [threads.submit(count, house, model, burst) for model in models]
                time.sleep(chance.uniform(0, 0.5))  # There is nothing to wait for: the moment shall be any.
                house.server.kill_workers()
                for one in working:
                    one.result()
            number += 10
        wait_for(house, webhook, lambda found: found.keys() == {"delivered"} and found["delivered"] >= number * MODELS)
        told = house.rows("SELECT COUNT(*) FROM lockgate_events WHERE type = 'model.updated'")[0][0]
        assert states(house, webhook) == {"delivered": told}
        check_order(receiver, number, in_order=False)
        check_order_of_events(house, receiver)


def check_order_of_events(house: House, receiver: Receiver) -> None:
    """See that first arrivals of each model are in the order of the events, and that ids are those of deliveries."""
    rows = house.rows("SELECT message_id, model, event_id FROM lockgate_deliveries ORDER BY event_id")
    place = {message_id: event for message_id, _, event in rows}
    for model, calls in taken(receiver).items():
        first = [place[message_id] for message_id in dict.fromkeys(message_id for _, message_id in calls)]
        assert first == sorted(first), model
