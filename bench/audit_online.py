"""How long it takes a server to prove its audit log, and to export it.

    python -m bench.audit_online [--entries 100000]

Fills the log of a real server on PostgreSQL with so many entries, and runs `lockgate audit verify` and `lockgate audit
export` there: the real commands, from their start to their end.
"""

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bench.audit import entry
from bench.postgres import postgres
from tests.house import House

from lockgate.database.engine import engine_for, now, real_uri
from lockgate.database.record import record
from lockgate.registry.transaction import transaction

_AT_ONCE = 1000
_WAIT = 3600


def main() -> None:
    """Measure, and print a line for each command."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--entries", type=int, default=100_000)
    entries = options.parse_args().entries
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name, postgres(Path(name)) as database:
        uri = database.new_database()
        with closing(House(Path(name), uri)) as house:
            house.open()
            _fill(uri, entries)
            for command in ("verify", "export"):
                seconds = _took(house, command)
                rate = entries / seconds
                print(f"`lockgate audit {command}`: {entries:,} entries in {seconds:.1f} s, {rate:,.0f} a second")


def _fill(uri: str, entries: int) -> None:
    engine = engine_for(real_uri(uri))
    for begin in range(0, entries, _AT_ONCE):
        with transaction(engine) as session:
            for number in range(begin, min(begin + _AT_ONCE, entries)):
                record(session, replace(entry(number), actor_id=None), now(session))


def _took(house: House, command: str) -> float:
    began = time.perf_counter()
    done = house.cli("max", "audit", command, wait=_WAIT)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
