"""How soon events are delivered, and what sick receivers cost a promotion, with two instances on PostgreSQL.

    python -m bench.deliveries [--promotions 100] [--rounds 3] [--pace 10]

First promotions are carried out at a steady pace, at two servers in turn. Then eight clients carry them out as fast as
they can, while everything is told to a receiver that is well; in every other round also to receivers that hang, answer
500, reset the connection or aren't there. Told are the time from an event to the first attempt to deliver it, by the
database's clock, at that pace and at full load, and the promotions' latencies; of several rounds the best of each kind.
"""

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from bench.clients import CLIENTS, Call, Client, Load, load
from bench.postgres import postgres
from bench.promotions import POLICY, Prepared
from tests.house import House
from tests.receivers import Receiver, hang, reset, status

ALLOWED = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "127.0.0.1", "LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}
_FIRST_ATTEMPTS = """
    SELECT a.at - e.at FROM lockgate_delivery_attempts a
    JOIN lockgate_deliveries d ON d.id = a.delivery_id
    JOIN lockgate_events e ON e.id = d.event_id
    WHERE a.number = 1 AND d.webhook_id = '{}' AND e.id > {} AND e.id <= {}
"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM lockgate_events"
_UNTOLD = "SELECT count(*) FROM lockgate_deliveries WHERE webhook_id = '{}' AND state = 'waiting'"


def main() -> None:
    """Measure, and print what it came to."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--promotions", type=int, default=100, help="how many are carried out in a round")
    options.add_argument("--rounds", type=int, default=3, help="how often each kind is measured")
    options.add_argument("--pace", type=float, default=10, help="how many a second, where they have a pace")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder, ExitStack() as stack:
        uri = stack.enter_context(postgres(Path(folder))).new_database()
        first = House(Path(folder) / "first", uri, environment=ALLOWED)
        shared = ("--artifacts-destination", str(first.folder / "mlartifacts"))
        second = House(Path(folder) / "second", uri, *shared, environment=ALLOWED)
        stack.enter_context(closing(first)).open()
        second.tokens = first.tokens
        stack.callback(second.close)
        second.server.start()
        first.apply_policy(POLICY)
        well = stack.enter_context(Receiver())
        receivers = [stack.enter_context(Receiver(one)) for one in (hang, status(500), reset)]
        gone = "http://127.0.0.1:9/"
        healthy = _add(first, well.url)
        sick = [_add(first, url) for url in (*(one.url for one in receivers), gone)]
        prepared = Prepared(first, chosen.promotions, versions=2 + 2 * chosen.rounds)
        versions = count(1)
        _promote(first, second, prepared, str(next(versions)))
        _set(first, sick, "disabled")
        delays = _Delays(first, healthy)
        calls = prepared.ours(str(next(versions)))
        delays.begin()
        _promote_at(chosen.pace, (first, second), calls)
        paced = delays.of_all()
        quiet, troubled = [], []
        delays.begin()
        for _ in range(chosen.rounds):
            _set(first, sick, "disabled")
            quiet.append(_promote(first, second, prepared, str(next(versions))))
            _set(first, sick, "active")
            troubled.append(_promote(first, second, prepared, str(next(versions))))
        _print_delays(f"at {chosen.pace:g} promotions a second", paced)
        _print_delays("at full load, with what prepares promotions", delays.of_all())
        _print(min(quiet, key=_p99), min(troubled, key=_p99))


class _Delays:
    """How long it takes from events to the first attempts to deliver them to a webhook."""

    def __init__(self, house: House, webhook: str) -> None:
        self._house = house
        self._webhook = webhook
        self._after = 0

    def begin(self) -> None:
        """Wait until all is told that has happened until now, and leave it out."""
        self._after = self._wait()

    def of_all(self) -> list[int]:
        """Wait until all is told, and return the delays in milliseconds, shortest first."""
        told = self._house.rows(_FIRST_ATTEMPTS.format(self._webhook, self._after, self._wait()))
        return sorted(row[0] for row in told)

    def _wait(self) -> int:
        newest: int = self._house.rows(_NEWEST)[0][0]
        while self._house.rows("SELECT position FROM lockgate_outbox")[0][0] < newest or self._waiting():
            time.sleep(0.5)
        return newest

    def _waiting(self) -> int:
        found: int = self._house.rows(_UNTOLD.format(self._webhook))[0][0]
        return found


def _add(house: House, url: str) -> str:
    made: str = house.call("admin", "POST", "/webhooks", {"url": url}, 201)["id"]
    return made


def _set(house: House, webhooks: list[str], wanted: str) -> None:
    for webhook in webhooks:
        house.call("admin", "PATCH", f"/webhooks/{webhook}", {"status": wanted})


def _promote(first: House, second: House, prepared: Prepared, version: str) -> Load:
    calls = prepared.ours(version)
    bot = first.tokens["bot"]
    half = len(calls) // 2
    load(second.uri, bot, calls[:half], CLIENTS // 2)
    return load(first.uri, bot, calls[half:], CLIENTS)


def _promote_at(pace: float, houses: tuple[House, House], calls: list[Call]) -> None:
    """Carry promotions out one after the other, so many a second, at two servers in turn."""
    clients = [Client(house.uri, houses[0].tokens["bot"]) for house in houses]
    begun = time.monotonic()
    for number, call in enumerate(calls):
        time.sleep(max(0.0, begun + number / pace - time.monotonic()))
        clients[number % 2].send(call)


def _p99(measured: Load) -> float:
    return measured.latency(0.99)


def _print_delays(when: str, delays: list[int]) -> None:
    median, most = statistics.median(delays), delays[int(0.95 * (len(delays) - 1))]
    print(
        f"{when}, from an event to the first attempt, of {len(delays)}: median {median:.0f} ms, 95 % within {most} ms"
    )


def _print(quiet: Load, troubled: Load) -> None:
    for what, one in (("receivers well", quiet), ("and some sick", troubled)):
        told = {f"p{share * 100:.0f}": round(one.latency(share)) for share in (0.5, 0.95, 0.99)}
        print(f"promotions, {what}: {one.rate:.0f} a second, {json.dumps(told)} ms")
    print(f"p99 with sick receivers: {_p99(troubled) / _p99(quiet):.2f} of that without")


if __name__ == "__main__":
    main()
