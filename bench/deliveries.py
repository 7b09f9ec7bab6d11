"""How soon events are delivered, and what sick receivers cost a promotion, with two instances on PostgreSQL.

    python -m bench.deliveries [--promotions 100] [--rounds 3]

Eight clients carry promotions out at two servers, while everything is told to a receiver that is well; in every other
round also to receivers that hang, answer 500, reset the connection or aren't there. Told are the time from an event to
the first attempt to deliver it, by the database's clock, and the promotions' latencies; of several rounds the best of
each kind.
"""

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from bench.clients import CLIENTS, Load, load
from bench.postgres import postgres
from bench.promotions import POLICY, Prepared
from tests.house import House
from tests.receivers import Receiver, hang, reset, status

ALLOWED = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "127.0.0.1", "LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}
_FIRST_ATTEMPTS = """
    SELECT a.at - e.at FROM lockgate_delivery_attempts a
    JOIN lockgate_deliveries d ON d.id = a.delivery_id
    JOIN lockgate_events e ON e.id = d.event_id
    WHERE a.number = 1 AND d.webhook_id = '{}'
"""


def main() -> None:
    """Measure, and print what it came to."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--promotions", type=int, default=100, help="how many are carried out in a round")
    options.add_argument("--rounds", type=int, default=3, help="how often each kind is measured")
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
        prepared = Prepared(first, chosen.promotions, versions=1 + 2 * chosen.rounds)
        versions = count(1)
        _promote(first, second, prepared, str(next(versions)))
        quiet, troubled = [], []
        for _ in range(chosen.rounds):
            _set(first, sick, "disabled")
            quiet.append(_promote(first, second, prepared, str(next(versions))))
            _set(first, sick, "active")
            troubled.append(_promote(first, second, prepared, str(next(versions))))
        delays = sorted(row[0] for row in first.rows(_FIRST_ATTEMPTS.format(healthy)))
        _print(delays, min(quiet, key=_p99), min(troubled, key=_p99))


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


def _p99(measured: Load) -> float:
    return measured.latency(0.99)


def _print(delays: list[int], quiet: Load, troubled: Load) -> None:
    print(f"from an event to the first attempt, of {len(delays)}: median {statistics.median(delays):.0f} ms, ", end="")
    print(f"95 % within {delays[int(0.95 * (len(delays) - 1))]} ms")
    for what, one in (("receivers well", quiet), ("and some sick", troubled)):
        told = {f"p{share * 100:.0f}": round(one.latency(share)) for share in (0.5, 0.95, 0.99)}
        print(f"promotions, {what}: {one.rate:.0f} a second, {json.dumps(told)} ms")
    print(f"p99 with sick receivers: {_p99(troubled) / _p99(quiet):.2f} of that without")


if __name__ == "__main__":
    main()
