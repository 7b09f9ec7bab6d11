"""What hashing a large file does to a server: its speed, its memory, and how long everybody else waits.

    python -m bench.hashing [--gigabytes 1] [--backend postgresql://...]

Starts a real `lockgate server` in a temporary folder, puts one large sparse file where a version keeps its files, asks
for a promotion of it, and measures the server while it hashes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import memory as memory_of
from sqlalchemy import Engine
from tests.house import ONE_APPROVAL, House

from lockgate.database import places
from lockgate.database.engine import engine_for, real_uri
from lockgate.database.places import KnownPlace
from lockgate.evidence.manifest import Hashing, amount
from lockgate.registry.listing import fingerprint
from lockgate.registry.places import place_at
from lockgate.registry.transaction import reading, transaction

_CALLS_BEFORE = 500
_PAUSE = 0.01


@dataclass(frozen=True)
class Measured:
    """How a server did for a while."""

    seconds: float
    #: Of `GET /requests`, in seconds, shortest first.
    latencies: tuple[float, ...]
    #: Most memory of all its processes at a time, in bytes.
    memory: int

    def latency(self, share: float) -> str:
        """Return the latency that a share of the calls kept, in milliseconds."""
        return f"{self.latencies[int(share * (len(self.latencies) - 1))] * 1000:.1f}"


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=1)
    options.add_argument("--backend", help="a database; a new SQLite file if none is given")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder:
        backend = chosen.backend or f"sqlite:///{folder}/lockgate.db"
        house = House(Path(folder), backend).open()
        try:
            house.apply_policy(ONE_APPROVAL)
            _bench(house, int(chosen.gigabytes * 1e9))
        finally:
            house.close()


def _bench(house: House, size: int) -> None:
    engine = engine_for(real_uri(house.backend))
    model, version, location = _large_version(house, size)
    for _ in range(50):
        house.call("vic", "GET", "/requests")
    calls = iter(range(_CALLS_BEFORE))
    before = _measure(house, lambda: next(calls, None) is None)
    house.ask(model, version, "stage:Production")
    _make_sure_it_waits(engine, location)
    during = _measure(house, lambda: _state(engine, location) is not Hashing.PENDING)
    print(
        f"{amount(size)} {_state(engine, location)} in {during.seconds:.1f} s: {amount(int(size / during.seconds))}/s"
    )
    print(f"{'':16}{'idle':>12}{'hashing':>12}")
    print(f"{'calls':16}{len(before.latencies):>12}{len(during.latencies):>12}")
    for name, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
        print(f"{name + ' (ms)':16}{before.latency(share):>12}{during.latency(share):>12}")
    print(f"{'memory':16}{amount(before.memory):>12}{amount(during.memory):>12}")


def _large_version(house: House, size: int) -> tuple[str, str, str]:
    model = house.new_model(versions=0)
    with house.acting_as("ada") as client:
        run = client.create_run("0").info
        files = house.folder / "mlartifacts" / run.experiment_id / run.run_id / "artifacts/model"
        files.mkdir(parents=True)
        with (files / "weights.bin").open("wb") as file:
            file.truncate(size)
        source = f"runs:/{run.run_id}/model"
        made = client.create_model_version(model, source, run.run_id, await_creation_for=0)
    return model, str(made.version), str(files.resolve())


def _make_sure_it_waits(engine: Engine, location: str) -> None:
    """Queue the files if nobody has looked at them yet."""
    with transaction(engine) as session:
        if places.load(session, location) is None:
            listed = place_at(location).files()
            total = sum(file.size for file in listed)
            waiting = KnownPlace(location, fingerprint(listed), Hashing.PENDING, bytes_total=total)
            places.save(session, waiting)


def _state(engine: Engine, location: str) -> Hashing:
    with reading(engine) as session:
        known = places.load(session, location)
    assert known is not None
    return known.state


def _measure(house: House, is_over: Callable[[], bool]) -> Measured:
    assert house.server.process is not None
    latencies: list[float] = []
    memory = 0
    begun = time.perf_counter()
    while not is_over():
        called = time.perf_counter()
        house.call("vic", "GET", "/requests")
        latencies.append(time.perf_counter() - called)
        memory = max(memory, memory_of(house.server.process.pid))
        time.sleep(_PAUSE)
    return Measured(time.perf_counter() - begun, tuple(sorted(latencies)), memory)


if __name__ == "__main__":
    main()
